"""One process at a time of one home at a kind of work; who is killed frees its lock by ending."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Literal

from contender.errors import Busy
from contender.home_version import check_home
from contender.lake import shared_spark
from contender.settings import Settings

loading = RLock()
"""Held while MLflow is loaded. Two threads that begin with different modules of it would each wait for the other, which
Python resolves by handing out half-loaded ones."""


Work = Literal["data", "training", "replay"]
"""What excludes itself: taking in and scoring are one, training is another, so new rows need not wait for a search; a
replay, in scratch homes, keeps nobody but another one waiting."""


@contextmanager
def hold_file(settings: Settings, use_case: str, work: Work = "data", *, wait_seconds: float = 0) -> Iterator[None]:
    """Keep others of this home from one kind of work on the use case; within one process it may be held again.

    Args:
        wait_seconds: how long to wait for another process that holds it.

    Raises:
        Busy: another process holds it.
        OtherRelease: the home is not one of this release.
        Unavailable: what a killed process left at work does not end.
    """
    from filelock import FileLock, Timeout

    check_home(settings)
    folder = settings.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{use_case}.{work}.lock", is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=wait_seconds, poll_interval=0.25)
    except Timeout:
        raise Busy.with_use_case(use_case) from None
    try:
        if lock.lock_counter == 1:
            # Who held it before may have been killed, with work of his left in a Spark that several share.
            shared_spark.end_orphans(settings)
        yield
    finally:
        lock.release()


def is_file_held(settings: Settings, use_case: str, work: Work = "data") -> bool:
    """Whether anybody of this home is at that work now; a look that makes nothing and ends nothing."""
    from filelock import FileLock, Timeout

    path = settings.state / "locks" / f"{use_case}.{work}.lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
