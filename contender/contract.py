"""The contract of a use case: what its data means, parsed once into frozen, strict models.

Every name that a contract may use is here; an unknown one is an error that names the line and the nearest right one.
"""

import re
import tomllib
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from contender.errors import ContractError, UnknownUseCase
from contender.values import ModelColumn

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


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Newest = Annotated[timedelta | float, BeforeValidator(parse_newest)]
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
    """When a new challenger is worth its training."""

    min_new_outcomes: int = Field(default=1000, ge=1, description="outcomes known since the last challenger")
    min_new_share: Share = Field(default=0.1, description="the same, as a share of what that challenger was given")


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


class Contract(Strict):
    """All that a use case promises; see `data/payments/contract.toml` for one with every section."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    question: str
    kind: Kind
    owner: str = ""
    licence: str = ""
    records: Records
    outcome: Outcome
    lookups: dict[Name, Lookup] = Field(default_factory=dict)
    history: dict[Name, History] = Field(default_factory=dict)
    batch: BatchRules = BatchRules()
    training: Training = Training()
    judging: Judging
    scoring: Scoring
    retraining: Retraining = Retraining()
    leaks: Leaks = Leaks()
    fairness: Fairness = Fairness()
    compliance: Compliance = Compliance()
    folder: Path = Field(exclude=True, description="where the contract was read; holds an optional features.py")

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        record, outcome = self.records.columns, self.outcome.columns
        _must_be_in(self.records.key, record, "records.key")
        _must_be_in(self.records.time, record, "records.time")
        if self.records.time is not None and record[self.records.time].type != "timestamp":
            raise ValueError(f"records.time is '{self.records.time}', which is not a timestamp")
        if self.outcome.files is not None:
            if self.records.key is None:
                raise ValueError("outcome.files needs records.key: without a key nothing ties an outcome to its record")
            _must_be_in(self.outcome_key, outcome, "outcome.key")
        elif both := sorted(set(record) & set(outcome)):
            raise ValueError(f"column '{both[0]}' is declared in both records.columns and outcome.columns")
        for name, feature in self.history.items():
            for entity in feature.by:
                _must_be_in(entity, record, f"history.{name}.by")
            if feature.of is not None and feature.of != "outcome":
                within = outcome if feature.of_outcome else record
                _must_be_in(feature.of.removeprefix("outcome."), within, f"history.{name}.of")
        for name, lookup in self.lookups.items():
            for column in lookup.key:
                _must_be_in(column, lookup.columns, f"lookups.{name}.key")
        _must_be_in(self.judging.cluster, record, "judging.cluster")
        for column in self.judging.slices:
            _must_be_in(column, record, "judging.slices")
        _must_be_in(self.judging.metric, METRICS[self.kind], "judging.metric")
        for metric in self.judging.thresholds:
            _must_be_in(metric, METRICS[self.kind], "judging.thresholds")
        for candidate in self.training.candidates:
            _must_be_in(candidate, CANDIDATES[self.kind], "training.candidates")
        for candidate in self.training.approved:
            _must_be_in(candidate, CANDIDATES[self.kind], "training.approved")
        for allowed in self.leaks.allow:
            _must_be_in(allowed, [column.name for column in self.model_columns], "leaks.allow")
        for column in self.fairness.columns:
            _must_be_in(column, record, "fairness.columns")
        if self.fairness.columns and self.kind != "binary":
            raise ValueError(f"fairness compares rates of yes and no; the kind is '{self.kind}', expected 'binary'")
        return self

    @property
    def outcome_key(self) -> str | None:
        """Column of the outcome's files that names the record."""
        return self.outcome.key or self.records.key

    @property
    def candidates(self) -> tuple[str, ...]:
        return self.training.candidates or CANDIDATES[self.kind]

    @property
    def own_features(self) -> Path | None:
        """The hook `features.py` beside the contract, where there is one."""
        path = self.folder / "features.py"
        return path if path.is_file() else None

    @property
    def model_columns(self) -> tuple[ModelColumn, ...]:
        """What every model of this use case is given, in order: record columns, look-ups, history features."""
        kinds: dict[ColumnType, Literal["number", "category", "time", "text"]] = {
            "number": "number", "integer": "number", "boolean": "number",
            "category": "category", "text": "text", "timestamp": "time",
        }  # fmt: skip
        found = [
            ModelColumn(name, kinds[column.type])
            for name, column in self.records.columns.items()
            if column.exclude is None and name != self.records.key
        ]
        for prefix, lookup in self.lookups.items():
            found += [
                ModelColumn(f"{prefix}_{name}", kinds[column.type])
                for name, column in lookup.columns.items()
                if column.exclude is None and name not in lookup.key
            ]
        for name, feature in self.history.items():
            of = feature.of if feature.take == "last" and feature.of and not feature.of_outcome else None
            found.append(ModelColumn(name, kinds[self.records.columns[of].type] if of else "number"))
        return tuple(column for column in found if column.kind != "text" or self.own_features)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The contract in a TOML file.

        Raises:
            ContractError: the file cannot be read; names the line, the key, what was found and what was expected.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ContractError(f"{path} cannot be read as UTF-8 text ({error}).") from None
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ContractError(f"{path} is not valid TOML: {error}.") from None
        try:
            return cls.model_validate(document | {"folder": path.parent})
        except ValidationError as error:
            raise ContractError(_explain(path, text, error)) from None

    @classmethod
    def of(cls, use_case: str, folder: Path) -> Self:
        """The contract of a use case, from the folder that holds one folder per use case.

        Raises:
            UnknownUseCase: no such folder; names the nearest one.
            ContractError: the contract is broken, or its name is not its folder's.
        """
        path = folder / use_case / "contract.toml"
        if not path.is_file():
            raise UnknownUseCase.named(use_case, known=known_use_cases(folder))
        contract = cls.read(path)
        if contract.name != use_case:
            raise ContractError(
                f"{path}, line {_line_of(path.read_text(encoding='utf-8'), ('name',))}: name is '{contract.name}'; "
                f"expected '{use_case}', the name of its folder."
            )
        return contract


