"""The door of a use case: what a record may hold by its contract, and all that is wrong with those that are refused.

The checks are those of ingestion, on values instead of cells. No verdict on a value depends on any other value.
"""

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from contender.contracts.contract import Contract, beside_ours
from contender.contracts.expressions import Expression
from contender.contracts.sections import Column
from contender.ingestion.cell_forms import BLANKS, EPOCHS, EXACT
from contender.serving.json_body import NotFinite, Repeated
from contender.serving.refusals import Fault, Refusal
from contender.serving.text_cells import UNREADABLE, TextCells, is_common, time_of
from contender.values import ModelColumn

_MOST_FAULTS = 1_000
"""Fields that one refusal names; a body may hold any number of names."""
_LONGEST_NAME = 80
_FEW_VALUES = 20


class _Absent:
    """Stands for a field that a record does not have."""


ABSENT: Final = _Absent()


@dataclass(frozen=True)
class Checked:
    """Records that may be scored: their values by the model's names, None where missing, all of one length."""

    rows: int
    values: Mapping[str, Sequence[Any]]

    def missing(self, columns: Sequence[ModelColumn]) -> list[list[str]]:
        """Of each record the columns of a model that are missing in it."""
        if self.rows == 1:
            nothing = (None,)
            return [[column.name for column in columns if self.values.get(column.name, nothing)[0] is None]]
        found: list[list[str]] = [[] for _ in range(self.rows)]
        for column in columns:
            for row, value in enumerate(self.values.get(column.name, ())):
                if value is None:
                    found[row].append(column.name)
        unknown = [column.name for column in columns if column.name not in self.values]
        return [[*names, *unknown] for names in found] if unknown else found


@dataclass
class _Faults:
    """What is wrong, by field and kind, in the order in which it was found."""

    found: dict[tuple[str, str, str], list[int]]

    def add(self, field: str, row: int, found: str, needed: str) -> None:
        rows = self.found.get((field, found, needed))
        if rows is not None:
            rows.append(row)
        elif len(self.found) < _MOST_FAULTS:
            self.found[field, found, needed] = [row]

    def refuse(self) -> None:
        """Raise what was found, if anything was."""
        if self.found:
            raise Refusal.of(
                [Fault(shortened(field), rows, found, needed) for (field, found, needed), rows in self.found.items()]
            )


Reader = Callable[[Any], Any]
"""Of a value that is there the value in its type, `UNREADABLE`, or a `_Text` that is still to be read."""


@dataclass(frozen=True)
class _Text:
    text: str


