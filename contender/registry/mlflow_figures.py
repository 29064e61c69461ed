"""Figures of a model's quality, drawn without pyplot, whose state threads would share."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]


def _figure(title: str, x: str, y: str) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes


def importance(values: Mapping[str, float], shown: int = 25) -> "Figure":
    """The most important features as bars, the first on top."""
    best = sorted(values.items(), key=lambda item: -abs(item[1]))[:shown][::-1]
    figure, axes = _figure("Feature importance", "importance", "")
    # A pair of dollars would be taken for a formula.
    axes.barh([name.replace("$", r"\$") for name, _ in best], [value for _, value in best])
    return figure


def residuals(y: Floats, predicted: Floats, shown: int = 5000) -> "Figure":
    """What came true minus what was said, over what was said; evenly thinned to `shown` points."""
    step = max(1, len(y) // shown)
    figure, axes = _figure("Residuals", "prediction", "outcome minus prediction")
    axes.scatter(predicted[::step], (y - predicted)[::step], s=4, alpha=0.4)
    axes.axhline(0, color="grey", linestyle=":")
    return figure
