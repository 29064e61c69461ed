"""Texts of requests as typed values, as the same texts in a file are read.

Times as most are written are read here; all else by DuckDB, with the expressions that drafts are checked by and that a
test holds to Spark's.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from contender.contracts.expressions import Expression
from contender.contracts.sections import Column, ColumnType
from contender.ingestion.cell_forms import BLANKS, FIRST_US, LAST_US

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COMMON = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?(?:Z|[+-](?:0\d|1[0-7]):[0-5]\d)?)?"
)
"""Times as most programs write them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Unreadable:
    """Stands for a text that the column's form does not read."""


UNREADABLE: Final = Unreadable()


class TextCells:
    """Reads texts by the columns of a contract; for one thread."""

    def __init__(self, missing: Sequence[str]) -> None:
        self._missing = missing

    def read(self, column: Column, texts: Sequence[str | None]) -> list[Any]:
        """Values in the column's type, times as seconds since 1970; None where missing, else `UNREADABLE`.

        Args:
            texts: trimmed.
        """
        if column.type == "timestamp" and not column.format:
            return [time_of(text) if is_common(text) else self._slowly(column, [text])[0] for text in texts]
        return self._slowly(column, texts)

    def _slowly(self, column: Column, texts: Sequence[str | None]) -> list[Any]:
        from contender.drafting import typed_columns

        text, value = typed_columns.read("cell", column, self._missing, datetime.now(UTC))
        if column.type == "timestamp":
            value = f"epoch_us({value}) / 1e6"
        # In the order of the texts: with one thread nothing overtakes.
        asked = f"SELECT ({text}) IS NOT NULL, {value} FROM (SELECT unnest(?::VARCHAR[]) AS cell)"
        found = self._database.execute(asked, [list(texts)]).fetchall()
        return [value if value is not None else UNREADABLE if there else None for there, value in found]

    def make(self, expression: Expression, cells: Mapping[str, Sequence[str | None]]) -> list[str | None]:
        """Texts of a column that is made of others, trimmed; None where there is none.

        Args:
            cells: trimmed texts of all names that the expression uses.
        """
        columns = ", ".join(f'unnest(?::VARCHAR[]) AS "{name.replace(chr(34), chr(34) * 2)}"' for name in cells)
        asked = f"SELECT ({expression.duckdb})::VARCHAR FROM (SELECT {columns})"
        found = self._database.execute(asked, [list(texts) for texts in cells.values()]).fetchall()
        return [text.strip(BLANKS) if text is not None else None for (text,) in found]

    def evaluate(
        self,
        expression: Expression,
        of: ColumnType,
        values: Mapping[str, tuple[ColumnType, Sequence[Any]]],
        rows: int,
    ) -> list[Any]:
        """Values of an expression over typed columns, in a type of its own; times are seconds since 1970."""
        if not values:
            columns = f"unnest(range({rows})) AS row"
        else:
            columns = ", ".join(
                f'{_typed(kind)} AS "{name.replace(chr(34), chr(34) * 2)}"' for name, (kind, _) in values.items()
            )
        value = f"TRY_CAST(({expression.duckdb}) AS {_DUCKDB[of]})"
        value = f"epoch_us({value}) / 1e6" if of == "timestamp" else value
        given = [
            [None if cell is None else round(cell * 1e6) for cell in cells] if kind == "timestamp" else list(cells)
            for kind, cells in values.values()
        ]
        return [
            found for (found,) in self._database.execute(f"SELECT {value} FROM (SELECT {columns})", given).fetchall()
        ]

    @cached_property
    def _database(self) -> "DuckDBPyConnection":
        import duckdb

        opened = duckdb.connect(config={"threads": "1", "memory_limit": "256MB"})
        opened.execute("SET TimeZone = 'UTC'")
        return opened


_DUCKDB: Mapping[ColumnType, str] = {
    "number": "DOUBLE",
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "category": "VARCHAR",
    "text": "VARCHAR",
}


def _typed(kind: ColumnType) -> str:
    """A column of parameters, in its type; times come as microseconds since 1970."""
    return "make_timestamp(unnest(?::BIGINT[]))" if kind == "timestamp" else f"unnest(?::{_DUCKDB[kind]}[])"


def is_common(text: str | None) -> bool:
    """Whether a text is a time as most programs write them."""
    return text is not None and _COMMON.fullmatch(text) is not None


def time_of(text: str | None) -> float | Unreadable:
    """Seconds since 1970 of a time as most are written; without a zone it is UTC."""
    assert text is not None
    try:
        found = datetime.fromisoformat(text)
        moment = ((found if found.tzinfo else found.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        # There is no 30th of February.
        return UNREADABLE
    return moment / 1e6 if FIRST_US <= moment <= LAST_US else UNREADABLE
