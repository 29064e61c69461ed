"""Daily samples of the lake's tables: bounded rows of each day, and exact counts, brought up to date batch by batch.

A row is in a sample when the seeded hash of its key is among the smallest of its day. So the sample does not depend on
the order or the number of the batches that it came in, and the samples of other tables hold the very same records.

Source: Thorup (2013), Bottom-k and priority sampling, set similarity and subset sums with minimal independence, STOC.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Literal

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.drift import small_batch_sampler
from contender.drift.baseline import DAY, Source, Watched
from contender.drift.daily_samples import (
    COUNTS,
    SOURCES,
    definition,
    kept_beside,
    progress_of,
    stored_names,
    table_of,
    watched_columns,
)
from contender.drift.small_batch_sampler import HASH
from contender.lake import tables
from contender.settings import Settings
from contender.values import BATCH, KEY, TIME, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_FEW_VALUES = 60_000_000
"""So many new values at once pass through this process, a million rows of 55 columns; of more, Spark samples."""

_SKIPPING = {"delta.dataSkippingNumIndexedCols": "4"}
"""Smallest and largest values are kept of the key, the day, the hash and the batch, by which files are chosen."""

_BESIDE = 4
"""Columns that are read beside the watched ones: the key, the time, the batch and what is made of them."""

_GROUP_ROWS, _FILE_BYTES = 8192, 32 * 2**20
"""Rows of a sample that are read together or skipped together, and bytes that are held before they are written."""


def update_samples(settings: Settings, contract: Contract) -> int:
    """Sample and count the batches that came since the last time; the number of days that this concerned, at most.

    Repeating it changes nothing, also after it was killed in between: the counts are written last, and a row that was
    sampled twice counts once.
    """
    return max(_update(settings, contract, source) for source in SOURCES)


def replace_small(settings: Settings, contract: Contract, name: str, rows: "pa.Table") -> None:
    """Write a small table in place of what was there."""
    _write(settings, contract, name, iter([rows]), "overwrite")


def _update(settings: Settings, contract: Contract, source: Source) -> int:
    delta = tables.opened(settings, contract.name, source)
    if delta is None:
        return 0
    table, done = TableVersion(contract.name, source, delta.version()), progress_of(settings, contract, source)
    if table.version <= done.version:
        return 0
    watched = watched_columns(contract, source)
    beside = kept_beside(contract, source)
    known_as = stored_names(contract, source, [*beside, *(column.name for column in watched)])
    columns = [replace(column, name=known_as[column.name]) for column in watched]
    names = [KEY, DAY, HASH, BATCH, *known_as.values()]
    name = table_of(settings, contract, source)
    few = _few(settings, contract, delta, source, done.batch)
    if few is not None:
        drawing = small_batch_sampler.Drawing(few, columns, names, contract.drift.day_rows)
        if not drawing.rows:
            return 0
        _write(settings, contract, name, drawing.sample(), "append")
        counted = drawing.counted
    else:
        rows = _many(settings, contract, table, source, done.batch)
        missing = [_missing(column).alias(column.name) for column in columns]
        counted = rows.groupBy(DAY).agg(F.count("*").alias("_rows"), F.max(BATCH).alias("_until"), *missing).toPandas()
        if counted.empty:
            return 0
        kept = _smallest(rows, counted, contract.drift.day_rows).select(*[F.col(f"`{column}`") for column in names])
        until = int(counted["_until"].max())
        tables.append(
            settings, contract.name, name, kept.sortWithinPartitions(DAY), application="sample", transaction=until
        )
    _write_counts(settings, contract, table, source, counted, int(counted["_until"].max()))
    return len(counted)


def _few(
    settings: Settings, contract: Contract, delta: "tables.Delta", source: Source, done: int
) -> small_batch_sampler.Pieces | None:
    """The rows of the batches after `done`, where they are few by the table's log; starting Spark would cost more."""
    import pyarrow as pa

    log = tables.log_of(delta)
    if f"max.{BATCH}" not in log.column_names or log["num_records"].null_count or log[f"max.{BATCH}"].null_count:
        return None
    newest = zip(log[f"max.{BATCH}"].to_pylist(), log["num_records"].to_pylist(), strict=True)
    rows = sum(count for batch, count in newest if batch > done)
    if rows * (len(watched_columns(contract, source)) + _BESIDE) > _FEW_VALUES:
        return None
    types = pa.schema(delta.schema().to_arrow())
    # With all its columns the data set would state the smallest and largest value of each.
    stated = pa.schema([field for field in types if field.name in (BATCH, *delta.metadata().partition_columns)])
    files = tables.dataset_of(delta, where=f"{BATCH} > {done}", schema=stated)
    new = small_batch_sampler.stored_pieces(files, types, done)
    if source != "outcomes":
        return small_batch_sampler.pieces_of(new, settings.seed)
    sampled = tables.opened(settings, contract.name, table_of(settings, contract, "features"))
    if sampled is None:
        return lambda _: iter(())
    return small_batch_sampler.pieces_of_known(new, tables.dataset_of(sampled))