class Door:
    """Checks records by one contract; for one thread.

    Attributes:
        names: fields that a record may have, in the contract's order.
        texts: what reads texts and evaluates expressions.
    """

    def __init__(self, contract: Contract) -> None:
        columns = contract.records.columns
        self._columns = columns
        self.texts = TextCells(contract.records.missing)
        self._made = _made_columns(contract)
        self.names = field_names(contract)
        self._bare = tuple(name for name in self.names if name not in columns)
        self._known = frozenset(self.names)
        self._needed = {
            name
            for name, column in columns.items()
            if column.required or name in (contract.records.key, contract.records.time)
        }
        self._time = contract.records.time
        self._skew = contract.batch.clock_skew.total_seconds()
        self._told = {name: told(column) for name, column in columns.items()}
        self._read = {name: self._reader(column) for name, column in columns.items()}
        self._spelt = {
            name: {one.strip(BLANKS) for one in (*contract.records.missing, *column.missing)} | {""}
            for name, column in columns.items()
        }
        self._marks = {name: self._marks_of(name, column) for name, column in columns.items()}
        self._sets = {
            name: frozenset(column.values)
            for name, column in columns.items()
            if column.values is not None and column.unseen == "quarantine"
        }
        self._model_names = {name: beside_ours(name) for name in columns}
        self._plan = [
            (name, self._model_names[name], self._planned(name, column))
            for name, column in columns.items()
            if name not in self._made
        ]
        self._outcome = frozenset(contract.outcome.columns) - frozenset(columns)
        self._looked_up = {f"{prefix}_{one}" for prefix, lookup in contract.lookups.items() for one in lookup.columns}
        self._history = frozenset(contract.history)

    def type_of(self, name: str) -> str | None:
        """The type of a field; None of one that is not known. What a column is made of is text."""
        return self._columns[name].type if name in self._columns else "text" if name in self._known else None

    def check_records(self, records: Sequence[Any]) -> Checked:
        """Records as objects, each with a name for every value.

        Raises:
            Refusal: names every field that is wrong, and the rows.
        """
        if len(records) == 1 and (quick := self._quickly(records[0])) is not None:
            return quick
        faults = _Faults({})
        for row, record in enumerate(records):
            if not isinstance(record, dict):
                faults.add("record", row, kind_of(record), "an object with a value for each field")
                continue
            if isinstance(record, Repeated):
                for name in record.names:
                    faults.add(name, row, "the field twice", "it once")
            if not self._known.issuperset(record):
                for name in record:
                    if name not in self._known:
                        faults.add(name, row, "a field that is not known", self._advice(name))
        kept = [record if isinstance(record, dict) else {} for record in records]
        columns: dict[str, Sequence[Any]] = {name: [record.get(name, ABSENT) for record in kept] for name in self.names}
        return self._checked(columns, len(records), faults)

    def _quickly(self, record: Any) -> Checked | None:
        """One record that is surely right; None where it takes a closer look to tell."""
        if type(record) is not dict or self._made:
            return None
        values: dict[str, Sequence[Any]] = {}
        given = 0
        for name, model_name, read in self._plan:
            value = record.get(name, ABSENT)
            if value is not ABSENT:
                given += 1
            typed = read(value)
            if typed is UNREADABLE:
                return None
            values[model_name] = (typed,)
        return Checked(1, values) if given == len(record) else None

    def _planned(self, name: str, column: Column) -> Reader:
        """Reads a value that is surely right, or missing where it may be; else `UNREADABLE`."""
        read, marks, spelt = self._read[name], self._marks[name], self._spelt[name]
        empty = UNREADABLE if name in self._needed else None
        allowed = self._sets.get(name)
        low = -math.inf if column.min is None else column.min
        high = math.inf if column.max is None else column.max

        def of_number(value: Any) -> Any:
            if value is None or value is ABSENT:
                return empty
            typed = read(value)
            if typed is UNREADABLE or not low <= typed <= high or (marks and typed in marks):
                return UNREADABLE
            return typed

        def of_text(value: Any) -> Any:
            if value is None or value is ABSENT:
                return empty
            typed = read(value)
            if typed in spelt or (allowed is not None and typed not in allowed):
                return UNREADABLE
            return typed

        def of_time(value: Any) -> Any:
            if value is None or value is ABSENT:
                return empty
            if type(value) is not str or column.format or value in spelt or not is_common(value):
                return UNREADABLE
            typed = time_of(value)
            if name == self._time and isinstance(typed, float) and typed > datetime.now(UTC).timestamp() + self._skew:
                return UNREADABLE
            return typed

        def of_boolean(value: Any) -> Any:
            if value is None or value is ABSENT:
                return empty
            return read(value)

        return {"number": of_number, "integer": of_number, "timestamp": of_time, "boolean": of_boolean}.get(
            column.type, of_text
        )

    def check_columns(self, columns: Mapping[str, Sequence[Any]], rows: int, repeated: Sequence[str] = ()) -> Checked:
        """Records as columns of the same length, by name.

        Raises:
            Refusal: as `check_records`; `repeated` names came twice.
        """
        faults = _Faults({})
        every = range(rows)
        for name in repeated:
            for row in every:
                faults.add(name, row, "the field twice", "it once")
        for name in columns:
            if name not in self._known:
                advice = self._advice(name)
                for row in every:
                    faults.add(name, row, "a field that is not known", advice)
        return self._checked({name: columns.get(name, [ABSENT] * rows) for name in self.names}, rows, faults)

    def check_cells(self, columns: Mapping[str, Sequence[str]], rows: int, repeated: Sequence[str] = ()) -> Checked:
        """The same for cells of text, which are read as those of the contract's files are."""
        told = {
            name: [_Text(unicodedata.normalize("NFC", cell).strip(BLANKS)) for cell in cells]
            for name, cells in columns.items()
        }
        return self.check_columns(told, rows, repeated)

    def _checked(self, columns: dict[str, Sequence[Any]], rows: int, faults: _Faults) -> Checked:
        values: dict[str, Sequence[Any]] = {}
        latest = datetime.now(UTC).timestamp() + self._skew
        texts = {name: self._texts_of(name, columns[name], faults) for name in self._bare}
        for name, column in self._columns.items():
            if name in self._made:
                values[self._model_names[name]] = self._make(name, column, columns, texts, faults, latest)
            else:
                values[self._model_names[name]] = self._column(name, column, columns[name], faults, latest)
        faults.refuse()
        return Checked(rows, values)

    def _column(self, name: str, column: Column, given: Sequence[Any], faults: _Faults, latest: float) -> Sequence[Any]:
        read, needed, spelt = self._read[name], self._told[name], self._spelt[name]
        found: list[Any] = []
        waiting: list[int] = []
        for row, value in enumerate(given):
            if value is None or value is ABSENT:
                found.append(None)
                continue
            typed = value if type(value) is _Text else read(value)
            if typed is UNREADABLE:
                faults.add(name, row, kind_of(value), needed)
            elif type(typed) is _Text:
                if typed.text in spelt:
                    typed = None
                elif column.type in ("category", "text"):
                    typed = typed.text
                else:
                    waiting.append(row)
            found.append(typed)
        if waiting:
            read_now = self.texts.read(column, [found[row].text for row in waiting])
            for row, typed in zip(waiting, read_now, strict=True):
                if typed is UNREADABLE:
                    faults.add(name, row, "a text that is not one", needed)
                found[row] = typed
        self._judge(name, column, found, faults, latest)
        return found

    def _judge(self, name: str, column: Column, found: list[Any], faults: _Faults, latest: float) -> None:
        """The checks of values that could be read; what is spelt as missing becomes None."""
        needed, spelt, marks = self._told[name], self._spelt[name], self._marks[name]
        texts, allowed = column.type in ("category", "text"), self._sets.get(name)
        for row, value in enumerate(found):
            if value is UNREADABLE:
                continue
            if value is not None and ((texts and value in spelt) or (marks and value in marks)):
                found[row] = value = None
            if value is None:
                if name in self._needed:
                    faults.add(name, row, "nothing", needed)
            elif column.min is not None and value < column.min:
                faults.add(name, row, f"{_AN[column.type]} below {column.min:.15g}", needed)
            elif column.max is not None and value > column.max:
                faults.add(name, row, f"{_AN[column.type]} above {column.max:.15g}", needed)
            elif allowed is not None and value not in allowed:
                faults.add(name, row, f"none of the {len(allowed)} known values", needed)
            elif name == self._time and value > latest:
                faults.add(name, row, "a time in the future", "the time of the record, at most now")

    def _make(
        self,
        name: str,
        column: Column,
        columns: Mapping[str, Sequence[Any]],
        texts: Mapping[str, Sequence[str | None]],
        faults: _Faults,
        latest: float,
    ) -> Sequence[Any]:
        expression = self._made[name]
        cells = {
            one: texts[one] if one in texts else self._texts_of(one, columns[one], faults, told=False)
            for one in expression.names
        }
        given = [ABSENT if text is None else _Text(text) for text in self.texts.make(expression, cells)]
        return self._column(name, column, given, faults, latest)

    def _texts_of(self, name: str, given: Sequence[Any], faults: _Faults, *, told: bool = True) -> Sequence[str | None]:
        """Cells of which a column is made, as a file would have them."""
        found: list[str | None] = []
        for row, value in enumerate(given):
            text: str | None = None
            if type(value) is _Text:
                text = value.text
            elif type(value) is str:
                text = unicodedata.normalize("NFC", value).strip(BLANKS)
            elif type(value) in (int, float):
                text = repr(value)
            elif value is not None and value is not ABSENT and told:
                faults.add(name, row, kind_of(value), "text, as a file has it")
            found.append(text)
        return found

    def _reader(self, column: Column) -> Reader:
        match column.type:
            case "number":
                return _number
            case "integer":
                return _whole
            case "boolean":
                return lambda value: value if type(value) is bool else UNREADABLE
            case "timestamp":
                return _time_reader(column)
        return _plain_text

    def _marks_of(self, name: str, column: Column) -> frozenset[Any]:
        """Numbers that mean missing."""
        if column.type not in ("number", "integer"):
            return frozenset()
        spelt = [one for one in sorted(self._spelt[name]) if any(letter.isdigit() for letter in one)]
        without = column.model_copy(update={"missing": ()})
        read = TextCells(()).read(without, spelt) if spelt else []
        return frozenset(one for one in read if one is not UNREADABLE)

    def _advice(self, name: str) -> str:
        if name in self._outcome:
            return "none: it is the outcome, which is not known when a score is wanted"
        if name in self._history:
            return "none: it is counted from what was taken in before"
        if name in self._looked_up:
            return "none: it is looked up"
        if name in self._made:
            return f"the fields it is made of: {_listed(self._made[name].names)}"
        near = get_close_matches(name[:_LONGEST_NAME], self.names, n=1, cutoff=0.6)
        return f"'{near[0]}', which is the nearest name" if near else f"one of {_listed(self.names)}"


