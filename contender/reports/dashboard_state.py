"""Whether the dashboard would look different now, without reading what it shows, and without the libraries for that."""

import time
from collections.abc import Iterator
from pathlib import Path

from contender.contracts.contract import known_use_cases
from contender.lake import tables
from contender.settings import Settings

State = tuple[tuple[str, int, int], ...]

_TABLES = ("predictions", "alerts", "performance", "drift", "quarantine")
_UNSEEN_SECONDS = 60
"""What lies elsewhere shows no change from here; it is taken for changed after so long."""


def state_of(settings: Settings) -> State:
    """What changes with any commit to a table, any entry of the ledger, and any contract."""
    return tuple(_signs(settings))


def _signs(settings: Settings) -> Iterator[tuple[str, int, int]]:
    for name in known_use_cases(settings.use_cases):
        yield _sign(settings.use_cases / name / "contract.toml")
        yield _sign(settings.state / "reports" / name / "report.html")
        for table in _TABLES:
            # A commit adds a file to this folder.
            yield _sign_of_address(f"{tables.path_of(settings, name, table)}/_delta_log")
    yield _sign(settings.running / "up.json")
    if not settings.ledger.startswith("sqlite"):
        yield "ledger", int(time.time()) // _UNSEEN_SECONDS, 0
        return
    path = Path(settings.ledger.partition(":///")[2])
    yield _sign(path)
    # SQLite makes an empty one for whoever only reads.
    log = _sign(path.with_name(f"{path.name}-wal"))
    yield log if log[2] else ("no log", 0, 0)


def _sign_of_address(address: str) -> tuple[str, int, int]:
    if "://" in address:
        return address, int(time.time()) // _UNSEEN_SECONDS, 0
    return _sign(Path(address))


def _sign(path: Path) -> tuple[str, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), found.st_mtime_ns, found.st_size
