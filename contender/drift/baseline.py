"""What windows without drift look like: how far ordinary days of the training lie from the rest of it.

Rows of one day resemble one another, weekdays differ, and a small window lies far from everything by chance alone. All
of this shows in the training rows themselves: their own windows, each against the rest, give the distance to expect.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from contender.contracts.loop_sections import Drift
from contender.drift.distances import Method, Values, distance

if TYPE_CHECKING:
    import pandas as pd

DAY = "_day"
"""Column of a sample: the day of the record, a `datetime.date`."""

Source = Literal["features", "predictions", "outcomes"]
"""A table that is watched."""

MOST_WINDOWS = 56
_FEWEST_WINDOWS, _FEWEST_OF_A_KIND, _SUBSETS = 8, 4, 20


@dataclass(frozen=True)
class Watched:
    """A column that is watched."""

    table: Source
    name: str
    kind: Literal["number", "category"]

    def __str__(self) -> str:
        return self.name if self.table == "features" else f"{self.table}.{self.name}"

    def method(self, rules: Drift) -> Method:
        return rules.number_method if self.kind == "number" else rules.category_method

    def limit(self, rules: Drift) -> float:
        return rules.number_limit if self.kind == "number" else rules.category_limit


@dataclass(frozen=True)
class Side:
    """The rows of the days in `[start, end)`: a sample of them, and exact counts.

    `frame` holds the watched columns, numbers as floats and categories as strings, and `_day`; `missing` counts the
    missing (and infinite) values of each column among all `rows`.
    """

    start: date
    end: date
    frame: "pd.DataFrame"
    rows: int
    missing: Mapping[str, int] = field(default_factory=dict)

    def values(self, name: str) -> Values | None:
        """What is there of a column, numbers in ascending order; None when there is no such column."""
        if name not in self.frame:
            return None
        if name not in self._values:
            found = self.frame[name].to_numpy()
            known = found[~is_missing(found)]
            self._values[name] = np.sort(known) if known.dtype.kind == "f" else known
        return self._values[name]

    @cached_property
    def _values(self) -> dict[str, Values]:
        """What was asked for before: a column is compared, and looked at for signs."""
        return {}

    def missing_share(self, name: str) -> float | None:
        return self.missing[name] / self.rows if self.rows and name in self.missing else None


@dataclass(frozen=True)
class Ordinary:
    """The scores of one column in windows without drift.

    `expected` is the middle score and `spread` the standard deviation about it, the same with `missing_…` for the
    change of the missing share; `rows` is how many values such a window had, `windows` how many there were, cut by
    `by`. With a `season` of so many days windows are compared with the same days of the season only; it is 0 where
    they are not.
    """

    expected: float
    spread: float
    missing_expected: float
    missing_spread: float
    rows: int
    windows: int
    season: int = 0
    by: Literal["days", "rows"] = "days"

    def wider(self, rows: int) -> float:
        """By how much expected score and spread grow in a window of so many values.

        A smaller window scatters more; in a larger one nothing vouches that the days themselves scatter less.
        """
        return sqrt(max(self.rows / rows, 1.0))


def same_season_rows(reference: Side, window: Side, season: int) -> Side:
    """The rows of the reference that are from the same days of the season as the window."""
    if not season:
        return reference
    length = min(max((window.end - window.start).days, 1), season)
    phases = {(window.start.toordinal() + more) % season for more in range(length)}
    of_day = {day: day.toordinal() % season in phases for day in reference.frame[DAY].unique()}
    frame = reference.frame[reference.frame[DAY].map(of_day).astype(bool)]
    missing = {name: int(is_missing(frame[name].to_numpy()).sum()) for name in reference.missing if name in frame}
    return replace(reference, frame=frame, rows=len(frame), missing=missing)


def is_missing(values: Values) -> "np.ndarray[Any, Any]":
    """Where nothing is known of a column, or something infinite."""
    import pandas as pd

    return ~np.isfinite(values) if values.dtype.kind == "f" else pd.isna(values)


def ordinary_scores(
    windows: Iterable[Side], reference: Side, columns: Sequence[Watched], rules: Drift, seed: int
) -> dict[str, Ordinary]:
    """How each column of a table scores in windows of its training, each against the training's other days.

    With fewer than eight windows days cannot be told from one another, and random rows stand for windows.

    Args:
        windows: as long as the contract's window, from within the reference's days; may be an iterator, of which one
            at a time is held.
    """
    kept, rest = list(windows), _Rest(reference, columns)
    by: Literal["days", "rows"] = "days"
    season = 0
    if len(kept) >= _FEWEST_WINDOWS:
        season = _season([window.start for window in kept], rules)
        others = [rest.other_days(window, season) for window in kept]
    else:
        by, kept = "rows", list(_subsets(reference, rules, seed))
        others = [~reference.frame.index.isin(window.frame.index) for window in kept]
    found = [_scores(window, rest, mask, columns, rules) for window, mask in zip(kept, others, strict=True)]
    rows = float(np.median([window.rows for window in kept])) if kept else 0.0
    return {
        column.name: _of_column(
            [scores[column.name] for scores in found],
            season,
            by,
            _noise(reference.missing.get(column.name, 0), reference.rows, rows),
        )
        for column in columns
    }


def window_starts(first: int, last: int, length: int) -> list[int]:
    """Evenly spread starts of at most 56 windows of `length` days within `[first, last)`, as ordinals of days."""
    count = last - first - length + 1
    if count < 1:
        return []
    # More of them would overlap by more than half, and tell the same twice.
    wanted = min(count, MOST_WINDOWS, max(_FEWEST_WINDOWS, 2 * count // length))
    return sorted({int(start) for start in np.linspace(first, first + count - 1, wanted)})


_Scores = tuple[float, float, int]
"""Distance (NaN when there is none), change of the missing share, values."""


class _Rest:
    """The reference with each column sorted once, of which every window leaves out other rows."""

    def __init__(self, reference: Side, columns: Sequence[Watched]) -> None:
        self.days = np.array([day.toordinal() for day in reference.frame[DAY]], dtype=int)
        self.order: dict[str, np.ndarray[Any, Any]] = {}
        self.values: dict[str, Values] = {}
        self.there: dict[str, np.ndarray[Any, Any]] = {}
        for column in columns:
            if column.name in reference.frame:
                values = reference.frame[column.name].to_numpy()
                self.there[column.name] = ~is_missing(values)
                order = np.flatnonzero(self.there[column.name])
                if column.kind == "number":
                    order = order[np.argsort(values[order])]
                self.order[column.name], self.values[column.name] = order, values[order]

    def other_days(self, window: Side, season: int) -> "np.ndarray[Any, Any]":
        """Which rows are from other days than the window's, but from the same ones of the season."""
        own = [day.toordinal() for day in window.frame[DAY].unique()]
        mask = ~np.isin(self.days, own)
        if season:
            mask &= np.isin(self.days % season, [day % season for day in own])
        return mask


