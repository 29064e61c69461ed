"""What one policy saved against another, with an interval of which whole weeks are the luck."""

from datetime import date, timedelta

import numpy as np
import pytest

from contender.replay.policy_outcomes import Measured, compare
from contender.replay.replay_results import Course

DAYS = [date(2026, 3, 1) + timedelta(days=number) for number in range(90)]


def course(policy, costs, retrain_cost=0.0):
    priced = None if costs is None else dict(zip(DAYS, costs, strict=True))
    total = None if costs is None else float(sum(costs))
    return Measured(Course(policy, (), None, None, total, retrain_cost, 1.0), priced)


def drawn(seed, mean):
    return np.random.default_rng(seed).normal(mean, 10, len(DAYS))


def test_what_was_saved_is_the_difference_of_all_costs_retrains_included():
    ours, other = drawn(1, 100), drawn(2, 130)
    never, mine = compare([course("never", other), course("contender", ours, 40.0)], seed=1)
    assert never.saved == pytest.approx(other.sum() - ours.sum() - 40)
    assert never.saved_interval.low < never.saved < never.saved_interval.high
    assert never.saved_interval.low > 0
    assert mine.saved is None
    assert mine.cost == pytest.approx(ours.sum() + 40)


def test_policies_that_did_the_same_saved_nothing():
    same = drawn(1, 100)
    other, _ = compare([course("schedule", same), course("contender", same)], seed=1)
    assert other.saved == 0
    assert (other.saved_interval.low, other.saved_interval.high) == (0, 0)


def test_days_that_resemble_their_neighbours_widen_the_interval():
    weekly = np.repeat(np.random.default_rng(3).normal(0, 10, -(-len(DAYS) // 7)), 7)[: len(DAYS)]
    shuffled = np.random.default_rng(4).permutation(weekly)
    ours = np.zeros(len(DAYS))
    widths = []
    for daily in (weekly, shuffled):
        other, _ = compare([course("never", daily), course("contender", ours)], seed=1)
        widths.append(other.saved_interval.high - other.saved_interval.low)
    assert widths[0] > 1.25 * widths[1]


def test_nine_intervals_of_ten_hold_what_is_saved_in_truth():
    held = 0
    for seed in range(200):
        daily = np.random.default_rng(seed).normal(3, 20, len(DAYS))
        other, _ = compare([course("never", daily), course("contender", np.zeros(len(DAYS)))], seed=seed)
        held += other.saved_interval.low <= 3 * len(DAYS) <= other.saved_interval.high
    # Blocks make intervals of short histories a little narrow; 90 % of 200 are 180.
    assert 160 <= held <= 195


def test_without_costs_or_without_ours_nothing_is_compared():
    assert all(one.saved is None for one in compare([course("never", None), course("contender", None)], seed=1))
    assert compare([course("never", drawn(1, 1))], seed=1)[0].saved is None
