"""Metrics under weights are exact, draws are paired and seeded, and other methods see the same luck."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as reference

from contender.errors import TooFewOutcomes
from contender.evaluation.bootstrap import Contest
from contender.evaluation.significance_tests import delong, mcnemar
from contender.evaluation.weighted_metrics import weighted_metric

RNG = np.random.default_rng(5)
ROWS = 600
WEIGHTS = RNG.integers(0, 4, (3, ROWS))
BINARY = (RNG.random(ROWS) < 0.3).astype(int)
CLASSES = RNG.integers(0, 4, ROWS)
TABLE = RNG.dirichlet(np.ones(4), ROWS)
TARGETS = RNG.normal(1e6, 10, ROWS)


def _of_decisions(function, **options):
    return lambda y, p, w: function(y, p.argmax(1) if p.ndim == 2 else p >= 0.5, sample_weight=w, **options)


def _of_scores(function, **options):
    return lambda y, p, w: function(y, p, sample_weight=w, **options)


@pytest.mark.parametrize("digits", [pytest.param(12, id="no ties"), pytest.param(1, id="many ties")])
@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("roc_auc", _of_scores(reference.roc_auc_score)),
        ("average_precision", _of_scores(reference.average_precision_score)),
        ("log_loss", _of_scores(reference.log_loss)),
        ("brier", _of_scores(reference.brier_score_loss)),
        ("accuracy", _of_decisions(reference.accuracy_score)),
        ("precision", _of_decisions(reference.precision_score)),
        ("recall", _of_decisions(reference.recall_score)),
        ("f1", _of_decisions(reference.f1_score)),
    ],
)
def test_binary_metrics_under_weights_are_scikit_learns(metric, expected, digits):
    scores = np.clip(0.2 * BINARY + 0.8 * RNG.random(ROWS), 0.01, 0.99).round(digits)
    found = weighted_metric("binary", metric, BINARY, scores, 0.5)(WEIGHTS)
    assert found == pytest.approx([expected(BINARY, scores, weights) for weights in WEIGHTS])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("log_loss", _of_scores(reference.log_loss)),
        ("brier", _of_scores(reference.brier_score_loss, labels=range(4), scale_by_half=True)),
        ("roc_auc", _of_scores(reference.roc_auc_score, multi_class="ovr")),
        ("accuracy", _of_decisions(reference.accuracy_score)),
        ("f1", _of_decisions(reference.f1_score, average="macro")),
        ("precision", _of_decisions(reference.precision_score, average="macro")),
        ("recall", _of_decisions(reference.recall_score, average="macro")),
    ],
)
def test_multiclass_metrics_under_weights_are_scikit_learns(metric, expected):
    found = weighted_metric("multiclass", metric, CLASSES, TABLE, 0.5)(WEIGHTS)
    assert found == pytest.approx([expected(CLASSES, TABLE, weights) for weights in WEIGHTS])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("rmse", reference.root_mean_squared_error),
        ("mae", reference.mean_absolute_error),
        ("r2", reference.r2_score),
    ],
)
def test_regression_metrics_under_weights_are_scikit_learns(metric, expected):
    predictions = TARGETS + RNG.normal(0, 4, ROWS)
    found = weighted_metric("regression", metric, TARGETS, predictions, 0.5)(WEIGHTS)
    assert found == pytest.approx([expected(TARGETS, predictions, sample_weight=weights) for weights in WEIGHTS])


def _contest(rows=1_500, lift=0.0, seed=1, clusters=None):
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.25).astype(int)
    champion, challenger = (
        1 / (1 + np.exp(-(y * strength - 1.5 + rng.normal(size=rows)))) for strength in (1.0, 1.0 + lift)
    )
    return Contest("binary", y, champion, challenger, clusters=clusters)


def test_the_same_seed_gives_the_same_draws():
    first, again, other = (_contest().gains("roc_auc", np.random.default_rng(seed), 50).draws for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_model_gains_nothing_over_itself_in_any_draw():
    contest = _contest()
    same = Contest("binary", contest.y, contest.champion, contest.champion)
    assert not same.gains("average_precision", np.random.default_rng(1), 50).draws.any()


@pytest.mark.parametrize("metric", ["log_loss", "roc_auc"])
def test_more_is_better_whichever_way_the_metric_runs(metric):
    assert _contest(lift=1.0).gains(metric, np.random.default_rng(1), 50).point > 0


def test_the_bootstrap_and_delong_see_the_same_error():
    contest = _contest(lift=0.3)
    gains = contest.gains("roc_auc", np.random.default_rng(1))
    check = delong(contest.y, contest.champion, contest.challenger)
    assert check.gain == pytest.approx(gains.point)
    assert check.p_value == pytest.approx(1 - gains.harm_p, abs=0.01)


def test_delong_counts_ties_by_half():
    contest = _contest()
    champion, challenger = contest.champion.round(1), contest.challenger.round(1)
    expected = reference.roc_auc_score(contest.y, challenger) - reference.roc_auc_score(contest.y, champion)
    assert delong(contest.y, champion, challenger).gain == pytest.approx(expected)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 0), (12, 4), (4, 12), (7, 7)])
def test_mcnemar_is_the_exact_binomial_test(gained, lost):
    before = np.array([False] * gained + [True] * lost + [True] * 20)
    now = np.array([True] * gained + [False] * lost + [True] * 20)
    expected = binomtest(gained, gained + lost, alternative="greater").pvalue if gained + lost else 1.0
    assert mcnemar(before, now).p_value == pytest.approx(expected)


def test_rows_of_one_entity_are_drawn_together():
    once = _contest(rows=300, lift=0.3)
    fivefold = [np.repeat(values, 5) for values in (once.y, once.champion, once.challenger)]
    entities = np.repeat([f"customer {number}" for number in range(300)], 5)
    alone, independent, clustered = (
        contest.gains("roc_auc", np.random.default_rng(1), 1_000).error
        for contest in (once, Contest("binary", *fivefold), Contest("binary", *fivefold, clusters=entities))
    )
    assert clustered == pytest.approx(alone, rel=0.15)
    assert independent < 0.6 * alone


def test_draws_without_a_meaning_are_a_refusal():
    y = np.array([1] * 30 + [0] * 300)
    entities = np.array([0] * 30 + list(range(1, 301)))
    with pytest.raises(TooFewOutcomes, match="roc_auc has no meaning"):
        Contest("binary", y, RNG.random(330), RNG.random(330), clusters=entities).gains("roc_auc", RNG, 200)
