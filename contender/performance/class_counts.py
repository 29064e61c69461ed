"""How good a model of several classes is by the classes that it named, and what of it to expect.

Predictions keep the likeliest class and its probability alone. What follows from the named and the true class can be
measured; log loss and ROC AUC, which need the probabilities of the other classes too, cannot.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from contender.evaluation.ranking_metrics import Floats, Integers
from contender.evaluation.weighted_metrics import weighted_metric

Named = Mapping[tuple[str, str | None], int]
"""How often a class was named and another, or the same, came; None where the outcome is not final."""

OF_CLASSES = ("accuracy", "f1", "precision", "recall")
"""Metrics that the named and the true class are enough for; all but the first are averaged over the true classes."""


def known(named: Named) -> dict[tuple[str, str], int]:
    """Those of which the outcome is final, in a fixed order."""
    found = [(said, came, rows) for (said, came), rows in named.items() if came is not None and rows]
    return {(said, came): rows for said, came, rows in sorted(found)}


def add_up(several: Sequence[Named]) -> Named:
    """All of them together."""
    total: dict[tuple[str, str | None], int] = {}
    for named in several:
        for pair, rows in named.items():
            total[pair] = total.get(pair, 0) + rows
    return total


def weigh(metric: str, pairs: Sequence[tuple[str, str]], weights: Integers) -> Floats:
    """The metric, shape (draws,), where the pairs of a named and a true class came so often.

    Args:
        weights: shape (draws, pairs).
    """
    classes = sorted({one for pair in pairs for one in pair})
    said, came = (np.array([classes.index(pair[side]) for pair in pairs], dtype=np.int64) for side in (0, 1))
    return weighted_metric("multiclass", metric, came, np.eye(len(classes))[said], 0.0)(weights)


def expect(now: Named, past: Named, rng: np.random.Generator, draws: int) -> tuple[list[tuple[str, str]], Integers]:
    """What would come of the named classes if each were right, and mistaken for others, as often as in the past.

    One more row in which the named class came counts for each, so that a class never named before is believed. Each
    draw takes in the luck of the past rows and of those at hand.

    Returns:
        The pairs of a named and a true class, and how often they would come, shape (draws, pairs).
    """
    pairs: list[tuple[str, str]] = []
    columns: list[Integers] = []
    for said in sorted({said for said, _ in now}):
        rows = sum(count for (named, _), count in now.items() if named == said)
        came = {true: count for (named, true), count in known(past).items() if named == said}
        came[said] = came.get(said, 0) + 1
        pairs += [(said, true) for true in came]
        chances = rng.dirichlet(list(came.values()), draws)
        columns.append(np.asarray(rng.multinomial(rows, chances), dtype=np.int64))
    return pairs, np.concatenate(columns, axis=1)
