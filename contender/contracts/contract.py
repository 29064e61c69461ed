"""The contract of a use case: what its data means, parsed once into frozen, strict models.

Every name that a contract may use is in `clauses` or `watch_clauses`; an unknown one is an error that names the line
and the nearest right one.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from contender import column_names
from contender.contracts.expressions import Expression, cells_of
from contender.contracts.loop_sections import (
    Approval,
    Compliance,
    Costs,
    Drift,
    Fairness,
    Leaks,
    Performance,
    Retraining,
    Schedule,
    Triage,
)
from contender.contracts.sections import (
    CANDIDATES,
    METRICS,
    BatchRules,
    Columns,
    ColumnType,
    History,
    Judging,
    Kind,
    Lookup,
    Outcome,
    Records,
    Scoring,
    Training,
)
from contender.contracts.terms import Name, Strict
from contender.errors import ContractError, UnknownUseCase
from contender.values import OURS, ModelColumn


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
    drift: Drift = Drift()
    schedule: Schedule = Schedule()
    approval: Approval = Approval()
    performance: Performance = Performance()
    triage: Triage = Triage()
    costs: Costs = Costs()
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
        if self.records.time is None:
            self._needs_no_time()
        elif self.outcome.known_after is None and self.outcome.known_at is None:
            raise ValueError("outcome: expected exactly one of 'known_after' and 'known_at'")
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
        for columns in (record, outcome, *(lookup.columns for lookup in self.lookups.values())):
            for made, of in columns.items():
                if of.expression is not None:
                    _must_be_over(of.expression, None, f"the column '{made}'")
        _must_be_over(self.outcome.target, outcome, "outcome.target")
        if self.outcome.known_at is not None:
            _must_be_over(self.outcome.known_at, record | outcome, "outcome.known_at")
        for name, lookup in self.lookups.items():
            for column, expression in lookup.key.items():
                _must_be_over(expression, self._before_lookup(name), f"lookups.{name}.key.{column}")
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
        fit = ("false_positive", "false_negative") if self.kind == "binary" else ("per_error",)
        for mistake in {"false_positive", "false_negative", "per_error"}.difference(fit):
            if getattr(self.costs, mistake) > 0:
                raise ValueError(f"costs.{mistake} is not for the kind '{self.kind}'; expected {' and '.join(fit)}")
        return self

    def _needs_no_time(self) -> None:
        """Without a time nothing in a delivery came before anything else, and no clause may ask what did."""
        if not isinstance(self.judging.newest, float):
            found, needed = f"judging.newest is {_told(self.judging.newest)}", "a share of the records, such as '20 %'"
        elif self.judging.embargo:
            found, needed = f"judging.embargo is {_told(self.judging.embargo)}", "none"
        elif self.outcome.matures_after:
            found, needed = f"outcome.matures_after is {_told(self.outcome.matures_after)}", "none"
        elif self.history:
            found, needed = f"history.{next(iter(self.history))} asks what came before a record", "none"
        else:
            return
        raise ValueError(
            f"{found}, but records.time names no column; expected {needed}, or the column that is the time"
        )

    @property
    def outcome_key(self) -> str | None:
        """Column of the outcome's files that names the record."""
        return self.outcome.key or self.records.key

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The contract with other sections; what was worked out of the old ones is worked out again."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("stored_names", "target", "known_at"):
            copied.__dict__.pop(name, None)
        return copied

    @cached_property
    def stored_names(self) -> dict[str, str]:
        """How the lake calls each column of records, outcomes, look-ups and model, by its own name."""
        own = [*self.records.columns, *self.outcome.columns]
        for prefix, lookup in self.lookups.items():
            own += [*(f"{prefix}_{name}" for name in lookup.columns), *lookup.columns]
        made = [cells_of(self.records.columns), cells_of(self.outcome.columns)]
        made += [cells_of(lookup.columns) for lookup in self.lookups.values()]
        found = column_names.stored_names([*own, *self.history, *chain(*made)])
        return found | {beside_ours(name): found[name] for name in self.records.columns}

    @cached_property
    def target(self) -> Expression:
        """What is to be predicted, over the outcome's columns."""
        return Expression.parse(self.outcome.target, self.outcome.columns)

    @cached_property
    def known_at(self) -> Expression | None:
        """When the outcomes of the past were known, over the columns of record and outcome."""
        every = self.records.columns | self.outcome.columns
        return Expression.parse(self.outcome.known_at, every) if self.outcome.known_at is not None else None

    def lookup_key(self, name: str, column: str) -> Expression:
        """What a key column of a look-up is compared with, over the record and the look-ups before."""
        return Expression.parse(self.lookups[name].key[column], self._before_lookup(name))

    def _before_lookup(self, name: str) -> Columns:
        found = dict(self.records.columns)
        for before, lookup in self.lookups.items():
            if before == name:
                break
            found |= {f"{before}_{one}": column for one, column in lookup.columns.items() if one not in lookup.key}
        return found

    def stored(self, columns: Columns) -> Columns:
        """Columns by the names that they have in the lake."""
        return {self.stored_names[name]: column for name, column in columns.items()}

    def made(self, columns: Columns) -> dict[str, str]:
        """Spark's expressions of the columns that are made of a file's cells, by their names in the lake."""
        return {
            self.stored_names[name]: Expression.parse(column.expression, None).spark(self.stored_names)
            for name, column in columns.items()
            if column.expression
        }

    @property
    def has_sources(self) -> bool:
        """Whether rows are fetched from elsewhere, besides files that land."""
        return self.records.source is not None or self.outcome.source is not None

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
            "number": "number",
            "integer": "number",
            "boolean": "number",
            "category": "category",
            "text": "text",
            "timestamp": "time",
        }
        found = [
            ModelColumn(beside_ours(name), "words" if column.words else kinds[column.type])
            for name, column in self.records.columns.items()
            if column.exclude is None and name != self.records.key
        ]
        for prefix, lookup in self.lookups.items():
            found += [
                ModelColumn(f"{prefix}_{name}", "words" if column.words else kinds[column.type])
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
            # Editors of Windows put a mark before the first line.
            text = path.read_text(encoding="utf-8-sig")
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
                f"{path}, line {_line_of(path.read_text(encoding='utf-8-sig'), ('name',))}: name is '{contract.name}'; "
                f"expected '{use_case}', the name of its folder."
            )
        return contract


def known_use_cases(folder: Path) -> list[str]:
    """Names of the folders that hold a contract, sorted."""
    return sorted(path.parent.name for path in folder.glob("*/contract.toml"))


def _told(duration: timedelta) -> str:
    return f"{duration.days} days" if duration.days else f"{duration.seconds // 60} minutes"


def beside_ours(name: str) -> str:
    """What a record's column is called in a frame that has columns of ours."""
    return f"{name} of the file" if name in OURS else name


def _must_be_in(name: str | None, known: Any, where: str) -> None:
    if name is None or name in known:
        return
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    advice = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(list(known)[:12])}"
    raise ValueError(f"{where} names '{name}', which is not there; {advice}")


def _must_be_over(text: str, columns: Columns | None, where: str) -> None:
    try:
        Expression.parse(text, columns)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


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
    ends = "" if expected.endswith("?") else "."
    return f"{path}, {where}: {expected.rstrip('.')}{ends}{more}"


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
