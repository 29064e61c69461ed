"""The door to Delta: tables by name, at a version, with idempotent appends.

Spark reads, joins and writes what grows with the data. Small look-ups (a table's version, a count, the list of files)
go through delta-rs, which needs no JVM.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.request import url2pathname

from contender.error_text import text_of
from contender.errors import Busy, OtherRelease
from contender.lake import shared_spark, spark_session
from contender.settings import Settings
from contender.values import KEY, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame

    Delta: TypeAlias = DeltaTable

Note: TypeAlias = Mapping[str, Any]
"""What is kept with a commit, of anything that JSON can hold."""

NOTE_VERSION = 1
"""Goes up with what the release before would read wrongly in a note."""


def path_of(settings: Settings, use_case: str, table: str) -> str:
    """Address of a table."""
    return f"{settings.lake_of(use_case)}/{table}"


def find(settings: Settings, use_case: str, table: str) -> TableVersion | None:
    """The table at its newest version, or None when nothing was ever written to it."""
    delta = opened(settings, use_case, table)
    return TableVersion(use_case, table, delta.version()) if delta is not None else None


def count(settings: Settings, use_case: str, table: str) -> int:
    """Number of rows of a table, from its log alone; 0 when it was never written."""
    delta = opened(settings, use_case, table)
    if delta is None:
        return 0
    return sum(delta.get_add_actions(flatten=True).column("num_records").to_pylist())


def last_transaction(settings: Settings, use_case: str, table: str, application: str) -> int:
    """Highest transaction version that `application` committed to a table; -1 when none."""
    delta = opened(settings, use_case, table)
    version = delta.transaction_version(application) if delta is not None else None
    return -1 if version is None else int(version)


@shared_spark.answering()
def read(settings: Settings, table: TableVersion) -> "DataFrame":
    """A table at its version, as a Spark frame."""
    reader = spark_session.session(settings).read.format("delta").option("versionAsOf", table.version)
    return reader.load(path_of(settings, table.use_case, table.table))


def read_small(
    settings: Settings,
    use_case: str,
    table: str,
    columns: Sequence[str] | None = None,
    version: int | None = None,
    where: Sequence[tuple[str, str, Any]] | None = None,
) -> "pa.Table | None":
    """A small table, without Spark; None when it was never written, or the version is not known.

    Args:
        where: conditions that rows must meet, such as ("day", ">=", date(2026, 1, 1)); None takes the table whole.
    """
    delta = opened(settings, use_case, table, version)
    if delta is None:
        return None
    import pyarrow.parquet as pq

    wanted = pq.filters_to_expression(list(where)) if where else None
    return dataset_of(delta).to_table(columns=list(columns) if columns else None, filter=wanted)


def read_key(settings: Settings, use_case: str, table: str, key: str, version: int | None = None) -> "pa.Table | None":
    """The rows of one key, without Spark; None when the table was never written, or the version is not known.

    Files whose smallest and largest key exclude it are not read, and of the others a batch of rows at a time.

    Args:
        version: of the table; None takes the newest.

    Raises:
        FileNotFoundError: files of an old version were cleared away.
    """
    delta = opened(settings, use_case, table, version)
    if delta is None:
        return None
    import pyarrow.dataset as ds

    return dataset_of(delta).to_table(filter=ds.field(KEY) == key, **_FRUGAL)


def read_newest(
    settings: Settings, use_case: str, table: str, rows: int, seed: int, version: int | None = None
) -> "pa.Table | None":
    """At most `rows` rows, drawn from the first 100,000 of the newest files, without Spark; None as for `read_key`.

    The same version and seed give the same rows, in the order of the files.

    Raises:
        FileNotFoundError: files of an old version were cleared away.
    """
    delta = opened(settings, use_case, table, version)
    if delta is None:
        return None
    import numpy as np
    import pyarrow as pa
    import pyarrow.dataset as ds

    every, actions = dataset_of(delta), log_of(delta)
    written = dict(zip(actions["path"].to_pylist(), actions["modification_time"].to_pylist(), strict=True))
    files, within = [], 0
    for file in sorted(every.get_fragments(), key=lambda file: (-written.get(file.path, 0), file.path)):
        if within < _NEWEST_ROWS:
            files.append(file)
            within += file.count_rows()
    within = min(within, _NEWEST_ROWS)
    places = np.sort(np.random.default_rng(seed).choice(within, min(rows, within), replace=False))
    taken, start = [], 0
    for batch in ds.FileSystemDataset(files, every.schema, every.format, every.filesystem).to_batches(**_FRUGAL):
        here = places[(places >= start) & (places < start + len(batch))]
        taken.append(batch.take(pa.array(here - start)))
        start += len(batch)
        if start >= within:
            break
    return pa.Table.from_batches(taken, every.schema)


_NEWEST_ROWS = 100_000
_FRUGAL = {"batch_size": 16_384, "batch_readahead": 1, "fragment_readahead": 1}


@shared_spark.answering()
def append(
    settings: Settings,
    use_case: str,
    table: str,
    frame: "DataFrame",
    *,
    application: str,
    transaction: int,
    partition_by: Iterable[str] = (),
    note: Note | None = None,
) -> TableVersion:
    """Add rows once: a transaction that `application` has committed before is skipped by Delta.

    Columns that the table does not have yet are added to it; they are null in older rows.

    Args:
        application: who writes; transactions are counted for each apart.
        transaction: must grow from write to write, because Delta skips anything at or below the last one.
        note: kept with the commit, see `note_of`.
    """
    writer = frame.write.format("delta").mode("append").partitionBy(*partition_by)
    writer = writer.option("userMetadata", _written_down(note))
    writer = writer.option("mergeSchema", "true").option("txnAppId", application).option("txnVersion", transaction)
    with _apart(use_case, table):
        writer.save(path_of(settings, use_case, table))
    return _written(settings, use_case, table)


@shared_spark.answering()
def replace(
    settings: Settings, use_case: str, table: str, frame: "DataFrame", *, note: Note | None = None
) -> TableVersion:
    """Write in place of all rows and of the columns, for what can be computed again."""
    writer = frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    writer = writer.option("userMetadata", _written_down(note))
    with _apart(use_case, table):
        writer.save(path_of(settings, use_case, table))
    return _written(settings, use_case, table)


def note_of(settings: Settings, use_case: str, table: str) -> Note:
    """The note of a table's newest commit; empty when there is none.

    Raises:
        OtherRelease: another release wrote it, whose notes say other things.
    """
    delta = opened(settings, use_case, table)
    return _read_note(delta.history(1)[0], use_case, table) if delta is not None else {}


def last_note(settings: Settings, use_case: str, table: str, entry: str) -> Note:
    """The newest note with an entry, among the last hundred commits; empty when there is none.

    Raises:
        OtherRelease: another release wrote a later one.
    """
    delta = opened(settings, use_case, table)
    notes = (_read_note(commit, use_case, table) for commit in delta.history(100)) if delta is not None else ()
    return next((note for note in notes if entry in note), {})


def _read_note(commit: Mapping[str, Any], use_case: str, table: str) -> Note:
    text = str(commit.get("userMetadata") or "")
    if not text:
        return {}
    try:
        found = json.loads(text)
        version = found.pop("version")
    except (ValueError, LookupError, TypeError, AttributeError):
        version = None
    if version != NOTE_VERSION:
        told = "a note without a version" if version is None else f"a note of version {version}"
        newer = isinstance(version, int) and version > NOTE_VERSION
        raise OtherRelease.of(f"The table '{table}' of {use_case}", told, f"one of version {NOTE_VERSION}", newer=newer)
    return dict(found)


def _written_down(note: Note | None) -> str:
    return "" if note is None else json.dumps({"version": NOTE_VERSION, **note})


def append_small(
    settings: Settings, use_case: str, table: str, rows: Sequence[Mapping[str, Any]], schema: "pa.Schema"
) -> None:
    """Add a few rows in one commit, without Spark. Columns that the table does not have yet are added to it."""
    import pyarrow as pa
    from deltalake import write_deltalake

    location = path_of(settings, use_case, table)
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)
    with _apart(use_case, table):
        found = pa.Table.from_pylist(list(rows), schema=schema)
        write_deltalake(location, found, mode="append", schema_mode="merge")


def replace_rows(
    settings: Settings,
    use_case: str,
    table: str,
    rows: "pa.Table",
    *,
    where: str | None = None,
    note: Note | None = None,
) -> None:
    """Write a few rows in place of those for which `where` holds (SQL), or of all, in one commit without Spark.

    Args:
        note: kept with the commit, see `note_of`.
    """
    from deltalake import CommitProperties, write_deltalake

    location = path_of(settings, use_case, table)
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)
    with _apart(use_case, table):
        write_deltalake(
            location,
            rows,
            mode="overwrite",
            predicate=where,
            schema_mode=None if where else "overwrite",
            commit_properties=CommitProperties(custom_metadata={"userMetadata": _written_down(note)}),
        )


def changed_files(settings: Settings, table: TableVersion, since: int) -> list[str] | None:
    """Addresses of the Parquet files that are in the table, or were at version `since`, but not at both.

    None when this cannot be told, because the log of that version, or one of its files, was cleared away.
    """
    old, new = (opened(settings, table.use_case, table.table, version) for version in (since, table.version))
    if old is None or new is None:
        return None
    before, after = (set(addresses_of(delta)) for delta in (old, new))
    gone = before - after
    if any("://" not in uri and not Path(uri).exists() for uri in gone):
        return None
    return sorted(before ^ after)


def dataset_of(delta: "Delta", *, where: str | None = None, schema: "pa.Schema | None" = None) -> "ds.Dataset":
    """The Parquet files of a table, for Arrow to read.

    Of a table on this machine Arrow opens the files itself. Through delta-rs each would be an object of Python, which
    Arrow's threads let go of some time after the reading: in a process that just ends, that aborts it (exit code 134).

    Args:
        where: a condition in SQL; files that cannot meet it are left out.
        schema: of the rows, in place of the table's own.
    """
    import pyarrow.fs as fs

    place, files = delta.table_uri, None
    if place.startswith("file://"):
        files = fs.SubTreeFileSystem(url2pathname(place.removeprefix("file://")), fs.LocalFileSystem())
    return delta.to_pyarrow_dataset(filesystem=files, file_pruning_predicate=where, schema=schema)


def log_of(delta: "Delta") -> "pa.Table":
    """The log of a table: a row per Parquet file, with the counts, smallest and largest values that it states."""
    import pyarrow as pa

    # Not pa.table(), which loads pandas to see whether it was given one of its frames.
    return pa.RecordBatchReader.from_stream(delta.get_add_actions(flatten=True)).read_all()


def write_batches(
    settings: Settings,
    use_case: str,
    table: str,
    rows: "pa.RecordBatchReader",
    *,
    overwrite: bool = False,
    repeated: Sequence[str] = (),
    group_rows: int,
    file_bytes: int,
    configuration: Mapping[str, str | None],
) -> None:
    """Write rows as they come, in one commit and in bounded memory, without Spark.

    Args:
        overwrite: in place of all rows and columns that were there.
        repeated: columns whose values come again and again, which a dictionary makes small.
        group_rows: rows of a group in a file.
        file_bytes: size of a file.
        configuration: properties of a table that is new.
    """
    from deltalake import ColumnProperties, WriterProperties, write_deltalake

    location = path_of(settings, use_case, table)
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)
    properties = WriterProperties(
        max_row_group_size=group_rows,
        default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={name: ColumnProperties(dictionary_enabled=True) for name in repeated},
    )
    with _apart(use_case, table):
        write_deltalake(
            location,
            rows,
            mode="overwrite" if overwrite else "append",
            schema_mode="overwrite" if overwrite else None,
            target_file_size=file_bytes,
            writer_properties=properties,
            configuration=configuration,
        )


def unreadable() -> type[Exception]:
    """The error of a table that is damaged, or whose files are gone."""
    from deltalake.exceptions import DeltaError

    return DeltaError


def files_of(settings: Settings, use_case: str, table: str) -> list[str]:
    """Addresses of the Parquet files that make up a table now, for tools that read no Delta; empty without one."""
    delta = opened(settings, use_case, table)
    return [] if delta is None else sorted(addresses_of(delta))


def addresses_of(delta: "Delta") -> list[str]:
    """Addresses of a table's Parquet files; of one on this machine paths as the disk has them.

    Delta-rs writes the table's own folder as a URL does, with `%20` for a blank, and what is below it as it is.
    """
    uris = [str(uri) for uri in delta.file_uris()]
    if not delta.table_uri.startswith("file://"):
        return uris
    told = delta.table_uri.removeprefix("file://").rstrip("/")
    return [url2pathname(told) + uri.removeprefix(told) if uri.startswith(told) else uri for uri in uris]


def columns_of(settings: Settings, table: TableVersion) -> list[str]:
    """The names of a table's columns."""
    delta = opened(settings, table.use_case, table.table, table.version)
    return [] if delta is None else [field.name for field in delta.schema().fields]


