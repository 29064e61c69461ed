"""How far a daily series lies above its past, where neighbouring days resemble each other."""

import math

import numpy as np
import pytest

from contender.performance.autocorrelation import LEAST_DAYS, mean_difference_test


def autocorrelated(rng, days, strength):
    noise, series = rng.normal(size=days + 50), np.zeros(days + 50)
    for day in range(1, days + 50):
        series[day] = strength * series[day - 1] + noise[day]
    return series[50:]


@pytest.mark.parametrize("window", [14, 21])
@pytest.mark.parametrize("past", [42, 56, 180])
@pytest.mark.parametrize("strength", [0.0, 0.5, 0.8])
def test_what_is_beyond_luck_is_rare_without_a_change_also_where_days_resemble_each_other(strength, past, window):
    rng = np.random.default_rng(5)
    drawn = (autocorrelated(rng, past + window, strength) for _ in range(1000))
    found = [mean_difference_test(series[past:], series[:past]) for series in drawn]
    assert np.mean([one.beyond_luck for one in found]) <= {0.0: 0.015, 0.5: 0.03, 0.8: 0.05}[strength]


def test_the_shorter_the_past_the_further_luck_leads():
    rng = np.random.default_rng(7)
    now, past = rng.normal(size=14), rng.normal(size=600)
    luck = [mean_difference_test(now, past[:days]).luck for days in (42, 56, 180, 600)]
    assert luck == sorted(luck, reverse=True)
    assert luck[0] == pytest.approx(2.3263 + 4.1618 / 3 + 0.5368 / 9 - 0.9060 / 27)
    assert luck[-1] == pytest.approx(2.42, abs=0.01)


def test_independent_errors_would_cry_wolf_where_days_resemble_each_other():
    rng = np.random.default_rng(5)
    naive = ours = 0
    for _ in range(400):
        series = autocorrelated(rng, 70, 0.8)
        now, past = series[56:], series[:56]
        naive += (now.mean() - past.mean()) / (past.std() * math.sqrt(1 / 14 + 1 / 56)) >= 3
        ours += mean_difference_test(now, past).errors >= 3
    assert ours < naive / 2


def test_a_change_of_the_level_is_found():
    rng = np.random.default_rng(6)
    assert mean_difference_test(rng.normal(3, 1, 14), rng.normal(0, 1, 56)).errors > 6
    assert mean_difference_test(rng.normal(-3, 1, 14), rng.normal(0, 1, 56)).errors < -6


def test_a_past_that_is_too_short_tells_nothing():
    assert mean_difference_test(np.ones(14), np.arange(LEAST_DAYS - 1.0)) is None
    assert mean_difference_test(np.ones(14), np.arange(float(LEAST_DAYS))) is not None
    assert mean_difference_test(np.empty(0), np.arange(30.0)) is None


def test_a_past_that_never_moved_tells_nothing():
    assert mean_difference_test(np.full(7, 2.0), np.ones(28)) is None
