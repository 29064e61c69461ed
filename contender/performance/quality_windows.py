"""Quality over windows of days with enough outcomes for it to mean anything: what a curve may show.

On a single day with two outcomes of the rarer kind a quality jumps between 0 and 1, and says nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from contender.contracts.sections import Kind
from contender.performance.intervals import LEAST_DAYS, interval_over
from contender.performance.score_counts import FIELDS, Tally, add_up
from contender.values import Interval

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_OF_EACH = 20
"""Outcomes of the rarer of two kinds that a window has, besides as many in all as the contract asks for."""

MOST_WINDOWS = 60
"""More points, each with its interval, would be told apart by nobody: a window of a year has six days at least."""

_COARSE = 10
"""Bins for each unit of a score's log-odds from which an interval is drawn: its length needs no more."""

COLUMNS = ("model_version", "day", "in_training", "outcomes", "outcome_mean", "outcome_variance", "classes", "points")
"""What `measured_days` reads of `performance`."""


@dataclass(frozen=True)
class MeasuredDay:
    """A model version on one day: what its quality is measured by; `outcomes` are in, final or not."""

    day: date
    model_version: int
    in_training: bool
    outcomes: int
    tally: Tally


@dataclass(frozen=True)
class QualityWindow:
    """A quality over days of one model version, both ends included, with a 90 % interval where there is one.

    `in_training` says that the model was trained on rows of these days, `is_final` that all outcomes that are in count.
    """

    first: date
    last: date
    model_version: int
    in_training: bool
    is_final: bool
    outcomes: int
    value: float
    interval: Interval | None

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def span(self) -> str:
        """Its days in words."""
        return f"{self.first}" if self.days == 1 else f"{self.first} to {self.last}"


def windows_of(days: Sequence[MeasuredDay], metric: str, *, min_outcomes: int, seed: int) -> list[QualityWindow]:
    """The fewest days in a row that hold enough outcomes, window after window; days beyond the last one are left over.

    Args:
        days: oldest first, one model version each.
    """
    least_days = math.ceil(((days[-1].day - days[0].day).days + 1) / MOST_WINDOWS) if days else 1
    found = []
    for inside in _reigns(days):
        start = 0
        for end in range(1, len(inside) + 1):
            window = inside[start:end]
            if (window[-1].day - window[0].day).days + 1 < least_days or not _is_enough(window, min_outcomes):
                continue
            if (measured := _measure(window, metric, seed)) is not None:
                found.append(measured)
                start = end
    return found


def measured_days(table: "pa.Table", kind: Kind) -> list[MeasuredDay]:
    """Rows of `performance` in the order of the table, without a Python object for each of their points."""
    points = table["points"].combine_chunks()
    ends = points.offsets.to_numpy()
    inside = points.values
    columns = {name: inside.field(name).to_numpy(zero_copy_only=False) for name in FIELDS}
    rest = table.drop_columns(["points"]).to_pylist()
    return [
        MeasuredDay(
            row["day"],
            row["model_version"],
            bool(row["in_training"]),
            row["outcomes"] or 0,
            Tally(
                kind,
                **{name: values[start:stop] for name, values in columns.items()},
                outcome_mean=row["outcome_mean"] or 0.0,
                outcome_variance=row["outcome_variance"] or 0.0,
                named={(pair["said"], pair["came"]): pair["rows"] for pair in row["classes"] or ()},
            ),
        )
        for row, start, stop in zip(rest, ends[:-1], ends[1:], strict=True)
    ]


def point_in_words(kind: Kind, min_outcomes: int) -> str:
    """What a window is."""
    each = f", {LEAST_OF_EACH} of the rarer kind among them" if kind == "binary" else ""
    return f"the fewest days in a row of one version with {min_outcomes:,} final outcomes{each}"


def _reigns(days: Iterable[MeasuredDay]) -> Iterator[list[MeasuredDay]]:
    """Runs of days of one version, those that it was trained on apart; days without outcomes are passed over."""
    run: list[MeasuredDay] = []
    for one in days:
        if not one.tally.known:
            continue
        if run and (run[-1].model_version, run[-1].in_training) != (one.model_version, one.in_training):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _is_enough(window: Sequence[MeasuredDay], min_outcomes: int) -> bool:
    known = sum(one.tally.known for one in window)
    if known < min_outcomes or window[0].tally.kind != "binary":
        return known >= min_outcomes
    hits = sum(int(one.tally.hits.sum()) for one in window)
    return min(hits, known - hits) >= LEAST_OF_EACH


def _measure(window: Sequence[MeasuredDay], metric: str, seed: int) -> QualityWindow | None:
    tallies = [one.tally for one in window]
    value = add_up(tallies).measure().get(metric)
    if value is None:
        return None
    first, last = window[0], window[-1]
    known = sum(tally.known for tally in tallies)
    luck = np.random.default_rng([seed, first.model_version, first.day.toordinal(), last.day.toordinal()])
    return QualityWindow(
        first.day,
        last.day,
        first.model_version,
        first.in_training,
        known >= sum(one.outcomes for one in window),
        known,
        value,
        _interval(tallies, metric, value, luck),
    )


def _interval(tallies: Sequence[Tally], metric: str, value: float, luck: np.random.Generator) -> Interval | None:
    if len(tallies) >= LEAST_DAYS:
        return interval_over(tallies, metric, luck)
    coarse = add_up(tallies, _COARSE)
    around, point = coarse.interval(metric, luck), coarse.measure().get(metric)
    if around is None or point is None:
        return None
    return Interval(around.low + value - point, around.high + value - point, around.level)
