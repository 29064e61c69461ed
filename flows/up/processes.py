"""The end of all that an `up` started: also of what left its group, its session or its parent."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from contender.settings import Settings

if TYPE_CHECKING:
    import psutil

MARK = "CONTENDER_UP"
"""A variable that every process of an `up` inherits, and by which it is found again."""

_POLITE_SECONDS = 1.5
_RUN = "PREFECT__FLOW_RUN_ID"


def key_of(settings: Settings) -> str:
    """What all marks of this home and environment begin with."""
    return hashlib.sha256(str(settings.state.resolve()).encode()).hexdigest()[:16]


def end_all(settings: Settings, *, within_seconds: float = 8) -> int:
    """End every process that bears a mark of this home: first by asking. Returns how many there were.

    Those that are started meanwhile are ended too.
    """
    import psutil

    until, ended, polite = time.monotonic() + within_seconds, set[int](), _POLITE_SECONDS
    while found := list(_marked(settings)):
        ended.update(process.pid for process in found)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.terminate() if polite else process.kill()
        psutil.wait_procs(found, timeout=polite or 0.5)
        polite = 0
        if time.monotonic() > until:
            break
    return len(ended)


def end_flow_runs(settings: Settings) -> None:
    """Ask flow runs in progress to end while the server still hears that they did."""
    import psutil

    for process in _marked(settings):
        with contextlib.suppress(psutil.Error):
            # Their JVMs and daemons bear the same variables, and end with them.
            if process.environ().get(_RUN) and process.name().startswith("python"):
                process.terminate()


def _marked(settings: Settings) -> Iterator["psutil.Process"]:
    """Processes of ours that live; those of other users, and zombies, tell nothing."""
    import psutil

    key = f"{key_of(settings)}."
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").startswith(key) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
