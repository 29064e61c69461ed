"""The fewest features that together reproduce an outcome in a simple fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from contender.evaluation.ranking_metrics import Floats
from contender.training.feature_strength import Feature, Outcomes, by_tree, category_rates

FEW = 4
"""So many features that reproduce an outcome are a leak; of more, only an exact sum is."""

_EXACT = 0.99999
_RIDGE = 1e-12
_CATEGORIES = 50
_ABOUT = 0.25
"""Least squares finds a plane between classes only roughly; so much below the limit a set is looked at again."""


_Sums = Mapping[int, tuple[Floats, Floats, Floats, Floats]]
"""What least squares needs of the rows of a turn, by the first of them."""


@dataclass(frozen=True)
class Design:
    """Features as numbers for a fit of several: `table` of shape (rows, columns), standardised; column k belongs to
    the feature `owners[k]`."""

    table: Floats
    owners: NDArray[np.str_]
    outcomes: Outcomes

    def few_that_reproduce(self, limit: float) -> tuple[tuple[str, ...], float] | None:
        """The fewest features with which a linear fit, or for classes a tree of depth 4, reaches the limit."""
        names = sorted(set(self.owners.tolist()))
        if not names or not self.outcomes.turns:
            return None
        sums = {fit.start: self._sums(fit) for fit, _ in self.outcomes.turns}
        for start in (names, self._forward(names, sums[0])):
            about = limit if self.outcomes.kind == "regression" else limit - _ABOUT
            if self._linear(start, sums) < about:
                continue
            found, strength = self._pruned(start, sums, about)
            if self.outcomes.kind != "regression":
                strength = self._cut(found) if len(found) <= FEW else 0.0
            if (len(found) <= FEW and strength >= limit) or (self.outcomes.kind == "regression" and strength >= _EXACT):
                return tuple(found), strength
        return None if self.outcomes.kind == "regression" else self._by_tree(names, limit)

    def without(self, names: Sequence[str]) -> "Design":
        """The same without some features."""
        kept = ~np.isin(self.owners, list(names))
        return Design(self.table[:, kept], self.owners[kept], self.outcomes)

    def _columns(self, names: Sequence[str]) -> NDArray[np.int64]:
        return np.flatnonzero(np.isin(self.owners, names))

    def _sums(self, fit: slice) -> tuple[Floats, Floats, Floats, Floats]:
        """Products of columns and outcomes over the fitted rows, about their means: all that least squares needs."""
        x, y = self.table[fit], self.outcomes.numbers[fit]
        means, level = x.mean(0), y.mean(0)
        x = x - means
        return x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]), x.T @ (y - level), means, level

    def _linear(self, names: Sequence[str], sums: _Sums) -> float:
        columns = self._columns(names)

        def predict(fit: slice, test: slice) -> Floats:
            products, with_y, means, level = sums[fit.start]
            weights = np.linalg.solve(products[np.ix_(columns, columns)], with_y[columns])
            line = np.asarray((self.table[:, columns] - means[columns]) @ weights + level)
            # A class that lies between others on the line is no end of it.
            return by_tree(line, self.outcomes, fit, test) if line.shape[1] > 1 else line[test]

        return self._worst(predict)

    def _cut(self, names: Sequence[str]) -> float:
        """Strength of the best plane between the classes: least squares finds it only roughly where one is rare."""
        table = self.table[:, self._columns(names)]

        def predict(fit: slice, test: slice) -> Floats:
            planes = []
            for truth in self.outcomes.numbers[fit].T:
                apart = 0 < truth.sum() < len(truth)
                model = LogisticRegression(C=1e4, max_iter=200).fit(table[fit], truth) if apart else None
                planes.append(model.decision_function(table) if model else np.zeros(len(table)))
            line = np.stack(planes, axis=1)
            return by_tree(line, self.outcomes, fit, test) if line.shape[1] > 1 else line[test]

        return self._worst(predict)

    def _worst(self, predict: Callable[[slice, slice], Floats]) -> float:
        """Of more than two classes the one that is told worst: several features often tell one class from the rest."""
        return self.outcomes.worst(self.outcomes.strengths(predict))

    def _forward(self, names: Sequence[str], sums: tuple[Floats, Floats, Floats, Floats]) -> list[str]:
        """Features that lower the squared error most, one after the other; two more than few, to be pruned."""
        products, with_y, _, _ = sums

        def explained(chosen: Sequence[str]) -> float:
            columns = self._columns(chosen)
            weights = np.linalg.solve(products[np.ix_(columns, columns)], with_y[columns])
            return float((weights * with_y[columns]).sum())

        found: list[str] = []
        for _ in range(min(FEW + 2, len(names))):
            found.append(max((name for name in names if name not in found), key=lambda name: explained([*found, name])))
        return found

    def _pruned(self, names: Sequence[str], sums: _Sums, limit: float) -> tuple[list[str], float]:
        """Drop the feature that the fit misses least, while what is left still reaches the limit."""
        found, strength = list(names), self._linear(names, sums)
        while len(found) > 1:
            columns = self._columns(found)
            products, with_y, _, _ = sums[0]
            inverse = np.linalg.inv(products[np.ix_(columns, columns)])
            missed = ((inverse @ with_y[columns]) ** 2).sum(1) / np.diag(inverse)
            owners = self.owners[columns]
            least = min(found, key=lambda name: float(missed[owners == name].sum()))
            rest = [name for name in found if name != least]
            reached = self._linear(rest, sums)
            if reached < limit:
                break
            found, strength = rest, reached
        return found, strength

    def _by_tree(self, names: Sequence[str], limit: float) -> tuple[tuple[str, ...], float] | None:
        def reached(chosen: Sequence[str]) -> float:
            table = self.table[:, self._columns(chosen)]
            return self._worst(lambda fit, test: by_tree(table, self.outcomes, fit, test, depth=4))

        if reached(names) < limit:
            return None
        tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=5, random_state=self.outcomes.seed)
        tree.fit(self.table, self.outcomes.numbers)
        weights = {name: float(tree.feature_importances_[self._columns([name])].sum()) for name in names}
        ordered = sorted(names, key=lambda name: -weights[name])
        tried = ((tuple(ordered[:size]), reached(ordered[:size])) for size in range(1, min(FEW, len(ordered)) + 1))
        return next((one for one in tried if one[1] >= limit), None)


def as_they_are(features: Sequence[Feature], outcomes: Outcomes) -> Design | None:
    """Numbers with a flag for what is missing, and the average outcome per category where there are few categories."""
    columns: list[tuple[str, Floats]] = []
    for feature in features:
        if feature.numbers is None:
            if feature.codes.max() < _CATEGORIES:
                rates = category_rates(feature.codes, outcomes, outcomes.turns[0][0])[feature.codes]
                columns += [(feature.name, column) for column in rates.T]
        elif feature.filled.any():
            columns.append(
                (feature.name, np.where(feature.filled, feature.numbers, np.median(feature.numbers[feature.filled])))
            )
            columns.append((feature.name, feature.filled.astype(np.float64)))
    return _designed(columns, outcomes)


def as_logarithms(features: Sequence[Feature], outcomes: Outcomes) -> Design | None:
    """Logarithms of what is above zero in nearly every row, in the rows where all of them are."""
    above = {f.name: f.numbers > 0 for f in features if f.numbers is not None and (f.numbers > 0).mean() >= 0.99}
    kept = np.all([*above.values(), np.ones(len(outcomes.numbers), dtype=bool)], axis=0)
    if outcomes.kind == "regression":
        kept &= outcomes.numbers[:, 0] > 0
    if kept.mean() < 0.9 or len(above) < 2:
        return None
    some = outcomes.at(kept)
    if outcomes.kind == "regression":
        some = Outcomes(np.log(some.numbers), some.kind, some.seed, logarithms=True)
    logs = [(f.name, np.log(f.numbers[kept])) for f in features if f.numbers is not None and f.name in above]
    return _designed(logs, some)


def _designed(columns: Sequence[tuple[str, Floats]], outcomes: Outcomes) -> Design | None:
    varied = [(name, values) for name, values in columns if values.max() > values.min()]
    if not varied or not outcomes.turns:
        return None
    # First to at most 1: the squares of the largest numbers there are would be none.
    table = np.column_stack([values / np.abs(values).max() for _, values in varied])
    return Design((table - table.mean(0)) / table.std(0), np.array([name for name, _ in varied]), outcomes)