def known_use_cases(folder: Path) -> list[str]:
    """Names of the folders that hold a contract, sorted."""
    return sorted(path.parent.name for path in folder.glob("*/contract.toml"))


def _must_be_in(name: str | None, known: Any, where: str) -> None:
    if name is None or name in known:
        return
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    advice = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(list(known)[:12])}"
    raise ValueError(f"{where} names '{name}', which is not there; {advice}")


def _explain(path: Path, text: str, error: ValidationError) -> str:
    """One sentence for the first thing that is wrong: line, key, what was found, what was expected."""
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    key = ".".join(location)
    expected = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        near = get_close_matches(location[-1], _known_keys(location[:-1]), n=1, cutoff=0.5)
        expected = f"this key is not known{f'; did you mean {near[0]!r}?' if near else ''}"
    elif first["type"] == "missing":
        expected = "this key is missing"
    elif first["type"] != "value_error" and not isinstance(first["input"], dict | list | tuple):
        expected = f"found {first['input']!r}; {expected[0].lower()}{expected[1:]}"
    if not location and (named := re.match(r"[\w.]+", expected)) and "." in named[0]:
        location = tuple(named[0].split("."))
    more = f" ({error.error_count() - 1} more after it)" if error.error_count() > 1 else ""
    where = f"line {_line_of(text, location)}" + (f", key '{key}'" if key else "")
    return f"{path}, {where}: {expected.rstrip('.')}.{more}"


def _known_keys(location: tuple[str, ...]) -> list[str]:
    model: Any = Contract
    for part in location:
        model = (
            _model_in(model.model_fields[part].annotation)
            if hasattr(model, "model_fields") and part in model.model_fields
            else model
        )
    return [name for name in getattr(model, "model_fields", {}) if name != "folder"]


def _model_in(annotation: Any) -> Any:
    """The pydantic model inside an annotation such as `dict[str, Column]` or `Column | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in getattr(annotation, "__args__", ()) if (found := _model_in(part))), None)


def _line_of(text: str, location: tuple[str, ...]) -> int:
    """Number of the line that comes nearest to setting a key, the deepest part that stands in the text winning."""
    best_depth, best_line = 0, 1
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[?([^\]]+)\]", line):
            table = tuple(part.strip().strip("\"'") for part in header[1].split("."))
            here = table
        elif assignment := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            here = (*table, *(part.strip("\"'") for part in assignment[1].split(".")))
        else:
            continue
        if location[: len(here)] == here and len(here) > best_depth:
            best_depth, best_line = len(here), number
    return best_line
