"""What travels between steps: names of things and small results, all frozen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

KEY, TIME, BATCH, FILE, ROW, RECEIVED = "_key", "_time", "_batch", "_file", "_row", "_received_at"
"""Columns of ours in every table of records and outcomes, before the user's own."""

TARGET, KNOWN_AT = "_target", "_known_at"
"""Columns of ours beside an outcome: what is to be predicted, and since when it is known."""

OURS = frozenset({KEY, TIME, BATCH, FILE, ROW, RECEIVED, TARGET, KNOWN_AT, "_day", "_hash"})
"""Names that a column of the user's own may have in a file, but not beside ours in one frame."""


class Decision(StrEnum):
    """The judge's answer."""

    PROMOTE = "PROMOTE"
    KEEP = "KEEP"
    INCONCLUSIVE = "INCONCLUSIVE"


class Band(StrEnum):
    """How loudly a score speaks, cut by the contract."""

    NORMAL = "NORMAL"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


@dataclass(frozen=True)
class TableVersion:
    """A Delta table as it was at one version."""

    use_case: str
    table: str
    version: int

    def __str__(self) -> str:
        return f"{self.use_case}.{self.table}@v{self.version}"


@dataclass(frozen=True)
class Rows:
    """The rows of a use case whose time lies in `[start, end)`, with the outcomes known by `as_of`.

    Times are naive UTC. `versions` names the tables at the versions that were read, so that the same rows can be
    read again later.
    """

    start: datetime
    end: datetime
    as_of: datetime
    versions: tuple[TableVersion, ...]


@dataclass(frozen=True)
class Ingested:
    """What became of one batch, counted in rows.

    `received == accepted + quarantined + repeated`; a repeated row says nothing that is not in the lake already.
    `unread` says why files could not be read, by their names; `notes` are sentences about what was taken in although it
    is not as the contract has it.
    """

    batch: int
    files: int
    received: int
    accepted: int
    quarantined: int
    records: int
    outcomes: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    report: str = ""
    unread: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    repeated: int = 0

    def __post_init__(self) -> None:
        parts = (self.accepted, self.quarantined, self.repeated)
        if self.received != sum(parts):
            raise AssertionError(f"batch {self.batch}: {self.received} != {' + '.join(map(str, parts))}")


@dataclass(frozen=True)
class ModelColumn:
    """One column of a model's input.

    A `number` is float64 (missing: NaN), a `time` float64 seconds since 1970 in UTC, a `category` and a `text` a plain
    string (missing: None). `text` is for the use case's own features only and never reaches an estimator.
    """

    name: str
    kind: Literal["number", "category", "time", "text", "words"]


@dataclass(frozen=True)
class ModelVersion:
    """One registered version of a use case's model.

    `digest` is the SHA-256 over the names and contents of its files; `trained_until` the newest record time it saw
    (naive UTC); `model_id` MLflow's own id of the logged model.
    """

    name: str
    version: int
    run_id: str
    model_id: str
    digest: str
    trained_until: datetime
    family: str = ""

    @property
    def uri(self) -> str:
        """Address by version: an alias may move while we work, a version does not."""
        return f"models:/{self.name}/{self.version}"

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


@dataclass(frozen=True)
class Interval:
    """A two-sided interval of confidence `level`, in units of what it is about."""

    low: float
    high: float
    level: float = 0.90


@dataclass(frozen=True)
class Scorecard:
    """How one model did on one set of rows.

    `metrics` by MLflow's names where MLflow has one (`roc_auc`, `accuracy_score`, …); `slices` maps
    "column=value" to metrics plus `rows`; `latency_ms` holds `p50` and `p95` of scoring a single record.
    """

    model: ModelVersion | None
    rows: int
    metrics: Mapping[str, float]
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    latency_ms: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Guardrail:
    """One limit that a challenger must not break; `value` is None where it cannot be told."""

    name: str
    value: float | None
    limit: float
    holds: bool


@dataclass(frozen=True)
class SliceGain:
    """What a slice gains in the deciding metric, more is better; None where it is too small to tell.

    `low` is the bound that must not lie below minus `margin` for a loss to be ruled out, `level` the confidence of the
    two-sided interval.
    """

    name: str
    rows: int
    gain: float | None
    low: float | None
    high: float | None
    margin: float
    level: float


@dataclass(frozen=True)
class Verdict:
    """The judge's answer with its numbers and reasons.

    `gain` is challenger minus champion in the metric's own units, turned so that more is better; `interval` the
    two-sided 90 % interval of the gain, so that its ends are the one-sided 95 % bounds. Without a champion
    `champion_score` is the dummy's and `against` says so.
    """

    decision: Decision
    metric: str
    champion_score: float | None
    challenger_score: float
    gain: float
    interval: Interval
    rows: int
    reasons: tuple[str, ...]
    guardrails: tuple[Guardrail, ...] = ()
    against: str = "champion"
    outcomes_needed: int | None = None
    slice_gains: tuple[SliceGain, ...] = ()

    @property
    def promotes(self) -> bool:
        return self.decision is Decision.PROMOTE


@dataclass(frozen=True)
class Scored:
    """What one scoring wrote. `predictions` counts new rows only; zero when all was scored before."""

    model: ModelVersion
    predictions: int
    alerts: int
    bands: Mapping[str, int]
    table: TableVersion | None