def delete_batch(settings: Settings, use_case: str, table: str, batch: int) -> None:
    """Take back what an abandoned batch wrote."""
    delta = opened(settings, use_case, table)
    if delta is not None:
        with _apart(use_case, table):
            delta.delete(f"_batch = {batch}")


_COLLISION = re.compile(r"io\.delta\.exceptions\.(?:Concurrent|MetadataChanged|ProtocolChanged)")
"""What Spark says of a commit that another one came before, in a way that one of both must not count."""


@contextmanager
def _apart(use_case: str, table: str) -> Iterator[None]:
    """Tell in one sentence that somebody else wrote to the table at the same moment.

    Raises:
        Busy: somebody did, and nothing of this was written.
    """
    from deltalake.exceptions import CommitFailedError

    try:
        yield
    except CommitFailedError as error:
        raise Busy.with_table(use_case, table) from error
    except Exception as error:
        # Of Spark's, those that Delta's package knows by a class, which need not be loaded, and all others by text.
        named = any(kind.__name__ == "DeltaConcurrentModificationException" for kind in type(error).__mro__)
        if named or _COLLISION.search(text_of(error)):
            raise Busy.with_table(use_case, table) from error
        raise


def _written(settings: Settings, use_case: str, table: str) -> TableVersion:
    written = find(settings, use_case, table)
    assert written is not None
    return written


def opened(settings: Settings, use_case: str, table: str, version: int | None = None) -> "Delta | None":
    """A table through delta-rs; None when it was never written, or the version is not known."""
    return opened_at(path_of(settings, use_case, table), version)


def opened_at(location: str, version: int | None = None) -> "Delta | None":
    """The table at an address through delta-rs; None where there is none, or the version is not known."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    if not DeltaTable.is_deltatable(location):
        return None
    try:
        return DeltaTable(location, version=version)
    except DeltaError:
        if version is None:
            raise
        return None
