"""Daily samples of the lake's tables: bounded rows of each day, and exact counts, brought up to date batch by batch.

A row is in a sample when the seeded hash of its key is among the smallest of its day. So the sample does not depend on
the order or the number of the batches that it came in, and the samples of other tables hold the very same records.

Source: Thorup (2013), Bottom-k and priority sampling, set similarity and subset sums with minimal independence, STOC.
"""

import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contender import features, lake, new_rows
from contender.contract import Contract
from contender.new_rows import HASH
from contender.ordinary import DAY, Side, Source, Watched
from contender.settings import Settings
from contender.values import BATCH, FILE, KEY, ROW, TARGET, TIME, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

SOURCES: tuple[Source, ...] = ("features", "predictions", "outcomes")
COUNTS = "sample_days"
_RECEIVED = (FILE, ROW)
_FEW_VALUES = 60_000_000
"""So many new values at once pass through this process, a million rows of 60 columns; of more, Spark samples."""


def watched_columns(contract: Contract, source: Source) -> tuple[Watched, ...]:
    """The columns of a table that are watched. Times only ever grow, and texts have no distribution."""
    if source == "predictions":
        return (Watched(source, "score", "number"),)
    if source == "outcomes":
        return (Watched(source, TARGET, "category" if contract.kind == "multiclass" else "number"),)
    return tuple(
        Watched(source, column.name, "number" if column.kind == "number" else "category")
        for column in contract.model_columns
        if column.kind in ("number", "category")
    )


def _also(contract: Contract, source: Source) -> tuple[str, ...]:
    """What a sample keeps besides the watched columns: what a model needs, and what tells rows apart."""
    if source == "predictions":
        return ("model_version",)
    if source == "outcomes":
        return _RECEIVED
    watched = {column.name for column in watched_columns(contract, source)}
    return tuple(column.name for column in contract.model_columns if column.name not in watched)


def update_samples(settings: Settings, contract: Contract) -> int:
    """Sample and count the batches that came since the last time; the number of days that this concerned.

    Repeating it changes nothing, also after it was killed in between: the counts are written last, and a row that was
    sampled twice counts once.
    """
    return sum(_update(settings, contract, source) for source in SOURCES)


def newest_day(settings: Settings, contract: Contract) -> date | None:
    """The newest day of which there are records; None while nothing was sampled."""
    found = _counts(settings, contract)
    return max(found[DAY]) if len(found) else None


def rows_by_day(settings: Settings, contract: Contract, first: date, last: date) -> "pd.Series[int]":
    """How many records each day in `[first, last)` has; days without any are left out."""
    counts = _counts(settings, contract)
    counts = counts[(counts[DAY] >= first) & (counts[DAY] < last)]
    found: pd.Series[int] = counts.groupby(DAY)["rows"].sum()
    return found


def side_of(
    settings: Settings,
    contract: Contract,
    source: Source,
    first: date,
    last: date,
    *,
    most: int,
    only: "Callable[[pd.DataFrame], Any] | None" = None,
) -> Side:
    """The rows of a table in `[first, last)`: all days at the same rate, about `most` rows together.

    Args:
        only: which rows of the sample to take, as a mask; counted is then what was taken.
    """
    by_day = rows_by_day(settings, contract, first, last)
    rows = int(by_day.sum())
    rate = rate_of(contract, by_day, most / rows if rows else 1.0)
    frame = read_sample(settings, contract, source, list(by_day.index), rate)
    if only is not None:
        frame = frame[only(frame)].reset_index(drop=True)
    if source == "features" and only is None:
        return Side(first, last, frame, rows, _missing_in(settings, contract, first, last))
    names = [column.name for column in watched_columns(contract, source)]
    return Side(first, last, frame, len(frame), {name: int(frame[name].isna().sum()) for name in names})


def rate_of(contract: Contract, by_day: "pd.Series[int]", wanted: float) -> float:
    """The highest rate, up to the one wanted, at which no day needs more rows than its sample has."""
    return min(1.0, wanted, contract.drift.day_rows / int(by_day.max())) if len(by_day) else 1.0


