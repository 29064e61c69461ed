"""ROC AUC and average precision as functions of row weights, ties exact, cheap where positives are rare."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Indices = NDArray[np.intp]
Weighted = Callable[[Integers], Floats]
"""Gives a metric, shape (draws,), for integer row weights of shape (draws, rows)."""


def divide(above: Floats | Integers, below: Floats | Integers, otherwise: float = np.nan) -> Floats:
    """The ratio where `below` is positive, `otherwise` elsewhere."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    ratio: Floats = np.full(shape, otherwise, dtype=np.float64)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio


def roc_auc(y: Integers, scores: Floats) -> Weighted:
    """Share of (positive, negative) pairs in the right order; a tie counts half.

    Source: Hanley & McNeil (1982), The meaning and use of the area under a ROC curve, Radiology 143(1).
    """
    ranking = _Ranking.of(y, scores)
    tied = bool((ranking.below != ranking.through).any())

    def evaluate(weights: Integers) -> Floats:
        own, negatives = ranking.split(weights)
        won = negatives.take(ranking.below, axis=1)
        won += negatives.take(ranking.through, axis=1) if tied else won
        return divide((own * won).sum(axis=1) / 2, own.sum(axis=1) * negatives[:, -1])

    return evaluate


def average_precision(y: Integers, scores: Floats) -> Weighted:
    """Precision at each positive's own score, averaged over the positives: scikit-learn's step-wise definition.

    Source: scikit-learn user guide, 3.4 "Precision, recall and F-measures".
    """
    ranking = _Ranking.of(y, scores)

    def evaluate(weights: Integers) -> Floats:
        own, negatives = ranking.split(weights)
        positives = _running(own)
        hits = positives[:, -1:] - positives.take(ranking.own_below, axis=1)
        false = negatives[:, -1:] - negatives.take(ranking.below, axis=1)
        precision = divide(hits, hits + false, otherwise=0.0)
        return divide((own * precision).sum(axis=1), positives[:, -1])

    return evaluate


@dataclass(frozen=True)
class _Ranking:
    """Where each positive stands among the others.

    `positive` and `negative` are rows in ascending order of their scores; per positive, `below` and `through` count
    the negatives scored below, and below or equal, and `own_below` the positives below. Looking negatives up at the
    positives alone makes rare positives cheap and ties exact.
    """

    positive: Indices
    negative: Indices
    below: Indices
    through: Indices
    own_below: Indices

    @classmethod
    def of(cls, y: Integers, scores: Floats) -> Self:
        positive, negative = (np.flatnonzero(y == label) for label in (1, 0))
        positive = positive[np.argsort(scores[positive], kind="stable")]
        negative = negative[np.argsort(scores[negative], kind="stable")]
        at, among = scores[positive], scores[negative]
        return cls(
            positive,
            negative,
            below=np.searchsorted(among, at, side="left"),
            through=np.searchsorted(among, at, side="right"),
            own_below=np.searchsorted(at, at, side="left"),
        )

    def split(self, weights: Integers) -> tuple[Integers, Integers]:
        """Weights of the positives, and running sums of the negatives' weights, both in order of score."""
        return weights.take(self.positive, axis=1), _running(weights.take(self.negative, axis=1))


def _running(weights: Integers) -> Integers:
    """Sums of the first 0, 1, … columns."""
    total = np.zeros((weights.shape[0], weights.shape[1] + 1), dtype=np.int64)
    np.cumsum(weights, axis=1, out=total[:, 1:])
    return total
