"""The clauses of a contract on its data and its models: each section as a frozen, strict model, with its own checks.

What guards the loop that they run in is in `watch_clauses`.
"""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from contender.contracts.terms import Duration, Names, Newest, Share, Strict

Kind = Literal["binary", "multiclass", "regression"]
ColumnType = Literal["number", "integer", "boolean", "category", "text", "timestamp"]
TIME_FORMS = ("epoch s", "epoch ms", "epoch us", "epoch ns", "Excel days", "ISO week", "RFC 2822")
"""What a time may be written as beside date patterns; an ISO week (`2024-W05`, `2024-W05-3`) is its Monday at first.

`Excel days` since the end of 1899 are what spreadsheets count (`45961.5`), RFC 2822 is the form of mail and of HTTP.
"""

LENGTH_FORMS = ("duration", "duration h:mm")
"""Lengths of time such as `1:02:03`, `1h 30m`, `PT5M`, `2 days 03:04:05`; two parts end in seconds, or in minutes."""

Formats = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(
        lambda value: (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value
    ),
]
_PATTERN_LETTERS = "GyMLdDQqEFahKkHmsSVzOXxZ"
_UNSAID: dict[str, object] = {"drop": (), "factors": {}, "yes": (), "no": (), "words": False}
Take = Literal["avg", "count", "sum", "share", "last", "time since"]


