"""How far two samples of one column lie apart: distances that keep their meaning whatever the size of the samples.

Each equals what Evidently 0.7 computes under the same name, so that its report and our tables tell one number. None of
them is a p-value: a p-value says how sure one may be that two samples differ at all, and so grows with the sample
alone, until every column of a large table has drifted.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Method = Literal["wasserstein", "jensenshannon", "psi"]
Floats = NDArray[np.float64]
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
    first, second = reference, np.sort(current)
    if (first[1:] < first[:-1]).any():
        first = np.sort(first)
    places = np.searchsorted(first, second)
    values = np.insert(first, places, second)
    step = np.full(len(values), 1 / len(first))
    step[places + np.arange(len(second))] = -1 / len(second)
    apart = np.abs(np.cumsum(step)[:-1])
    return float(apart @ np.diff(values)) / max(float(reference.std()), 0.001)


def jensen_shannon(reference: Floats, current: Floats) -> float:
    """Root of the mean divergence of two distributions from their middle; from 0 to 0.83, the root of ln 2.

    Args:
        reference: shape (bins,), shares that sum to 1.
        current: shape (bins,).

    Source: Endres & Schindelin (2003), A new metric for probability distributions, IEEE Trans. Inf. Theory 49(7).
    """
    middle = (reference + current) / 2

    def divergence(shares: Floats) -> float:
        there = shares > 0
        return float(shares[there] @ np.log(shares[there] / middle[there]))

    return float(np.sqrt(max(divergence(reference) + divergence(current), 0.0) / 2))


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


def distance(method: Method, reference: "pd.Series[Any]", current: "pd.Series[Any]") -> float:
    """How far `current` lies from `reference`, neither of which is empty or holds anything missing or infinite.

    Args:
        reference: floats for a number, strings for a category.
        current: likewise.
    """
    is_number = reference.dtype.kind == "f"
    if method == "wasserstein":
        return wasserstein(reference.to_numpy(), current.to_numpy())
    if is_number and reference.nunique() > _FEW_VALUES:
        edges = np.histogram_bin_edges(np.concatenate([reference, current]), bins="sturges")
        first, second = (np.histogram(side, edges)[0] / len(side) for side in (reference, current))
    else:
        codes, values = pd.factorize(np.concatenate([reference.to_numpy(), current.to_numpy()]))
        first = np.bincount(codes[: len(reference)], minlength=len(values)) / len(reference)
        second = np.bincount(codes[len(reference) :], minlength=len(values)) / len(current)
    return _OF_SHARES[method](first, second)
