import numpy as np
import pytest
from scipy.special import expit

from contender.performance.intervals import LEAST_DAYS, interval_over
from contender.performance.score_counts import Tally, add_up, place_of


def rng():
    return np.random.default_rng(0)


def tally(kind, score, hits, error) -> Tally:
    """A row is a point; of three classes, the one that was named came, or the next one."""
    ones = np.ones(len(score), dtype=np.int64)
    said = np.random.default_rng(len(score)).integers(0, 3, len(score))
    named: dict = {}
    for one, right in zip(said.tolist(), hits.tolist(), strict=True):
        pair = (str(one), str(one if right else (one + 1) % 3))
        named[pair] = named.get(pair, 0) + 1
    return Tally(
        kind,
        score,
        score >= 0.5,
        ones,
        ones,
        hits.astype(np.int64),
        np.abs(error),
        error**2,
        error**4,
        50.0,
        100.0,
        named if kind == "multiclass" else {},
    )


def days(kind, number, seed, *, effect, rows=100) -> list[Tally]:
    """Days whose rows have a common luck, as strong as `effect`."""
    made = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        luck = made.normal(0, effect)
        odds = made.normal(-1.5, 1, rows)
        hits = made.random(rows) < expit(odds + luck)
        found.append(tally(kind, expit(odds), hits, made.normal(0, np.exp(luck), rows)))
    return found


KINDS = [("binary", "log_loss"), ("multiclass", "f1"), ("regression", "mae"), ("regression", "r2")]


def width(interval) -> float:
    return interval.high - interval.low


@pytest.mark.parametrize(("kind", "metric"), KINDS)
def test_rows_that_share_the_luck_of_their_day_say_less(kind, metric):
    some = days(kind, 20, seed=1, effect=1.0)

    assert width(interval_over(some, metric, rng())) > 1.5 * width(add_up(some).interval(metric, rng()))


@pytest.mark.parametrize(("kind", "metric"), KINDS[:3])
def test_independent_rows_say_as_much_by_day_as_by_row(kind, metric):
    ratios = []
    for seed in range(20):
        some = days(kind, 20, seed, effect=0.0)
        ratios.append(width(interval_over(some, metric, rng())) / width(add_up(some).interval(metric, rng())))

    assert 0.9 < np.mean(ratios) < 1.25


@pytest.mark.slow
def test_nine_of_ten_intervals_over_days_hold_the_true_quality():
    truth = add_up(days("binary", 2_000, seed=1, effect=0.5)).measure()["log_loss"]
    by_day, by_row = 0, 0
    for seed in range(100, 200):
        some = days("binary", 14, seed, effect=0.5)
        for interval, held in (
            (interval_over(some, "log_loss", rng()), "day"),
            (add_up(some).interval("log_loss", rng()), "row"),
        ):
            within = interval.low <= truth <= interval.high
            by_day, by_row = by_day + (within and held == "day"), by_row + (within and held == "row")

    assert 82 <= by_day <= 98
    assert by_row < 80


def test_of_few_days_rows_are_drawn():
    few = days("binary", LEAST_DAYS - 1, seed=3, effect=1.0)

    assert interval_over(few, "roc_auc", rng()) == add_up(few).interval("roc_auc", rng())
    assert interval_over([], "roc_auc", rng()) is None


def test_days_without_mature_outcomes_do_not_count():
    some = days("binary", LEAST_DAYS, seed=4, effect=0.5)
    none = np.zeros(3)
    nothing = Tally("binary", none + 0.5, none > 1, *[none.astype(np.int64)] * 3, none, none, none)

    assert interval_over([*some, nothing], "brier", rng()) == interval_over(some, "brier", rng())


def test_the_points_of_a_sum_are_in_the_order_of_their_places():
    some = days("binary", 5, seed=5, effect=0.5)

    assert (np.diff(place_of(add_up(some))) > 0).all()
