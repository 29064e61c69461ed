"""Probabilities that mean what they say: Platt scaling of a classifier's log-odds."""

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from contender.evaluation.probabilities import log_odds
from contender.evaluation.ranking_metrics import Floats


class Calibrated(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose probabilities are mapped by sigmoids that were fitted on rows it had not seen.

    With two classes the mapping rises, so the order of the rows is the model's own. With more, each class has its
    sigmoid and a row's probabilities are divided by their sum.

    Args:
        model: the classifier.
        slopes: of the log-odds, one per sigmoid: one with two classes, else one per class; each above zero.
        intercepts: likewise.

    Source: Platt (1999), Probabilistic Outputs for Support Vector Machines; Niculescu-Mizil & Caruana (2005),
    Predicting Good Probabilities With Supervised Learning, ICML.
    """

    def __init__(self, model: Any, slopes: tuple[float, ...] = (1.0,), intercepts: tuple[float, ...] = (0.0,)) -> None:
        self.model = model
        self.slopes = slopes
        self.intercepts = intercepts

    @classmethod
    def on(cls, model: Any, probabilities: Floats, y: NDArray[Any]) -> Self:
        """The fitted `model`, calibrated on predictions for rows it was not trained on.

        Args:
            probabilities: shape (rows, classes), out of fold, columns in the order of `model.classes_`.
            y: shape (rows,), the classes that came true.
        """
        classes = model.classes_
        watched = range(1, 2) if len(classes) == 2 else range(len(classes))
        lines = [fit_sigmoid(probabilities[:, k], y == classes[k]) for k in watched]
        return cls(model, tuple(slope for slope, _ in lines), tuple(intercept for _, intercept in lines))

    def fit(self, X: pd.DataFrame, y: NDArray[Any]) -> Self:
        """Fit the classifier and keep the sigmoids."""
        self.model.fit(X, y)
        return self

    @property
    def classes_(self) -> NDArray[Any]:
        return np.asarray(self.model.classes_)

    def predict_proba(self, X: pd.DataFrame) -> Floats:
        """Probabilities, shape (rows, classes), columns in the order of `classes_`, each row summing to 1."""
        raw = self.model.predict_proba(X)
        if raw.shape[1] == 2:
            likely = expit(self.slopes[0] * log_odds(raw[:, 1]) + self.intercepts[0])
            return np.column_stack([1 - likely, likely])
        each = expit(np.asarray(self.slopes) * log_odds(raw) + np.asarray(self.intercepts))
        return np.asarray(each / each.sum(axis=1, keepdims=True), dtype=np.float64)

    def predict(self, X: pd.DataFrame) -> NDArray[Any]:
        """The likeliest class of each row, shape (rows,)."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def __sklearn_is_fitted__(self) -> bool:
        check_is_fitted(self.model)
        return True


def fit_sigmoid(probability: Floats, came_true: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope (above zero) and intercept of the log-odds that fit the outcomes best.

    Where the outcomes contradict the model's order, or are all alike, only the intercept moves or nothing does:
    turning a model's order around is not calibration's to do.

    Args:
        probability: shape (rows,), of the class in question.
        came_true: shape (rows,).
    """
    hits, misses = int(came_true.sum()), int((~came_true).sum())
    if not hits or not misses:
        return 1.0, 0.0
    odds = log_odds(probability)
    goal = np.where(came_true, (hits + 1) / (hits + 2), 1 / (misses + 2))  # Platt's targets: never quite 0 or 1

    def loss(line: Floats, free: bool) -> tuple[float, Floats]:
        slope = line[0] if free else 1.0
        z = slope * odds + line[-1]
        error = expit(z) - goal
        gradient = [(error * odds).mean(), error.mean()] if free else [error.mean()]
        return float((np.logaddexp(0, z) - goal * z).mean()), np.array(gradient)

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), args=(True,), jac=True, method="BFGS").x
    if slope > 0:
        return float(slope), float(intercept)
    return 1.0, float(minimize(loss, np.array([0.0]), args=(False,), jac=True, method="BFGS").x[0])
