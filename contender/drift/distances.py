"""How far two samples of one column lie apart: distances that keep their meaning whatever the size of the samples.

Each equals what Evidently 0.7 computes under the same name, so that its report and our tables tell one number. None of
them is a p-value: a p-value says how sure one may be that two samples differ at all, and so grows with the sample
alone, until every column of a large table has drifted.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["wasserstein", "jensenshannon", "psi"]
Floats = NDArray[np.float64]
Values = NDArray[Any]
"""What is there of a column: floats of a number, strings of a category; none of it missing or infinite."""

_FEW_VALUES = 20
"""Numbers with at most so many different values are compared value by value, not in bins."""


def wasserstein(reference: Floats, current: Floats) -> float:
    """Area between the two distribution functions, in standard deviations of the reference.

    A column whose values all move by half a standard deviation has a distance of 0.5; 0 is the same distribution.

    Args:
        reference: shape (rows,), finite.
        current: shape (other rows,), finite.

    Source: Vaserstein (1969), Markov processes over denumerable products of spaces; normed as by Evidently, which
    takes 0.001 for a smaller standard deviation.
    """
    # Of large numbers sums lose digits that their differences need.
    middle = reference[len(reference) // 2]
    first, second = ordered(reference) - middle, ordered(current) - middle
    return _area_between(first, second) / max(float(reference.std()), 0.001)


def _area_between(first: Floats, second: Floats) -> float:
    """Area between the distribution functions of two ascending samples; sums of `first` stand for its values.

    Between two neighbours of `second` its function is level, and that of `first`, whose areas are sums of its values,
    crosses it at most once.
    """
    rows, others = len(first), len(second)
    sums = np.zeros(rows + 1)
    np.cumsum(first, out=sums[1:])
    below = np.searchsorted(first, second)
    area = (below * second - sums[below]) / rows
    number = np.arange(1, others)
    level, reached = number / others, (number * rows + others - 1) // others
    crossing = first[reached - 1]
    left, right = second[:-1], second[1:]
    inside = (reached * crossing - sums[reached]) / rows
    until = np.where(crossing < left, area[:-1], np.where(crossing > right, area[1:], inside))
    crossing = np.clip(crossing, left, right)
    between = level * (2 * crossing - left - right) + area[:-1] + area[1:] - 2 * until
    above = (sums[-1] - sums[below[-1]] - (rows - below[-1]) * second[-1]) / rows
    return float(area[0] + between.sum() + above)


def ordered(values: Floats) -> Floats:
    """The values in ascending order; the very array where they are so already."""
    return np.sort(values) if (values[1:] < values[:-1]).any() else values


def jensen_shannon(reference: Floats, current: Floats) -> float:
    """Root of the mean divergence of two distributions from their middle; from 0 to 0.83, the root of ln 2.

    Args:
        reference: shape (bins,), shares that sum to 1.
        current: shape (bins,).

    Source: Endres & Schindelin (2003), A new metric for probability distributions, IEEE Trans. Inf. Theory 49(7).
    """
    from scipy.spatial.distance import jensenshannon

    return float(jensenshannon(reference, current))


def stability_index(reference: Floats, current: Floats) -> float:
    """The population stability index; bins that are empty on one side count as nearly empty.

    Args:
        reference: shape (bins,), shares that sum to 1.
        current: shape (bins,).

    Source: Yurdakul & Naranjo (2020), Statistical properties of the population stability index, J. Risk Model
    Validation 14(4): without drift it is about (bins - 1) (1 / rows + 1 / other rows), and not 0.
    """
    full_reference, full_current = _filled(reference), _filled(current)
    return float((full_reference - full_current) @ np.log(full_reference / full_current))


def _filled(shares: Floats) -> Floats:
    least = float(shares[shares > 0].min())
    return np.where(shares > 0, shares, least / 1e6 if least <= 1e-4 else 1e-4)


_OF_SHARES: dict[Method, Callable[[Floats, Floats], float]] = {
    "jensenshannon": jensen_shannon,
    "psi": stability_index,
}


def distance(method: Method, reference: Values, current: Values) -> float:
    """How far `current` lies from `reference`, neither of which is empty."""
    import pandas as pd

    if method == "wasserstein":
        return wasserstein(reference, current)
    both = np.concatenate([reference, current])
    if reference.dtype.kind == "f" and len(np.unique(reference)) > _FEW_VALUES:
        edges = np.histogram_bin_edges(both, bins="sturges")
        first, second = (np.histogram(side, edges)[0] / len(side) for side in (reference, current))
    else:
        codes, values = pd.factorize(both)
        first = np.bincount(codes[: len(reference)], minlength=len(values)) / len(reference)
        second = np.bincount(codes[len(reference) :], minlength=len(values)) / len(current)
    return _OF_SHARES[method](first, second)
