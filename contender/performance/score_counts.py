"""A model's scores of some days and what became of them, in a form that does not grow with the rows.

Rows whose scores lie in one narrow bin are one point, with their mean score and how often each outcome came. Whatever
says how good a model is follows from the points, and tallies of several days add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contender.contracts.sections import LOWER_IS_BETTER, METRICS, Kind
from contender.evaluation.probabilities import inside
from contender.evaluation.ranking_metrics import Floats, Integers
from contender.evaluation.weighted_metrics import weighted_metric
from contender.performance import class_counts
from contender.performance.class_counts import OF_CLASSES, Named
from contender.values import Interval

BINS_PER_UNIT = 100
"""Bins are 0.01 wide, in log-odds of a probability and in asinh of a number: scores that differ by 1 % at most. Of
probabilities there are 3,224, as those beyond the bound of `probabilities` share one: log loss is the same for them."""

DRAWS = 300
_LEAST_DEFINED = 0.95
FIELDS = ("score", "flagged", "predictions", "mature", "hits", "absolute", "squared", "quartic")


@dataclass(frozen=True)
class Tally:
    """Points, each array of shape (points,).

    `score` is the mean score (several classes: of the likeliest one) or the predicted number; `flagged` whether the
    prediction is "yes". Of `mature` of the `predictions` the outcome is in and final: `hits` of these came true
    (several classes: were named rightly); `absolute`, `squared` and `quartic` sum the errors of numbers and their
    powers. `outcome_mean` and `outcome_variance` are of the mature outcomes of numbers; `named` is of several classes.
    """

    kind: Kind
    score: Floats
    flagged: NDArray[np.bool_]
    predictions: Integers
    mature: Integers
    hits: Integers
    absolute: Floats
    squared: Floats
    quartic: Floats
    outcome_mean: float = 0.0
    outcome_variance: float = 0.0
    named: Named = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        kind: Kind,
        points: Sequence[Mapping[str, Any]],
        mean: float | None,
        variance: float | None,
        named: Named | None = None,
    ) -> Self:
        """From points as the table keeps them."""
        types: dict[str, type] = {"flagged": bool, "predictions": np.int64, "mature": np.int64, "hits": np.int64}
        columns: dict[str, Any] = {
            name: np.array([point[name] for point in points], dtype=types.get(name, np.float64)) for name in FIELDS
        }
        return cls(kind, **columns, outcome_mean=mean or 0.0, outcome_variance=variance or 0.0, named=named or {})

    @property
    def volume(self) -> int:
        """Predictions."""
        return int(self.predictions.sum())

    @property
    def known(self) -> int:
        """Mature outcomes."""
        return int(self.mature.sum())

    @property
    def loss(self) -> float | None:
        """Mean loss of the mature outcomes, lower is better; None without any.

        Log loss of two classes, squared error of numbers, share of wrong names of several classes: what a model that
        knows less loses on average, whatever the metric that decides. It tells changes from luck better than metrics
        of order do, and means of days add up.

        Source: Gneiting & Raftery (2007), Strictly proper scoring rules, prediction, and estimation, JASA 102(477).
        """
        if not self.known:
            return None
        if self.kind == "regression":
            return float(self.squared.sum() / self.known)
        if self.kind == "multiclass":
            return float(1 - self.hits.sum() / self.known)
        return float(self.weigh("log_loss", self._came_true)[0])

    def measure(self) -> dict[str, float]:
        """Every quality that has a meaning on the mature outcomes, by metric; empty without any."""
        if not self.known:
            return {}
        if self.kind == "regression":
            sums = (self.absolute.sum(), self.squared.sum(), self.known, self.outcome_variance)
            found = {metric: float(value) for metric, value in errors_of(*map(np.asarray, sums)).items()}
        elif self.kind == "multiclass":
            pairs = class_counts.known(self.named)
            counts = np.array([list(pairs.values())])
            found = {name: float(class_counts.weigh(name, list(pairs), counts)[0]) for name in OF_CLASSES}
        else:
            found = {metric: float(self.weigh(metric, self._came_true)[0]) for metric in METRICS["binary"]}
            if self.hits.sum() == self.known:
                # Where only those that came true are in, any order of them is perfect, and says nothing.
                del found["average_precision"]
        return {metric: value for metric, value in found.items() if np.isfinite(value)}

    @property
    def _came_true(self) -> Integers:
        """How often each point came true, then how often it did not, shape (1, 2 * points)."""
        return np.asarray(np.concatenate([self.hits, self.mature - self.hits])[None], dtype=np.int64)

    def weigh(self, metric: str, weights: Integers) -> Floats:
        """A binary metric, shape (draws,), where point k came true so often and failed to so often.

        Args:
            weights: shape (draws, 2 * points): how often each point came true, then how often it did not.
        """
        y = np.repeat(np.array([1, 0], dtype=np.int64), len(self.score))
        scores = np.tile(self.flagged.astype(np.float64) if metric in OF_CLASSES else self.score, 2)
        return weighted_metric("binary", metric, y, scores, 0.5)(weights)

    def interval(self, metric: str, rng: np.random.Generator) -> Interval | None:
        """Two-sided 90 % interval of a measured quality; None where the rows are too few or too alike for one.

        Rows count as independent. Classifiers: a bootstrap over rows, classes not held fixed, because the share of
        each is luck too. Numbers: the normal interval of the mean error; of R2 with an outcome spread as uncertain
        as that of normal numbers.

        Source: Davison & Hinkley (1997), Bootstrap Methods and their Application, chapter 2.
        """
        point = self.measure().get(metric)
        if point is None or self.known < 2:
            return None
        if self.kind == "regression":
            return self._interval_of_errors(metric, point)
        if self.kind == "multiclass":
            pairs = class_counts.known(self.named)
            counts = np.array(list(pairs.values()))
            drawn = class_counts.weigh(metric, list(pairs), rng.multinomial(self.known, counts / self.known, DRAWS))
            return interval_of(drawn, point)
        drawn = self.weigh(metric, rng.multinomial(self.known, self._came_true[0] / self.known, DRAWS))
        return interval_of(drawn, point)

    def _interval_of_errors(self, metric: str, point: float) -> Interval:
        rows = self.known
        square, fourth = self.squared.sum() / rows, self.quartic.sum() / rows
        if metric == "mae":
            return _normal(point, max(0.0, square - point**2) / rows)
        luck = max(0.0, fourth - square**2) / rows
        if metric == "rmse":
            error = _normal(square, luck)
            return Interval(max(0.0, error.low) ** 0.5, error.high**0.5)
        unexplained = 1 - point
        return _normal(point, luck / self.outcome_variance**2 + unexplained**2 * 2 / rows)


def add_up(tallies: Sequence[Tally], bins_per_unit: int = BINS_PER_UNIT) -> Tally:
    """One tally of all, no longer than one of a day; of fewer bins where that is precise enough.

    Raises:
        ValueError: there are none.
    """
    if not tallies:
        raise ValueError("there are no tallies to add up")
    kind = tallies[0].kind
    columns = {name: np.concatenate([getattr(tally, name) for tally in tallies]) for name in FIELDS}
    bins = np.concatenate([place_of(tally, bins_per_unit) for tally in tallies])
    _, first, place = np.unique(bins, return_index=True, return_inverse=True)

    def summed(values: NDArray[Any]) -> Floats:
        return np.asarray(np.bincount(place, weights=values, minlength=len(first)), dtype=np.float64)

    rows = np.array([tally.known for tally in tallies], dtype=np.float64)
    means, variances = (np.array([getattr(t, f"outcome_{name}") for t in tallies]) for name in ("mean", "variance"))
    total = max(1.0, rows.sum())
    mean = float((rows * means).sum() / total)
    together: dict[str, Any] = {name: summed(columns[name]) for name in ("absolute", "squared", "quartic")}
    together |= {name: summed(columns[name]).astype(np.int64) for name in ("predictions", "mature", "hits")}
    score = summed(columns["score"] * columns["predictions"]) / np.maximum(1, together["predictions"])
    variance = float((rows * (variances + (means - mean) ** 2)).sum() / total)
    return Tally(
        kind=kind,
        score=score,
        flagged=columns["flagged"][first],
        **together,
        outcome_mean=mean,
        outcome_variance=variance,
        named=class_counts.add_up([tally.named for tally in tallies]),
    )


def bin_of(kind: Kind, scores: Floats, bins_per_unit: int = BINS_PER_UNIT) -> Integers:
    """Number of each score's bin."""
    if kind == "regression":
        place = np.arcsinh(scores)
    else:
        likely = inside(scores)
        place = np.log(likely / (1 - likely))
    return np.asarray(np.floor(place * bins_per_unit), dtype=np.int64)


