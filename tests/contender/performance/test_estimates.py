from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics

from contender.contracts.loop_sections import Costs
from contender.errors import ContractError
from contender.performance.costs import expected_cost, mistakes_in, realised_cost
from contender.performance.estimates import Calibration, estimate
from contender.performance.score_counts import FIELDS, Tally, add_up, bin_of, metric_of

BINARY = ("roc_auc", "average_precision", "log_loss", "brier", "accuracy", "precision", "recall", "f1")


def tally(scores, y=None, kind="binary", threshold=0.5) -> Tally:
    """Rows put together as Spark puts them; without `y` no outcome is in."""
    scores = np.asarray(scores, dtype=np.float64)
    outcome = np.zeros(len(scores)) if y is None else np.asarray(y, dtype=np.float64)
    flagged = scores >= threshold if kind == "binary" else np.zeros(len(scores), dtype=bool)
    error = np.abs(outcome - scores) if kind == "regression" else np.zeros(len(scores))
    bins = 2 * bin_of(kind, scores) + flagged
    points = []
    for place in np.unique(bins):
        rows = bins == place
        known = 0 if y is None else int(rows.sum())
        errors = error[rows] if known else np.zeros(1)
        values = (
            scores[rows].mean(),
            flagged[rows][0],
            rows.sum(),
            known,
            outcome[rows].sum() if known else 0,
            errors.sum(),
            (errors**2).sum(),
            (errors**4).sum(),
        )
        points.append(dict(zip(FIELDS, values, strict=True)))
    return Tally.of(kind, points, outcome.mean(), outcome.var())


