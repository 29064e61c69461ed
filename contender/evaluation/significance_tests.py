"""Second opinions on a gain, by other arithmetic than the bootstrap's."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, rankdata

from contender.contracts.sections import Kind
from contender.evaluation.metrics import measure, sign
from contender.evaluation.ranking_metrics import Floats

_MOST_PERMUTED = 5_000
"""Rows that are dealt out, at most: on more the bootstrap's bound is as good as exact."""

_MOST_DEALS = 4_000


@dataclass(frozen=True)
class CrossCheck:
    """One method's view of the gain: the p-value is one-sided, of "the true gain is at most the floor"."""

    method: str
    gain: float
    p_value: float


def delong(y: NDArray[np.int64], champion: Floats, challenger: Floats, floor: float = 0.0) -> CrossCheck:
    """Whether the challenger's ROC AUC exceeds the champion's by more than `floor`, rows being independent.

    Args:
        y: shape (rows,), 0 or 1, both present.
        champion: shape (rows,), scores; any increasing scale.
        challenger: likewise, of the same rows.

    Source: DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44(3); computed by midranks as in Sun & Xu (2014), Fast
    Implementation of DeLong's Algorithm, IEEE Signal Processing Letters 21(11).
    """
    parts = [_placements(y, scores) for scores in (champion, challenger)]
    positives, negatives = (parts[1][side] - parts[0][side] for side in (0, 1))
    gain = float(positives.mean())
    error = float(np.sqrt(positives.var(ddof=1) / len(positives) + negatives.var(ddof=1) / len(negatives)))
    if error == 0:
        return CrossCheck("DeLong", gain, float(gain <= floor))
    return CrossCheck("DeLong", gain, NormalDist().cdf((floor - gain) / error))


def mcnemar(right_before: NDArray[np.bool_], right_now: NDArray[np.bool_]) -> CrossCheck:
    """Whether more decisions turned right than turned wrong, exactly, rows being independent.

    Args:
        right_before: shape (rows,), whether the champion decides rightly.
        right_now: likewise for the challenger.

    Source: McNemar (1947), Psychometrika 12(2), in the exact binomial form.
    """
    gained = int((~right_before & right_now).sum())
    lost = int((right_before & ~right_now).sum())
    p_value = float(binom.sf(gained - 1, gained + lost, 0.5)) if gained + lost else 1.0
    return CrossCheck("McNemar", (gained - lost) / len(right_now), p_value)


def permuted(
    kind: Kind, metric: str, y: NDArray[Any], scores: Floats, threshold: float, alpha: float, rng: np.random.Generator
) -> CrossCheck:
    """Whether scores know anything of the outcomes: how rarely outcomes dealt out at random would fit them as well.

    Exact on however few rows, and for any metric, also one that a constant answer cannot reach, such as F1.

    Args:
        y: as in `metrics.metrics`.
        scores: likewise.
        alpha: the error for which it is asked; a smaller one needs more deals.

    Source: Pitman (1937), Significance Tests Which May Be Applied to Samples from Any Populations, Supplement to the
    Journal of the Royal Statistical Society 4(1); Phipson & Smyth (2010), Permutation P-values Should Never Be Zero,
    Statistical Applications in Genetics and Molecular Biology 9(1).
    """
    if len(y) > _MOST_PERMUTED:
        rows = rng.choice(len(y), _MOST_PERMUTED, replace=False)
        y, scores = y[rows], scores[rows]
    better, deals = sign(metric), min(_MOST_DEALS, math.ceil(20 / alpha))
    reached = better * measure(kind, metric, y, scores, threshold)
    dealt = [better * measure(kind, metric, rng.permutation(y), scores, threshold) for _ in range(deals)]
    as_good = int(np.sum(np.asarray(dealt) >= reached - 1e-12))
    return CrossCheck("Pitman", reached - float(np.mean(dealt)), (1 + as_good) / (1 + deals))


def _placements(y: NDArray[np.int64], scores: Floats) -> tuple[Floats, Floats]:
    """Per positive the share of negatives below it, per negative the share of positives above it; ties count half."""
    positive = y == 1
    together = rankdata(scores)
    above = (together[positive] - rankdata(scores[positive])) / (~positive).sum()
    below = 1 - (together[~positive] - rankdata(scores[~positive])) / positive.sum()
    return above, below
