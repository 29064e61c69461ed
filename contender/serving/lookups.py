"""Facts of look-up tables, held in memory by key: a record's are what the same record has in a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from contender.contracts.contract import Contract, beside_ours
from contender.contracts.expressions import Expression
from contender.contracts.sections import Columns, ColumnType
from contender.lake import tables
from contender.serving.text_cells import TextCells
from contender.settings import Settings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FAMILIES: Mapping[ColumnType, str] = {
    **dict.fromkeys(("number", "integer"), "number"),
    **dict.fromkeys(("category", "text"), "text"),
    "boolean": "boolean",
    "timestamp": "time",
}


@dataclass(frozen=True)
class _Facts:
    """One look-up: facts by the values of its key columns.

    `keys` are what these are compared with, over `known`, columns of the record and of look-ups before by their names.
    """

    keys: Sequence[tuple[Expression, ColumnType]]
    known: Columns
    names: Sequence[str]
    rows: Mapping[tuple[Any, ...], Sequence[Any]]


@dataclass(frozen=True)
class LookUps:
    """All look-ups of a contract that there are.

    `columns` are those that are looked up, by the model's names; `stamp` changes when a table does.
    """

    facts: Sequence[_Facts]
    columns: frozenset[str]
    stamp: tuple[int | None, ...]

    def look_up(self, values: Mapping[str, Sequence[Any]], rows: int, texts: TextCells) -> dict[str, Sequence[Any]]:
        """The values of records with the facts of each; those of an unknown key are missing.

        Args:
            values: by the model's names, times as seconds since 1970.
            texts: evaluates expressions, for one thread.
        """
        found = dict(values)
        for table in self.facts:
            parts = [_compared(expression, of, table.known, found, rows, texts) for expression, of in table.keys]
            of_rows = [table.rows.get(key) for key in zip(*parts, strict=True)]
            for place, name in enumerate(table.names):
                found[name] = [None if facts is None else facts[place] for facts in of_rows]
        return found


def stamp_of(settings: Settings, contract: Contract) -> tuple[int | None, ...]:
    """The versions of the tables, in the contract's order; None of one that was never written."""
    found = [tables.find(settings, contract.name, f"lookup_{name}") for name in contract.lookups]
    return tuple(None if table is None else table.version for table in found)


def read(settings: Settings, contract: Contract) -> LookUps:
    """All look-ups as the lake has them now.

    A table that was never written, or whose key is compared with a column of another kind, is left out, and so is one
    that needs its columns.
    """
    stamp = stamp_of(settings, contract)
    facts: list[_Facts] = []
    columns: set[str] = set()
    known: Columns = dict(contract.records.columns)
    for (name, lookup), version in zip(contract.lookups.items(), stamp, strict=True):
        keys = [(contract.lookup_key(name, column), lookup.columns[column].type) for column in lookup.key]
        whole = all(
            set(expression.names) <= set(known)
            and (expression.text not in known or _FAMILIES[known[expression.text].type] == _FAMILIES[of])
            for expression, of in keys
        )
        if version is None or not whole:
            continue
        table = tables.read_small(settings, contract.name, f"lookup_{name}", version=version)
        assert table is not None, "it has a version"
        stored = {column: table.column(contract.stored_names[column]).to_pylist() for column in lookup.columns}
        told = [column for column in lookup.columns if column not in lookup.key]
        rows = {
            tuple(map(_plain, key)): tuple(map(_plain, facts))
            for key, facts in zip(
                zip(*[stored[column] for column in lookup.key], strict=True),
                zip(*[stored[column] for column in told], strict=True) if told else [()] * table.num_rows,
                strict=True,
            )
        }
        facts.append(_Facts(keys, dict(known), [f"{name}_{column}" for column in told], rows))
        columns |= {f"{name}_{column}" for column in told}
        known |= {f"{name}_{column}": lookup.columns[column] for column in told}
    return LookUps(facts, frozenset(columns), stamp)


def _compared(
    expression: Expression,
    of: ColumnType,
    known: Columns,
    values: Mapping[str, Sequence[Any]],
    rows: int,
    texts: TextCells,
) -> Sequence[Any]:
    if expression.text in known:
        return values[beside_ours(expression.text)]
    given = {name: (known[name].type, values[beside_ours(name)]) for name in expression.names}
    return texts.evaluate(expression, of, given, rows)


def _plain(value: Any) -> Any:
    """A value of the lake as records have it: times as seconds since 1970, no number as missing."""
    if isinstance(value, datetime):
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND / 1e6
    return None if value != value else value
