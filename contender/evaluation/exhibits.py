"""What a verdict shows beside its numbers: calibration, flips and groups, as values that JSON can hold."""

from collections.abc import Mapping
from dataclasses import dataclass

Plain = bool | int | float | str | None
"""A cell of a record as JSON holds it."""


@dataclass(frozen=True)
class CalibrationBin:
    """What was said beside what came true, of rows with about the same score; see `evidence.calibration_bins`."""

    mean_score: float
    rate: float
    rows: int
    low: float
    high: float


@dataclass(frozen=True)
class Flip:
    """One row that a promotion would decide otherwise: its outcome, what both models say, and some of its columns."""

    key: Plain
    outcome: Plain
    champion: Plain
    challenger: Plain
    columns: Mapping[str, Plain]


@dataclass(frozen=True)
class Flips:
    """The rows that a promotion would turn, as shares of all, and the plainest of them."""

    to_wrong: tuple[Flip, ...]
    to_right: tuple[Flip, ...]
    to_wrong_share: float
    to_right_share: float


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


@dataclass(frozen=True)
class Apart:
    """How far the highest and the lowest rate lie apart; None where fewer than two groups are large enough."""

    difference: float | None
    ratio: float | None


@dataclass(frozen=True)
class FairnessLimit:
    """A limit of the contract on how far groups may lie apart; `reason` is empty where it holds without a doubt."""

    name: str
    value: float | None
    limit: float
    holds: bool
    refuted: bool
    reason: str


@dataclass(frozen=True)
class ColumnFairness:
    """The groups of one protected column: their rates, how far apart these lie, and the column's limits."""

    column: str
    groups: tuple[GroupRates, ...]
    apart: Mapping[str, Apart]
    limits: tuple[FairnessLimit, ...]
