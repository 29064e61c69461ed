"""Folds of rows with outcomes: in time order, or, where no row came before another, each block in turn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, TimeSeriesSplit

Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Positions of the rows to train on and of those to test on."""


def time_folds(y: NDArray[Any], folds: int, gap: int = 0) -> Iterator[Fold]:
    """Training and testing rows of each fold: all before a moment, and the block after it.

    The rows, oldest first, are cut into `folds + 1` blocks of one size; the first is only trained on. A fold whose
    training or testing outcomes are all the same says nothing and is left out.

    Args:
        y: shape (rows,), outcomes in time order.
        gap: newest training rows left out, because their outcomes were not known yet when testing starts.
    """
    for train, test in TimeSeriesSplit(folds).split(y):
        # scikit-learn's own `gap` refuses all folds where the first is too short for it; the later ones are not.
        known = train[: max(0, len(train) - gap)]
        if _differ(y, known, test):
            yield known, test


def drawn_folds(y: NDArray[Any], folds: int) -> Iterator[Fold]:
    """Training and testing rows of each fold, for rows in drawn order: a block, and all others to train on.

    Few rows tell more this way: each is tested once, by a model that has seen nearly all others. A fold whose training
    or testing outcomes are all the same is left out.
    """
    for train, test in KFold(folds).split(y):
        if _differ(y, train, test):
            yield train, test


def folds_of(y: NDArray[Any], folds: int, *, gap: int, drawn: bool) -> list[Fold]:
    """`drawn_folds`, or `time_folds` where the rows are in time order."""
    return list(drawn_folds(y, folds) if drawn else time_folds(y, folds, gap))


def _differ(y: NDArray[Any], *parts: NDArray[np.int64]) -> bool:
    return all(len(np.unique(y[rows])) > 1 for rows in parts)
