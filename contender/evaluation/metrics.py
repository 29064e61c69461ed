"""From outcomes and scores to numbers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.sections import LOWER_IS_BETTER, METRICS, Kind
from contender.errors import ModelError, TooFewOutcomes
from contender.evaluation.ranking_metrics import Floats
from contender.evaluation.weighted_metrics import weighted_metric

MLFLOW_NAMES = {
    "roc_auc": "roc_auc",
    "average_precision": "precision_recall_auc",
    "log_loss": "log_loss",
    "accuracy": "accuracy_score",
    "precision": "precision_score",
    "recall": "recall_score",
    "f1": "f1_score",
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
    "r2": "r2_score",
}
"""What MLflow's default evaluator calls our metrics; it has no Brier score. Its `precision_recall_auc` is average
precision. Several classes agree with ours only under `evaluator_config={"average": "macro"}`."""

SLICE_ROWS = 100
"""A slice with fewer rows says nothing about a model."""

SLICE_OF_A_CLASS = 20
"""Nor does one with fewer outcomes of its second largest class."""


def metrics(
    kind: Kind,
    y: NDArray[Any],
    scores: Floats,
    threshold: float,
    classes: Sequence[object] | None = None,
) -> dict[str, float]:
    """Every metric of the kind that has a meaning on these rows, by our names.

    Precision, recall, F1 and ROC AUC of several classes are averages over the classes that occur, each against the
    rest. What is undefined, such as ROC AUC where one class alone occurs, is left out.

    Args:
        y: shape (rows,); 0 or 1, the class index, or the target itself.
        scores: shape (rows,) of probabilities of class 1, or of predictions; multiclass (rows, classes).
        threshold: binary scores from here on say "1".
        classes: what the columns of multiclass scores stand for; only their number matters.

    Raises:
        TooFewOutcomes: there are no rows.
        ModelError: the scores do not fit the rows; see `check_scores`.
    """
    if len(y) == 0:
        raise TooFewOutcomes.to_judge(found=0, needed=1)
    check_scores(kind, y, scores, who="model", classes=classes)
    found = {name: measure(kind, name, y, scores, threshold) for name in METRICS[kind]}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def measure(kind: Kind, metric: str, y: NDArray[Any], scores: Floats, threshold: float) -> float:
    """One metric of these scores, in its own units; NaN where it has no meaning; arguments as of `metrics`."""
    once = np.ones((1, len(y)), dtype=np.int64)
    return float(weighted_metric(kind, metric, y, scores, threshold)(once)[0])


def sign(metric: str) -> float:
    """What to multiply a metric by so that more is better: 1 or -1."""
    return -1.0 if metric in LOWER_IS_BETTER else 1.0


def check_scores(
    kind: Kind, y: NDArray[Any], scores: Floats, *, who: str, classes: Sequence[object] | None = None
) -> None:
    """Make sure that scores are finite, one per row and within their range.

    Raises:
        ModelError: they are not, or the outcomes are not of the kind.
    """
    if len(scores) != len(y):
        raise ModelError(f"The {who} gave {len(scores):,} scores for {len(y):,} outcomes; expected one for each.")
    if scores.ndim != (2 if kind == "multiclass" else 1):
        raise ModelError(f"The {who}'s scores have {scores.ndim} dimensions, which is wrong for {kind} outcomes.")
    if classes is not None and kind == "multiclass" and scores.shape[1] != len(classes):
        raise ModelError(f"The {who} scores {scores.shape[1]} classes; expected {len(classes)}.")
    if broken := int((~np.isfinite(scores)).sum()):
        raise ModelError(f"{broken:,} scores of the {who} are not finite numbers; expected none such.")
    if kind != "regression" and ((scores < 0) | (scores > 1)).any():
        raise ModelError(
            f"The {who}'s scores run from {scores.min():.3g} to {scores.max():.3g}; expected probabilities, 0 to 1."
        )
    if kind == "regression":
        if not np.isfinite(y.astype(np.float64)).all():
            raise ModelError("Some outcomes are not finite numbers; expected none such.")
    elif not np.isin(y, (0, 1) if kind == "binary" else np.arange(scores.shape[1])).all():
        raise ModelError(f"Outcomes hold {np.unique(y)[:5].tolist()}; expected 0 and 1, or the index of a class.")


def check_enough(kind: Kind, y: NDArray[Any], *, min_rows: int, min_per_class: int) -> None:
    """Make sure that a score on these rows means anything: enough rows, and enough of at least two classes.

    Raises:
        TooFewOutcomes: they are too few.
    """
    if len(y) < max(min_rows, 1):
        raise TooFewOutcomes.to_judge(found=len(y), needed=max(min_rows, 1))
    if kind == "regression":
        return
    sizes = np.sort(np.unique(y, return_counts=True)[1])
    if len(sizes) == 1:
        raise TooFewOutcomes.of_one_class(rows=len(y))
    second = int(sizes[-2])
    if second < min_per_class:
        raise TooFewOutcomes.to_judge(found=second, needed=min_per_class, of="outcomes of the rarer class")


def per_slice(
    kind: Kind,
    y: NDArray[Any],
    scores: Floats,
    threshold: float,
    slices: Mapping[str, NDArray[Any]],
    *,
    min_rows: int = SLICE_ROWS,
    min_per_class: int = SLICE_OF_A_CLASS,
) -> dict[str, dict[str, float]]:
    """Metrics and `rows` of every slice, by "column=value"; of a slice that is too small, `rows` alone."""
    found: dict[str, dict[str, float]] = {}
    for name, rows in slices_of(slices):
        found[name] = {"rows": float(len(rows))}
        try:
            check_enough(kind, y[rows], min_rows=min_rows, min_per_class=min_per_class)
        except TooFewOutcomes:
            continue
        found[name] |= metrics(kind, y[rows], scores[rows], threshold)
    return found


def slices_of(columns: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Each "column=value" with the indices of its rows; a missing value is a slice of its own."""
    for column, values in columns.items():
        names, of_row = np.unique([_name(value) for value in values], return_inverse=True)
        order = np.argsort(of_row, kind="stable")
        ends = np.cumsum(np.bincount(of_row, minlength=len(names)))
        for name, rows in zip(names, np.split(order, ends[:-1]), strict=True):
            yield f"{column}={name}", rows


def dummy_scores(kind: Kind, y_train: NDArray[Any], rows: int, classes: int | None = None) -> Floats:
    """What a model scores that knows only the base rate or the mean of what it was trained on.

    Args:
        y_train: shape (training rows,), as `y` in `metrics`.
        rows: how many scores are wanted.
        classes: number of classes, where it is more than `y_train` shows.

    Returns:
        shape (rows,), or for several classes (rows, classes).

    Raises:
        TooFewOutcomes: there is nothing to learn a base rate from.
    """
    if len(y_train) == 0:
        raise TooFewOutcomes("There are no outcomes to take a base rate from; at least 1 is needed.")
    if kind == "multiclass":
        rates = np.bincount(y_train.astype(np.int64), minlength=classes or 0) / len(y_train)
        return np.tile(rates, (rows, 1))
    return np.full(rows, float(np.mean(y_train)))


def _name(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in ("<NA>", "NaT")
    return "missing" if missing else str(value)
