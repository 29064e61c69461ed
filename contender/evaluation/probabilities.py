"""How near to 0 and 1 a probability may come before its logarithm is taken: one bound for search, judge, estimate."""

from typing import Any

import numpy as np
from scipy.special import logit

from contender.evaluation.ranking_metrics import Floats

SMALLEST = 1e-7
"""Probabilities nearer than this to 0 or 1 count as this: a forest's plain 0 has no log-odds, and one such row that
came true must not outweigh all others."""


def inside(probability: Any) -> Floats:
    """The probabilities, in their shape, none nearer to 0 or 1 than `SMALLEST`."""
    return np.asarray(np.clip(probability, SMALLEST, 1 - SMALLEST), dtype=np.float64)


def log_odds(probability: Floats) -> Floats:
    """Finite log-odds of the probabilities, in their shape."""
    return np.asarray(logit(inside(probability)), dtype=np.float64)
