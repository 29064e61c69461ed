"""What a binary model decides about groups of people: how many of each it selects, in all and by their outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.loop_sections import Fairness
from contender.evaluation.metrics import slices_of
from contender.evaluation.ranking_metrics import Floats
from contender.evaluation.weighted_metrics import decisions

RATES: dict[str, int | None] = {"selection_rate": None, "true_positive_rate": 1, "false_positive_rate": 0}
"""Each rate, and the outcome whose rows it is a share of; the selection rate is one of all rows."""

MIN_OUTCOMES = 20
"""A true positive rate of fewer positives, or a false positive rate of fewer negatives, is not told: as many as the
contract asks of a group at least."""


@dataclass(frozen=True)
class GroupRates:
    """What the model decides about one group; a rate is None where the group is too small to tell.

    `positives` counts outcomes that are 1, so that the true positive rate is a share of them.
    """

    column: str
    group: str
    rows: int
    positives: int
    selection_rate: float | None
    true_positive_rate: float | None
    false_positive_rate: float | None

    @property
    def name(self) -> str:
        return f"{self.column}={self.group}"


def measure_fairness(
    y: NDArray[Any], scores: Floats, threshold: float, groups: Mapping[str, NDArray[Any]], rules: Fairness
) -> tuple[GroupRates, ...]:
    """The rates of every group of every protected column, by column and group; a missing value is a group of its own.

    Args:
        y: shape (rows,), 0 or 1.
        scores: shape (rows,); from `threshold` on they say "1", which selects.
        groups: protected columns, each of shape (rows,).
    """
    from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate

    said = 2 * np.asarray(y, dtype=np.int64) + decisions("binary", scores, threshold)
    rates = {
        "selection_rate": selection_rate,
        "true_positive_rate": true_positive_rate,
        "false_positive_rate": false_positive_rate,
    }
    found: list[GroupRates] = []
    for column in rules.columns:
        # Rows that say the same are one weighted row: fairlearn's time grows with rows, and its answer is the same.
        same = {
            name.removeprefix(f"{column}="): np.bincount(said[rows], minlength=4)
            for name, rows in slices_of({column: groups[column]})
        }
        frame = MetricFrame(
            metrics=rates,
            y_true=np.tile([0, 0, 1, 1], len(same)),
            y_pred=np.tile([0, 1, 0, 1], len(same)),
            sensitive_features=np.repeat(np.array(list(same), dtype=object), 4),
            sample_params={rate: {"sample_weight": np.concatenate(list(same.values()))} for rate in rates},
        )
        table = frame.by_group.to_dict("index")
        found += [_told(column, group, counts, table[group], rules.min_rows) for group, counts in same.items()]
    return tuple(found)


def _told(
    column: str, group: str, counts: NDArray[np.int64], measured: Mapping[str, float], min_rows: int
) -> GroupRates:
    rows, positives = int(counts.sum()), int(counts[2:].sum())
    trials = {None: rows, 1: positives, 0: rows - positives}
    told = {
        rate: float(measured[rate]) if rows >= min_rows and trials[label] >= MIN_OUTCOMES else None
        for rate, label in RATES.items()
    }
    return GroupRates(column, group, rows, positives, **told)
