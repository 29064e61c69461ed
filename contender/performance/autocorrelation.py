"""Means of a daily series against its own past, where days resemble the days around them."""

import math
from dataclasses import dataclass

from contender.evaluation.ranking_metrics import Floats

LEAST_DAYS = 14
"""Of fewer past days it cannot be told how much they resemble each other."""

_REACH_DAYS = 10


@dataclass(frozen=True)
class MeanDifference:
    """By how many standard errors one mean lies above another, and from how many on that is beyond luck.

    Luck is to lead so far once in a hundred times; where neighbouring days are very much alike, it may be three.
    """

    errors: float
    luck: float

    @property
    def beyond_luck(self) -> bool:
        return self.errors >= self.luck


def mean_difference_test(now: Floats, past: Floats) -> MeanDifference | None:
    """How far the mean of `now` lies above that of `past`; None where the past cannot tell.

    It cannot where it is too short, or never moved.

    What lasts for days, as a series of frauds at one terminal, moves neighbouring days together, so that windows lie
    further apart by luck than independent days would. The error of a mean is that of the past's long-run variance,
    with covariances of days as far apart as the window is long, and at least ten days. The fewer times the past is as
    long as that, the less is known of this variance, and the further luck leads.

    Args:
        now: shape (days,), in the order of time; `past` the days before, likewise.

    Source: Newey & West (1987), A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
    covariance matrix, Econometrica 55(3); Kiefer & Vogelsang (2005), A new asymptotic theory for
    heteroskedasticity-autocorrelation robust tests, Econometric Theory 21(6), table 1, for the Bartlett kernel.
    """
    if len(past) < LEAST_DAYS or not len(now):
        return None
    reach = min(max(_REACH_DAYS, len(now)), len(past) // 3)
    error = math.sqrt(_long_run_variance(past, reach) * (1 / len(now) + 1 / len(past)))
    return MeanDifference(float(now.mean() - past.mean()) / error, _luck(reach / len(past))) if error else None


def _luck(share: float) -> float:
    """The critical value at 1 % of one side, with covariances over such a share of the series."""
    return 2.3263 + 4.1618 * share + 0.5368 * share**2 - 0.9060 * share**3


def _long_run_variance(series: Floats, reach: int) -> float:
    off, days = series - series.mean(), len(series)
    covariances = [float(off[lag:] @ off[: days - lag]) / days for lag in range(reach + 1)]
    whole = covariances[0] + 2 * sum((1 - lag / (reach + 1)) * covariances[lag] for lag in range(1, reach + 1))
    # Days that take turns would seem to tell more than independent ones; half of the variance is the least believed.
    return max(whole, covariances[0] / 2)
