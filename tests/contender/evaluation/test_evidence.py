"""Calibration, slices and flips: what a person is shown beside a verdict must be what was measured."""

import json
from dataclasses import asdict
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from contender.contracts.sections import Judging
from contender.evaluation.bootstrap import Contest
from contender.evaluation.evidence import calibration_bins, flip_examples, slice_gain, wilson
from contender.evaluation.exhibits import CalibrationBin
from contender.evaluation.guardrails import check_slices, gains_of_slices

ROWS = 2_000


def said_and_true(seed=1, rows=ROWS):
    rng = np.random.default_rng(seed)
    scores = rng.random(rows)
    return scores, (rng.random(rows) < scores).astype(int)


def test_bins_hold_about_as_many_rows_each_and_every_row_once():
    scores, y = said_and_true()

    bins = calibration_bins("binary", y, scores)

    assert [one.rows for one in bins] == [ROWS // 10] * 10
    assert sum(one.rate * one.rows for one in bins) == pytest.approx(y.sum())
    assert [one.mean_score for one in bins] == sorted(one.mean_score for one in bins)
    assert all(one.low <= one.rate <= one.high for one in bins)


def test_equal_scores_share_a_bin():
    scores = np.repeat([0.1, 0.9], [1_500, 500])

    bins = calibration_bins("binary", np.ones(ROWS, dtype=int), scores)

    assert [(one.mean_score, one.rows) for one in bins] == [
        (pytest.approx(0.1), 1_500),
        (pytest.approx(0.9), 500),
    ]
    assert len(calibration_bins("binary", np.zeros(ROWS, dtype=int), np.full(ROWS, 0.3))) == 1


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_few_rows_make_few_bins(rows):
    bins = calibration_bins("binary", np.zeros(rows, dtype=int), np.linspace(0.1, 0.2, rows))

    assert sum(one.rows for one in bins) == rows
    assert [CalibrationBin(**one) for one in json.loads(json.dumps([asdict(one) for one in bins]))] == bins


def test_wilsons_interval_solves_the_equation_that_defines_it():
    z = norm.ppf(0.95)
    for rate, rows in ((0.3, 50), (0.01, 200), (0.99, 7)):
        for end in wilson(rate, rows):
            assert abs(rate - end) == pytest.approx(z * np.sqrt(end * (1 - end) / rows))


@pytest.mark.parametrize(("rate", "end"), [(0.0, 0), (1.0, 1)])
def test_an_interval_of_none_or_all_has_the_rate_as_its_end_and_still_some_length(rate, end):
    bounds = wilson(rate, 20)

    assert bounds[end] == rate
    assert 0.1 < bounds[1] - bounds[0] < 0.15


def test_bins_of_several_classes_are_about_the_likeliest_class():
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])

    bins = calibration_bins("multiclass", np.array([0, 2, 1, 2]), scores, bins=2)

    assert [(one.mean_score, one.rate) for one in bins] == [(pytest.approx(0.7), 0.5), (pytest.approx(0.8), 1.0)]


def test_bins_of_predictions_hold_quantiles_of_what_is_left_over():
    predictions = np.repeat([10.0, 20.0], 1_000)
    left = np.tile(np.arange(1_000) / 1_000, 2) + np.repeat([0.0, 5.0], 1_000)

    bins = calibration_bins("regression", predictions + left, predictions)

    assert [one.mean_score for one in bins] == [10, 20]
    assert [one.rate for one in bins] == pytest.approx([0.5, 5.5], abs=0.01)
    assert [one.low for one in bins] == pytest.approx([0.05, 5.05], abs=0.01)
    assert [one.high for one in bins] == pytest.approx([0.95, 5.95], abs=0.01)


def rules(**changes):
    given = {"metric": "brier", "newest": timedelta(days=28), "min_gain": 0.0, "slice_margin": 0.02}
    return Judging(**(given | changes))


def test_slices_show_the_interval_that_their_guardrail_looks_at():
    _, y = said_and_true()
    noise = np.random.default_rng(3).normal(0, 0.05, ROWS)
    better = np.clip(0.5 + 0.1 * (2 * y - 1) + noise, 0, 1)
    shop = np.where(np.arange(ROWS) % 10 < 7, "a", "b").astype(object)
    shop[:5] = "tiny"
    # In shop b the challenger loses what it gains in shop a.
    challenger = np.where(shop == "b", 1 - better, better)
    contest = Contest("binary", y, np.full(ROWS, 0.5), challenger)

    slices = gains_of_slices(contest, rules(), {"shop": shop}, np.random.default_rng(1), 300)
    gains = {one.name: slice_gain(one.name, one.rows, one.gains, rules().slice_margin) for one in slices}
    rails, small = check_slices(slices, rules())

    assert list(gains) == ["shop=a", "shop=b", "shop=tiny"]
    assert sum(one.rows for one in gains.values()) == ROWS
    for check in rails:
        one = gains[check.guardrail.name.removeprefix("slice ")]
        assert one.gain == -check.guardrail.value
        assert one.margin == check.guardrail.limit
        assert (one.low >= -one.margin) == check.guardrail.holds
        assert one.low < one.gain < one.high
    assert gains["shop=a"].low > 0 > gains["shop=b"].high
    assert small == ["shop=tiny (5 rows)"]
    assert [getattr(gains["shop=tiny"], name) for name in ("gain", "low", "high")] == [None, None, None]


