"""Second opinions on a gain, by other arithmetic than the bootstrap's."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, rankdata

from contender.evaluation.ranking_metrics import Floats


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


def _placements(y: NDArray[np.int64], scores: Floats) -> tuple[Floats, Floats]:
    """Per positive the share of negatives below it, per negative the share of positives above it; ties count half."""
    positive = y == 1
    together = rankdata(scores)
    above = (together[positive] - rankdata(scores[positive])) / (~positive).sum()
    below = 1 - (together[~positive] - rankdata(scores[~positive])) / positive.sum()
    return above, below