class Column(Strict):
    """One column: its type, how its values are written, its unit, range or set, and whether the model may see it.

    What does not fit the form in which the column says that it is written is not guessed at: its row is quarantined.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    type: ColumnType
    unit: str = ""
    min: float | None = None
    max: float | None = None
    values: Names | None = None
    unseen: Literal["quarantine", "accept"] = Field(
        default="accept", description="what becomes of a value that is none of `values`"
    )
    required: bool = False
    missing: Names = Field(default=(), description="spellings of a missing value, beside those of all columns")
    decimal: Literal[".", ","] | None = Field(default=None, description="the decimal sign; see `point`")
    thousands: Literal[".", ",", " ", "'"] | None = Field(default=None, description="what groups digits by thousands")
    drop: Names = Field(default=(), description="texts beside a number that mean nothing for it: a currency, a unit, %")
    negative: Literal["(1)", "1-"] | None = Field(
        default=None, description="how a number below zero is written beside `-1`: as in accounts, or as SAP does"
    )
    factors: dict[str, float] = Field(default_factory=dict, description="texts after a number that multiply it")
    yes: Names = Field(default=(), description="spellings of true, in any case; without them the usual ones")
    no: Names = Field(default=(), description="spellings of false, in any case; without them the usual ones")
    format: Formats | None = Field(
        default=None,
        description="Spark date patterns, tried in order, or one of `TIME_FORMS`, where the times are not ISO 8601; "
        "`duration` or `duration h:mm` where a number is a length of time, in seconds",
    )
    years_from: int | None = Field(
        default=None,
        ge=1,
        le=9900,
        description="first of the hundred years that two digits stand for; without it none lies after the arrival",
    )
    expression: str | None = Field(
        default=None, alias="from", min_length=1, description="an expression over the file's own cells that makes it"
    )
    words: bool = Field(default=False, description="the model learns from the words of a text")
    exclude: str | None = Field(default=None, min_length=1, description="why the model must not see it")

    @model_validator(mode="after")
    def _forms_fit_the_type(self) -> Self:
        of_type: dict[tuple[str, ...], tuple[str, ...]] = {
            ("number", "integer"): ("min", "max", "decimal", "thousands", "drop", "factors", "negative"),
            ("category",): ("values",),
            ("boolean",): ("yes", "no"),
            ("timestamp",): ("years_from",),
            ("text",): ("words",),
        }
        for types, names in of_type.items():
            given = [name for name in names if getattr(self, name) != _UNSAID.get(name)]
            if given and self.type not in types:
                kind = "numbers" if "number" in types else f"type '{types[0]}'"
                raise ValueError(f"'{given[0]}' is for {kind}, not for type '{self.type}'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"'min' is {self.min:g} and 'max' is {self.max:g}; expected min <= max")
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"'decimal' and 'thousands' are both '{self.decimal}'; expected different ones")
        if bool(self.yes) != bool(self.no):
            raise ValueError("expected 'yes' and 'no' together, or neither")
        if both := {text.casefold() for text in self.yes} & {text.casefold() for text in self.no}:
            raise ValueError(f"'{min(both)}' is in 'yes' and in 'no'; expected it in one of both")
        lengths = [form for form in self.format or () if form in LENGTH_FORMS]
        if lengths and (self.type != "number" or len(lengths) < len(self.format or ())):
            raise ValueError(
                f"'{lengths[0]}' belongs to type 'number', alone; found {self.format} of type '{self.type}'"
            )
        if self.format is not None and not lengths and self.type != "timestamp":
            raise ValueError(f"'format' is for type 'timestamp', not for type '{self.type}'")
        for form in set(self.format or ()).difference(TIME_FORMS, LENGTH_FORMS):
            if letters := set(re.sub(r"'[^']*'|[^A-Za-z%]", "", form)) - set(_PATTERN_LETTERS):
                raise ValueError(
                    f"'format' is '{form}', in which '{min(letters)}' means nothing; expected a date pattern such as "
                    f"'dd.MM.yyyy HH:mm:ss', or one of {', '.join((*TIME_FORMS, *LENGTH_FORMS))}"
                )
        return self

    @property
    def point(self) -> str:
        """The decimal sign: as said, else a dot, or a comma where dots group digits."""
        return self.decimal or ("," if self.thousands == "." else ".")


Columns = dict[str, Column]


class Source(Strict):
    """Where rows come from besides files that land: a Delta table, or a query of an SQL database.

    What is new there is fetched into the landing folder, and goes on as any file that landed. `newer_than` names a
    column whose values only rise, such as the time of a row's last change; rows with a value not seen yet are new.
    Without it a Delta table's own log says what is new, and a query is fetched whole each time.
    """

    delta: str | None = Field(default=None, min_length=1, description="address of a Delta table")
    sql: str | None = Field(default=None, min_length=1, description="SELECT statement, in the database's own dialect")
    url_from: str | None = Field(
        default=None,
        pattern=r"^CONTENDER_[A-Z0-9_]+$",
        description="environment variable that holds the database's address as SQLAlchemy reads it",
    )
    newer_than: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.delta is None) == (self.sql is None):
            raise ValueError("expected exactly one of 'delta' and 'sql'")
        if self.sql is not None and self.url_from is None:
            raise ValueError("'sql' needs 'url_from', the variable that holds the database's address")
        if self.delta is not None and self.url_from is not None:
            raise ValueError("'url_from' belongs to 'sql'; a Delta table's address is 'delta' itself")
        return self


def fetched_files(kind: str) -> str:
    """Pattern of the names of files that are fetched from a source, unless the contract says another."""
    return f"fetched-{kind}-*.parquet"


def _with_files(kind: str, section: object) -> object:
    """A section that states a source needs no `files`; where it has them, fetched ones get such a name."""
    if not isinstance(section, dict) or section.get("source") is None:
        return section
    files = section.get("files", fetched_files(kind))
    if isinstance(files, str) and (files.count("*") != 1 or not files.endswith(".parquet")):
        raise ValueError(f"files is '{files}'; with a source, expected a name such as 'sales-*.parquet', or none")
    return section | {"files": files}


class Records(Strict):
    """What is known when a prediction is wanted."""

    files: str = Field(min_length=1, description="pattern of file names")
    source: Source | None = None
    landing: str = Field(min_length=1, description="folder where files arrive, relative to the working directory")
    header: Names | None = Field(
        default=None, description="the columns in order, where CSV files begin with values and not with names"
    )
    key: str | None = None
    time: str | None = None
    missing: Names = ("",)
    columns: Columns = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _files_of_the_source(cls, section: object) -> object:
        return _with_files("records", section)


class Outcome(Strict):
    """What is known later. Without `files`, the records' own files carry it.

    `known_after` (since the record's time) or `known_at` (an SQL expression over the columns of outcome and record)
    states when outcomes of history loaded in bulk were known; what arrives live is known when it is received. Where
    records have no time there is nothing to count from: without `known_at` an outcome is known when it arrives.
    """

    target: str = Field(min_length=1, description="column, or SQL expression over the outcome's columns")
    files: str | None = None
    source: Source | None = None
    key: str | None = None
    known_after: Duration | None = None
    known_at: str | None = None
    matures_after: Duration = Field(
        default=timedelta(0), description="records younger than this are neither trained nor judged on"
    )
    columns: Columns = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _files_of_the_source(cls, section: object) -> object:
        return _with_files("outcomes", section)

    @model_validator(mode="after")
    def _known_once(self) -> Self:
        if self.known_after is not None and self.known_at is not None:
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


_CLASS_COUNTS_FROM = 5


class Training(Strict):
    """Which candidates are searched, on what, and how hard."""

    candidates: Names = ()
    approved: Names = Field(default=(), description="the only candidates that may be searched in production")
    window: Duration | None = None
    folds: int = Field(default=3, ge=2, le=10)
    trials: int = Field(default=4, ge=1, le=200, description="settings tried per candidate")
    search_rows: int = Field(default=30_000, ge=500, description="rows used by the search, spread evenly over all")
    max_rows: int = Field(default=500_000, ge=1000, description="rows used by the final fit, newest first")
    min_rows: int = Field(default=50, ge=20, description="records with outcomes below which nothing is trained")
    min_per_class: int | None = Field(
        default=None,
        ge=2,
        description="outcomes below which a class of several is left out; else 5. Of the two largest 10 are needed",
    )

    @property
    def fewest_of_a_class(self) -> int:
        """Outcomes from which on one of several classes is learnt; with fewer, a perfect order is easily luck."""
        return self.min_per_class or _CLASS_COUNTS_FROM

    @property
    def fewest_of_two(self) -> int:
        """Outcomes that two classes must have, or the two largest of several."""
        return self.min_per_class or 2 * _CLASS_COUNTS_FROM


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
    min_rows: int | None = Field(default=None, ge=20, description="records with outcomes needed to judge; else 20")
    min_per_class: int | None = Field(default=None, ge=3, description="of the second largest class; else 5")
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

    @property
    def fewest_rows(self) -> int:
        """Records with outcomes that a verdict needs: what so few prove is little, and the bounds say so."""
        return self.min_rows or 20

    @property
    def fewest_of_a_class(self) -> int:
        """Outcomes of the second largest class that a verdict needs: with fewer, a perfect order is easily luck."""
        return self.min_per_class or _CLASS_COUNTS_FROM


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