def world(rows, seed, *, centre=-2.0, spread=1.5, wrong=0.0):
    """Scores whose probabilities are true, but for `wrong` that is added to the log-odds which a model reports."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(centre, spread, rows)
    return expit(odds + wrong), (rng.random(rows) < expit(odds)).astype(int)


def true_quality(scores, y) -> dict[str, float]:
    said = scores >= 0.5
    return {
        "roc_auc": metrics.roc_auc_score(y, scores),
        "average_precision": metrics.average_precision_score(y, scores),
        "log_loss": metrics.log_loss(y, scores),
        "brier": metrics.brier_score_loss(y, scores),
        "accuracy": metrics.accuracy_score(y, said),
        "precision": metrics.precision_score(y, said),
        "recall": metrics.recall_score(y, said),
        "f1": metrics.f1_score(y, said),
    }


def rng():
    return np.random.default_rng(0)


def test_points_say_what_the_rows_say():
    scores, y = world(20_000, seed=1)
    together = tally(scores, y)

    assert len(together.score) < 1_500, "the points do not grow with the rows"
    assert together.measure() == pytest.approx(true_quality(scores, y), rel=3e-3)


def test_days_add_up_to_what_their_rows_say_together():
    days = [world(3_000, seed=seed, centre=centre) for seed, centre in ((1, -2.0), (2, -1.0), (3, -3.0))]
    scores, y = (np.concatenate(part) for part in zip(*days, strict=True))
    total = add_up([tally(*day) for day in days])

    assert (total.volume, total.known) == (9_000, 9_000)
    assert total.measure() == pytest.approx(true_quality(scores, y), rel=3e-3)
    with pytest.raises(ValueError, match="no tallies"):
        add_up([])


def test_numbers_are_measured_without_loss_and_add_up():
    made = np.random.default_rng(1)
    y = made.normal(1e6, 50, 4_000)
    predicted = y + made.normal(0, 20, 4_000)
    expected = {
        "rmse": metrics.root_mean_squared_error(y, predicted),
        "mae": metrics.mean_absolute_error(y, predicted),
        "r2": metrics.r2_score(y, predicted),
    }

    parts = [tally(predicted[rows], y[rows], kind="regression") for rows in (slice(0, 500), slice(500, None))]
    assert tally(predicted, y, kind="regression").measure() == pytest.approx(expected, rel=1e-6)
    assert add_up(parts).measure() == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["average_precision", "brier", "recall"])
def test_nine_of_ten_intervals_hold_the_true_quality(metric):
    scores, y = world(200_000, seed=9)
    truth = true_quality(scores, y)[metric]
    days = [world(800, seed=seed) for seed in range(100)]
    within = [tally(*day).interval(metric, rng()) for day in days]

    assert 82 <= sum(one.low <= truth <= one.high for one in within) <= 98


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_nine_of_ten_intervals_hold_the_true_error(metric):
    truth = {"rmse": 2.0, "mae": 2.0 * (2 / np.pi) ** 0.5, "r2": 1 - 4 / 104}[metric]
    held = 0
    for seed in range(100):
        made = np.random.default_rng(seed)
        predicted = made.normal(0, 10, 1_500)
        one = tally(predicted, predicted + made.normal(0, 2, 1_500), kind="regression").interval(metric, rng())
        held += one.low <= truth <= one.high

    assert 82 <= held <= 98


def test_without_mature_outcomes_nothing_is_measured():
    nothing = tally([0.2, 0.7, 0.9])

    assert (nothing.volume, nothing.known, nothing.measure()) == (3, 0, {})
    assert nothing.interval("roc_auc", rng()) is None


@pytest.mark.parametrize(("y", "accuracy"), [([0, 0, 0], 1.0), ([1, 1, 1], 0.0)])
def test_a_metric_without_a_meaning_is_left_out_and_the_others_stay(y, accuracy):
    measured = tally([0.2, 0.3, 0.4], y).measure()

    assert "roc_auc" not in measured
    assert "average_precision" not in measured
    assert measured["accuracy"] == accuracy


@pytest.mark.parametrize("metric", BINARY)
def test_what_is_expected_of_calibrated_scores_comes_true(metric):
    scores, y = world(40_000, seed=13)
    guess = estimate(tally(scores), None, metric, rng())

    truth = true_quality(scores, y)[metric]
    assert guess.values[metric] == pytest.approx(truth, rel=0.03)
    width = guess.interval.high - guess.interval.low
    assert guess.interval.low - width / 2 <= truth <= guess.interval.high + width / 2


@pytest.mark.parametrize("wrong", [-1.0, 1.0])
def test_scores_that_do_not_mean_what_they_say_are_calibrated_on_the_past(wrong):
    scores, y = world(5_000, seed=4, wrong=wrong)
    past = tally(*world(20_000, seed=5, wrong=wrong))
    blind, seeing = (estimate(tally(scores), known, "log_loss", rng()) for known in (None, past))

    truth = true_quality(scores, y)
    assert "calibrated on 20,000 mature outcomes" in seeing.how
    assert "as the model gives them" in blind.how
    for metric in BINARY:
        assert abs(seeing.values[metric] - truth[metric]) <= abs(blind.values[metric] - truth[metric]) + 0.01
    assert seeing.interval.low <= truth["log_loss"] <= seeing.interval.high
    assert not blind.interval.low <= truth["log_loss"] <= blind.interval.high


def test_inputs_that_moved_move_the_estimate_as_they_move_the_quality():
    past = tally(*world(20_000, seed=6))
    scores, y = world(8_000, seed=7, centre=-0.5, spread=0.7)
    guess = estimate(tally(scores), past, "roc_auc", rng())

    assert true_quality(scores, y)["roc_auc"] < past.measure()["roc_auc"] - 0.05
    assert guess.interval.low <= true_quality(scores, y)["roc_auc"] <= guess.interval.high


@pytest.mark.slow
def test_about_nine_of_ten_intervals_of_estimates_hold_what_comes_true():
    held = 0
    for seed in range(60):
        past, (scores, y) = tally(*world(4_000, seed=1_000 + seed)), world(1_500, seed=seed)
        guess = estimate(tally(scores), past, "average_precision", rng())
        held += guess.interval.low <= true_quality(scores, y)["average_precision"] <= guess.interval.high

    assert 48 <= held <= 60


def test_an_estimate_does_not_look_at_the_outcomes_it_stands_for():
    scores, y = world(2_000, seed=8)
    past = tally(*world(5_000, seed=9))

    assert estimate(tally(scores, y), past, "roc_auc", rng()) == estimate(tally(scores, 1 - y), past, "roc_auc", rng())


@pytest.mark.parametrize(
    ("rows", "hits"),
    [
        pytest.param(199, 50, id="too few rows"),
        pytest.param(1_000, 9, id="too few that came true"),
        pytest.param(1_000, 991, id="too few that did not"),
    ],
)
def test_too_little_is_no_calibration(rows, hits):
    scores = np.linspace(0.1, 0.9, rows)
    assert Calibration.of(tally(scores, np.arange(rows) < hits)) is None


def test_a_rare_outcome_is_expected_as_often_as_it_came():
    scores, y = world(20_000, seed=10, centre=-6.0, wrong=1.0)
    calibration = Calibration.of(past := tally(scores, y))

    expected = (past.predictions * calibration.probabilities(past.score)).sum()
    assert expected == pytest.approx(y.sum(), rel=0.1)
    assert (np.diff(calibration.probabilities(np.linspace(0.001, 0.999, 500))) >= -1e-12).all(), "it never falls"


def classes(rows, seed, sure=4.0) -> tuple:
    """Calibrated probabilities of three classes, one of them rare, and what came."""
    made = np.random.default_rng(seed)
    table = made.dirichlet([sure / 8, sure / 4, sure], rows)
    table = table / table.sum(axis=1, keepdims=True)
    return table, (table.cumsum(axis=1) > made.random(rows)[:, None]).argmax(axis=1)


def tally_of_classes(table, y=None) -> Tally:
    """As predictions keep them: the likeliest class and its probability."""
    said = table.argmax(axis=1)
    came = [None] * len(said) if y is None else [str(one) for one in y]
    named = Counter(zip((str(one) for one in said), came, strict=True))
    right = None if y is None else said == y
    return replace(tally(table.max(axis=1), right, kind="multiclass"), named=named)


def quality_of_classes(table, y) -> dict[str, float]:
    said = table.argmax(axis=1)
    return {"accuracy": metrics.accuracy_score(y, said)} | {
        name: getattr(metrics, f"{name}_score")(y, said, average="macro", zero_division=0)
        for name in ("f1", "precision", "recall")
    }


def test_several_classes_are_measured_by_those_that_were_named():
    parts = [classes(400, seed) for seed in (1, 2)]
    table, y = (np.concatenate(part) for part in zip(*parts, strict=True))

    assert tally_of_classes(table, y).measure() == pytest.approx(quality_of_classes(table, y))
    assert add_up([tally_of_classes(*part) for part in parts]).measure() == pytest.approx(quality_of_classes(table, y))
    assert tally_of_classes(table).measure() == {}


@pytest.mark.parametrize(
    ("asked", "found"), [("f1", "f1"), ("recall", "recall"), ("log_loss", "accuracy"), ("roc_auc", "accuracy")]
)
def test_accuracy_stands_for_what_the_named_classes_do_not_tell(asked, found):
    assert metric_of("multiclass", asked) == found
    assert metric_of("binary", asked) == asked


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "f1", "recall"])
def test_intervals_of_several_classes_hold_the_true_quality(metric):
    truth = quality_of_classes(*classes(200_000, seed=9))[metric]
    within = [tally_of_classes(*classes(600, seed)).interval(metric, rng()) for seed in range(100, 160)]

    assert 48 <= sum(one.low <= truth <= one.high for one in within) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["accuracy", "f1", "precision", "recall"])
def test_the_quality_of_several_classes_is_expected_before_outcomes_are_in(metric):
    past, held = tally_of_classes(*classes(3_000, seed=20)), 0
    for seed in range(30, 50):
        table, y = classes(1_000, seed)
        guess = estimate(tally_of_classes(table), past, metric, rng())
        held += guess.interval.low <= quality_of_classes(table, y)[metric] <= guess.interval.high

    assert held >= 15
    assert guess.mistakes["error"] == pytest.approx(1_000 * (1 - quality_of_classes(table, y)["accuracy"]), rel=0.15)


def test_mistakes_between_classes_are_not_expected_without_outcomes_to_learn_from():
    table, y = classes(1_000, seed=60)
    few = tally_of_classes(table[:199], y[:199])

    for past, found in ((None, "0"), (few, "199")):
        none = estimate(tally_of_classes(table), past, "f1", rng())
        assert ("f1" in none.values, none.interval) == (False, None)
        assert none.how == f"no estimate of f1: {found} mature outcomes, 200 are needed to learn mistakes"
        assert none.values["accuracy"] == pytest.approx(table.max(axis=1).mean(), abs=0.01)


def numbers(rows, seed, low=10, high=200):
    """Predictions whose errors grow with them, and outcomes."""
    made = np.random.default_rng(seed)
    predicted = made.uniform(low, high, rows)
    return predicted, predicted + made.normal(0, 0.1, rows) * predicted


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_errors_of_numbers_are_learnt_by_the_size_of_the_prediction(metric):
    past = tally(*numbers(10_000, seed=1), kind="regression")
    predicted, y = numbers(3_000, seed=2, low=150)
    guess = estimate(tally(predicted, kind="regression"), past, metric, rng())

    truth = tally(predicted, y, kind="regression").measure()[metric]
    assert truth > 1.3 * past.measure()[metric], "larger predictions err more"
    assert guess.interval.low <= truth <= guess.interval.high
    assert guess.mistakes["error"] == pytest.approx(np.abs(y - predicted).sum(), rel=0.05)


def test_there_is_no_estimate_of_r2_and_none_without_enough_outcomes():
    now = tally(numbers(300, seed=3)[0], kind="regression")
    few = tally(*numbers(199, seed=4), kind="regression")

    r2 = estimate(now, tally(*numbers(1_000, seed=4), kind="regression"), "r2", rng())
    assert "r2" not in r2.values
    assert r2.interval is None
    assert "no estimate" in r2.how
    for past, found in ((few, "199"), (None, "0")):
        none = estimate(now, past, "rmse", rng())
        assert (none.values, none.interval) == ({}, None)
        assert none.how == f"no estimate: {found} mature outcomes, 200 are needed to learn errors"


def test_costs_are_those_of_the_mistakes():
    costs = Costs(false_positive=2.0, false_negative=50.0, retrain=30.0)
    scores, y = [0.9, 0.8, 0.6, 0.2, 0.1], [1, 0, 0, 1, 0]

    assert mistakes_in(tally(scores, y)) == {"false_positive": 2.0, "false_negative": 1.0}
    assert realised_cost(costs, tally(scores, y)) == 2 * 2.0 + 50.0
    guess = estimate(tally(scores), None, "roc_auc", rng())
    assert guess.mistakes == {"false_positive": pytest.approx(0.1 + 0.2 + 0.4), "false_negative": pytest.approx(0.3)}
    assert expected_cost(costs, guess.mistakes) == pytest.approx(2.0 * 0.7 + 50.0 * 0.3)


def test_costs_of_numbers_are_per_unit_and_nothing_is_priced_where_nothing_is_stated():
    missed = tally([10.0, 20.0], [13.0, 18.0], kind="regression")

    assert realised_cost(Costs(per_error=4.0), missed) == pytest.approx(20.0)
    assert realised_cost(Costs(retrain=9.0), missed) is None
    assert expected_cost(Costs(per_error=4.0), {}) is None


def test_costs_must_fit_the_kind_of_the_question(make_home):
    assert make_home(extra="[costs]\nfalse_negative = 50\nretrain = 5\n").contract.costs.stated
    with pytest.raises(
        ContractError, match=r"costs\.per_error is not for the kind 'binary'; expected false_positive and"
    ):
        make_home(extra="[costs]\nper_error = 1\n")


def test_the_mean_loss_is_the_log_loss_the_squared_error_or_the_share_of_wrong_names():
    rng = np.random.default_rng(3)
    scores = rng.uniform(0.01, 0.99, 4000)
    y = rng.random(4000) < scores
    found = tally(scores, y)
    assert found.loss == pytest.approx(found.measure()["log_loss"], rel=1e-6)
    numbers = rng.normal(50, 10, 500)
    assert (guess := tally(numbers, numbers + rng.normal(0, 3, 500), "regression")).loss == pytest.approx(
        guess.measure()["rmse"] ** 2, rel=1e-9
    )
    assert tally(scores[:5]).loss is None
