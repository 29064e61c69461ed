"""What a verdict's document holds beyond the verdict: calibration, slices and flips, as values that JSON can hold."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.sections import Kind
from contender.evaluation.bootstrap import Gains, sigmas
from contender.evaluation.guardrails import RULED_OUT
from contender.evaluation.ranking_metrics import Floats
from contender.evaluation.weighted_metrics import decisions

if TYPE_CHECKING:
    import pandas as pd

TAIL = 0.05
"""What lies beyond either end of a calibration bin's interval, which is a 90 % interval then."""

SHOWN_COLUMNS = 8
"""Columns of an example: what a person takes in at a glance."""


def calibration_bins(kind: Kind, y: NDArray[Any], scores: Floats, bins: int = 10) -> list[dict[str, float]]:
    """What was said beside what came true, in bins of about as many rows each, by rising score.

    Equal scores share a bin, so that there may be fewer bins than asked for.

    Args:
        y: shape (rows,); 0 or 1, the class index, or the target itself.
        scores: shape (rows,) of probabilities of class 1, or of predictions; multiclass (rows, classes).

    Returns:
        `mean_score`, `rate`, `rows`, `low` and `high` of each bin. Binary: mean probability, share of ones, and the
        90 % Wilson interval of the share; several classes: the same of the likeliest class. It takes the rows to be
        independent. Regression: mean prediction, and the median, 5 % and 95 % quantile of outcome minus prediction.

    Source: Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference, JASA 22(158);
    Brown, Cai & DasGupta (2001), Interval Estimation for a Binomial Proportion, Statistical Science 16(2).
    """
    if len(y) == 0:
        return []
    said, came = _said_and_came(kind, y, scores)
    cuts = np.sort(said)[np.arange(1, bins) * len(said) // bins]
    of_row = np.searchsorted(np.unique(cuts), said, side="right")
    found = []
    for place in np.unique(of_row):
        inside = came[of_row == place]
        if kind == "regression":
            low, rate, high = (float(part) for part in np.quantile(inside, [TAIL, 0.5, 1 - TAIL]))
        else:
            rate = float(inside.mean())
            low, high = wilson(rate, len(inside))
        mean = float(said[of_row == place].mean())
        found.append({"mean_score": mean, "rate": rate, "rows": len(inside), "low": low, "high": high})
    return found


def wilson(rate: float, rows: int, tail: float = TAIL) -> tuple[float, float]:
    """Both ends of the interval of a share that was measured on so many rows (at least 1).

    Source: Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference, JASA 22(158).
    """
    z2 = sigmas(tail) ** 2
    centre = rate + z2 / (2 * rows)
    half = math.sqrt(z2 * (rate * (1 - rate) / rows + z2 / (4 * rows**2)))
    # Where nothing or all came true, rounding would leave an end a hair's breadth away from its rate.
    low, high = ((centre + side * half) / (1 + z2 / rows) for side in (-1, 1))
    return min(max(0.0, low), rate), max(min(1.0, high), rate)


def slice_gain(name: str, rows: int, gains: Gains | None, margin: float) -> dict[str, Any]:
    """What a slice gains in the deciding metric, with the interval that the guardrail of slices looks at.

    `low` is the bound that must not lie below minus `margin` for a loss to be ruled out, so the picture and the
    guardrail agree; `level` is the confidence of the two-sided interval.

    Args:
        gains: None where the slice is too small to tell; then all but its rows is None.
    """
    low, high = (gains.low(RULED_OUT), gains.high(RULED_OUT)) if gains else (None, None)
    measured = {"gain": gains.point if gains else None, "low": low, "high": high}
    return {"name": name, "rows": rows} | measured | {"margin": margin, "level": 1 - 2 * RULED_OUT}


def flip_examples(
    keys: NDArray[Any],
    y: NDArray[Any],
    champion_scores: Floats,
    challenger_scores: Floats,
    kind: Kind,
    threshold: float,
    frame: "pd.DataFrame",
    columns: Sequence[str],
    most: int = 5,
    classes: Sequence[object] = (),
) -> dict[str, Any]:
    """The decisions that a promotion would turn, to wrong and to right: their share of the rows, and the plainest.

    Plainest are the rows where the probability of what came true fell or rose most. Regression decides nothing: its
    rows are those where the absolute error grew or shrank, and the plainest those where it did so most.

    Args:
        keys: shape (rows,).
        y: shape (rows,), as the scores' shapes are: see `calibration_bins`.
        frame: rows in the same order.
        columns: the most relevant first; those that `frame` does not have are passed over.
        most: examples of either direction, at most.
        classes: names of the class indices; without it, an example shows the index.
    """
    before, now = (_error(kind, y, scores) for scores in (champion_scores, challenger_scores))
    grown = now - before
    if kind == "regression":
        to_wrong, to_right = grown > 0, grown < 0
        said = [champion_scores, challenger_scores]
    else:
        chosen = [decisions(kind, scores, threshold) for scores in (champion_scores, challenger_scores)]
        was_right, is_right = (decided == y for decided in chosen)
        to_wrong, to_right = was_right & ~is_right, ~was_right & is_right
        said = [champion_scores, challenger_scores] if kind == "binary" else [_named(each, classes) for each in chosen]
    outcomes = _named(y, classes) if kind == "multiclass" else y
    shown = [column for column in columns if column in frame.columns][:SHOWN_COLUMNS]

    def example(row: int) -> dict[str, Any]:
        told = {"key": keys[row], "outcome": outcomes[row], "champion": said[0][row], "challenger": said[1][row]}
        values = {column: _plain(frame[column].iloc[row]) for column in shown}
        return {name: _plain(value) for name, value in told.items()} | {"columns": values}

    def plainest(flipped: NDArray[np.bool_], moved: Floats) -> list[dict[str, Any]]:
        rows = np.flatnonzero(flipped)
        order = np.lexsort((keys[rows].astype(str), -moved[rows]))[:most]
        return [example(int(row)) for row in rows[order]]

    return {
        "to_wrong": plainest(to_wrong, grown),
        "to_right": plainest(to_right, -grown),
        "to_wrong_share": float(to_wrong.mean()),
        "to_right_share": float(to_right.mean()),
    }


def _said_and_came(kind: Kind, y: NDArray[Any], scores: Floats) -> tuple[Floats, Floats]:
    if kind == "regression":
        return scores, y.astype(np.float64) - scores
    if kind == "multiclass":
        return scores.max(axis=1), (scores.argmax(axis=1) == y).astype(np.float64)
    return scores, y.astype(np.float64)


def _error(kind: Kind, y: NDArray[Any], scores: Floats) -> Floats:
    """The absolute error of each row, for classes the probability that what came true was denied."""
    if kind == "multiclass":
        return np.asarray(1 - scores[np.arange(len(y)), y.astype(np.int64)], dtype=np.float64)
    return np.abs(y.astype(np.float64) - scores)


def _named(indices: NDArray[Any], classes: Sequence[object]) -> NDArray[Any]:
    return np.asarray(classes, dtype=object)[indices.astype(np.int64)] if len(classes) else indices


def _plain(value: Any) -> Any:
    """A value as JSON holds it; missing is None."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or str(value) in ("<NA>", "NaT") or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
