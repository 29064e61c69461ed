"""Numbers from outcomes and scores agree with scikit-learn's, and nothing undefined passes for a number."""

import numpy as np
import pytest
from sklearn import metrics as reference

from contender.contracts.sections import METRICS
from contender.errors import ModelError, TooFewOutcomes
from contender.evaluation.metrics import MLFLOW_NAMES, dummy_scores, metrics, per_slice

RNG = np.random.default_rng(3)
ROWS = 400
BINARY = (RNG.random(ROWS) < 0.3).astype(int)
PROBABILITIES = np.clip(0.3 * BINARY + RNG.random(ROWS) * 0.7, 0, 1).round(2)
CLASSES = RNG.integers(0, 3, ROWS)
TABLE = RNG.dirichlet(np.ones(3), ROWS) * 0.6 + np.eye(3)[CLASSES] * 0.4
TARGETS = RNG.normal(50, 10, ROWS)
PREDICTIONS = TARGETS + RNG.normal(0, 4, ROWS)
RANKED = {"roc_auc", "average_precision", "recall", "f1"}


def test_binary_metrics_are_scikit_learns():
    decided = PROBABILITIES >= 0.4
    assert metrics("binary", BINARY, PROBABILITIES, 0.4) == pytest.approx(
        {
            "roc_auc": reference.roc_auc_score(BINARY, PROBABILITIES),
            "average_precision": reference.average_precision_score(BINARY, PROBABILITIES),
            "log_loss": reference.log_loss(BINARY, PROBABILITIES),
            "brier": reference.brier_score_loss(BINARY, PROBABILITIES),
            "accuracy": reference.accuracy_score(BINARY, decided),
            "precision": reference.precision_score(BINARY, decided),
            "recall": reference.recall_score(BINARY, decided),
            "f1": reference.f1_score(BINARY, decided),
        }
    )


def test_multiclass_metrics_are_scikit_learns_macro_averages():
    decided = TABLE.argmax(axis=1)
    assert metrics("multiclass", CLASSES, TABLE, 0.5, classes=["a", "b", "c"]) == pytest.approx(
        {
            "log_loss": reference.log_loss(CLASSES, TABLE),
            "accuracy": reference.accuracy_score(CLASSES, decided),
            "roc_auc": reference.roc_auc_score(CLASSES, TABLE, multi_class="ovr", average="macro"),
            "f1": reference.f1_score(CLASSES, decided, average="macro"),
            "precision": reference.precision_score(CLASSES, decided, average="macro"),
            "recall": reference.recall_score(CLASSES, decided, average="macro"),
        }
    )


def test_regression_metrics_are_scikit_learns():
    assert metrics("regression", TARGETS, PREDICTIONS, 0.5) == pytest.approx(
        {
            "rmse": reference.root_mean_squared_error(TARGETS, PREDICTIONS),
            "mae": reference.mean_absolute_error(TARGETS, PREDICTIONS),
            "r2": reference.r2_score(TARGETS, PREDICTIONS),
        }
    )


def test_every_metric_of_the_contract_has_a_name_in_mlflow_except_brier():
    assert {name for names in METRICS.values() for name in names} - set(MLFLOW_NAMES) == {"brier"}


@pytest.mark.parametrize(
    ("kind", "y", "scores", "left_out"),
    [
        pytest.param("binary", np.zeros(50), np.full(50, 0.2), RANKED, id="one class"),
        pytest.param("regression", np.full(50, 0.1), np.zeros(50), {"r2"}, id="a target that never changes"),
        pytest.param("multiclass", np.zeros(50, int), np.full((50, 3), 1 / 3), {"roc_auc"}, id="one class of three"),
    ],
)
def test_what_is_undefined_is_left_out(kind, y, scores, left_out):
    found = metrics(kind, y, scores, 0.5)
    assert set(METRICS[kind]) - set(found) == left_out
    assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize(
    ("y", "scores", "words"),
    [
        pytest.param([0, 1, 1], [0.1, 0.2], "2 scores for 3 outcomes", id="different lengths"),
        pytest.param([0, 1], [0.1, np.nan], "1 scores of the model are not finite", id="NaN"),
        pytest.param([0, 1], [0.1, 1.7], "expected probabilities", id="no probability"),
        pytest.param([0, 2], [0.1, 0.7], "expected 0 and 1", id="other outcomes"),
    ],
)
def test_scores_that_do_not_fit_are_refused(y, scores, words):
    with pytest.raises(ModelError, match=words):
        metrics("binary", np.array(y), np.array(scores), 0.5)


def test_no_rows_are_refused():
    with pytest.raises(TooFewOutcomes):
        metrics("regression", np.array([]), np.array([]), 0.5)


def test_small_slices_are_reported_with_their_rows_only():
    channel = np.array(["shop"] * 300 + ["web"] * 95 + [None] * 5, dtype=object)
    found = per_slice("binary", BINARY, PROBABILITIES, 0.4, {"channel": channel}, min_rows=100)
    assert found["channel=web"] == {"rows": 95}
    assert found["channel=missing"] == {"rows": 5}
    shop = metrics("binary", BINARY[:300], PROBABILITIES[:300], 0.4)
    assert found["channel=shop"] == pytest.approx(shop | {"rows": 300})


def test_a_slice_with_too_few_of_a_class_is_too_small():
    alone = np.where(BINARY == 1, "fraud", "fine")
    assert set(per_slice("binary", BINARY, PROBABILITIES, 0.4, {"kind": alone})["kind=fine"]) == {"rows"}


def test_the_dummy_knows_the_base_rate_only():
    assert dummy_scores("binary", np.array([0, 0, 0, 1]), 2).tolist() == [0.25, 0.25]
    assert dummy_scores("multiclass", np.array([0, 2]), 1, classes=4).tolist() == [[0.5, 0, 0.5, 0]]
    assert dummy_scores("regression", np.array([1.0, 5.0]), 3).tolist() == [3, 3, 3]
