"""Rows that nothing is learnt from, because what brought them was broken: batches and windows of time.

Held out are rows of the past, not the past itself: they stay in `records`, are scored, and are shown. The table
`held_out` only grows; what is held is what was not released since.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from contender.errors import UsageError
from contender.lake import tables
from contender.settings import Settings
from contender.values import TableVersion

if TYPE_CHECKING:
    import pyarrow as pa

TABLE = "held_out"


@dataclass(frozen=True)
class HeldOut:
    """A batch, by its number, or the records whose time lies in `[start, end)` (UTC), and why and since when."""

    batch: int | None
    start: datetime | None
    end: datetime | None
    reason: str
    at: datetime

    @property
    def what(self) -> tuple[int | None, datetime | None, datetime | None]:
        return self.batch, self.start, self.end

    def __str__(self) -> str:
        return (
            f"batch {self.batch}"
            if self.batch is not None
            else f"{self.start:%Y-%m-%d %H:%M}..{self.end:%Y-%m-%d %H:%M}"
        )


def hold_out_batch(settings: Settings, use_case: str, batches: Sequence[int], *, reason: str, at: datetime) -> None:
    """Neither train nor judge on the records of these batches from now on; what is held already stays as it is."""
    held = {one.batch for one in held_out(settings, use_case)}
    _append(settings, use_case, [(batch, None, None) for batch in batches if batch not in held], True, reason, at)


def hold_out_window(
    settings: Settings, use_case: str, start: datetime, end: datetime, *, reason: str, at: datetime
) -> None:
    """Neither train nor judge on records of `[start, end)` from now on; what is held already stays as it is.

    Raises:
        UsageError: the window is empty.
    """
    if start >= end:
        raise UsageError(
            f"The window {start:%Y-%m-%d %H:%M}..{end:%Y-%m-%d %H:%M} is empty; its start must come first."
        )
    if (None, start, end) not in {one.what for one in held_out(settings, use_case)}:
        _append(settings, use_case, [(None, start, end)], True, reason, at)


def release_batch(settings: Settings, use_case: str, batches: Sequence[int], *, reason: str, at: datetime) -> None:
    """Let the records of these batches be learnt from again.

    Raises:
        UsageError: one of them is not held out.
    """
    _release(settings, use_case, [(batch, None, None) for batch in batches], reason, at)


def release_window(
    settings: Settings, use_case: str, start: datetime, end: datetime, *, reason: str, at: datetime
) -> None:
    """Let the records of a window that is held out, named by its bounds, be learnt from again.

    Raises:
        UsageError: this window is not held out.
    """
    _release(settings, use_case, [(None, start, end)], reason, at)


def held_out(settings: Settings, use_case: str, version: TableVersion | None = None) -> list[HeldOut]:
    """What is held out now, or was at a version of the table; oldest first."""
    table = tables.read_small(settings, use_case, TABLE, version=version.version if version else None)
    held: dict[Any, HeldOut] = {}
    for row in sorted(table.to_pylist() if table is not None else [], key=lambda row: row["number"]):
        one = HeldOut(row["batch"], row["start"], row["end"], row["reason"], row["at"])
        if row["held"]:
            held.setdefault(one.what, one)
        else:
            held.pop(one.what, None)
    return list(held.values())


def _release(settings: Settings, use_case: str, whats: Sequence[Any], reason: str, at: datetime) -> None:
    held = {one.what for one in held_out(settings, use_case)}
    for what in whats:
        if what not in held:
            batch, start, end = what
            named = HeldOut(batch, start, end, reason, at)
            raise UsageError(f"{use_case}: {named} is not held out; held out are {len(held)} batches and windows.")
    _append(settings, use_case, whats, False, reason, at)


def _append(settings: Settings, use_case: str, whats: Sequence[Any], held: bool, reason: str, at: datetime) -> None:
    # Not by their moments: a clock that is simulated may stand still.
    first = tables.count(settings, use_case, TABLE)
    rows = [
        {"number": first + place, "held": held, "batch": batch, "start": start, "end": end, "reason": reason, "at": at}
        for place, (batch, start, end) in enumerate(whats)
    ]
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
        ]
    )