def read_sample(
    settings: Settings, contract: Contract, source: Source, days: Sequence[date], rate: float = 1.0
) -> "pd.DataFrame":
    """Sampled rows of some days, each record once: `_key`, `_day`, and all that is kept of the table.

    Args:
        rate: share of a day's rows; only what the day's sample has can be given.
    """
    import numpy as np
    import pandas as pd
    import pyarrow.dataset as ds
    from deltalake import DeltaTable

    watched = watched_columns(contract, source)
    names = [KEY, DAY, HASH, BATCH, *_also(contract, source), *(column.name for column in watched)]
    location = lake.path_of(settings, contract.name, _table(settings, contract, source))
    if not len(days) or not DeltaTable.is_deltatable(location):
        frame = pd.DataFrame({name: [] for name in names})
    else:
        wanted = ds.field(DAY).isin(list(days)) & (ds.field(HASH) <= new_rows.bound_of(rate))
        # The narrowest bounds let whole files be skipped.
        wanted &= (ds.field(DAY) >= min(days)) & (ds.field(DAY) <= max(days))
        table = DeltaTable(location).to_pyarrow_dataset().to_table(columns=names, filter=wanted)
        frame = table.to_pandas(self_destruct=True, split_blocks=True)
    received = [HASH, KEY, BATCH, *(_RECEIVED if source == "outcomes" else ())]
    frame = frame.sort_values(received).drop_duplicates(KEY, keep="last", ignore_index=True)
    for column in watched:
        if column.kind == "number":
            values = frame[column.name].astype("float64")
            frame[column.name] = values.where(np.isfinite(values))
        else:
            frame[column.name] = frame[column.name].astype(object)
    return frame


def _update(settings: Settings, contract: Contract, source: Source) -> int:
    table = lake.find(settings, contract.name, source)
    if table is None:
        return 0
    counts = _counts(settings, contract, source)
    done, seen = (-1, -1) if counts.empty else (int(counts["until"].max()), int(counts["version"].max()))
    if table.version <= seen:
        return 0
    columns = watched_columns(contract, source)
    names = [KEY, DAY, HASH, BATCH, *_also(contract, source), *(column.name for column in columns)]
    name = _table(settings, contract, source)
    few = _few(settings, contract, table, source, done)
    if few is not None:
        counted, sampled = new_rows.count_and_sample(few, columns, names, contract.drift.day_rows, settings.seed)
        if counted.empty:
            return 0
        _write(settings, contract, name, sampled, "append")
    else:
        rows = _many(settings, contract, table, source, done)
        missing = [_missing(column).alias(column.name) for column in columns]
        counted = rows.groupBy(DAY).agg(F.count("*").alias("_rows"), F.max(BATCH).alias("_until"), *missing).toPandas()
        if counted.empty:
            return 0
        kept = _smallest(rows, counted, contract.drift.day_rows).select(*[F.col(f"`{column}`") for column in names])
        until = int(counted["_until"].max())
        lake.append(
            settings, contract.name, name, kept.sortWithinPartitions(DAY), application="sample", transaction=until
        )
    _write_counts(settings, contract, table, source, counted, int(counted["_until"].max()))
    return len(counted)


def _few(settings: Settings, contract: Contract, table: TableVersion, source: Source, done: int) -> "ds.Dataset | None":
    """The rows of the batches after `done`, where they are few by the table's log; starting Spark would cost more."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import DeltaTable

    delta = DeltaTable(lake.path_of(settings, contract.name, table.table), version=table.version)
    log = pa.table(delta.get_add_actions(flatten=True))
    if f"max.{BATCH}" not in log.column_names or log["num_records"].null_count or log[f"max.{BATCH}"].null_count:
        return None
    newest = zip(log[f"max.{BATCH}"].to_pylist(), log["num_records"].to_pylist(), strict=True)
    rows = sum(count for batch, count in newest if batch > done)
    if rows * len(watched_columns(contract, source)) > _FEW_VALUES:
        return None
    every = delta.to_pyarrow_dataset().filter(ds.field(BATCH) > done)
    if source != "outcomes":
        return every
    found = every.to_table()
    location = lake.path_of(settings, contract.name, _table(settings, contract, "features"))
    if not DeltaTable.is_deltatable(location):
        return ds.dataset(found.slice(0, 0))
    known = DeltaTable(location).to_pyarrow_dataset().to_table(
        columns=[KEY, DAY, HASH], filter=ds.field(KEY).isin(found[KEY])
    )  # fmt: skip
    return ds.dataset(found.join(known.group_by([KEY, DAY, HASH]).aggregate([]), keys=KEY, join_type="inner"))


def _many(settings: Settings, contract: Contract, table: TableVersion, source: Source, done: int) -> DataFrame:
    """The same rows of any number."""
    rows = lake.read(settings, table).where(F.col(BATCH) > done)
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
    bounds = [new_rows.bound_of(new_rows.share_of_day(most, count)) for count in counted["_rows"]]
    if len(set(bounds)) == 1:
        return rows.where(F.col(HASH) <= bounds[0])
    small = rows.sparkSession.createDataFrame(list(zip(counted[DAY], bounds, strict=True)), f"{DAY} date, _bound long")
    return rows.join(F.broadcast(small), on=DAY, how="inner").where(F.col(HASH) <= F.col("_bound"))


def _of_sampled(settings: Settings, contract: Contract, outcomes: DataFrame) -> DataFrame:
    """Outcomes of records that are in the sample, with the record's day and hash."""
    sample = lake.find(settings, contract.name, _table(settings, contract, "features"))
    if sample is None:
        return outcomes.limit(0).select("*", F.lit(None).cast("date").alias(DAY), F.lit(0).cast("long").alias(HASH))
    known = lake.read(settings, sample).select(KEY, DAY, HASH).distinct()
    return outcomes.join(F.broadcast(known), on=KEY, how="inner")


