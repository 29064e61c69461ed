"""How well a simple fit of one feature tells the outcomes of rows that it has not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from contender.contracts.sections import Kind
from contender.evaluation.ranking_metrics import Floats
from contender.values import ModelColumn

_LEAST = 5
"""A turn needs so many rows of the rarest class that counts."""

_SUBSTANTIAL = 0.05
"""Of several classes those count that hold this share of the rows: who knows a rarer one knows little.

Of so many classes that none could, those that hold half of what each would if all were as frequent."""

_CERTAINTY = 1.645
"""Standard errors of a one-sided bound of 95 %."""


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

    @property
    def telling(self) -> NDArray[np.bool_]:
        """The columns of `numbers` that count, shape (columns,)."""
        classes = self.numbers.shape[1]
        return np.asarray((self.numbers.mean(0) >= min(_SUBSTANTIAL, 0.5 / classes)) | (classes == 1))

    def strengths(self, predict: Callable[[slice, slice], Floats]) -> Floats:
        """How well what is fitted to one part of the rows reproduces each column of the outcomes in the other part.

        Of numbers it is R2 in the target's own units, of a class the share of a plain guess's mistakes that the best
        cut surely avoids (see `avoided`), by whichever turn tells more, or by both together; 0 where a class is too
        small to count.

        Args:
            predict: from rows to fit and rows to measure on to predictions, shape (measured rows, columns).
        """
        told = [(self.numbers[test], predict(fit, test)) for fit, test in self.turns]
        if not told:
            return np.zeros(self.numbers.shape[1])
        if self.kind == "regression":
            return np.array([max(self._explained(truth, predicted) for truth, predicted in told)])
        found = np.zeros(self.numbers.shape[1])
        for column in np.flatnonzero(self.telling):
            counts = [_counted(truth[:, column] == 1, predicted[:, column]) for truth, predicted in told]
            counts.append((sum(wrong for wrong, _ in counts), sum(rarer for _, rarer in counts)))
            found[column] = max(avoided(*count) for count in counts)
        return found

    def worst(self, strengths: Floats) -> float:
        """The strength of the class that is told worst of those that count; 0 where none does."""
        return float(strengths[self.telling].min()) if self.telling.any() else 0.0

    def _explained(self, truth: Floats, predicted: Floats) -> float:
        if self.logarithms:
            truth, predicted = np.exp(truth), np.exp(np.minimum(predicted, 300))
        spread = float(((truth - truth.mean()) ** 2).sum())
        return 1 - float(((truth - predicted) ** 2).sum()) / spread if spread > 0 else 0.0


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
            return cls.number(column.name, values.to_numpy(dtype=np.float64))
        texts = values.to_numpy(dtype=object)
        codes = pd.factorize(texts, use_na_sentinel=False)[0]
        return cls(column.name, None, codes, texts, np.asarray(~pd.isna(texts)))

    @classmethod
    def number(cls, name: str, numbers: Floats) -> "Feature":
        codes = np.unique(numbers, return_inverse=True)[1]
        return cls(name, numbers, codes, numbers, np.isfinite(numbers))

    def at(self, rows: NDArray[np.bool_]) -> "Feature":
        """The same in some of the rows."""
        numbers = self.numbers[rows] if self.numbers is not None else None
        return Feature(self.name, numbers, self.codes[rows], self.texts[rows], self.filled[rows])


def avoided(wrong: int, rarer: int) -> float:
    """Share of the mistakes of always guessing the commoner outcome that a score surely avoids; 1 is all of them.

    The lower end of a one-sided 95 % interval, so that a few rows that happen to be right don't count as knowledge: of
    26 rows of the rarer outcome, none wrong, it is 0.9.

    Args:
        wrong: rows on the wrong side of the score's best cut.
        rarer: rows of the rarer outcome, which the plain guess gets wrong.

    Source: Goodman & Kruskal (1954), Measures of Association for Cross Classifications, JASA 49; Wilson (1927).
    """
    if not rarer:
        return 0.0
    rows, square = 2 * rarer, _CERTAINTY**2
    share = wrong / rows
    spread = _CERTAINTY * float(np.sqrt(share * (1 - share) / rows + square / (4 * rows**2)))
    return max(0.0, 1 - 2 * (share + square / (2 * rows) + spread) / (1 + square / rows))


def _counted(positive: NDArray[np.bool_], score: Floats) -> tuple[int, int]:
    """Rows on the wrong side of the cut where they are fewest, and rows of the rarer outcome."""
    ones = int(positive.sum())
    rarer = min(ones, len(positive) - ones)
    order = np.argsort(-score, kind="stable")
    above = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    hits = np.cumsum(positive[order])[above]
    return min(rarer, int((ones + above + 1 - 2 * hits).min())), rarer


@dataclass(frozen=True)
class Told:
    """The best that a simple fit of one feature reaches, and the rows, shape (rows,): all, or those that are filled."""

    strength: float
    rows: NDArray[np.bool_]


def of_whole(strengths: Floats) -> float:
    """One strength of all that is told.

    Of several classes the one that is told second best counts: whoever has no internet is known to have no online
    backup, and no more than that.
    """
    return float(np.sort(strengths)[-min(2, len(strengths))])


def of_feature(feature: Feature, outcomes: Outcomes) -> Told:
    """The best that a simple fit of one feature reaches."""
    if feature.numbers is not None:
        return of_number(feature.numbers, outcomes)
    return Told(of_whole(of_category(feature.codes, outcomes)), np.ones(len(feature.codes), dtype=bool))


def of_number(values: Floats, outcomes: Outcomes) -> Told:
    """Best of a straight line, a monotone step function and a small tree, where it is filled and over all rows."""
    filled = np.isfinite(values)
    found = [Told(0.0, filled)]
    if filled.mean() > 0.05:
        found.append(Told(of_whole(_of_filled(values[filled], outcomes.at(filled))), filled))
    if not filled.all():
        gaps = np.where(filled, values, np.nan)
        every = outcomes.strengths(lambda fit, test: by_tree(gaps, outcomes, fit, test))
        found.append(Told(of_whole(every), np.ones(len(values), dtype=bool)))
    return max(found, key=lambda told: told.strength)


def _of_filled(values: Floats, outcomes: Outcomes) -> Floats:
    found = [outcomes.strengths(lambda fit, test: by_tree(values, outcomes, fit, test))]
    if outcomes.kind == "regression":
        y = outcomes.numbers[:, 0]
        found.append(outcomes.strengths(lambda fit, test: _line(values[fit], y[fit], values[test])))
        found.append(outcomes.strengths(lambda fit, test: _steps(values[fit], y[fit], values[test])))
    elif outcomes.kind == "binary":
        positive = outcomes.numbers[:, 0] == 1
        found += [np.array([avoided(*_counted(positive, way * values))]) for way in (1, -1)]
    return np.asarray(np.max(found, axis=0))


def of_category(codes: NDArray[np.int64], outcomes: Outcomes) -> Floats:
    """What the average outcome of each category tells; a category that is new in the measured rows gets the overall.

    Args:
        codes: shape (rows,), from 0 on; missing is a category of its own.
    """
    return outcomes.strengths(lambda fit, test: category_rates(codes, outcomes, fit)[codes[test]])


def of_many(features: Sequence[Feature], outcomes: Outcomes) -> Floats:
    """What boosted trees or a linear fit tell with all these features, shape (columns,) as `Outcomes.strengths`."""
    varied = [feature for feature in features if feature.codes.max(initial=0) > 0]
    if not varied:
        return np.zeros(outcomes.numbers.shape[1])
    table = np.column_stack([f.codes.astype(np.float64) if f.numbers is None else f.numbers for f in varied])
    words = [place for place, feature in enumerate(varied) if feature.numbers is None]

    def fitted(make: Callable[[], Any]) -> Floats:
        def predict(fit: slice, test: slice) -> Floats:
            told = []
            for y in outcomes.numbers[fit].T:
                filled = np.isfinite(table[fit]).any(0)
                seen, new = np.where(filled, table[fit], 0.0), np.where(filled, table[test], 0.0)
                if words:
                    encoder = TargetEncoder(target_type="continuous", cv=KFold(3))
                    seen[:, words] = encoder.fit_transform(seen[:, words], y)
                    new[:, words] = encoder.transform(new[:, words])
                told.append(make().fit(seen, y).predict(new))
            return np.stack(told, axis=1)

        return outcomes.strengths(predict)

    trees = partial(HistGradientBoostingRegressor, max_iter=60, min_samples_leaf=5, random_state=outcomes.seed)
    # Numbers of very different size lie side by side, and some features hold nothing in one of the turns.
    line = partial(make_pipeline, SimpleImputer(keep_empty_features=True), StandardScaler(), Ridge(1e-6))
    return np.maximum(fitted(trees), fitted(line))


def category_rates(codes: NDArray[np.int64], outcomes: Outcomes, fit: slice) -> Floats:
    """Average outcome per category over the fitted rows, pulled to the overall one as by one more row."""
    size, y = int(codes.max()) + 1, outcomes.numbers[fit]
    sums = np.stack([np.bincount(codes[fit], weights=column, minlength=size) for column in y.T], axis=1)
    counts = np.bincount(codes[fit], minlength=size)[:, None]
    return np.asarray((sums + y.mean(0)) / (counts + 1), dtype=np.float64)


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
    # Trees hold 32 bits: a larger number is no reason to fail.
    largest = float(np.finfo(np.float32).max)
    table = np.clip(values.reshape(len(values), -1), -largest, largest)
    limits = {"max_depth": depth, "max_leaf_nodes": 64, "min_samples_leaf": 5, "random_state": outcomes.seed}
    if outcomes.kind == "regression":
        tree = DecisionTreeRegressor(**limits).fit(table[fit], outcomes.numbers[fit])
        return np.asarray(tree.predict(table[test]), dtype=np.float64)[:, None]
    wide = outcomes.numbers if outcomes.numbers.shape[1] > 1 else np.hstack([1 - outcomes.numbers, outcomes.numbers])
    tree = DecisionTreeClassifier(**limits).fit(table[fit], wide[fit].argmax(1))
    chances = np.zeros((len(table[test]), wide.shape[1]))
    chances[:, tree.classes_] = tree.predict_proba(table[test])
    return chances[:, -outcomes.numbers.shape[1] :]
