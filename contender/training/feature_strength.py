"""How well a simple fit of one feature tells the outcomes of rows that it has not seen."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.isotonic import IsotonicRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from contender.contracts.sections import Kind
from contender.evaluation.ranking_metrics import Floats
from contender.values import ModelColumn

_LEAST = 5
"""A class counts from so many rows on: below, a perfect order is easily luck."""


@dataclass(frozen=True)
class Outcomes:
    """Outcomes in time order.

    `numbers` has shape (rows, 1), of two classes as zeros and ones, or of more (rows, classes); `logarithms` says that
    a fit is of the target's logarithm.
    """

    numbers: Floats
    kind: Kind
    seed: int
    logarithms: bool = False

    @classmethod
    def of(cls, y: NDArray[np.generic], kind: Kind, seed: int) -> "Outcomes":
        if kind == "regression":
            return cls(np.asarray(y, dtype=np.float64)[:, None], kind, seed)
        codes, names = pd.factorize(np.asarray(y), sort=True)
        classes = np.eye(len(names))[codes]
        return cls(classes[:, 1:] if len(names) == 2 else classes, kind, seed)

    def at(self, rows: NDArray[np.bool_]) -> "Outcomes":
        """The same for some of the rows."""
        return Outcomes(self.numbers[rows], self.kind, self.seed)

    @property
    def turns(self) -> list[tuple[slice, slice]]:
        """Rows to fit and to measure on: older and newer, and the other way round.

        Both, because a tree fitted to a growing target's older half can't follow it into the newer one. Of classes,
        either part holds as many of the rarest that counts; it is empty where a part would hold too little.
        """
        half = len(self.numbers) // 2
        if self.kind != "regression":
            ones = self.numbers.sum(0)
            counts = np.minimum(ones, len(self.numbers) - ones)
            counting = np.flatnonzero(counts >= 2 * _LEAST)
            if not len(counting):
                return []
            column = counting[counts[counting].argmin()]
            rare = self.numbers[:, column] == float(ones[column] <= len(self.numbers) / 2)
            half = int(np.flatnonzero(rare)[int(rare.sum()) // 2])
        older, newer = slice(0, half), slice(half, None)
        return [(older, newer), (newer, older)] if min(half, len(self.numbers) - half) >= _LEAST else []

    def strength(self, rows: slice, predicted: Floats) -> float:
        """R2 in the target's own units, or the Gini of the class that is told worst; 0 where the rows can't tell.

        Args:
            predicted: shape (rows, columns of `numbers`).
        """
        truth = self.numbers[rows]
        if self.kind == "regression":
            if self.logarithms:
                truth, predicted = np.exp(truth), np.exp(np.minimum(predicted, 300))
            spread = float(((truth - truth.mean()) ** 2).sum())
            return 1 - float(((truth - predicted) ** 2).sum()) / spread if spread > 0 else 0.0
        found = [gini(truth[:, column] == 1, predicted[:, column]) for column in range(truth.shape[1])]
        return min((value for value in found if value is not None), default=0.0)


@dataclass(frozen=True)
class Feature:
    """One feature in the rows looked at: its numbers, unless it is a category, and codes, where missing has its own.

    All of shape (rows,); `texts` holds the values as they came.
    """

    name: str
    numbers: Floats | None
    codes: NDArray[np.int64]
    texts: NDArray[Any]
    filled: NDArray[np.bool_]

    @classmethod
    def of(cls, values: pd.Series, column: ModelColumn) -> "Feature":
        if column.kind in ("number", "time"):
            numbers = values.to_numpy(dtype=np.float64)
            codes = np.unique(numbers, return_inverse=True)[1]
            return cls(column.name, numbers, codes, numbers, np.isfinite(numbers))
        texts = values.to_numpy(dtype=object)
        codes = pd.factorize(texts, use_na_sentinel=False)[0]
        return cls(column.name, None, codes, texts, np.asarray(~pd.isna(texts)))


def gini(positive: NDArray[np.bool_], score: Floats) -> float | None:
    """2 AUC - 1 of a score, shape (rows,); None with too few rows of either kind for it to mean anything."""
    ones = int(positive.sum())
    zeros = len(positive) - ones
    if min(ones, zeros) < _LEAST:
        return None
    above = rankdata(score)[positive].sum() - ones * (ones + 1) / 2
    return float(2 * above / (ones * zeros) - 1)


def of_feature(feature: Feature, outcomes: Outcomes) -> float:
    """The best that a simple fit of one feature reaches."""
    return of_category(feature.codes, outcomes) if feature.numbers is None else of_number(feature.numbers, outcomes)


def of_number(values: Floats, outcomes: Outcomes) -> float:
    """Best of a straight line, a monotone step function and a small tree, where it is filled and over all rows."""
    filled = np.isfinite(values)
    found = [_of_filled(values[filled], outcomes.at(filled))] if filled.mean() > 0.05 else []
    if not filled.all():
        found.append(
            best_turn(outcomes, lambda fit, test: by_tree(np.where(filled, values, np.nan), outcomes, fit, test))
        )
    return max(found, default=0.0)


def _of_filled(values: Floats, outcomes: Outcomes) -> float:
    found = [best_turn(outcomes, lambda fit, test: by_tree(values, outcomes, fit, test))]
    if outcomes.kind == "regression":
        y = outcomes.numbers[:, 0]
        found.append(best_turn(outcomes, lambda fit, test: _line(values[fit], y[fit], values[test])))
        found.append(best_turn(outcomes, lambda fit, test: _steps(values[fit], y[fit], values[test])))
    elif outcomes.kind == "binary":
        found.append(abs(gini(outcomes.numbers[:, 0] == 1, values) or 0.0))
    return max(found)


def of_category(codes: NDArray[np.int64], outcomes: Outcomes) -> float:
    """What the average outcome of each category tells; a category that is new in the measured rows gets the overall.

    Args:
        codes: shape (rows,), from 0 on; missing is a category of its own.
    """
    return best_turn(outcomes, lambda fit, test: category_rates(codes, outcomes, fit)[codes[test]])


def category_rates(codes: NDArray[np.int64], outcomes: Outcomes, fit: slice) -> Floats:
    """Average outcome per category over the fitted rows, pulled to the overall one as by one more row."""
    size, y = int(codes.max()) + 1, outcomes.numbers[fit]
    sums = np.stack([np.bincount(codes[fit], weights=column, minlength=size) for column in y.T], axis=1)
    counts = np.bincount(codes[fit], minlength=size)[:, None]
    return np.asarray((sums + y.mean(0)) / (counts + 1), dtype=np.float64)


def best_turn(outcomes: Outcomes, predict: Callable[[slice, slice], Floats]) -> float:
    """Strength of what is fitted to one part of the rows, on the other part, whichever way round is better."""
    return max((outcomes.strength(test, predict(fit, test)) for fit, test in outcomes.turns), default=0.0)


def _line(x: Floats, y: Floats, new: Floats) -> Floats:
    variance = x.var()
    slope = ((x - x.mean()) * (y - y.mean())).mean() / variance if variance > 0 else 0.0
    return np.asarray(y.mean() + slope * (new - x.mean()), dtype=np.float64)[:, None]


def _steps(x: Floats, y: Floats, new: Floats) -> Floats:
    rises = bool(((rankdata(x) - (len(x) + 1) / 2) * (y - y.mean())).sum() >= 0)
    fitted = IsotonicRegression(increasing=rises, out_of_bounds="clip").fit(x, y)
    return np.asarray(fitted.predict(new), dtype=np.float64)[:, None]


def by_tree(values: Floats, outcomes: Outcomes, fit: slice, test: slice, depth: int | None = None) -> Floats:
    """Predictions of a small tree, shape (rows, columns of the outcomes); a class it never saw has no chance.

    Args:
        values: shape (rows,) or (rows, features); NaN is a value of its own.
    """
    table = values.reshape(len(values), -1)
    limits = {"max_depth": depth, "max_leaf_nodes": 64, "min_samples_leaf": 5, "random_state": outcomes.seed}
    if outcomes.kind == "regression":
        tree = DecisionTreeRegressor(**limits).fit(table[fit], outcomes.numbers[fit])
        return np.asarray(tree.predict(table[test]), dtype=np.float64)[:, None]
    wide = outcomes.numbers if outcomes.numbers.shape[1] > 1 else np.hstack([1 - outcomes.numbers, outcomes.numbers])
    tree = DecisionTreeClassifier(**limits).fit(table[fit], wide[fit].argmax(1))
    chances = np.zeros((len(table[test]), wide.shape[1]))
    chances[:, tree.classes_] = tree.predict_proba(table[test])
    return chances[:, -outcomes.numbers.shape[1] :]
