"""The metrics a contract may name, and the time-ordered folds they are measured on."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from contender.contracts.sections import LOWER_IS_BETTER, METRICS, Kind

Floats = NDArray[np.float64]

_SMALLEST = 1e-15

_OF_NUMBERS: Mapping[str, Callable[..., float]] = {
    "rmse": metrics.root_mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "r2": metrics.r2_score,
}
_OF_SCORES: Mapping[str, Callable[..., float]] = {
    "roc_auc": metrics.roc_auc_score,
    "average_precision": metrics.average_precision_score,
    "brier": metrics.brier_score_loss,
}
_OF_CLASSES: Mapping[str, Callable[..., float]] = {
    "precision": metrics.precision_score,
    "recall": metrics.recall_score,
    "f1": metrics.f1_score,
}


def measure(metric: str, kind: Kind, y: NDArray[Any], predicted: Floats, classes: NDArray[Any] | None = None) -> float:
    """One metric of a model's predictions, in the metric's own units.

    With two classes the second one is what is looked for; with more, ROC AUC, precision, recall and F1 are plain
    averages over the classes that occur.

    Args:
        y: shape (rows,), what came true.
        predicted: shape (rows,) for regression, else probabilities of shape (rows, classes).
        classes: shape (classes,), the order of the columns of `predicted`; not for regression.
    """
    if kind == "regression" or classes is None:
        return float(_OF_NUMBERS[metric](y, predicted))
    if metric == "log_loss":
        found = np.searchsorted(classes, y)
        return float(-np.log(np.clip(predicted[np.arange(len(y)), found], _SMALLEST, 1)).mean())
    if metric == "accuracy":
        return float((classes[predicted.argmax(axis=1)] == y).mean())
    if metric in _OF_CLASSES:
        chosen = classes[predicted.argmax(axis=1)]
        averaged = {"average": "macro"} if kind == "multiclass" else {"pos_label": classes[1]}
        return float(_OF_CLASSES[metric](y, chosen, zero_division=0.0, **averaged))
    watched = [1] if kind == "binary" else [k for k in range(len(classes)) if 0 < (y == classes[k]).sum() < len(y)]
    return float(np.mean([_OF_SCORES[metric](y == classes[k], predicted[:, k]) for k in watched]))


def measure_all(kind: Kind, y: NDArray[Any], predicted: Floats, classes: NDArray[Any] | None) -> dict[str, float]:
    """Every metric of a kind, by name."""
    return {metric: measure(metric, kind, y, predicted, classes) for metric in METRICS[kind]}


def sign(metric: str) -> float:
    """What to multiply a metric by so that more is better: 1 or -1."""
    return -1.0 if metric in LOWER_IS_BETTER else 1.0


def time_folds(
    y: NDArray[Any], kind: Kind, folds: int, gap: int = 0
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and testing rows of each fold: all before a moment, and the block after it.

    The rows, oldest first, are cut into `folds + 1` blocks of one size; the first is only trained on. A fold whose
    training or testing rows are all of one class says nothing and is left out.

    Args:
        y: shape (rows,), outcomes in time order.
        gap: newest training rows left out, because their outcomes were not known yet when testing starts.
    """
    block = len(y) // (folds + 1)
    for fold in range(folds):
        start = len(y) - (folds - fold) * block
        stop = start + block
        train, test = np.arange(max(0, start - gap)), np.arange(start, stop)
        if len(train) >= 2 and (kind == "regression" or all(len(np.unique(y[rows])) > 1 for rows in (train, test))):
            yield train, test
