"""What is new in somebody's Delta table since a version of it, without Spark."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote

from contender.errors import DataError
from contender.lake.tables import dataset_of, opened_at
from contender.redact import shortened

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import DeltaTable

_OURS = ("_change_type", "_commit_version", "_commit_timestamp")
_SAME_ROWS = frozenset({"OPTIMIZE", "VACUUM START", "VACUUM END", "ADD CONSTRAINT", "SET TBLPROPERTIES"})
"""Operations that leave every row as it was."""


def version_of(location: str) -> int:
    """The newest version of the table at an address.

    Raises:
        DataError: there is no Delta table.
    """
    return int(_table(location).version())


def rows_since(location: str, since: int | None, until: int) -> "Iterator[pa.RecordBatch]":
    """Rows that came after version `since`, as of version `until`; all of them where `since` is None.

    By the table's change feed where it keeps one: rows inserted, and rows changed, as they are now. Else by the files
    that commits have added.

    Raises:
        DataError: it cannot be told which rows are new.
    """
    table = _table(location, until)
    if since is None:
        yield from dataset_of(table).to_batches()
    elif table.metadata().configuration.get("delta.enableChangeDataFeed", "").lower() == "true":
        yield from _changes(table, since, until)
    else:
        yield from _appended(location, table, since, until)


def rows_from(location: str, until: int, column: str, value: object | None) -> "Iterator[pa.RecordBatch]":
    """Rows whose column is at a value or later, and those without one; all of them where the value is None."""
    import pyarrow.dataset as ds

    found = dataset_of(_table(location, until))
    if column not in found.schema.names:
        raise DataError(
            f"{location} has no column '{column}', which 'newer_than' names; "
            f"it has {', '.join(found.schema.names[:12])}."
        )
    wanted = None
    if value is not None:
        field = ds.field(column)
        wanted = (field >= ds.scalar(value).cast(found.schema.field(column).type)) | field.is_null()
    yield from found.to_batches(filter=wanted)


def _table(location: str, version: int | None = None) -> "DeltaTable":
    table = opened_at(location, version)
    if table is None:
        what = "is no Delta table" if version is None else f"has no version {version} any more"
        raise DataError(f"{location} {what}; correct 'delta' in the contract.")
    return table


def _changes(table: "DeltaTable", since: int, until: int) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    try:
        for batch in pa.RecordBatchReader.from_stream(table.load_cdf(starting_version=since + 1, ending_version=until)):
            kinds = batch.column("_change_type").to_pylist()
            names = [name for name in batch.schema.names if name not in _OURS]
            plain = pa.RecordBatch.from_arrays([_plain(batch.column(name)) for name in names], names)
            yield plain.filter(pa.array([kind in ("insert", "update_postimage") for kind in kinds], pa.bool_()))
    except pa.ArrowException as error:
        raise DataError(
            f"The change feed of {table.table_uri} cannot be read since version {since} "
            f"({shortened(str(error), 120)}); state 'newer_than' in the contract."
        ) from None


def _plain(column: "pa.Array") -> "pa.Array":
    """The column without views, which Arrow cannot filter."""
    import pyarrow as pa

    if pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    return column.cast(pa.binary()) if pa.types.is_binary_view(column.type) else column


def _appended(location: str, table: "DeltaTable", since: int, until: int) -> "Iterator[pa.RecordBatch]":
    """Rows of the files that commits after `since` have added, each read as of its commit."""
    operations = {int(commit["version"]): str(commit.get("operation", "")) for commit in table.history()}
    before = _uris(_table(location, since))
    for version in range(since + 1, until + 1):
        at = _table(location, version)
        now = _uris(at)
        if operations.get(version) not in _SAME_ROWS:
            if before - now:
                raise DataError(
                    f"{location} was rewritten at version {version} (a merge, an update, a deletion or an overwrite) "
                    "and keeps no change feed, so that nobody can tell its new rows; set the table's property "
                    "delta.enableChangeDataFeed, or 'newer_than' in the contract."
                )
            if added := now - before:
                yield from _of_files(dataset_of(at), added).to_batches()
        before = now


def _uris(table: "DeltaTable") -> set[str]:
    return {str(uri) for uri in table.file_uris()}


def _of_files(found: "ds.Dataset", uris: set[str]) -> "ds.Dataset":
    import pyarrow.dataset as ds

    # A fragment knows the values of the columns by which the table is partitioned; the file does not.
    kept = [fragment for fragment in found.get_fragments() if any(_same(uri, fragment.path) for uri in uris)]
    if len(kept) != len(uris):
        raise DataError(
            f"Of {len(uris):,} files that a Delta table got, {len(kept):,} can be found; nothing was fetched."
        )
    return ds.FileSystemDataset(kept, found.schema, found.format, found.filesystem)


def _same(uri: str, path: str) -> bool:
    return unquote(uri).endswith(unquote(path).lstrip("/"))
