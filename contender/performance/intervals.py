"""The interval of a quality over several days, where the rows of one day resemble each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from contender.evaluation.ranking_metrics import Floats, Integers
from contender.performance import class_counts
from contender.performance.score_counts import DRAWS, Tally, add_up, errors_of, interval_of, place_of
from contender.values import Interval

LEAST_DAYS = 8
"""From so many days on they are drawn; of fewer, rows are, as if they were independent."""


def interval_over(days: Sequence[Tally], metric: str, rng: np.random.Generator) -> Interval | None:
    """Two-sided 90 % interval of the quality on the mature outcomes of all these days; None where there is none.

    Whole days are drawn, so that what the rows of a day have in common counts once; what lasts for days, as an entity
    that returns, is not accounted for. Because days are few, the interval reaches as much further as Student's t does.

    Source: Künsch (1989), The jackknife and the bootstrap for general stationary observations, Annals of Statistics
    17(3), here with blocks of one day; Davison & Hinkley (1997), Bootstrap Methods and their Application, section 8.2;
    Hesterberg (2015), What teachers should know about the bootstrap, American Statistician 69(4), on the further reach.
    """
    known = [day for day in days if day.known]
    if not known:
        return None
    total, number = add_up(known), len(known)
    if number < LEAST_DAYS:
        return total.interval(metric, rng)
    point = total.measure().get(metric)
    if point is None:
        return None
    drawn = _measured(known, total, metric, rng.multinomial(number, np.full(number, 1 / number), DRAWS))
    beyond = float(norm.cdf(-np.sqrt(number / (number - 1)) * t.ppf(0.95, number - 1)))
    return interval_of(drawn, point, beyond)


def _measured(days: Sequence[Tally], total: Tally, metric: str, drawn: Integers) -> Floats:
    """The quality, shape (draws,), where each day counts so often as was drawn, shape (draws, days)."""
    if total.kind == "regression":
        return _measured_errors(days, total.outcome_mean, metric, drawn)
    if total.kind == "multiclass":
        pairs = list(class_counts.known(total.named))
        counts = np.array([[day.named.get(pair, 0) for pair in pairs] for day in days], dtype=np.int64)
        return class_counts.weigh(metric, pairs, drawn @ counts)
    places = np.unique(np.concatenate([place_of(day) for day in days]))
    came = []
    for day in days:
        here = np.searchsorted(places, place_of(day))
        parts = [np.bincount(here, rows, len(places)) for rows in (day.hits, day.mature - day.hits)]
        came.append(np.concatenate(parts))
    return total.weigh(metric, drawn @ np.array(came, dtype=np.int64))


def _measured_errors(days: Sequence[Tally], centre: float, metric: str, drawn: Integers) -> Floats:
    sums: NDArray[Any] = np.array(
        [
            (
                day.known,
                day.absolute.sum(),
                day.squared.sum(),
                day.known * (day.outcome_mean - centre),
                day.known * (day.outcome_variance + (day.outcome_mean - centre) ** 2),
            )
            for day in days
        ]
    )
    rows, absolute, squared, first, second = (drawn @ sums).T
    return errors_of(absolute, squared, rows, second / rows - (first / rows) ** 2)[metric]
