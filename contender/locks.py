"""One command at a time on one use case of one home; a killed process frees its lock by ending."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from contender.errors import Busy
from contender.settings import Settings

loading = RLock()
"""Held while MLflow is loaded. Two threads that begin with different modules of it would each wait for the other, which
Python resolves by handing out half-loaded ones."""


@contextmanager
def at_work(settings: Settings, use_case: str) -> Iterator[None]:
    """Hold the use case; within one process it may be held again.

    Raises:
        Busy: another process holds it.
    """
    from filelock import FileLock, Timeout

    folder = settings.state / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{use_case}.lock", is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy.with_use_case(use_case) from None
    try:
        yield
    finally:
        lock.release()
