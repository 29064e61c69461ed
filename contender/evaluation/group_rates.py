"""What a binary model decides about groups of people: how many of each it selects, in all and by their outcome."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.loop_sections import Fairness
from contender.evaluation.exhibits import GroupRates
from contender.evaluation.metrics import slices_of
from contender.evaluation.ranking_metrics import Floats
from contender.evaluation.weighted_metrics import decisions

RATES: dict[str, int | None] = {"selection_rate": None, "true_positive_rate": 1, "false_positive_rate": 0}
"""Each rate, and the outcome whose rows it is a share of; the selection rate is one of all rows."""

MIN_OUTCOMES = 20
"""A true positive rate of fewer positives, or a false positive rate of fewer negatives, is not told: as many as the
contract asks of a group at least."""


def measure_fairness(
    y: NDArray[Any], scores: Floats, threshold: float, groups: Mapping[str, NDArray[Any]], rules: Fairness
) -> tuple[GroupRates, ...]:
    """The rates of every group of every protected column, by column and group; a missing value is a group of its own.

    Args:
        y: shape (rows,), 0 or 1.
        scores: shape (rows,); from `threshold` on they say "1", which selects.
        groups: protected columns, each of shape (rows,).
    """
    said = 2 * np.asarray(y, dtype=np.int64) + decisions("binary", scores, threshold)
    return tuple(
        _rates_of(column, name.removeprefix(f"{column}="), np.bincount(said[rows], minlength=4), rules.min_rows)
        for column in rules.columns
        for name, rows in slices_of({column: groups[column]})
    )


def _rates_of(column: str, group: str, counts: NDArray[np.int64], min_rows: int) -> GroupRates:
    """The rates of one group.

    Args:
        counts: shape (4,): of outcome 0 those not selected and those selected, then likewise of outcome 1.
    """
    of_outcome = counts.reshape(2, 2)
    rows, positives = int(counts.sum()), int(of_outcome[1].sum())
    rates: dict[str, float | None] = {}
    for rate, outcome in RATES.items():
        passed, selected = of_outcome.sum(0) if outcome is None else of_outcome[outcome]
        enough = rows >= min_rows and passed + selected >= MIN_OUTCOMES
        rates[rate] = float(selected / (passed + selected)) if enough else None
    return GroupRates(column, group, rows, positives, **rates)