def field_names(contract: Contract) -> tuple[str, ...]:
    """Fields that a record may have: columns as they come, then the cells that others are made of."""
    columns, made = contract.records.columns, _made_columns(contract)
    cells = {cell: None for expression in made.values() for cell in expression.names if cell not in columns}
    return (*(name for name in columns if name not in made), *cells)


def _made_columns(contract: Contract) -> dict[str, Expression]:
    columns = contract.records.columns.items()
    return {name: Expression.parse(column.expression, None) for name, column in columns if column.expression}


def _number(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return value if value - value == 0 else UNREADABLE
    if kind is int:
        return float(value) if -EXACT <= value <= EXACT else UNREADABLE
    return UNREADABLE


def _whole(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        return value if -EXACT <= value <= EXACT else UNREADABLE
    if kind is float:
        return int(value) if value.is_integer() and -EXACT <= value <= EXACT else UNREADABLE
    return UNREADABLE


def _plain_text(value: Any) -> Any:
    if type(value) is not str:
        return UNREADABLE
    return (value if value.isascii() else unicodedata.normalize("NFC", value)).strip(BLANKS)


def _time_reader(column: Column) -> Reader:
    """Texts, and numbers where the files' times are numbers."""
    forms = set(column.format or ())
    numeric = bool(forms & {*EPOCHS, "Excel days"})
    # Nanoseconds of today have nineteen digits; a whole number of JSON keeps them all.
    largest = 2**63 - 1 if "epoch ns" in forms else EXACT

    def read(value: Any) -> Any:
        if type(value) is str:
            return _Text(value.strip(BLANKS))
        if numeric and type(value) is int:
            return _Text(str(value)) if -largest <= value <= largest else UNREADABLE
        if numeric and type(value) is float and abs(value) < EXACT:
            return _Text(f"{value:.6f}")
        return UNREADABLE

    return read


_AN = {"number": "a number", "integer": "an integer", "timestamp": "a time"}


def told(column: Column) -> str:
    """What a column allows, in words."""
    bounds = ""
    if column.min is not None and column.max is not None:
        bounds = f" from {column.min:.15g} to {column.max:.15g}"
    elif column.min is not None:
        bounds = f" of at least {column.min:.15g}"
    elif column.max is not None:
        bounds = f" of at most {column.max:.15g}"
    unit = f", in {column.unit}" if column.unit else ""
    match column.type:
        case "number":
            return f"a finite number{bounds}{unit}"
        case "integer":
            return f"a whole number of at most 2^53{bounds}{unit}" if not bounds else f"a whole number{bounds}{unit}"
        case "boolean":
            return "true or false"
        case "timestamp":
            forms = _listed(column.format) if column.format else "as ISO 8601 has it, such as 2026-01-31T12:00:00Z"
            return f"a time, {forms}"
    if column.values is not None and column.unseen == "quarantine":
        return f"one of {_listed(column.values)}"
    return "a text"


def kind_of(value: Any) -> str:
    """What a value is, without the value."""
    if isinstance(value, NotFinite):
        return value.name
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int):
        return "a whole number" if -EXACT <= value <= EXACT else "a whole number beyond 2^53"
    if isinstance(value, float):
        if value - value != 0:
            return "a number beyond the range of floating point"
        return "a whole number" if value.is_integer() else "a number with a fraction"
    if value is None:
        return "nothing"
    return "a text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"


def shortened(name: str) -> str:
    """A name that somebody gave, to be told again."""
    plain = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[: _LONGEST_NAME - 1]}…"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _FEW_VALUES} more" if len(names) > _FEW_VALUES else ""
    return ", ".join(f"'{name}'" for name in names[:_FEW_VALUES]) + more
