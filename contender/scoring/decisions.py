"""What follows from a model's answer, for batches and single records alike: score, prediction, band."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.sections import Kind, Scoring
from contender.values import Band

PREDICTION_TYPES: dict[Kind, str] = {"binary": "int", "multiclass": "string", "regression": "double"}
"""Of each kind the type of a prediction, as Spark calls it."""


def decide(kind: Kind, answer: NDArray[np.float64], threshold: float, classes: NDArray[Any] | None) -> tuple[Any, Any]:
    """Score and prediction from what the model answered.

    Args:
        answer: shape (rows, classes) for classifiers, the probabilities; shape (rows,) for regression.

    Returns:
        Binary: the probability of the second class, and 1 from `threshold` on. Several classes: the highest
        probability and its class. Regression: the value, twice.
    """
    if kind == "regression":
        return answer, answer
    if kind == "binary":
        score = answer[:, 1]
        return score, (score >= threshold).astype("int32")
    assert classes is not None
    best = answer.argmax(axis=1)
    return answer[np.arange(len(best)), best], classes[best].astype(str)


def band_of(score: float, cuts: Scoring) -> Band:
    """How loudly a score speaks."""
    if score >= cuts.critical:
        return Band.CRITICAL
    return Band.WARNING if score >= cuts.warning else Band.NORMAL
