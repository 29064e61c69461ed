"""What `performance` says of a model's quality lately, measured and estimated, beside its own past."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np

from contender import lake
from contender.blocks import interval_over
from contender.contract import Contract
from contender.daily import CALIBRATION_DAYS, Day, before
from contender.estimates import estimate
from contender.serial import errors_apart
from contender.settings import Settings
from contender.tally import Tally, add_up, metric_of
from contender.triage import Reading
from contender.values import Interval

TABLE = "performance"


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
    table = lake.read_small(settings, contract.name, TABLE, where=where)
    rows = [] if table is None else table.to_pylist()
    return sorted((Day.from_row(contract.kind, row) for row in rows), key=lambda day: (day.day, day.model_version))


def read(
    settings: Settings, contract: Contract, model_version: int, without: Collection[date] = frozenset(),
    seen: Sequence[Day] | None = None,
) -> Readings:  # fmt: skip
    """The newest days with mature outcomes, and the newest days with predictions, each against the days before.

    How many days is in the contract's `[performance]`. Days that the model was trained on are left out: there it knows
    the answers.

    Args:
        without: days to leave out, as those on which the feed was broken.
        seen: the days as an update that looked back gives them, of any version; None reads them in the table.
    """
    newest = _newest(settings, contract, model_version) if seen is None else seen
    days = [
        day for day in newest if day.model_version == model_version and not day.in_training and day.day not in without
    ]
    metric = metric_of(contract.kind, contract.judging.metric)
    rng = np.random.default_rng([settings.seed, model_version])
    known = [day for day in days if day.tally.known]
    measured = None
    if known:
        last = known[-1].day
        now = _between(known, last - contract.performance.window, last)
        measured = _reading(*_measure(now, metric, rng), sum(tally.known for tally in now))
        measured = _with_past(measured, contract, known, last - contract.performance.window, metric, rng)
        measured = _with_losses(measured, contract, known, last)
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
    estimated = _with_past(estimated, contract, known, latest[0].day - timedelta(days=1), metric, rng)
    return Readings(metric, measured, estimated, expected.how)


def reach_of(contract: Contract) -> timedelta:
    """How far back from its newest day a reading may depend on days."""
    rules = contract.performance
    return 2 * rules.window + rules.past + contract.outcome.matures_after + timedelta(days=CALIBRATION_DAYS)


def _newest(settings: Settings, contract: Contract, model_version: int) -> list[Day]:
    """The version's days that any reading may depend on."""
    where = [("model_version", "==", model_version)]
    table = lake.read_small(settings, contract.name, TABLE, ["day"], where=where)
    if table is None or not len(table):
        return []
    last = max(table["day"].to_pylist())
    return days_of(settings, contract, last - reach_of(contract), last, model_version)


def _with_past(
    reading: Reading | None, contract: Contract, known: Sequence[Day], last: date, metric: str, rng: np.random.Generator
) -> Reading | None:
    """The reading beside what was measured on the contract's number of past days, up to `last`."""
    past = _between(known, last - contract.performance.past, last)
    if reading is None or not past:
        return reading
    value, interval = _measure(past, metric, rng)
    spread = _spread(contract, known, last, metric, rng)
    rows = sum(tally.known for tally in past)
    return Reading(reading.value, reading.interval, reading.rows, value, interval, rows, spread)


def _with_losses(reading: Reading | None, contract: Contract, known: Sequence[Day], last: date) -> Reading | None:
    """The reading with how far its mean loss lies above that of the days before."""
    if reading is None:
        return None
    start = last - contract.performance.window
    spans = ((start, last), (start - contract.performance.past, start))
    now, past = (np.array([tally.loss for tally in _between(known, *span)], dtype=np.float64) for span in spans)
    return replace(reading, loss_rise=errors_apart(now, past))


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
