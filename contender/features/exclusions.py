"""Rows that nothing is learnt from, because what brought them was broken: batches and windows of time.

Held out are rows of the past, not the past itself: they stay in `records`, are scored, and are shown. The table
`held_out` only grows; what is held is what was not released since. A person releases, and the loop does not hold out
again what a person has looked at.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from contender.errors import UsageError
from contender.lake import tables
from contender.settings import Settings
from contender.values import TableVersion

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "held_out"
What = tuple[int | None, datetime | None, datetime | None]
"""A batch, or the bounds of a window."""
LOOP = "contender"
"""Who holds out by itself."""


@dataclass(frozen=True)
class HeldOut:
    """A batch, by its number, or the records whose time lies in `[start, end)` (UTC), and why, since when, by whom.

    Of one that was released they are the reason, the moment and the person of the release.
    """

    batch: int | None
    start: datetime | None
    end: datetime | None
    reason: str
    at: datetime
    by: str = LOOP

    @property
    def what(self) -> What:
        return self.batch, self.start, self.end

    def __str__(self) -> str:
        return (
            f"batch {self.batch}"
            if self.batch is not None
            else f"{self.start:%Y-%m-%d %H:%M}..{self.end:%Y-%m-%d %H:%M}"
        )


def hold_out_batch(settings: Settings, use_case: str, batches: Sequence[int], *, reason: str, at: datetime) -> None:
    """Neither train nor judge on the records of these batches from now on.

    What is held already stays as it is, and so does what a person released.
    """
    _hold_out(settings, use_case, [(batch, None, None) for batch in batches], reason, at)


def hold_out_window(
    settings: Settings, use_case: str, start: datetime, end: datetime, *, reason: str, at: datetime
) -> None:
    """Neither train nor judge on records of `[start, end)` from now on, see `hold_out_batch`.

    Raises:
        UsageError: the window is empty.
    """
    if start >= end:
        raise UsageError(
            f"The window {start:%Y-%m-%d %H:%M}..{end:%Y-%m-%d %H:%M} is empty; its start must come first."
        )
    _hold_out(settings, use_case, [(None, start, end)], reason, at)


def release_batch(
    settings: Settings, use_case: str, batches: Sequence[int], *, reason: str, by: str, at: datetime
) -> list[HeldOut]:
    """Let the records of these batches be learnt from again; what was released.

    Raises:
        UsageError: one of them is not held out, or no reason is given.
    """
    return _release(settings, use_case, [(batch, None, None) for batch in batches], reason, by, at)


def release_window(
    settings: Settings, use_case: str, start: datetime, end: datetime, *, reason: str, by: str, at: datetime
) -> list[HeldOut]:
    """Let the records of a window that is held out, named by its bounds, be learnt from again; what was released.

    Raises:
        UsageError: this window is not held out, or no reason is given.
    """
    return _release(settings, use_case, [(None, start, end)], reason, by, at)


def held_out(settings: Settings, use_case: str, version: TableVersion | None = None) -> list[HeldOut]:
    """What is held out now, or was at a version of the table; oldest first."""
    return _standing(settings, use_case, version)[0]


def released(settings: Settings, use_case: str) -> list[HeldOut]:
    """What was held out once and is learnt from again; by whom, why, since when. Oldest first."""
    return _standing(settings, use_case)[1]


def _standing(
    settings: Settings, use_case: str, version: TableVersion | None = None
) -> tuple[list[HeldOut], list[HeldOut]]:
    table = tables.read_small(settings, use_case, TABLE, version=version.version if version else None)
    held: dict[Any, HeldOut] = {}
    free: dict[Any, HeldOut] = {}
    for row in sorted(table.to_pylist() if table is not None else [], key=lambda row: row["number"]):
        one = HeldOut(row["batch"], row["start"], row["end"], row["reason"], row["at"], row["by"])
        if row["held"]:
            held.setdefault(one.what, one)
            free.pop(one.what, None)
        elif held.pop(one.what, None):
            free[one.what] = one
    return list(held.values()), list(free.values())


def _hold_out(settings: Settings, use_case: str, whats: Sequence[What], reason: str, at: datetime) -> None:
    held, free = _standing(settings, use_case)
    known = {one.what for one in (*held, *free)}
    _append(settings, use_case, [HeldOut(*what, reason, at) for what in whats if what not in known], held=True)


def _release(
    settings: Settings, use_case: str, whats: Sequence[What], reason: str, by: str, at: datetime
) -> list[HeldOut]:
    if not reason.strip():
        raise UsageError("A reason is needed to release what is held out, and it is kept; say why.")
    held = held_out(settings, use_case)
    free = [HeldOut(*what, reason.strip(), at, by) for what in dict.fromkeys(whats)]
    for one in free:
        if one.what not in {other.what for other in held}:
            known = f"held out are {', '.join(map(str, held))}" if held else "nothing is"
            raise UsageError(f"{use_case}: {one} is not held out; {known}.")
    _append(settings, use_case, free, held=False)
    return free


def _append(settings: Settings, use_case: str, ones: Sequence[HeldOut], *, held: bool) -> None:
    # Not by their moments: a clock that is simulated may stand still.
    first = tables.count(settings, use_case, TABLE)
    rows = [{"number": first + place, "held": held} | asdict(one) for place, one in enumerate(ones)]
    if rows:
        tables.append_small(settings, use_case, TABLE, rows, _schema())


def _schema() -> "pa.Schema":
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            ("number", pa.int64()),
            ("held", pa.bool_()),
            ("batch", pa.int64()),
            ("start", moment),
            ("end", moment),
            ("reason", pa.string()),
            ("at", moment),
            ("by", pa.string()),
        ]
    )
