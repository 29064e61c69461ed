"""Time-ordered folds: what a search trains on is older than what it is measured on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import TimeSeriesSplit


def time_folds(y: NDArray[Any], folds: int, gap: int = 0) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
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
        if all(len(np.unique(y[rows])) > 1 for rows in (known, test)):
            yield known, test
