"""What `performance` says of a model's quality lately, measured and estimated, beside its own past."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np

from contender.contracts.contract import Contract
from contender.lake import tables
from contender.performance.autocorrelation import MeanDifference, mean_difference_test
from contender.performance.daily_row import CALIBRATION_DAYS, Day, before
from contender.performance.estimates import estimate
from contender.performance.intervals import interval_over
from contender.performance.score_counts import Tally, add_up, metric_of
from contender.settings import Settings
from contender.values import Interval

TABLE = "performance"
_LEAST_WINDOWS, _A_DAY = 2, timedelta(days=1)


@dataclass(frozen=True)
class Reading:
    """A quality in the metric's own units, with 90 % intervals, now and in its own past.

    `rows` are those it rests on: mature outcomes where it is measured, predictions where it is estimated. `past_spread`
    is the standard deviation of windows of the past around each other, beyond what the luck of their rows explains.
    `loss` is how far the mean loss lies above that of the past, see `Tally.loss`; None where it is not measured. Of
    a past that is too short nothing is known: `past` is None then.
    """

    value: float
    interval: Interval | None
    rows: int
    past: float | None = None
    past_interval: Interval | None = None
    past_rows: int = 0
    past_spread: float = 0.0
    loss: MeanDifference | None = None


@dataclass(frozen=True)
class Readings:
    """One model's quality by `metric`; None where there is nothing to read. `how` the estimate came about."""

    metric: str
    measured: Reading | None
    estimated: Reading | None
    how: str


def days_of(
    settings: Settings, contract: Contract, first: date, last: date, model_version: int | None = None
) -> list[Day]:
    """Rows of `performance` from `first` to `last`, oldest first; empty when it was never written. Without Spark."""
    where: list[tuple[str, str, Any]] = [("day", ">=", first), ("day", "<=", last)]
    where += [("model_version", "==", model_version)] if model_version is not None else []
    table = tables.read_small(settings, contract.name, TABLE, where=where)
    rows = [] if table is None else table.to_pylist()
    return sorted((Day.from_row(contract.kind, row) for row in rows), key=lambda day: (day.day, day.model_version))


@dataclass(frozen=True)
class View:
    """Which days of a model a reading is of.

    Args:
        without: days to leave out, as those on which the feed was broken.
        seen: the days as an update that looked back gives them, of any version; None reads them in the table.
        end: the day with which the reading ends, as if it were made then; None for all days there are.
        sound_until: the last day before the model was first found decayed; its past ends there, however long it decays.
    """

    without: Collection[date] = frozenset()
    seen: Sequence[Day] | None = None
    end: date | None = None
    sound_until: date | None = None


def read(settings: Settings, contract: Contract, model_version: int, view: View = View()) -> Readings:
    """The newest days with mature outcomes, and the newest days with predictions, each against the days before.

    How many days is in the contract's `[performance]`. Days that the model was trained on are left out: there it knows
    the answers.
    """
    newest = _newest(settings, contract, model_version, view) if view.seen is None else view.seen
    days = [
        day
        for day in newest
        if day.model_version == model_version
        and not day.in_training
        and day.day not in view.without
        and (view.end is None or day.day < view.end)
    ]
    metric = metric_of(contract.kind, contract.judging.metric)
    rng = np.random.default_rng([settings.seed, model_version])
    mature_until = date.max if view.end is None else last_mature(contract, view.end)
    known = [day for day in days if day.tally.known and day.day <= mature_until]
    sound_until = view.sound_until or date.max
    measured = None
    if known:
        last = known[-1].day
        start = last - contract.performance.window
        now = _between(known, start, last)
        measured = _reading(*_measure(now, metric, rng), sum(tally.known for tally in now))
        measured = _with_past(measured, contract, known, min(start, sound_until), metric, rng)
        measured = _with_losses(measured, contract, known, now, min(start, sound_until))
    if not days:
        return Readings(
            metric, measured, None, "no estimate: there are no predictions that the model was not trained on"
        )
    first = days[-1].day - contract.performance.window
    latest = [day for day in days if day.day > first]
    expected = estimate(
        add_up([day.tally for day in latest]), before(latest[0], days, contract.outcome.matures_after), metric, rng
    )
    rows = sum(day.tally.volume for day in latest)
    estimated = _reading(expected.values.get(metric), expected.interval, rows)
    estimated = _with_past(estimated, contract, known, min(latest[0].day - timedelta(days=1), sound_until), metric, rng)
    return Readings(metric, measured, estimated, expected.how)


