"""The watcher: `python -m flows.watcher.watcher [USE_CASE ...]` announces what lands, and reads Prefect's events.

It runs until SIGTERM. `settings.running / "watching.json"` says that it is there: its process id, since when, and which
folders it watches.
"""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from contender import error_text
from contender.contracts.contract import Contract, known_use_cases
from contender.errors import ContenderError, UsageError
from contender.operations import delivery
from contender.settings import Settings
from flows.prefect_api.client import Server
from flows.watcher.arrivals import Arrivals
from flows.watcher.event_log import Sentinel, poll_events
from flows.watcher.folders import watch_arrivals
from flows.watcher.pace import USUAL, Pace

HEARTBEAT_SECONDS = 5.0

log = logging.getLogger(__name__)


def main(names: Sequence[str], pace: Pace = USUAL) -> int:
    """Watch the named use cases, or all, until a signal says to stop; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings()
    try:
        contracts = _contracts(settings, names)
        delivery.addresses(settings)
    except ContenderError as error:
        log.error("%s", error)
        return 2 if isinstance(error, UsageError) else 1
    return watch(settings, contracts, stop, pace)


def watch(settings: Settings, contracts: Mapping[str, Contract], stop: threading.Event, pace: Pace = USUAL) -> int:
    """Run both loops until `stop` is set; 1 if one of them ended by itself."""
    server, ready = Server(settings), threading.Event()
    aside = ThreadPoolExecutor(1, "sweep")
    arrivals = [Arrivals(settings, contract, server, aside, pace.settle_seconds) for contract in contracts.values()]
    guard = Sentinel(settings, contracts, server, pace)
    loops = [
        threading.Thread(target=watch_arrivals, args=(arrivals, stop, ready), name="arrivals", daemon=True),
        threading.Thread(target=poll_events, args=(guard, stop), name="sentinel", daemon=True),
    ]
    for loop in loops:
        loop.start()
    heartbeat = settings.running / "watching.json"
    while not ready.wait(0.1) and not stop.is_set() and all(loop.is_alive() for loop in loops):
        pass
    try:
        while not stop.is_set():
            if dead := [loop.name for loop in loops if not loop.is_alive()]:
                log.error("the loop of %s ended; starting anew mends it", " and ".join(dead))
                return 1
            _beat(heartbeat, {one.contract.name: str(one.folder) for one in arrivals})
            stop.wait(HEARTBEAT_SECONDS)
    finally:
        heartbeat.unlink(missing_ok=True)
    # They are daemons: one that waits for an answer from outside does not keep the process.
    for loop in loops:
        loop.join(0.3)
    return 0


def _contracts(settings: Settings, names: Sequence[str]) -> dict[str, Contract]:
    """The contracts to watch; one that is broken is left out, unless none is left.

    Raises:
        UsageError: there is no such use case, or none at all.
    """
    found: dict[str, Contract] = {}
    for name in names or known_use_cases(settings.use_cases):
        try:
            found[name] = Contract.of(name, settings.use_cases)
        except UsageError:
            raise
        except ContenderError as error:
            log.error("%s is not watched: %s", name, error)
    if not found:
        raise UsageError(f"{settings.use_cases} holds no use case to watch; 'contender init' makes one.")
    return found


def _beat(path: Path, folders: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(".new")
    document = {"pid": os.getpid(), "at": datetime.now(UTC).isoformat(timespec="seconds"), "folders": dict(folders)}
    written.write_text(json.dumps(document))
    written.replace(path)


if __name__ == "__main__":
    code = 1
    with suppress(SystemExit), error_text.process("watching"):
        code = main(sys.argv[1:])
    logging.shutdown()
    # Not `sys.exit`: it would wait for a sweep, or for people who are being told, for as long as those take.
    os._exit(code)
