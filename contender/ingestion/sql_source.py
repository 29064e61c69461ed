"""Rows of a query of somebody's SQL database, a part at a time, in the order of the column that tells what is new."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from contender.contracts.sections import Source
from contender.errors import DataError, Unavailable, UsageError
from contender.redact import shortened, without_logins

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PART_ROWS = 10_000


def rows_of(source: Source, since: Any | None) -> Iterator[tuple[list[str], list[tuple[Any, ...]]]]:
    """Names of the columns, and some rows; memory is bounded by 10,000 of them.

    Args:
        since: of `newer_than`, the newest value that was seen: rows of this value or a later one are given, and those
            without any; None gives all.

    Raises:
        UsageError: the variable with the address is not set, or does not hold one.
        Unavailable: the database does not answer, or its driver is not installed.
        DataError: the query cannot be carried out, or gives a column twice.
    """
    from sqlalchemy import text

    assert source.sql is not None
    query, values = _verbatim(source.sql.strip().rstrip(";")), {}
    with _connected(source) as connection:
        if source.newer_than is not None:
            quote = connection.dialect.identifier_preparer.quote
            column = _verbatim(f"{quote('source')}.{quote(source.newer_than)}")
            query = f"SELECT * FROM (\n{query}\n) {quote('source')}"
            if since is not None:
                query, values = f"{query} WHERE {column} >= :since OR {column} IS NULL", {"since": since}
            query = f"{query} ORDER BY {column}"
        statement = text(query)
        found = connection.execution_options(stream_results=True, yield_per=_PART_ROWS).execute(statement, values)
        names = list(found.keys())
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"The query of {source.url_from} gives the column '{twice[0]}' twice; name one otherwise.")
        empty = True
        for part in found.partitions():
            empty = False
            yield names, [tuple(row) for row in part]
        if empty:
            yield names, []


def _verbatim(text: str) -> str:
    """Text in which a colon is a colon, and not the beginning of a parameter's name."""
    return text.replace(":", "\\:")


@contextmanager
def _connected(source: Source) -> "Iterator[Connection]":
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError, SQLAlchemyError

    assert source.url_from is not None
    address = os.environ.get(source.url_from, "").strip()
    if not address:
        raise UsageError(
            f"{source.url_from} is not set; the contract reads the database's address from it, such as "
            "postgresql+psycopg://NAME:PASSWORD@HOST/DATABASE."
        )
    try:
        engine = create_engine(address, poolclass=NullPool, hide_parameters=True)
        with engine.connect() as connection:
            yield connection
    except (ArgumentError, NoSuchModuleError):
        raise UsageError(
            f"{source.url_from} does not hold an address that SQLAlchemy understands; needed one such as "
            "postgresql+psycopg://NAME:PASSWORD@HOST/DATABASE."
        ) from None
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"The driver {error.name} of the database in {source.url_from} is not installed; "
            "install it beside Contender."
        ) from None
    except SQLAlchemyError as error:
        cause = shortened(without_logins(str(getattr(error, "orig", None) or error)))
        # SQLite calls a broken query an operational error, too.
        if isinstance(error, OperationalError | InterfaceError) and not address.startswith("sqlite"):
            raise Unavailable(f"The database in {source.url_from} does not answer ({cause}).") from None
        raise DataError(
            f"The query of {source.url_from} cannot be carried out ({cause}); mend 'sql' in the contract."
        ) from None
