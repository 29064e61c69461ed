"""Means of a daily series against its own past, where days resemble the days around them."""

import math

from contender.ranking import Floats

LEAST_DAYS = 14
"""Of fewer past days it cannot be told how much they resemble each other."""

_REACH_DAYS = 10


def errors_apart(now: Floats, past: Floats) -> float | None:
    """By how many standard errors the mean of `now` lies above that of `past`; None where the past cannot tell.

    It cannot where it is too short, or never moved.

    What lasts for days, as a series of frauds at one terminal, moves neighbouring days together, so that windows lie
    further apart by luck than independent days would. The error of a mean is that of the past's long-run variance,
    with covariances up to ten days apart.

    Args:
        now: shape (days,), in the order of time; `past` the days before, likewise.

    Source: Newey & West (1987), A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
    covariance matrix, Econometrica 55(3).
    """
    if len(past) < LEAST_DAYS or not len(now):
        return None
    error = math.sqrt(_long_run_variance(past) * (1 / len(now) + 1 / len(past)))
    return float(now.mean() - past.mean()) / error if error else None


def _long_run_variance(series: Floats) -> float:
    off, days = series - series.mean(), len(series)
    reach = min(_REACH_DAYS, days // 3)
    covariances = [float(off[lag:] @ off[: days - lag]) / days for lag in range(reach + 1)]
    whole = covariances[0] + 2 * sum((1 - lag / (reach + 1)) * covariances[lag] for lag in range(1, reach + 1))
    # Days that take turns would seem to tell more than independent ones; half of the variance is the least believed.
    return max(whole, covariances[0] / 2)