def _table(settings: Settings, contract: Contract, source: Source) -> str:
    """Other features, or another seed, make other samples."""
    return f"samples/{source}-{definition(settings, contract)}"


def definition(settings: Settings, contract: Contract) -> str:
    """What the samples depend on besides the records."""
    return f"{features.definition_of(contract)}-{settings.seed}"


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema({
        "source": pa.string(), "definition": pa.string(), DAY: pa.date32(), "rows": pa.int64(),
        "missing": pa.map_(pa.string(), pa.int64()), "until": pa.int64(), "version": pa.int64(),
    })  # fmt: skip


def _write_counts(
    settings: Settings, contract: Contract, table: TableVersion, source: Source, counted: "pd.DataFrame", until: int
) -> None:
    names = [column.name for column in watched_columns(contract, source)]
    rows = [
        {
            "source": source, "definition": definition(settings, contract), DAY: row[DAY], "rows": row["_rows"],
            "missing": [(name, row[name]) for name in names], "until": until, "version": table.version,
        }
        for row in counted.to_dict("records")
    ]  # fmt: skip
    lake.append_small(settings, contract.name, COUNTS, rows, _schema())


def _counts(settings: Settings, contract: Contract, source: Source = "features") -> "pd.DataFrame":
    """`_day`, `rows`, and up to which batch and version of the table, one row for a day of each update."""
    names = ["source", "definition", DAY, "rows", "until", "version"]
    found = lake.read_small(settings, contract.name, COUNTS, names)
    frame: pd.DataFrame = (_schema().empty_table().select(names) if found is None else found).to_pandas()
    return frame[(frame["source"] == source) & (frame["definition"] == definition(settings, contract))]


def _missing_in(settings: Settings, contract: Contract, first: date, last: date) -> dict[str, int]:
    """Missing values of every column of the features in `[first, last)`."""
    import pyarrow.dataset as ds
    from deltalake import DeltaTable

    totals = {column.name: 0 for column in watched_columns(contract, "features")}
    location = lake.path_of(settings, contract.name, COUNTS)
    if DeltaTable.is_deltatable(location):
        wanted = (ds.field("source") == "features") & (ds.field("definition") == definition(settings, contract))
        wanted &= (ds.field(DAY) >= first) & (ds.field(DAY) < last)
        found = DeltaTable(location).to_pyarrow_dataset().to_table(columns=["missing"], filter=wanted)
        for missing in found["missing"].to_pylist():
            for name, count in missing:
                totals[name] += count
    return totals


def replace_small(settings: Settings, contract: Contract, name: str, rows: "pa.Table") -> None:
    """Write a small table in place of what was there."""
    _write(settings, contract, name, rows, "overwrite")


def _write(
    settings: Settings, contract: Contract, name: str, rows: "pa.Table", mode: Literal["append", "overwrite"]
) -> None:
    from deltalake import write_deltalake

    location = lake.path_of(settings, contract.name, name)
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)
    write_deltalake(location, rows, mode=mode, schema_mode="overwrite" if mode == "overwrite" else None)