def last_mature(contract: Contract, end: date) -> date:
    """The newest day all of whose outcomes are mature when the day `end` begins."""
    return (datetime.combine(end, time()) - contract.outcome.matures_after).date() - timedelta(days=1)


def reach_of(contract: Contract) -> timedelta:
    """How far back from its newest day a reading may depend on days."""
    rules = contract.performance
    return 2 * rules.window + rules.past + contract.outcome.matures_after + timedelta(days=CALIBRATION_DAYS)


def _newest(settings: Settings, contract: Contract, model_version: int, view: View) -> list[Day]:
    """The version's days that the reading may depend on."""
    where = [("model_version", "==", model_version)]
    table = tables.read_small(settings, contract.name, TABLE, ["day"], where=where)
    if table is None or not len(table):
        return []
    last = min(max(table["day"].to_pylist()), view.end or date.max)
    first = min(last, view.sound_until or date.max) - reach_of(contract)
    return days_of(settings, contract, first, last, model_version)


def _with_past(
    reading: Reading | None, contract: Contract, known: Sequence[Day], last: date, metric: str, rng: np.random.Generator
) -> Reading | None:
    """The reading beside what was measured on the contract's number of past days, up to `last`.

    A past of less than two windows tells nothing of how far windows lie apart.
    """
    rules = contract.performance
    past = _between(known, last - rules.past, last)
    if reading is None or not past or last - known[0].day + _A_DAY < min(_LEAST_WINDOWS * rules.window, rules.past):
        return reading
    value, interval = _measure(past, metric, rng)
    spread = _spread(contract, known, last, metric, rng)
    rows = sum(tally.known for tally in past)
    return Reading(reading.value, reading.interval, reading.rows, value, interval, rows, spread)


def _with_losses(
    reading: Reading | None, contract: Contract, known: Sequence[Day], now: Sequence[Tally], last: date
) -> Reading | None:
    """The reading that has a past, with how far the mean loss of now lies above that of the past days up to `last`."""
    if reading is None or reading.past is None:
        return reading
    past = _between(known, last - contract.performance.past, last)
    series = (np.array([tally.loss for tally in tallies], dtype=np.float64) for tallies in (now, past))
    return replace(reading, loss=mean_difference_test(*series))


def _spread(contract: Contract, known: Sequence[Day], last: date, metric: str, rng: np.random.Generator) -> float:
    """How far windows of the past lie around each other, beyond the luck of their rows; 0 for fewer than three."""
    rules, values, luck = contract.performance, [], []
    for number in range(rules.past // rules.window):
        end = last - number * rules.window
        value, interval = _measure(_between(known, end - rules.window, end), metric, rng)
        if value is not None and interval is not None:
            values.append(value)
            luck.append(((interval.high - interval.low) / 3.29) ** 2)
    if len(values) < 3:
        return 0.0
    beyond = float(np.var(values, ddof=1)) - float(np.mean(luck))
    return float(np.sqrt(max(0.0, beyond)))


def _between(days: Sequence[Day], after: date, last: date) -> list[Tally]:
    return [day.tally for day in days if after < day.day <= last]


def _measure(days: Sequence[Tally], metric: str, rng: np.random.Generator) -> tuple[float | None, Interval | None]:
    return (add_up(days).measure().get(metric), interval_over(days, metric, rng)) if days else (None, None)


def _reading(value: float | None, interval: Interval | None, rows: int) -> Reading | None:
    return None if value is None else Reading(value, interval, rows)
