"""The clauses of a contract: each section as a frozen, strict model, with its defaults and its own checks."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Kind = Literal["binary", "multiclass", "regression"]
ColumnType = Literal["number", "integer", "boolean", "category", "text", "timestamp"]
Take = Literal["avg", "count", "sum", "share", "last", "time since"]

_UNIT_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"


def parse_duration(text: Any) -> timedelta:
    """Turn "7 days" or "90 minutes" into a duration.

    Raises:
        ValueError: not a whole number and a unit from second to week.
    """
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"(\d+) (second|minute|hour|day|week)s?", str(text).strip())
    if match is None:
        raise ValueError("expected a duration such as '7 days', '1 hour' or '30 minutes'")
    return timedelta(seconds=int(match[1]) * _UNIT_SECONDS[match[2]])


def parse_newest(text: Any) -> timedelta | float:
    """Turn "14 days" into a duration and "20 %" into the share 0.2."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", str(text).strip())
    if match is None:
        return parse_duration(text)
    share = float(match[1]) / 100
    if not 0 < share < 1:
        raise ValueError("expected a share between 0 % and 100 %")
    return share


def parse_cron(text: Any) -> str:
    """A cron line of five fields, or "never".

    Raises:
        ValueError: it is neither.
    """
    if text == "never":
        return "never"
    from cronsim import CronSim, CronSimError

    try:
        if len(str(text).split()) == 5 and CronSim(str(text), datetime.now(UTC)):
            return str(text)
    except CronSimError:
        pass
    raise ValueError("expected five fields such as '40 * * * *' (minute hour day month weekday), or 'never'")


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Newest = Annotated[timedelta | float, BeforeValidator(parse_newest)]
Cron = Annotated[str, BeforeValidator(parse_cron)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=_NAME)]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


