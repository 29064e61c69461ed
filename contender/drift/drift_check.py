"""What a check of a window found, column by column, and whether that is an alarm."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Literal

from contender.contracts.loop_sections import Drift
from contender.drift.baseline import Ordinary, Side, Source, Watched, same_season_rows


@dataclass(frozen=True)
class Comparison:
    """What is compared of one table: the window, the training rows, and what their ordinary windows score."""

    source: Source
    columns: tuple[Watched, ...]
    current: Side
    reference: Side
    ordinary: Mapping[str, Ordinary]

    @cached_property
    def matched(self) -> Side:
        """The rows of the reference that the window is compared with: of a season, those of the same days."""
        return same_season_rows(
            self.reference, self.current, max((one.season for one in self.ordinary.values()), default=0)
        )


LookBack = Callable[[Comparison, tuple[Watched, ...]], Side | None]
"""Gives some columns in the rows of the same days a season before, in or before the training; None without any."""


@dataclass(frozen=True)
class ColumnDrift:
    """One column in one check.

    `drifted` is None when there is not enough to tell; `why` gives the reason in words, whatever the answer. `score`
    is the distance by `method`; from `threshold` on the values have drifted: `expected` in a window without drift, plus
    `limit` or what chance needs, whichever is more. `season` says that the same was seen a season before. `rows_…`
    count the values compared, `missing_…` are shares of all rows. `[start, end)` are the days of the window: outcomes
    take their time to mature, so that theirs is an earlier one.
    """

    table: str
    column: str
    kind: Literal["number", "category"]
    method: str
    score: float | None
    expected: float | None
    limit: float
    threshold: float | None
    drifted: bool | None
    why: str
    start: date
    end: date
    season: bool = False
    missing_current: float | None = None
    missing_reference: float | None = None
    missing_drifted: bool = False
    rows_current: int = 0
    rows_reference: int = 0
    new_values: str = ""
    """Categories of the window that the training's rows did not have, the most frequent first, in words."""

    def __str__(self) -> str:
        return self.column if self.table == "features" else f"{self.table}.{self.column}"


@dataclass(frozen=True)
class DriftCheck:
    """One check of a window `[start, end)` against the champion's training. `alarming` are the columns that alarm."""

    use_case: str
    model_version: int
    start: date
    end: date
    reference_start: date
    reference_end: date
    checked_at: datetime
    columns: tuple[ColumnDrift, ...]
    alarming: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        return bool(self.alarming)

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        return tuple(column for column in self.columns if column.drifted)

    @property
    def tested(self) -> int:
        """Columns of which anything could be told."""
        return sum(column.drifted is not None for column in self.columns)

    @property
    def share_drifted(self) -> float | None:
        """Drifted columns among those that could be told; None when none could."""
        return len(self.drifted) / self.tested if self.tested else None

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        last = self.end - timedelta(days=1)
        window = f"{self.start}" if last == self.start else f"{self.start} to {last}"
        if not self.tested:
            why = self.columns[0].why if self.columns else "no columns are watched"
            return f"{self.use_case}, {window}: not enough to tell ({why})."
        named = "; ".join(f"{column}: {column.why}" for column in self.drifted[:5])
        more = f"; and {len(self.drifted) - 5} more" if len(self.drifted) > 5 else ""
        found = f"{len(self.drifted)} of {self.tested} columns drifted" + (f" ({named}{more})" if named else "")
        alarm = f"; alarm: {', '.join(self.alarming)}" if self.alarm else ""
        return f"{self.use_case}, {window}: {found}{alarm}."


def conclude(check: DriftCheck, earlier: Sequence[DriftCheck], rules: Drift) -> DriftCheck:
    """The check with the columns that alarm: drifted in it, and in enough of the last windows.

    Windows that overlap share their luck and count once, as does a window that was checked again; those of another
    champion do not count.

    Args:
        earlier: checks from before, in any order.
    """
    windows = [check, *before(check, earlier, rules)]
    counts: dict[str, int] = {}
    for window in windows:
        for column in window.drifted:
            counts[str(column)] = counts.get(str(column), 0) + 1
    alarming = tuple(str(column) for column in check.drifted if counts[str(column)] >= rules.violations)
    return replace(check, alarming=alarming)


def before(check: DriftCheck, earlier: Sequence[DriftCheck], rules: Drift) -> list[DriftCheck]:
    """The checks that count beside this one, the newest first; fewer than the rules ask for where there are no more."""
    found: list[DriftCheck] = []
    start = check.start
    for other in sorted(earlier, key=lambda other: (other.end, other.checked_at), reverse=True):
        if len(found) + 1 < rules.of_windows and other.model_version == check.model_version and other.end <= start:
            found.append(other)
            start = other.start
    return found