def test_slices_of_few_entities_are_too_small_to_tell():
    scores, y = said_and_true()
    few = Contest("binary", y, scores, scores, clusters=np.arange(ROWS) % 10)

    (one,) = gains_of_slices(few, rules(), {"shop": np.full(ROWS, "a")}, np.random.default_rng(1), 50)

    assert one.gains is None
    assert one.rows == ROWS


KEYS = np.array(["a", "b", "c", "d", "e", "f"])
FRAME = pd.DataFrame(
    {
        "amount": [1.5, np.nan, 3.0, 4.0, 5.0, 6.0],
        "items": [1, 2, 3, 4, 5, 6],
        "shop": ["x", None, "<b>", "x", "x", "x"],
        "at": pd.to_datetime(["2026-01-01", None] + ["2026-01-02"] * 4),
    }
)


def flips(y, champion, challenger, kind="binary", **changes):
    found = flip_examples(
        Contest(kind, np.array(y), np.array(champion), np.array(challenger)),
        KEYS,
        FRAME,
        ["gone", "shop", "amount", "at"],
        **changes,
    )
    json.dumps(asdict(found), allow_nan=False)
    return found


def test_flips_show_both_ways_the_plainest_first():
    found = flips([1, 1, 0, 0, 1, 0], [0.9, 0.6, 0.1, 0.8, 0.2, 0.9], [0.4, 0.1, 0.2, 0.3, 0.9, 0.8])

    # a and b were right and are not any more; b lost 0.5 and a lost 0.5 as well, so that the key decides.
    assert [one.key for one in found.to_wrong] == ["a", "b"]
    assert [one.key for one in found.to_right] == ["e", "d"]
    assert (found.to_wrong_share, found.to_right_share) == (pytest.approx(2 / 6), pytest.approx(2 / 6))
    first = found.to_right[0]
    assert (first.outcome, first.champion, first.challenger) == (1, 0.2, 0.9)


def test_columns_of_an_example_are_those_there_are_and_missing_is_none():
    found = flips([1, 1, 0, 0, 1, 0], [0.9, 0.6, 0.1, 0.8, 0.2, 0.9], [0.4, 0.1, 0.2, 0.3, 0.9, 0.8])

    assert found.to_wrong[0].columns == {"shop": "x", "amount": 1.5, "at": "2026-01-01 00:00:00"}
    assert found.to_wrong[1].columns == {"shop": None, "amount": None, "at": None}


def test_at_most_so_many_examples_are_shown_but_all_are_counted():
    found = flips([1] * 6, [0.9] * 6, [0.1] * 6, most=2)

    assert len(found.to_wrong) == 2
    assert found.to_wrong_share == 1
    assert found.to_right == ()


def test_a_score_at_the_threshold_decides_for_one_and_a_tie_flips_nothing():
    found = flips([1] * 6, [0.5] * 6, [0.5] * 6)

    assert (found.to_wrong_share, found.to_right_share) == (0, 0)


def test_flips_of_several_classes_name_the_classes():
    sure = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    turned = np.eye(3)[[1, 1, 2, 0, 1, 0]]

    found = flips([0, 1, 2, 0, 1, 0], sure, turned, "multiclass", classes=["red", "green", "blue"])

    assert [(one.outcome, one.champion, one.challenger) for one in found.to_wrong] == [("red", "red", "green")]
    assert [(one.outcome, one.champion, one.challenger) for one in found.to_right] == [("red", "blue", "red")]


def test_where_nothing_is_decided_the_errors_that_grew_and_shrank_most_are_shown():
    found = flips([0.0] * 6, [1.0, 1, 1, 1, 1, 1], [1.0, 4.0, -2.0, 0.5, -0.2, 1.0], "regression")

    assert [one.key for one in found.to_wrong] == ["b", "c"]
    assert [one.key for one in found.to_right] == ["e", "d"]
    assert found.to_wrong_share == pytest.approx(2 / 6)