class Strict(BaseModel):
    """What is parsed from outside: frozen, and nothing in it that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Column(Strict):
    """One column: its type, unit, range or set, and whether the model may see it."""

    type: ColumnType
    unit: str = ""
    min: float | None = None
    max: float | None = None
    values: Names | None = None
    unseen: Literal["quarantine", "accept"] = "quarantine"
    required: bool = False
    format: str | None = Field(default=None, description="Spark date pattern, where the times are not ISO 8601")
    exclude: str | None = Field(default=None, min_length=1, description="why the model must not see it")

    @model_validator(mode="after")
    def _ranges_and_sets_fit_the_type(self) -> Self:
        ranged = self.min is not None or self.max is not None
        if ranged and self.type not in ("number", "integer"):
            raise ValueError(f"'min' and 'max' belong to numbers, not to type '{self.type}'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"'min' is {self.min:g} and 'max' is {self.max:g}; expected min <= max")
        if self.values is not None and self.type != "category":
            raise ValueError(f"'values' belong to type 'category', not to type '{self.type}'")
        if self.format is not None and self.type != "timestamp":
            raise ValueError(f"'format' belongs to type 'timestamp', not to type '{self.type}'")
        return self


Columns = dict[str, Column]


class Records(Strict):
    """What is known when a prediction is wanted."""

    files: str = Field(min_length=1, description="pattern of file names")
    landing: str = Field(min_length=1, description="folder where files arrive, relative to the working directory")
    key: str | None = None
    time: str | None = None
    missing: Names = ("",)
    columns: Columns = Field(min_length=1)


class Outcome(Strict):
    """What is known later. Without `files`, the records' own files carry it.

    `known_after` (since the record's time) or `known_at` (an SQL expression over the columns of outcome and record)
    states when outcomes of history loaded in bulk were known; what arrives live is known when it is received.
    """

    target: str = Field(min_length=1, description="column, or SQL expression over the outcome's columns")
    files: str | None = None
    key: str | None = None
    known_after: Duration | None = None
    known_at: str | None = None
    matures_after: Duration = Field(
        default=timedelta(0), description="records younger than this are neither trained nor judged on"
    )
    columns: Columns = Field(min_length=1)

    @model_validator(mode="after")
    def _known_once(self) -> Self:
        if (self.known_after is None) == (self.known_at is None):
            raise ValueError("expected exactly one of 'known_after' and 'known_at'")
        return self


class Lookup(Strict):
    """A table of facts joined by key; `key` maps each of its key columns to an SQL expression over the record."""

    file: str
    key: dict[str, str] = Field(min_length=1)
    columns: Columns = Field(min_length=1)


class History(Strict):
    """One feature from an entity's history: `take` something `of` a column, `by` an entity, `over` a window.

    `of` names a record column, `outcome` (the target) or `outcome.COLUMN`; `count` and `time since` take records
    unless `of` names the outcome.
    """

    take: Take
    by: Names = Field(min_length=1)
    over: Duration
    of: str | None = None

    @model_validator(mode="after")
    def _of_where_needed(self) -> Self:
        if self.of is None and self.take not in ("count", "time since"):
            raise ValueError(f"'{self.take}' needs 'of': a record column, 'outcome' or 'outcome.COLUMN'")
        return self

    @property
    def of_outcome(self) -> bool:
        return self.of is not None and (self.of == "outcome" or self.of.startswith("outcome."))


class BatchRules(Strict):
    """When a batch as a whole cannot be trusted."""

    max_bad_share: Share = 0.05
    min_volume: float = Field(default=0.0, ge=0, description="least rows, as a ratio to the median of earlier files")
    max_volume: float = Field(default=1000.0, gt=0, description="most rows, as a ratio to the median of earlier files")
    freshness: Duration | None = Field(default=None, description="age of the newest record at arrival, at most")
    clock_skew: Duration = timedelta(hours=1)


class Training(Strict):
    """Which candidates are searched, on what, and how hard."""

    candidates: Names = ()
    approved: Names = Field(default=(), description="the only candidates that may be searched in production")
    window: Duration | None = None
    folds: int = Field(default=3, ge=2, le=10)
    trials: int = Field(default=4, ge=1, le=200, description="settings tried per candidate")
    search_rows: int = Field(default=30_000, ge=500, description="rows used by the search, spread evenly over all")
    max_rows: int = Field(default=500_000, ge=1000, description="rows used by the final fit, newest first")
    min_rows: int = Field(default=500, ge=50)
    min_per_class: int = Field(default=30, ge=5)


class Threshold(Strict):
    """An absolute limit on a metric."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.min is None) == (self.max is None):
            raise ValueError("expected exactly one of 'min' and 'max'")
        return self


class Judging(Strict):
    """How challengers are measured, and by how much one must win."""

    metric: str
    newest: Newest
    embargo: Duration = timedelta(0)
    min_gain: float = Field(ge=0, description="smallest worthwhile gain, in units of the metric")
    min_rows: int = Field(default=300, ge=50)
    min_per_class: int = Field(default=20, ge=5)
    cluster: str | None = Field(default=None, description="record column whose rows are not independent")
    slices: Names = ()
    slice_margin: float = Field(default=0.05, gt=0, description="a slice may lose this much of the metric, at most")
    calibration_margin: float = Field(default=0.01, gt=0, description="the Brier score may rise this much, at most")
    max_latency_ms: float = Field(default=200.0, gt=0, description="95th percentile of scoring one record")
    max_flips: Share = Field(default=0.2, description="decisions that may turn from right to wrong, at most")
    max_comparisons: int = Field(default=10, ge=1, description="comparisons on one window before it is spent")
    looks_per_year: int = Field(default=52, ge=1, description="comparisons planned for a year; they share the error")
    max_age: Duration | None = Field(default=None, description="a champion older than this may be replaced by an equal")
    max_loss: float | None = Field(
        default=None,
        gt=0,
        description="what non-inferior successors may lose in all since the last clear win; else min_gain",
    )
    thresholds: dict[str, Threshold] = Field(default_factory=dict)


class Scoring(Strict):
    """How scores become bands, and which bands alert."""

    threshold: Share = 0.5
    warning: float
    critical: float
    alert: Literal["WARNING", "CRITICAL"] = "CRITICAL"

    @model_validator(mode="after")
    def _bands_in_order(self) -> Self:
        if self.warning > self.critical:
            raise ValueError(
                f"'warning' is {self.warning:g}, 'critical' {self.critical:g}; expected warning <= critical"
            )
        return self


class Leaks(Strict):
    """Features that look as if they knew the outcome, and may be used all the same."""

    allow: dict[str, Annotated[str, Field(min_length=10)]] = Field(
        default_factory=dict, description="feature, and the reason why it is honest; kept with every model"
    )


class Fairness(Strict):
    """Groups that must be treated alike. A limit that is absent is measured and shown, but forbids nothing.

    Differences are between the highest and the lowest group, ratios of the lowest to the highest.
    """

    columns: Names = Field(default=(), description="record columns that say who belongs to which group")
    min_rows: int = Field(default=100, ge=20, description="a smaller group is told as too small, and not as passed")
    max_selection_rate_difference: Share | None = None
    min_selection_rate_ratio: Share | None = None
    max_true_positive_rate_difference: Share | None = None
    min_true_positive_rate_ratio: Share | None = None
    max_false_positive_rate_difference: Share | None = None
    min_false_positive_rate_ratio: Share | None = None

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        every = self.model_dump(exclude={"columns", "min_rows"})
        return {name: value for name, value in every.items() if value is not None}


Proof = Literal["signature", "data card", "owner", "approved by", "data licence"]


class Compliance(Strict):
    """What must be in order before a model may be released to production."""

    required: Annotated[
        tuple[Proof, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
    ] = ()
    approved_by: str = Field(default="", description="who answers for the use of this model")


class Retraining(Strict):
    """When a new challenger is worth its training, and how often alarms may ask for one."""

    min_new_outcomes: int = Field(default=1000, ge=1, description="outcomes known since the last challenger")
    min_new_share: Share = Field(default=0.1, description="the same, as a share of what that challenger was given")
    cool_down: Duration = Field(default=timedelta(hours=12), description="after an alarm's retrain, the next may start")
    max_per_day: int = Field(default=2, ge=1, description="retrains that alarms may start within 24 hours")
    max_per_month: int = Field(default=10, ge=1, description="retrains that alarms may start within 30 days")


class Drift(Strict):
    """When a column counts as drifted, and when that is an alarm.

    A limit is how far a distance must lie beyond what ordinary days of the champion's own training show. Wasserstein's
    is in standard deviations of the training rows.
    """

    retrain: bool = Field(default=False, description="whether an alarm calls for a retrain though the quality holds")
    window: Duration = Field(default=timedelta(days=1), description="what is compared: the newest whole days")
    min_rows: int = Field(default=100, ge=20, description="on fewer, of either side, nothing is told")
    number_method: Literal["wasserstein", "jensenshannon", "psi"] = "wasserstein"
    number_limit: float = Field(default=0.1, gt=0)
    category_method: Literal["jensenshannon", "psi"] = "jensenshannon"
    category_limit: float = Field(default=0.05, gt=0)
    missing_limit: Share = Field(default=0.05, description="change of the share of missing values")
    error: Share = Field(default=0.01, description="chance of any false find in one window, over all its columns")
    violations: int = Field(default=2, ge=1, description="windows in which a column drifted, the latest among them")
    of_windows: int = Field(default=3, ge=1, description="of so many of the last ones that do not overlap")
    season: Duration | None = Field(
        default=timedelta(days=7), description="what was the same so long before, in or before training, is no drift"
    )
    day_rows: int = Field(default=1000, ge=100, description="rows of a day that are kept as its sample")
    reference_rows: int = Field(default=20_000, ge=1000, description="training rows that are kept to compare with")
    window_rows: int = Field(default=5000, ge=100, description="rows of a window that are compared, at most")

    @model_validator(mode="after")
    def _whole_days(self) -> Self:
        for name in ("window", "season"):
            length = getattr(self, name)
            if length is not None and (length % timedelta(days=1) or not length):
                raise ValueError(f"{name} is {length}; expected whole days, such as '1 day' or '7 days'")
        if self.violations > self.of_windows:
            raise ValueError(f"violations is {self.violations} of_windows = {self.of_windows}; expected no more")
        return self


class Schedule(Strict):
    """When flows run by themselves: cron lines (minute hour day month weekday), or "never"."""

    timezone: str = "UTC"
    ingest: Cron = Field(default="10 * * * *", description="takes in what no event announced")
    score: Cron = "40 * * * *"
    monitor: Cron = "20 5 * * *"
    retrain: Cron = "50 3 * * 1"

    @model_validator(mode="after")
    def _timezone_exists(self) -> Self:
        from zoneinfo import available_timezones

        if self.timezone not in available_timezones():
            raise ValueError(f"timezone is '{self.timezone}'; expected a name such as 'UTC' or 'Europe/Berlin'")
        return self


class Approval(Strict):
    """Whether a person has to agree before a challenger that won takes the title."""

    required: bool = False
    expires_after: Duration = Field(default=timedelta(days=3), description="without an answer the champion stays")

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.expires_after < timedelta(minutes=1):
            raise ValueError("expires_after is under a minute, in which nobody can answer; expected '1 day' or so")
        return self


class Performance(Strict):
    """When the champion's quality, measured or estimated, counts as decay."""

    window: Duration = Field(default=timedelta(days=7), description="newest days that are looked at together")
    past: Duration = Field(default=timedelta(days=56), description="days before them: what the quality was")
    min_outcomes: int = Field(default=200, ge=20, description="outcomes, or predictions, below which nothing is told")
    floor: float | None = Field(default=None, description="worst quality that is borne; else judging.thresholds")
    max_loss: float | None = Field(default=None, gt=0, description="what may be lost against the past; else min_gain")


class Triage(Strict):
    """What tells a broken feed from a world that has changed."""

    max_missing_rise: Share = Field(default=0.1, description="share of a column's values that may go missing at once")
    max_quarantine_rise: Share = Field(default=0.05, description="share of rows that may be refused more than usual")
    min_volume: float = Field(default=0.3, ge=0, lt=1, description="least rows, as a ratio to the usual")
    max_volume: float = Field(default=5.0, gt=1, description="most rows, as a ratio to the usual")
    unit_tolerance: float = Field(
        default=0.15, gt=0, lt=0.5, description="how near values must be to a multiple of the usual for another unit"
    )
    min_rows: int = Field(default=100, ge=20, description="rows below which nothing is told")


class Costs(Strict):
    """What mistakes and retraining cost, in one currency."""

    currency: str = ""
    false_positive: float = Field(default=0.0, ge=0, description="of one that was flagged without need")
    false_negative: float = Field(default=0.0, ge=0, description="of one that was missed")
    per_error: float = Field(
        default=0.0, ge=0, description="of one wrong class among several, or of each unit that a number is off"
    )
    retrain: float = Field(default=0.0, ge=0, description="of training and judging one challenger")

    @property
    def stated(self) -> bool:
        """Whether mistakes cost anything at all."""
        return max(self.false_positive, self.false_negative, self.per_error) > 0


METRICS: dict[Kind, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision", "log_loss", "brier", "accuracy", "precision", "recall", "f1"),
    "multiclass": ("log_loss", "accuracy", "roc_auc", "f1", "precision", "recall"),
    "regression": ("rmse", "mae", "r2"),
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})
CANDIDATES: dict[Kind, tuple[str, ...]] = {
    "binary": ("logistic", "random_forest", "boosting"),
    "multiclass": ("logistic", "random_forest", "boosting"),
    "regression": ("ridge", "random_forest", "boosting"),
}
