"""Which landed files are settled, so that they can be announced: many that came together, as one."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass

from contender.contracts.contract import Contract

SETTLE_SECONDS = 2.0
"""A file that looks the same for so long is whole."""

PATIENCE_SECONDS = 30.0
"""While ever more files come, those that are settled are announced after so long."""

_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp", "~")


@dataclass(frozen=True)
class Look:
    """What shows that a file is still written to: its size in bytes, and when it was modified (ns since 1970)."""

    size: int
    modified: int


@dataclass(frozen=True)
class Waiting:
    """A file that is not announced yet; moments in seconds of a clock that never goes back."""

    look: Look
    since: float
    came: float


def is_unfinished(name: str) -> bool:
    """Whether a name is one that programs give to what they still write, to rename it when it is whole."""
    return name.startswith((".", "~")) or name.lower().endswith(_UNFINISHED)


def matches(name: str, pattern: str) -> bool:
    """Whether a file's name is of a pattern; `sales-2.csv.gz` is of `sales-*.csv` as well."""
    return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name.removesuffix(".gz"), pattern)


def wants(contract: Contract, name: str) -> bool:
    """Whether a file of that name is for the use case: records, outcomes or a look-up."""
    if is_unfinished(name):
        return False
    patterns = [contract.records.files, *([contract.outcome.files] if contract.outcome.files else [])]
    return any(name == lookup.file for lookup in contract.lookups.values()) or any(
        matches(name, pattern) for pattern in patterns
    )


def settle(
    waiting: Mapping[str, Waiting], looks: Mapping[str, Look], now: float, settle_seconds: float = SETTLE_SECONDS
) -> tuple[dict[str, Waiting], tuple[str, ...]]:
    """The files that still have to wait, and those that are settled, sorted.

    None is settled as long as any other is not, because what comes together belongs together; but nobody waits for
    more than `PATIENCE_SECONDS` for others.

    Args:
        waiting: as given back the last time.
        looks: how every waiting and every new file looks now; one that is not in it was deleted again.
        now: seconds of a clock that never goes back.
    """
    after: dict[str, Waiting] = {}
    for path, look in looks.items():
        before = waiting.get(path)
        unchanged = before is not None and before.look == look
        after[path] = before if before and unchanged else Waiting(look, now, before.came if before else now)
    settled = {path for path, file in after.items() if now - file.since >= settle_seconds}
    if settled != set(after) and all(now - after[path].came < PATIENCE_SECONDS for path in settled):
        return after, ()
    return {path: file for path, file in after.items() if path not in settled}, tuple(sorted(settled))
