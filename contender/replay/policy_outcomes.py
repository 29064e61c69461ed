"""How the policies of a replay did, by the outcomes that were known in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from contender.contracts.contract import Contract
from contender.evaluation.ranking_metrics import Floats
from contender.performance.costs import realised_cost
from contender.performance.daily_row import Day
from contender.performance.intervals import interval_over
from contender.performance.quality_readings import days_of
from contender.performance.score_counts import Tally, add_up, metric_of
from contender.replay.replay_results import OURS, Course, Period
from contender.settings import Settings
from contender.values import Interval

_DRAWS, _BLOCK_DAYS = 2000, 7


@dataclass(frozen=True)
class Measured:
    """A course, and the cost of the mistakes of each of its days; None where the contract states no costs."""

    course: Course
    costs: dict[date, float] | None


def measure(
    settings: Settings, contract: Contract, policy: str, periods: Sequence[Period], *, seconds: float
) -> Measured:
    """The course of a policy from `performance`, as it stands when all outcomes are in."""
    first, last = periods[0].start, periods[-1].end
    metric = metric_of(contract.kind, contract.judging.metric)
    days = [day for day in days_of(settings, contract, first, last) if day.day < last]
    rng = np.random.default_rng([settings.seed, 6])
    told = [_measure_period(contract, period, days, metric, rng) for period in periods]
    quality, interval = _quality([day.tally for day in days], metric, rng)
    costs = _costs(contract, days)
    retrains = sum(period.retrained is not None for period in periods)
    course = Course(
        policy,
        tuple(told),
        quality,
        interval,
        sum(costs.values()) if costs is not None else None,
        retrains * contract.costs.retrain,
        seconds,
    )
    return Measured(course, costs)


def compare(measured: Sequence[Measured], seed: int) -> tuple[Course, ...]:
    """The courses with what ours saved against each of the others, retrains included.

    Days are not independent of the days around them, so whole weeks are drawn.

    Source: Politis & Romano (1992), A circular block-resampling procedure for stationary data, in Exploring the Limits
    of Bootstrap.
    """
    ours = next((one for one in measured if one.course.policy == OURS), None)
    if ours is None or ours.costs is None:
        return tuple(one.course for one in measured)
    return tuple(one.course if one is ours else _against(ours, one, seed) for one in measured)


def _against(ours: Measured, other: Measured, seed: int) -> Course:
    mine, theirs = ours.costs or {}, other.costs or {}
    days = sorted({*mine, *theirs})
    daily = np.array([theirs.get(day, 0.0) - mine.get(day, 0.0) for day in days])
    retrains = other.course.retrain_cost - ours.course.retrain_cost
    drawn = _sums(daily, np.random.default_rng([seed, 7])) + retrains
    low, high = (float(value) for value in np.quantile(drawn, (0.05, 0.95)))
    return replace(other.course, saved=float(daily.sum()) + retrains, saved_interval=Interval(low, high))


def _sums(daily: Floats, rng: np.random.Generator) -> Floats:
    """Sums over as many days, drawn in blocks of consecutive ones; the last day is followed by the first."""
    length = len(daily)
    block = min(_BLOCK_DAYS, length)
    starts = rng.integers(length, size=(_DRAWS, -(-length // block)))
    places = (starts[:, :, None] + np.arange(block)).reshape(_DRAWS, -1)[:, :length] % length
    return np.asarray(daily[places].sum(axis=1), dtype=np.float64)


def _measure_period(
    contract: Contract, period: Period, days: Sequence[Day], metric: str, rng: np.random.Generator
) -> Period:
    mine = [day for day in days if period.start <= day.day < period.end]
    quality, interval = _quality([day.tally for day in mine], metric, rng)
    costs = _costs(contract, mine)
    return replace(
        period,
        rows=sum(day.tally.volume for day in mine),
        outcomes=sum(day.tally.known for day in mine),
        quality=quality,
        interval=interval,
        cost=sum(costs.values()) if costs else None,
    )


def _quality(tallies: Sequence[Tally], metric: str, rng: np.random.Generator) -> tuple[float | None, Interval | None]:
    if not tallies:
        return None, None
    return add_up(tallies).measure().get(metric), interval_over(tallies, metric, rng)


def _costs(contract: Contract, days: Sequence[Day]) -> dict[date, float] | None:
    if not contract.costs.stated:
        return None
    found: dict[date, float] = {}
    for day in days:
        found[day.day] = found.get(day.day, 0.0) + (realised_cost(contract.costs, day.tally) or 0.0)
    return found
