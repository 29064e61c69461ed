"""The door to DuckDB: tables of the lake asked by SQL without Spark, in bounded memory, and written to files whole.

Files are read a row group at a time; what does not fit into `MEMORY` waits in the home's scratch folder, so that the
size of a table bounds the disk that is needed, and not the memory.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contender.errors import UsageError
from contender.lake import tables
from contender.settings import Settings
from contender.values import TableVersion

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "512MB"
"""What DuckDB may use, beside the interpreter's own."""

FORMATS = {
    ".csv": "FORMAT csv, HEADER true, COMPRESSION none",
    ".csv.gz": "FORMAT csv, HEADER true, COMPRESSION gzip",
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
}
"""How a file is written, by the end of its name."""


@dataclass(frozen=True)
class WrittenFile:
    """A file that was written, with its rows and bytes."""

    path: Path
    rows: int
    size: int


@contextmanager
def database(settings: Settings, use_case: str) -> "Iterator[DuckDBPyConnection]":
    """A database in memory, of this block's own. Its times are UTC."""
    import duckdb

    scratch = settings.scratch_of(use_case)
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="query-", dir=scratch) as spilled, duckdb.connect() as opened:
        for setting, value in (
            ("memory_limit", text_of(MEMORY)),
            ("threads", "2"),
            ("temp_directory", text_of(spilled)),
            ("TimeZone", "'UTC'"),
            ("preserve_insertion_order", "false"),
        ):
            opened.execute(f"SET {setting} = {value}")
        yield opened


def show(database: "DuckDBPyConnection", settings: Settings, table: TableVersion) -> None:
    """A view of a table at its version, by the table's name."""
    delta = tables.opened(settings, table.use_case, table.table, table.version)
    assert delta is not None, f"{table} was found before"
    if "://" in tables.path_of(settings, table.use_case, table.table):
        database.register(table.table, tables.dataset_of(delta))
    else:
        # Read by DuckDB itself, which holds less of it at a time. Columns came to a table while it grew.
        files = ", ".join(map(text_of, tables.addresses_of(delta)))
        database.execute(
            f"CREATE VIEW {name_of(table.table)} AS "
            f"FROM read_parquet([{files}], union_by_name = true, hive_partitioning = false)"
        )


def write(database: "DuckDBPyConnection", query: str, path: Path, *, overwrite: bool = False) -> WrittenFile:
    """What a query gives as a file: the whole of it, or none.

    Args:
        overwrite: put it in the place of a file that is there.

    Raises:
        UsageError: the name says no format, a file is there, or it cannot be written.
    """
    import duckdb

    ending = next((one for one in sorted(FORMATS, key=len, reverse=True) if path.name.lower().endswith(one)), None)
    if ending is None:
        raise UsageError(f"{path} names no format that can be written; end it with one of {', '.join(FORMATS)}.")
    if path.is_dir() or (path.exists() and not overwrite):
        kind, advice = ("a folder", "") if path.is_dir() else ("there", ", or replace it with --overwrite")
        raise UsageError(f"{path} is {kind}; name another file with --to{advice}.")
    coming = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ((rows,),) = database.execute(f"COPY ({query}) TO {text_of(str(coming))} ({FORMATS[ending]})").fetchall()
        coming.replace(path)
        return WrittenFile(path, int(rows), path.stat().st_size)
    except (OSError, duckdb.IOException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UsageError(f"{path} cannot be written ({reason}); name another file with --to.") from error
    finally:
        with suppress(OSError):
            coming.unlink(missing_ok=True)


def name_of(name: str) -> str:
    """A name as SQL takes it, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'


def text_of(value: str) -> str:
    """A text as SQL takes it."""
    return "'" + value.replace("'", "''") + "'"


def list_of(values: Sequence[str]) -> str:
    """Texts as a list in SQL."""
    return f"[{', '.join(map(text_of, values))}]"
