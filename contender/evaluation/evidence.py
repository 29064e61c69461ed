"""What a verdict's document holds beyond the verdict: calibration, slices and flips, measured."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.sections import Kind
from contender.evaluation.bootstrap import Contest, Gains, sigmas
from contender.evaluation.exhibits import CalibrationBin, Flip, Flips, Plain
from contender.evaluation.guardrails import RULED_OUT
from contender.evaluation.ranking_metrics import Floats
from contender.evaluation.weighted_metrics import decisions
from contender.values import SliceGain

if TYPE_CHECKING:
    import pandas as pd

TAIL = 0.05
"""What lies beyond either end of a calibration bin's interval, which is a 90 % interval then."""

SHOWN_COLUMNS = 8
"""Columns of an example: what a person takes in at a glance."""


def calibration_bins(kind: Kind, y: NDArray[Any], scores: Floats, bins: int = 10) -> list[CalibrationBin]:
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
        found.append(CalibrationBin(mean, rate, len(inside), low, high))
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


def slice_gain(name: str, rows: int, gains: Gains | None, margin: float) -> SliceGain:
    """What a slice gains, with the interval that the guardrail of slices looks at, so that picture and guardrail agree.

    Args:
        gains: None where the slice is too small to tell.
    """
    point, low, high = (gains.point, gains.low(RULED_OUT), gains.high(RULED_OUT)) if gains else (None, None, None)
    return SliceGain(name, rows, point, low, high, margin, 1 - 2 * RULED_OUT)


def flip_examples(
    contest: Contest,
    keys: NDArray[Any],
    frame: "pd.DataFrame",
    columns: Sequence[str],
    most: int = 5,
    classes: Sequence[object] = (),
) -> Flips:
    """The decisions that a promotion would turn, to wrong and to right: their share of the rows, and the plainest.

    Plainest are the rows where the probability of what came true fell or rose most. Regression decides nothing: its
    rows are those where the absolute error grew or shrank, and the plainest those where it did so most.

    Args:
        keys: shape (rows,), in the order of the contest's rows.
        frame: rows in the same order.
        columns: the most relevant first; those that `frame` does not have are passed over.
        most: examples of either direction, at most.
        classes: names of the class indices; without it, an example shows the index.
    """
    kind, y = contest.kind, contest.y
    said = [contest.champion, contest.challenger]
    was, become = (_error(kind, y, scores) for scores in said)
    grown = become - was
    if kind == "regression":
        to_wrong, to_right = grown > 0, grown < 0
    else:
        chosen = [decisions(kind, scores, contest.threshold) for scores in said]
        was_right, is_right = (decided == y for decided in chosen)
        to_wrong, to_right = was_right & ~is_right, ~was_right & is_right
        said = said if kind == "binary" else [_named(each, classes) for each in chosen]
    outcomes = _named(y, classes) if kind == "multiclass" else y
    shown = [column for column in columns if column in frame.columns][:SHOWN_COLUMNS]

    def example(row: int) -> Flip:
        key, outcome, before, now = (_plain(value[row]) for value in (keys, outcomes, *said))
        return Flip(key, outcome, before, now, {column: _plain(frame[column].iloc[row]) for column in shown})

    def plainest(flipped: NDArray[np.bool_], moved: Floats) -> tuple[Flip, ...]:
        rows = np.flatnonzero(flipped)
        order = np.lexsort((keys[rows].astype(str), -moved[rows]))[:most]
        return tuple(example(int(row)) for row in rows[order])

    return Flips(plainest(to_wrong, grown), plainest(to_right, -grown), float(to_wrong.mean()), float(to_right.mean()))


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


def _plain(value: Any) -> Plain:
    """A value as JSON holds it; missing is None."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None or str(value) in ("<NA>", "NaT") or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float | str) else str(value)
