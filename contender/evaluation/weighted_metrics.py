"""Every metric as a function of row weights: sorted once, then O(rows) per draw of a bootstrap.

A weighted metric takes integer weights of shape (draws, rows) and gives shape (draws,). With all weights one it is the
plain metric, so that a point estimate and its resamples come from the same arithmetic. A metric that has no meaning
under some weights (ROC AUC without a positive) is NaN there.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.sections import Kind
from contender.evaluation.probabilities import inside
from contender.evaluation.ranking_metrics import Floats, Integers, Weighted, average_precision, divide, roc_auc


def weighted_metric(kind: Kind, metric: str, y: NDArray[Any], scores: Floats, threshold: float) -> Weighted:
    """The metric of these scores as a function of row weights.

    Args:
        y: shape (rows,); 0 or 1, the class index, or the target itself.
        scores: shape (rows,) of probabilities or predictions; multiclass (rows, classes) of probabilities.
        threshold: binary scores from here on say "1".

    Raises:
        KeyError: the kind has no such metric.
    """
    if kind == "regression":
        return _REGRESSION[metric](y.astype(np.float64), scores)
    y = np.asarray(y, dtype=np.int64)
    if kind == "multiclass":
        return _MULTICLASS[metric](y, scores)
    if metric in ("accuracy", "precision", "recall", "f1"):
        return _of_decisions(metric, y, decisions(kind, scores, threshold), positives=(1,))
    return _BINARY[metric](y, scores)


def decisions(kind: Kind, scores: Floats, threshold: float) -> Integers:
    """The class that each row is decided for, shape (rows,)."""
    if kind == "multiclass":
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)
    return (scores >= threshold).astype(np.int64)


def row_losses(metric: str, y: NDArray[np.int64], scores: Floats) -> Floats:
    """Log loss or Brier score of each row, shape (rows,); `scores` of shape (rows,) or (rows, classes).

    The Brier score of several classes is half the sum of squares, which for two classes is the usual one.

    Source: Brier (1950), Verification of forecasts expressed in terms of probability, Monthly Weather Review 78(1).
    """
    table = np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores
    if metric == "brier":
        return np.asarray(np.square(table - np.eye(table.shape[1])[y]).sum(axis=1) / 2, dtype=np.float64)
    of_truth = table[np.arange(len(y)), y] / table.sum(axis=1)
    return np.asarray(-np.log(inside(of_truth)), dtype=np.float64)


def _sums(weights: Integers, columns: Floats) -> Floats:
    return np.asarray(weights.astype(np.float64) @ columns, dtype=np.float64)


def _mean(values: Floats) -> Weighted:
    return lambda weights: divide(_sums(weights, values), weights.sum(axis=1))


def _of_decisions(metric: str, y: Integers, decided: Integers, positives: tuple[int, ...]) -> Weighted:
    """Accuracy, or precision, recall or F1 averaged over those of the `positives` that occur under the weights."""
    if metric == "accuracy":
        return _mean((y == decided).astype(np.float64))
    true = np.column_stack([y == label for label in positives])
    said = np.column_stack([decided == label for label in positives])
    columns = np.column_stack([true & said, said, true]).astype(np.float64)

    def evaluate(weights: Integers) -> Floats:
        hits, said_sum, true_sum = np.split(_sums(weights, columns), 3, axis=1)
        if metric == "precision":
            each = divide(hits, said_sum, otherwise=0.0)
        elif metric == "recall":
            each = divide(hits, true_sum)
        else:
            each = divide(2 * hits, said_sum + true_sum)
        if len(positives) == 1:
            return each[:, 0]
        occurs = true_sum > 0
        return divide(np.where(occurs, each, 0.0).sum(axis=1), occurs.sum(axis=1))

    return evaluate


def _roc_auc_macro(y: Integers, scores: Floats) -> Weighted:
    """One class against the rest, averaged over the classes that occur under the weights."""
    each = [roc_auc((y == label).astype(np.int64), scores[:, label]) for label in range(scores.shape[1])]

    def evaluate(weights: Integers) -> Floats:
        table = np.column_stack([one(weights) for one in each])
        defined = np.isfinite(table)
        return divide(np.where(defined, table, 0.0).sum(axis=1), defined.sum(axis=1))

    return evaluate


def _rmse(y: Floats, predictions: Floats) -> Weighted:
    mean_square = _mean(np.square(y - predictions))
    return lambda weights: np.sqrt(mean_square(weights))


def _r2(y: Floats, predictions: Floats) -> Weighted:
    centred = y - y.mean() if len(y) else y  # sums of squares of large targets would lose their digits
    columns = np.column_stack([np.square(y - predictions), centred, np.square(centred)])

    def evaluate(weights: Integers) -> Floats:
        residual, first, second = _sums(weights, columns).T
        spread = second - divide(first**2, weights.sum(axis=1), otherwise=0.0)
        return 1 - divide(residual, np.where(spread > 1e-12 * second, spread, 0.0))

    return evaluate


_BINARY: dict[str, Callable[[Integers, Floats], Weighted]] = {
    "roc_auc": roc_auc,
    "average_precision": average_precision,
    "log_loss": lambda y, scores: _mean(row_losses("log_loss", y, scores)),
    "brier": lambda y, scores: _mean(row_losses("brier", y, scores)),
}
_MULTICLASS: dict[str, Callable[[Integers, Floats], Weighted]] = {
    "log_loss": _BINARY["log_loss"],
    "brier": _BINARY["brier"],
    "roc_auc": _roc_auc_macro,
} | {
    metric: lambda y, scores, metric=metric: _of_decisions(
        metric, y, decisions("multiclass", scores, 0.0), positives=tuple(range(scores.shape[1]))
    )
    for metric in ("accuracy", "f1", "precision", "recall")
}
_REGRESSION: dict[str, Callable[[Floats, Floats], Weighted]] = {
    "rmse": _rmse,
    "mae": lambda y, predictions: _mean(np.abs(y - predictions)),
    "r2": _r2,
}