def place_of(tally: Tally, bins_per_unit: int = BINS_PER_UNIT) -> Integers:
    """Number of each point's bin and decision; the points of a sum of tallies are in its order."""
    return np.asarray(2 * bin_of(tally.kind, tally.score, bins_per_unit) + tally.flagged, dtype=np.int64)


def interval_of(drawn: Floats, point: float, beyond: float = 0.05) -> Interval | None:
    """What 90 % of the draws lie within, and the point; None where too many have no meaning.

    Args:
        beyond: share of the draws that is left out at either end.
    """
    defined = drawn[np.isfinite(drawn)]
    if len(defined) < _LEAST_DEFINED * len(drawn):
        return None
    low, high = np.quantile(defined, (beyond, 1 - beyond))
    return Interval(float(min(low, point)), float(max(high, point)))


def metric_of(kind: Kind, metric: str) -> str:
    """The contract's metric, or the one that stands for it where predictions do not keep enough to measure it."""
    return "accuracy" if kind == "multiclass" and metric not in OF_CLASSES else metric


def worse(metric: str, value: float, than: float) -> bool:
    """Whether a quality lies below another, or above where lower is better."""
    return value > than if metric in LOWER_IS_BETTER else value < than


def errors_of(absolute: Floats, squared: Floats, rows: Floats, variance: Floats) -> dict[str, Floats]:
    """Every metric of numbers, each in the shape of the sums given; R2 is NaN where outcomes do not differ."""
    square = squared / rows
    spread = np.where(variance > 0, variance, np.nan)
    return {"rmse": np.sqrt(square), "mae": absolute / rows, "r2": 1 - square / spread}


def _normal(mean: float, variance: float) -> Interval:
    away = 1.6448536269514722 * variance**0.5
    return Interval(mean - away, mean + away)