def _scores(
    window: Side, rest: _Rest, others: "np.ndarray[Any, Any]", columns: Sequence[Watched], rules: Drift
) -> dict[str, _Scores]:
    found = {}
    for column in columns:
        name, here = column.name, window.values(column.name)
        there = rest.values[name][others[rest.order[name]]] if name in rest.values else None
        score = np.nan
        if here is not None and there is not None and len(here) and len(there):
            score = distance(column.method(rules), there, here)
        missing = 1 - float(rest.there[name][others].mean()) if name in rest.there and others.any() else 0.0
        change = abs((window.missing_share(name) or 0.0) - missing)
        found[name] = (score, change, 0 if here is None else len(here))
    return found


def _subsets(reference: Side, rules: Drift, seed: int) -> Iterator[Side]:
    random, frame = np.random.default_rng(seed), reference.frame
    rows = min(rules.window_rows, len(frame) // 5)
    for _ in range(_SUBSETS if rows else 0):
        drawn = frame.iloc[random.choice(len(frame), rows, replace=False)]
        missing = {str(name): int(count) for name, count in drawn.drop(columns=DAY).isna().sum().items()}
        yield Side(reference.start, reference.end, drawn, len(drawn), missing)


def _noise(missing: int, of: int, rows: float) -> float:
    """Standard deviation of a missing share among so many rows, by chance alone."""
    share = (missing + 1) / (of + 2)
    return sqrt(share * (1 - share) / max(rows, 1.0))


def _season(starts: Sequence[date], rules: Drift) -> int:
    """Days of the season, if windows are not whole seasons and there are several of each kind; else 0."""
    if rules.season is None or not rules.window.days % rules.season.days:
        return 0
    days = rules.season.days
    counts = np.bincount([start.toordinal() % days for start in starts], minlength=days)
    return days if counts.min() >= _FEWEST_OF_A_KIND else 0


def _of_column(scores: Sequence[_Scores], season: int, by: Literal["days", "rows"], noise: float) -> Ordinary:
    distances, changes = (np.array([score[place] for score in scores], dtype=float) for place in (0, 1))
    values = [score[2] for score in scores if score[2]]
    expected, spread = _middle_and_spread(distances)
    missing_expected, missing_spread = _middle_and_spread(changes)
    return Ordinary(
        expected=expected,
        # Few windows may agree by luck; of a distance that chance alone makes, the spread is at least so much.
        spread=max(spread, 0.3 * expected),
        missing_expected=missing_expected,
        missing_spread=max(missing_spread, noise),
        rows=int(np.median(values)) if values else 0,
        windows=len(scores),
        season=season,
        by=by,
    )


def _middle_and_spread(scores: "np.ndarray[Any, Any]") -> tuple[float, float]:
    """The median, and from the upper quartile the standard deviation that a normal distribution would have.

    Odd windows of the training, such as its first days, whose history is short, must not hide a drift for good.
    """
    known = scores[np.isfinite(scores)]
    if not len(known):
        return 0.0, 0.0
    middle, high = np.quantile(known, [0.5, 0.75])
    return float(middle), float(high - middle) / 0.6745
