"""How good a model probably is while outcomes are not in yet, from scores that mean what they say.

A calibrated probability says how often a prediction like this comes true, so that the confusion matrix, and all that
follows from it, can be expected before it is known. What no estimate sees is a changed relation between inputs and
outcome: then the calibration itself is out of date. So an estimate is always shown as one, beside its interval.

Source: NannyML's confidence-based performance estimation (CBPE) and direct loss estimation (DLE), documentation of
version 0.13, "How it works"; Garg et al. (2022), Leveraging Unlabeled Data to Predict Out-of-Distribution Performance.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import expit

from contender.contracts.sections import METRICS
from contender.evaluation.probabilities import inside, log_odds
from contender.evaluation.ranking_metrics import Floats, Integers
from contender.performance import class_counts
from contender.performance.score_counts import Tally, interval_of
from contender.values import Interval

LEAST_ROWS = 200
"""Mature outcomes from which scores are calibrated afresh, and errors of numbers are learnt."""

_GROUP_ROWS, _GROUP_HITS = 50, 5
"""Neighbouring scores are put together until so many rows, and so many of either outcome, say what comes true."""

_DRAWS = 200
_SCALE = 10**9


@dataclass(frozen=True)
class Estimate:
    """Expected quality by metric, empty where there is none, and in one sentence how it came about or why not.

    `interval` is of the metric that was asked for. `mistakes` are expected counts: `false_positive` and
    `false_negative` of two classes, `error` of several, or the sum of absolute errors of numbers.
    """

    values: Mapping[str, float]
    interval: Interval | None
    mistakes: Mapping[str, float]
    how: str


@dataclass(frozen=True)
class Calibration:
    """How often predictions with such log-odds came true, in groups that rise with the score.

    Every array has shape (groups,); `at` is the mean log-odds of a group, `rate` never falls from group to group.
    `hits` came true and `misses` did not, each group's mean score counting as one more row: where rows are few the
    model is believed a little.
    """

    at: Floats
    rate: Floats
    hits: Floats
    misses: Floats

    @classmethod
    def of(cls, past: Tally) -> Self | None:
        """From mature outcomes; None where they are too few, or all alike, to say more than the scores do."""
        hits, rows = int(past.hits.sum()), past.known
        if rows < LEAST_ROWS or min(hits, rows - hits) < 2 * _GROUP_HITS:
            return None
        order = np.argsort(past.score, kind="stable")
        odds, counts, came = log_odds(past.score)[order], past.mature[order], past.hits[order]
        group = _groups(counts, came)
        sums = [_sums(group, values) for values in (counts, came, odds * counts, past.score[order] * counts)]
        rows_of, hits_of, odds_of, scores_of = sums
        believed = scores_of / rows_of
        hits_of, misses_of = hits_of + believed, rows_of - hits_of + 1 - believed
        return cls(odds_of / rows_of, _rising(hits_of / (rows_of + 1), rows_of), hits_of, misses_of)

    def probabilities(self, scores: Floats, rates: Floats | None = None) -> Floats:
        """Calibrated probabilities: between the groups on a line in log-odds, beyond them as far off as at the end."""
        rates = self.rate if rates is None else rates
        odds = log_odds(scores)
        shift = log_odds(rates) - self.at
        return np.asarray(expit(odds + np.interp(odds, self.at, shift)), dtype=np.float64)

    def draw(self, rng: np.random.Generator) -> Floats:
        """Rates as they may be too, given how few rows they rest on; shape (groups,), rising."""
        drawn = rng.beta(self.hits, self.misses)
        return _rising(drawn, self.hits + self.misses)


def estimate(tally: Tally, past: Tally | None, metric: str, rng: np.random.Generator) -> Estimate:
    """What quality to expect of the predictions in `tally`, whose own outcomes are not looked at.

    Args:
        past: of the same model, older, with mature outcomes and none of its training rows; None without any.
        metric: whose interval is wanted; it takes in the luck of the rows and of the calibration.
    """
    if not tally.volume:
        return Estimate({}, None, {}, "there are no predictions")
    if tally.kind == "regression":
        return _estimate_errors(tally, past, metric)
    calibration = Calibration.of(past) if past is not None else None
    how = (
        f"scores calibrated on {past.known:,} mature outcomes"
        if calibration and past is not None
        else f"scores as the model gives them: fewer than {LEAST_ROWS} mature outcomes, or too few of one kind, to "
        "calibrate on"
    )
    likely = calibration.probabilities(tally.score) if calibration else inside(tally.score)
    drawn = np.empty((_DRAWS, len(likely)), dtype=np.int64)
    for draw in range(_DRAWS):
        chances = calibration.probabilities(tally.score, calibration.draw(rng)) if calibration else likely
        drawn[draw] = rng.binomial(tally.predictions, chances)
    expected = tally.predictions * likely
    if tally.kind == "multiclass":
        accuracy = float(expected.sum() / tally.volume)
        within = interval_of(drawn.sum(axis=1) / tally.volume, accuracy)
        right = Estimate({"accuracy": accuracy}, within, {"error": tally.volume - float(expected.sum())}, how)
        return right if metric == "accuracy" else _estimate_of_classes(right, tally, past, metric, rng)
    weights = _scaled(np.concatenate([expected, tally.predictions - expected]))
    found = {name: float(tally.weigh(name, weights)[0]) for name in METRICS["binary"]}
    values = {name: value for name, value in found.items() if np.isfinite(value)}
    draws = tally.weigh(metric, np.concatenate([drawn, tally.predictions - drawn], axis=1))
    mistakes = {
        "false_positive": float((tally.predictions - expected)[tally.flagged].sum()),
        "false_negative": float(expected[~tally.flagged].sum()),
    }
    return Estimate(values, interval_of(draws, values[metric]) if metric in values else None, mistakes, how)


def _estimate_of_classes(
    right: Estimate, tally: Tally, past: Tally | None, metric: str, rng: np.random.Generator
) -> Estimate:
    """F1, precision or recall of several classes, from the mistakes that were made with each class."""
    if past is None or past.known < LEAST_ROWS:
        rows = past.known if past is not None else 0
        how = f"no estimate of {metric}: {rows:,} mature outcomes, {LEAST_ROWS} are needed to learn mistakes"
        return replace(right, interval=None, how=how)
    pairs, counts = class_counts.expect(tally.named, past.named, rng, _DRAWS)
    value = float(class_counts.weigh(metric, pairs, counts.sum(axis=0, keepdims=True))[0])
    within = interval_of(class_counts.weigh(metric, pairs, counts), value)
    how = f"mistakes learnt from {past.known:,} mature outcomes, by the class that was named"
    return replace(right, values={**right.values, metric: value}, interval=within, how=how)


def _estimate_errors(tally: Tally, past: Tally | None, metric: str) -> Estimate:
    """Errors of numbers as they were for predictions of about this size; of R2 there is no estimate."""
    if past is None or past.known < LEAST_ROWS:
        known = past.known if past is not None else 0
        return Estimate(
            {}, None, {}, f"no estimate: {known:,} mature outcomes, {LEAST_ROWS} are needed to learn errors"
        )
    order = np.argsort(past.score, kind="stable")
    counts = past.mature[order]
    group = _groups(counts, None)
    rows = _sums(group, counts)
    edges = np.array([past.score[order][group == g].max() for g in range(len(rows) - 1)])
    absolute, squared, quartic = (
        _sums(group, values[order]) / rows for values in (past.absolute, past.squared, past.quartic)
    )
    here = np.bincount(np.searchsorted(edges, tally.score), weights=tally.predictions, minlength=len(rows))
    share = here / tally.volume
    mae, square = float((share * absolute).sum()), float((share * squared).sum())
    # The luck of the rows at hand, and that of the rows which the errors were learnt from.
    luck = share / tally.volume + share**2 / rows
    away = 1.645 * np.sqrt((luck * np.maximum(0, squared - absolute**2)).sum())
    away_square = 1.645 * np.sqrt((luck * np.maximum(0, quartic - squared**2)).sum())
    intervals = {
        "mae": Interval(float(mae - away), float(mae + away)),
        "rmse": Interval(float(max(0.0, square - away_square) ** 0.5), float((square + away_square) ** 0.5)),
    }
    how = f"errors learnt from {past.known:,} mature outcomes, by the size of the prediction"
    how += "; of r2 there is no estimate, because it needs the outcomes' own spread" if metric == "r2" else ""
    return Estimate({"rmse": square**0.5, "mae": mae}, intervals.get(metric), {"error": mae * tally.volume}, how)


def _groups(counts: Integers, hits: Integers | None) -> Integers:
    """Number of each point's group, points in order of their scores; what remains at the end joins the last."""
    group, number, rows, came = np.zeros(len(counts), dtype=np.int64), 0, 0, 0
    for place in range(len(counts)):
        group[place] = number
        rows += int(counts[place])
        came += int(hits[place]) if hits is not None else _GROUP_HITS
        if rows >= _GROUP_ROWS and came >= _GROUP_HITS:
            number, rows, came = number + 1, 0, 0
    if (rows or came or len(counts)) and number and (group == number).any():
        group[group == number] = number - 1
    return group


def _sums(group: Integers, values: Floats | Integers) -> Floats:
    return np.asarray(np.bincount(group, weights=values), dtype=np.float64)


def _rising(rates: Floats, weights: Floats) -> Floats:
    return np.asarray(isotonic_regression(rates, weights=weights).x, dtype=np.float64)


def _scaled(weights: Floats) -> Integers:
    """Shape (1, points): in whole numbers, because counts are what metrics take, and small enough to be multiplied."""
    return np.asarray(np.rint(weights / weights.sum() * _SCALE), dtype=np.int64)[None]
