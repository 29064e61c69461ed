"""The landing folders, watched by the system's own means, which wake us when something changes."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from contender.error_text import brief
from flows.prefect_api.client import Away
from flows.watcher.arrivals import Arrivals

_STEP_MS = 500
_REMOTE = ("nfs", "cifs", "smb", "9p", "afs", "fuse.", "glusterfs", "ceph", "lustre", "vboxsf", "virtiofs", "drvfs")

log = logging.getLogger(__name__)


def watch_arrivals(arrivals: Sequence[Arrivals], stop: threading.Event, ready: threading.Event) -> None:
    """Announce what lands, until `stop` is set. An error in one use case does not keep the others.

    Args:
        ready: is set once nothing that lands is missed.
    """
    failing: dict[str, str] = {}
    while not stop.is_set():
        for one in arrivals:
            _carefully(one, one.look_again, failing)
        try:
            _watch(arrivals, stop, ready, failing)
        except OSError as error:
            log.warning("the landing folders cannot be watched (%s); trying again", error)
            stop.wait(5)


def is_remote(folder: Path) -> bool:
    """Whether other machines may write there, of which this one's kernel tells nothing."""
    import psutil

    try:
        mounts = [one for one in psutil.disk_partitions(all=True) if folder.is_relative_to(one.mountpoint)]
    except (OSError, psutil.Error):
        return False
    return bool(mounts) and max(mounts, key=lambda one: len(one.mountpoint)).fstype.lower().startswith(_REMOTE)


def _watch(
    arrivals: Sequence[Arrivals], stop: threading.Event, ready: threading.Event, failing: dict[str, str]
) -> None:
    """Watch the folders as they are now; return when one of them became another."""
    from watchfiles import watch

    folders = sorted({one.folder for one in arrivals if one.folder.is_dir()})
    marks = [_mark(folder) for folder in folders]
    for changes in watch(
        *folders,
        watch_filter=None,
        stop_event=stop,
        rust_timeout=_STEP_MS,
        yield_on_timeout=True,
        debounce=400,
        recursive=False,
        raise_interrupt=False,
        force_polling=any(map(is_remote, folders)) or None,
        poll_delay_ms=1000,
    ):
        changed = [path for _, path in changes]
        for one in arrivals:
            _carefully(one, partial(one.step, changed, time.monotonic()), failing)
        ready.set()
        # A folder that was removed and made anew is another one, of which nobody would hear.
        if {one.folder for one in arrivals} != set(folders) or [_mark(folder) for folder in folders] != marks:
            return


def _carefully(one: Arrivals, act: Callable[[], None], failing: dict[str, str]) -> None:
    """Do it; an error is told once, and not again until it is another."""
    name = one.contract.name
    try:
        act()
    except Away:
        # That was told already.
        return
    except Exception as error:  # noqa: BLE001 - the other use cases must go on, whatever it is
        sentence = str(error) if isinstance(error, OSError) else brief(error)
        if failing.get(name) != sentence:
            failing[name] = sentence
            log.warning("arrivals of %s: %s", name, sentence)


def _mark(folder: Path) -> tuple[int, int] | None:
    try:
        stat = folder.stat()
        return stat.st_dev, stat.st_ino
    except OSError:
        return None
