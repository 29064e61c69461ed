"""Two models on the same rows, and how far their difference may be luck: a paired bootstrap."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from contender.contracts.sections import LOWER_IS_BETTER, Kind
from contender.errors import TooFewOutcomes
from contender.evaluation.ranking_metrics import Floats, Integers
from contender.evaluation.weighted_metrics import weighted_metric

DRAWS = 2_000
BLOCK = 1 << 18
"""Weights held at a time: small enough to stay in a processor's cache, so more rows cost no more memory."""

MIN_DEFINED = 0.95
"""Share of draws in which the metric must have a meaning; below it the rows hang on too few entities."""


@dataclass(frozen=True)
class Gains:
    """What the challenger gains over the champion, turned so that more is better, in units of the metric.

    `draws` holds one gain per bootstrap draw, shape (draws,). `freedom` is one less than the independent things that
    carry the gain: entities where rows are clustered, outcomes of the rarer class, else rows.
    """

    champion: float
    challenger: float
    point: float
    draws: Floats
    freedom: float

    @property
    def error(self) -> float:
        """Standard error of the gain."""
        return float(self.draws.std(ddof=1))

    def low(self, alpha: float) -> float:
        """One-sided lower bound that the true gain undercuts with probability `alpha` at most.

        The lower of the percentile bound and Student's bound with the bootstrap's error: percentiles follow skewed
        gains, and Student's bound still holds where `alpha` lies beyond what the draws resolve, or where few positives
        leave the error itself uncertain.

        Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapters 12 and 13.
        """
        return min(float(np.quantile(self.draws, alpha)), self.point - self._away(alpha))

    def high(self, alpha: float) -> float:
        """One-sided upper bound, as `low`."""
        return max(float(np.quantile(self.draws, 1 - alpha)), self.point + self._away(alpha))

    def _away(self, alpha: float) -> float:
        return float(student.isf(alpha, self.freedom)) * self.error

    @property
    def harm_p(self) -> float:
        """One-sided p-value of "the challenger loses nothing", by the bootstrap's standard error."""
        if self.error == 0:
            return float(self.point >= 0)
        return float(student.cdf(self.point / self.error, self.freedom))


@dataclass(frozen=True)
class Contest:
    """Two models' scores on the same rows.

    `y` has shape (rows,): 0 or 1, the class index, or the target. Scores have shape (rows,), for several classes
    (rows, classes). `clusters`, shape (rows,), names the entity of each row where rows of one entity depend on each
    other. `threshold` cuts binary scores into decisions.
    """

    kind: Kind
    y: NDArray[Any]
    champion: Floats
    challenger: Floats
    threshold: float = 0.5
    clusters: NDArray[Any] | None = None

    def within(self, rows: NDArray[np.intp]) -> "Contest":
        """The contest on some of the rows only."""
        return replace(
            self,
            y=self.y[rows],
            champion=self.champion[rows],
            challenger=self.challenger[rows],
            clusters=None if self.clusters is None else self.clusters[rows],
        )

    def gains(self, metric: str, rng: np.random.Generator, draws: int = DRAWS) -> Gains:
        """What the challenger gains by this metric, with its resamples; both models share every draw's weights.

        Classes keep their sizes in every draw; with clusters, whole entities are drawn instead. Time and not memory
        grows with rows and draws.

        Raises:
            TooFewOutcomes: the metric has no meaning on these rows, or in too many of the draws.

        Source: Davison & Hinkley (1997), Bootstrap Methods and their Application, 2.4 and 3.8.
        """
        stratified = self.kind != "regression" and self.clusters is None
        contest = self.within(np.argsort(self.y, kind="stable")) if stratified else self
        models = [
            weighted_metric(contest.kind, metric, contest.y, scores, contest.threshold)
            for scores in (contest.champion, contest.challenger)
        ]
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        champion, challenger = (float(model(np.ones((1, len(self.y)), dtype=np.int64))[0]) for model in models)
        blocks = [sign * (models[1](weights) - models[0](weights)) for weights in contest._weights(rng, draws)]
        gains = np.concatenate(blocks)
        defined = np.isfinite(gains)
        if not np.isfinite(champion + challenger) or defined.mean() < MIN_DEFINED:
            raise TooFewOutcomes.to_measure(metric, rows=len(self.y))
        return Gains(champion, challenger, sign * (challenger - champion), gains[defined], self._freedom())

    def _freedom(self) -> float:
        """One less than the number of independent things in the smaller of the two largest classes."""
        things = np.arange(len(self.y)) if self.clusters is None else self.clusters
        if self.kind == "regression":
            return float(max(1, len(np.unique(things)) - 1))
        sizes = sorted(len(np.unique(things[self.y == label])) for label in np.unique(self.y))
        return float(max(1, (sizes[-2] if len(sizes) > 1 else sizes[-1]) - 1))

    def _weights(self, rng: np.random.Generator, draws: int) -> Iterator[Integers]:
        """How often each row is drawn, in blocks of shape (some draws, rows)."""
        draw_block: Callable[[int], Integers]
        rows = len(self.y)
        if self.clusters is not None:
            entities, of_row = np.unique(self.clusters, return_inverse=True)

            def draw_block(size: int) -> Integers:
                return _counts(rng, size, len(entities)).take(of_row, axis=1)

        else:
            sizes = [rows] if self.kind == "regression" else np.unique(self.y, return_counts=True)[1].tolist()

            def draw_block(size: int) -> Integers:
                return np.concatenate([_counts(rng, size, stratum) for stratum in sizes], axis=1)

        per_block = max(1, BLOCK // rows)
        for start in range(0, draws, per_block):
            yield draw_block(min(per_block, draws - start))


def sigmas(alpha: float) -> float:
    """How many standard errors a one-sided bound lies away."""
    return -NormalDist().inv_cdf(alpha)


def _counts(rng: np.random.Generator, draws: int, things: int) -> Integers:
    """How often each thing comes up in as many tries as there are things, shape (draws, things)."""
    tries = rng.integers(0, things, (draws, things), dtype=np.int64)
    tries += np.arange(draws, dtype=np.int64)[:, None] * things
    return np.bincount(tries.ravel(), minlength=draws * things).reshape(draws, things)
