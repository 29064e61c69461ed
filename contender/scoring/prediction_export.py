"""Predictions for people and their programs: beside each record's own columns, as a few rows or as a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.contracts.contract import Contract
from contender.errors import UsageError
from contender.lake import queries, tables
from contender.lake.queries import WrittenFile, name_of, text_of
from contender.settings import Settings
from contender.values import KEY

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

OURS = ("score", "prediction", "band", "model_version", "scored_at")
"""What is told of each prediction. Where a record has a column of that name, ours begins with `contender_`."""


_BESIDE = f"AS p LEFT JOIN records AS r ON p.{KEY} = r.{KEY}"


@dataclass(frozen=True)
class Newest:
    """How many predictions there are, and the newest of them, newest first, each with the record's own columns."""

    total: int
    rows: list[dict[str, Any]]


def newest(settings: Settings, contract: Contract, rows: int, since: datetime | None = None) -> Newest:
    """At most so many of the predictions that were made since then. Times are UTC.

    Raises:
        UsageError: there are no predictions at all yet.
    """
    with _predictions(settings, contract, since) as (database, select):
        ((total,),) = database.execute("SELECT count(*) FROM made").fetchall()
        # Found before their records are, of which only so many have to be.
        order = f"scored_at DESC, _batch DESC, _time DESC, {KEY}"
        database.execute(f"CREATE TEMP TABLE few AS SELECT * FROM made ORDER BY {order} LIMIT {int(rows)}")
        found = database.execute(f"{select} few {_BESIDE} ORDER BY {_of_predictions(order)}")
        names = [column[0] for column in found.description]
        return Newest(int(total), [dict(zip(names, row, strict=True)) for row in found.fetchall()])


def write(
    settings: Settings, contract: Contract, path: Path, since: datetime | None = None, *, overwrite: bool = False
) -> WrittenFile:
    """All predictions that were made since then, oldest first, as a file.

    Args:
        overwrite: put it in the place of a file that is there.

    Raises:
        UsageError: there are no predictions at all yet, or `queries.write` says why it cannot be.
    """
    with _predictions(settings, contract, since) as (database, select):
        order = _of_predictions(f"scored_at, _batch, _time, {KEY}")
        return queries.write(database, f"{select} made {_BESIDE} ORDER BY {order}", path, overwrite=overwrite)


def names_of(contract: Contract) -> dict[str, str]:
    """What our columns are called beside the record's own; most readers do not tell names by their case."""
    theirs = {name.casefold() for name in contract.records.columns}
    return {name: f"contender_{name}" if name in theirs else name for name in OURS}


@contextmanager
def _predictions(
    settings: Settings, contract: Contract, since: datetime | None
) -> "Iterator[tuple[DuckDBPyConnection, str]]":
    """A database with the predictions as `made`, and how to ask for them beside their records: `SELECT … FROM `."""
    # Predictions first: the records of all of them are there by then.
    found, records = (tables.find(settings, contract.name, table) for table in ("predictions", "records"))
    if found is None or records is None:
        raise UsageError(
            f"There are no predictions of {contract.name} yet; 'contender run {contract.name}' makes them."
        )
    with queries.database(settings, contract.name) as database:
        queries.show(database, settings, found)
        queries.show(database, settings, records)
        moment = since if since is None or since.tzinfo else since.replace(tzinfo=UTC)
        when = f"WHERE scored_at >= {text_of(moment.isoformat())}::TIMESTAMPTZ" if moment else ""
        database.execute(f"CREATE VIEW made AS SELECT * FROM predictions {when}")
        yield database, f"SELECT {_columns(contract, tables.columns_of(settings, records))} FROM "


def _columns(contract: Contract, there: list[str]) -> str:
    """The record's own columns, then ours; what was declared after all records came is empty."""
    ours = names_of(contract)
    asked = [] if contract.records.key else [f"p.{KEY} AS key"]
    for name, column in contract.records.columns.items():
        stored = contract.stored_names[name]
        value = f"r.{name_of(stored)}" if stored in there else "NULL"
        asked.append(f"{f'{value}::TIMESTAMP' if column.type == 'timestamp' else value} AS {name_of(name)}")
    for name in OURS:
        asked.append(f"p.{name}{'::TIMESTAMP' if name == 'scored_at' else ''} AS {name_of(ours[name])}")
    return ", ".join(asked)


def _of_predictions(order: str) -> str:
    return ", ".join(f"p.{part}" for part in order.split(", "))
