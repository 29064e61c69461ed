"""How far a daily series lies above its past, where neighbouring days resemble each other."""

import math

import numpy as np
import pytest

from contender.serial import LEAST_DAYS, errors_apart


def autocorrelated(rng, days, strength):
    noise, series = rng.normal(size=days + 50), np.zeros(days + 50)
    for day in range(1, days + 50):
        series[day] = strength * series[day - 1] + noise[day]
    return series[50:]


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.8])
def test_three_errors_are_rare_without_a_change_also_where_days_resemble_each_other(strength):
    rng = np.random.default_rng(5)
    found = [
        errors_apart(series[56:], series[:56]) for series in (autocorrelated(rng, 70, strength) for _ in range(400))
    ]
    assert np.mean([one >= 3 for one in found]) <= (0.02, 0.03, 0.08)[[0.0, 0.5, 0.8].index(strength)]


def test_independent_errors_would_cry_wolf_where_days_resemble_each_other():
    rng = np.random.default_rng(5)
    naive = ours = 0
    for _ in range(400):
        series = autocorrelated(rng, 70, 0.8)
        now, past = series[56:], series[:56]
        naive += (now.mean() - past.mean()) / (past.std() * math.sqrt(1 / 14 + 1 / 56)) >= 3
        ours += errors_apart(now, past) >= 3
    assert ours < naive / 2


def test_a_change_of_the_level_is_found():
    rng = np.random.default_rng(6)
    assert errors_apart(rng.normal(3, 1, 14), rng.normal(0, 1, 56)) > 6
    assert errors_apart(rng.normal(-3, 1, 14), rng.normal(0, 1, 56)) < -6


def test_a_past_that_is_too_short_tells_nothing():
    assert errors_apart(np.ones(14), np.arange(LEAST_DAYS - 1.0)) is None
    assert errors_apart(np.ones(14), np.arange(float(LEAST_DAYS))) is not None
    assert errors_apart(np.empty(0), np.arange(30.0)) is None


def test_a_past_that_never_moved_tells_nothing():
    assert errors_apart(np.full(7, 2.0), np.ones(28)) is None