def _many(settings: Settings, contract: Contract, table: TableVersion, source: Source, done: int) -> DataFrame:
    """The same rows of any number."""
    rows = tables.read(settings, table).where(F.col(BATCH) > done)
    if source == "outcomes":
        return _of_sampled(settings, contract, rows)
    digits = F.substring(F.md5(F.concat(F.lit(f"{settings.seed}/"), KEY).cast("binary")), 1, 15)
    return rows.withColumn(DAY, F.to_date(TIME)).withColumn(HASH, F.conv(digits, 16, 10).cast("long"))


def _missing(column: Watched) -> SparkColumn:
    """How many values are null, not a number or infinite; as one comparison, which Spark compiles to fast code."""
    value = F.col(f"`{column.name}`")
    there = value if column.kind == "category" else F.when(F.abs(value) <= sys.float_info.max, 1)
    return F.count("*") - F.count(there)


def _smallest(rows: DataFrame, counted: "pd.DataFrame", most: int) -> DataFrame:
    """Per day all rows whose hash is below a bound that about `most` rows keep; nothing is sorted or moved for it."""
    bounds = [small_batch_sampler.bound_of(small_batch_sampler.share_of_day(most, count)) for count in counted["_rows"]]
    if len(set(bounds)) == 1:
        return rows.where(F.col(HASH) <= bounds[0])
    small = rows.sparkSession.createDataFrame(list(zip(counted[DAY], bounds, strict=True)), f"{DAY} date, _bound long")
    return rows.join(F.broadcast(small), on=DAY, how="inner").where(F.col(HASH) <= F.col("_bound"))


def _of_sampled(settings: Settings, contract: Contract, outcomes: DataFrame) -> DataFrame:
    """Outcomes of records that are in the sample, with the record's day and hash."""
    sample = tables.find(settings, contract.name, table_of(settings, contract, "features"))
    if sample is None:
        return outcomes.limit(0).select("*", F.lit(None).cast("date").alias(DAY), F.lit(0).cast("long").alias(HASH))
    known = tables.read(settings, sample).select(KEY, DAY, HASH).distinct()
    return outcomes.join(F.broadcast(known), on=KEY, how="inner")


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        {
            "source": pa.string(),
            "definition": pa.string(),
            DAY: pa.date32(),
            "rows": pa.int64(),
            "missing": pa.map_(pa.string(), pa.int64()),
            "until": pa.int64(),
            "version": pa.int64(),
        }
    )


def _write_counts(
    settings: Settings, contract: Contract, table: TableVersion, source: Source, counted: "pd.DataFrame", until: int
) -> None:
    known_as = stored_names(contract, source, [column.name for column in watched_columns(contract, source)])
    rows = [
        {
            "source": source,
            "definition": definition(settings, contract),
            DAY: row[DAY],
            "rows": row["_rows"],
            "missing": [(name, row[stored]) for name, stored in known_as.items()],
            "until": until,
            "version": table.version,
        }
        for row in counted.to_dict("records")
    ]
    tables.append_small(settings, contract.name, COUNTS, rows, _schema())


def _write(
    settings: Settings,
    contract: Contract,
    name: str,
    pieces: "Iterator[pa.Table]",
    mode: Literal["append", "overwrite"],
) -> None:
    """Write one piece after the other, as they come."""
    import pyarrow as pa

    first = next(pieces)
    batches = (batch for piece in chain([first], pieces) for batch in piece.to_batches())
    # Hardly two numbers are equal; a dictionary of them takes longer to write and to read than they do.
    repeated = [field.name for field in first.schema if field.name != KEY and pa.types.is_string(field.type)]
    tables.write_batches(
        settings,
        contract.name,
        name,
        pa.RecordBatchReader.from_batches(first.schema, batches),
        overwrite=mode == "overwrite",
        repeated=repeated,
        group_rows=_GROUP_ROWS,
        file_bytes=_FILE_BYTES,
        configuration=_SKIPPING,
    )
