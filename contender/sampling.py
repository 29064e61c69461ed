"""Daily samples of the lake's tables: bounded rows of each day, and exact counts, brought up to date batch by batch.

A row is in a sample when the seeded hash of its key is among the smallest of its day. So the sample does not depend on
the order or the number of the batches that it came in, and the samples of other tables hold the very same records.

Source: Thorup (2013), Bottom-k and priority sampling, set similarity and subset sums with minimal independence, STOC.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contender import features, lake, new_rows
from contender.contract import Contract
from contender.new_rows import HASH
from contender.ordinary import DAY, Side, Source, Watched, is_missing
from contender.settings import Settings
from contender.values import BATCH, FILE, KEY, ROW, TARGET, TIME, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds
    from deltalake import DeltaTable

SOURCES: tuple[Source, ...] = ("features", "predictions", "outcomes")
COUNTS = "sample_days"
_RECEIVED = (FILE, ROW)
_FEW_VALUES = 60_000_000
"""So many new values at once pass through this process, a million rows of 55 columns; of more, Spark samples."""

_SKIPPING = {"delta.dataSkippingNumIndexedCols": "4"}
"""Smallest and largest values are kept of the key, the day, the hash and the batch, by which files are chosen."""

_BESIDE = 4
"""Columns that are read beside the watched ones: the key, the time, the batch and what is made of them."""

_GROUP_ROWS, _FILE_BYTES = 8192, 32 * 2**20
"""Rows of a sample that are read together or skipped together, and bytes that are held before they are written."""


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
    return _progress(settings, contract, "features").newest


def rows_by_day(settings: Settings, contract: Contract, first: date, last: date) -> dict[date, int]:
    """How many records each day in `[first, last)` has, in their order; days without any are left out."""
    return _by_day(_counts(settings, contract, first, last, ["rows"]), first, last)


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
    (found,) = sides_of(settings, contract, source, [(first, last)], most=most, only=only)
    return found


def sides_of(
    settings: Settings,
    contract: Contract,
    source: Source,
    windows: Sequence[tuple[date, date]],
    *,
    most: int,
    only: "Callable[[pd.DataFrame], Any] | None" = None,
    columns: Sequence[Watched] | None = None,
) -> list[Side]:
    """One side for each window, as `side_of` gives it; all are read in one go, each at its own rate.

    Args:
        columns: some of those that are watched, instead of all that is kept.
    """
    exact = source == "features" and only is None
    watched = watched_columns(contract, source) if columns is None else columns
    span = min(first for first, _ in windows), max(last for _, last in windows)
    counts: list[dict[str, Any]] = []
    if _is_sampled(settings, contract, source):
        counts = _counts(settings, contract, *span, ["rows", "missing"] if exact else ["rows"])
    by_days = [_by_day(counts, *window) for window in windows]
    rates = [rate_of(contract, days, most / max(sum(days.values()), 1)) for days in by_days]
    every = sorted({day for days in by_days for day in days})
    sample = read_sample(settings, contract, source, every, max(rates), columns)
    found = []
    for window, days, rate in zip(windows, by_days, rates, strict=True):
        frame = sample if len(windows) == 1 else sample[
            (sample[HASH] <= new_rows.bound_of(rate)) & sample[DAY].isin(list(days))
        ]  # fmt: skip
        if only is not None:
            frame = frame[only(frame)]
        frame = frame.reset_index(drop=True)
        if exact:
            found.append(Side(*window, frame, sum(days.values()), _missing_in(counts, *window, watched)))
        else:
            missing = {column.name: int(frame[column.name].isna().sum()) for column in watched}
            found.append(Side(*window, frame, len(frame), missing))
    return found


def rate_of(contract: Contract, by_day: Mapping[date, int], wanted: float) -> float:
    """The highest rate, up to the one wanted, at which no day needs more rows than its sample has."""
    return min(1.0, wanted, contract.drift.day_rows / max(by_day.values())) if by_day else 1.0


def read_sample(
    settings: Settings,
    contract: Contract,
    source: Source,
    days: Sequence[date],
    rate: float = 1.0,
    columns: Sequence[Watched] | None = None,
) -> "pd.DataFrame":
    """Sampled rows of some days, each record once: `_key`, `_day`, and all that is kept of the table.

    Args:
        rate: share of a day's rows; only what the day's sample has can be given.
        columns: some of those that are watched, instead of all that is kept.
    """
    import pandas as pd
    import pyarrow.dataset as ds

    watched = watched_columns(contract, source) if columns is None else tuple(columns)
    also = _also(contract, source) if columns is None else ()
    names = [KEY, DAY, HASH, BATCH, *also, *(column.name for column in watched)]
    received = [HASH, KEY, BATCH, *(_RECEIVED if source == "outcomes" else ())]
    wanted = ds.field(DAY).isin(list(days)) & (ds.field(HASH) <= new_rows.bound_of(rate))
    location = lake.path_of(settings, contract.name, _table(settings, contract, source))
    found = _of_days(location, days, sorted({*names, *received}), wanted)
    if found is None:
        return pd.DataFrame({name: [] for name in names}).astype(types_of(watched))
    kept = _each_once(found.sort_by([(name, "ascending") for name in received]))
    numbers = {column.name for column in watched if column.kind == "number"}
    return pd.DataFrame({name: _plain(kept[name], is_number=name in numbers) for name in names})


def types_of(watched: Iterable[Watched]) -> dict[str, str]:
    """Types of the watched columns in a frame: a column without any value comes back from a file without one."""
    return {column.name: "float64" if column.kind == "number" else "object" for column in watched}


def _plain(values: "pa.ChunkedArray", *, is_number: bool) -> Any:
    """Numbers as floats, those that are infinite missing; all else as pandas has it, strings and days as objects."""
    import numpy as np
    import pyarrow as pa

    if not is_number:
        plain = values.to_pandas()
        return plain.astype(object) if plain.dtype == bool else plain
    floats = values.cast(pa.float64()).to_numpy()
    return np.where(is_missing(floats), np.nan, floats)


def _each_once(rows: "pa.Table") -> "pa.Table":
    """The last row of each record, of rows in the order of their hashes and keys."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    hashes = rows[HASH].to_numpy()
    if not (hashes[1:] == hashes[:-1]).any():
        return rows
    keys = rows[KEY].combine_chunks()
    last = np.append(pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False), True)
    return rows.filter(pa.array(last))


def _of_days(location: str, days: Sequence[date], names: Sequence[str], wanted: "ds.Expression") -> "pa.Table | None":
    """Rows of a table that has `_day`, in whose files the other days are skipped; None without table or days."""
    import pyarrow.dataset as ds
    from deltalake import DeltaTable

    if not len(days) or not DeltaTable.is_deltatable(location):
        return None
    first, last = min(days), max(days)
    every = DeltaTable(location).to_pyarrow_dataset(file_pruning_predicate=f"{DAY} >= '{first}' AND {DAY} <= '{last}'")
    within = (ds.field(DAY) >= first) & (ds.field(DAY) <= last)
    return every.to_table(columns=list(names), filter=within & wanted)


def _update(settings: Settings, contract: Contract, source: Source) -> int:
    from deltalake import DeltaTable

    location = lake.path_of(settings, contract.name, source)
    if not DeltaTable.is_deltatable(location):
        return 0
    delta = DeltaTable(location)
    table, done = TableVersion(contract.name, source, delta.version()), _progress(settings, contract, source)
    if table.version <= done.version:
        return 0
    columns = watched_columns(contract, source)
    names = [KEY, DAY, HASH, BATCH, *_also(contract, source), *(column.name for column in columns)]
    name = _table(settings, contract, source)
    few = _few(settings, contract, delta, source, done.batch)
    if few is not None:
        drawing = new_rows.Drawing(few, columns, names, contract.drift.day_rows)
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
        lake.append(
            settings, contract.name, name, kept.sortWithinPartitions(DAY), application="sample", transaction=until
        )
    _write_counts(settings, contract, table, source, counted, int(counted["_until"].max()))
    return len(counted)


def _few(
    settings: Settings, contract: Contract, delta: "DeltaTable", source: Source, done: int
) -> new_rows.Pieces | None:
    """The rows of the batches after `done`, where they are few by the table's log; starting Spark would cost more."""
    import pyarrow as pa
    from deltalake import DeltaTable

    log = pa.table(delta.get_add_actions(flatten=True))
    if f"max.{BATCH}" not in log.column_names or log["num_records"].null_count or log[f"max.{BATCH}"].null_count:
        return None
    newest = zip(log[f"max.{BATCH}"].to_pylist(), log["num_records"].to_pylist(), strict=True)
    rows = sum(count for batch, count in newest if batch > done)
    if rows * (len(watched_columns(contract, source)) + _BESIDE) > _FEW_VALUES:
        return None
    new = new_rows.stored_pieces(delta.to_pyarrow_dataset(file_pruning_predicate=f"{BATCH} > {done}"), done)
    if source != "outcomes":
        return new_rows.pieces_of(new, settings.seed)
    location = lake.path_of(settings, contract.name, _table(settings, contract, "features"))
    if not DeltaTable.is_deltatable(location):
        return lambda _: iter(())
    return new_rows.pieces_of_known(new, DeltaTable(location).to_pyarrow_dataset())


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


def _is_sampled(settings: Settings, contract: Contract, source: Source) -> bool:
    from deltalake import DeltaTable

    return bool(DeltaTable.is_deltatable(lake.path_of(settings, contract.name, _table(settings, contract, source))))


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


@dataclass(frozen=True)
class _Progress:
    """What was sampled of a table: up to which batch, at which version, and the newest day; -1 and None of nothing."""

    batch: int = -1
    version: int = -1
    newest: date | None = None


def _progress(settings: Settings, contract: Contract, source: Source) -> _Progress:
    """From the log of the counts alone: each of its files is of one update of one table, until somebody joins them."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from deltalake import DeltaTable

    location = lake.path_of(settings, contract.name, COUNTS)
    if not DeltaTable.is_deltatable(location):
        return _Progress()
    delta, mine = DeltaTable(location), {"source": source, "definition": definition(settings, contract)}
    log = pa.table(delta.get_add_actions(flatten=True))
    names = {"until": "max.until", "version": "max.version", DAY: f"max.{DAY}"}
    if any(not log[f"min.{name}"].equals(log[f"max.{name}"]) for name in mine):
        names = {name: name for name in names}
        log = delta.to_pyarrow_table(columns=[*mine, *names])
        found = log.filter(pc.and_(*[pc.equal(log[name], value) for name, value in mine.items()]))
    else:
        found = log.filter(pc.and_(*[pc.equal(log[f"min.{name}"], value) for name, value in mine.items()]))
    if not len(found):
        return _Progress()
    return _Progress(*(pc.max(found[names[name]]).as_py() for name in ("until", "version", DAY)))


def _counts(
    settings: Settings, contract: Contract, first: date, last: date, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Counts of the features in `[first, last)`, one for a day of each update."""
    import pyarrow.dataset as ds

    days = [first, last - timedelta(days=1)] if first < last else []
    wanted = (ds.field("source") == "features") & (ds.field("definition") == definition(settings, contract))
    found = _of_days(lake.path_of(settings, contract.name, COUNTS), days, [DAY, *names], wanted)
    return [] if found is None else found.to_pylist()


def _by_day(counts: Sequence[Mapping[str, Any]], first: date, last: date) -> dict[date, int]:
    found: Counter[date] = Counter()
    for row in counts:
        if first <= row[DAY] < last:
            found[row[DAY]] += row["rows"]
    return dict(sorted(found.items()))


def _missing_in(
    counts: Sequence[Mapping[str, Any]], first: date, last: date, columns: Iterable[Watched]
) -> dict[str, int]:
    """Missing values of some columns of the features."""
    found: Counter[str] = Counter()
    for row in counts:
        if first <= row[DAY] < last:
            found.update(dict(row["missing"]))
    return {column.name: found[column.name] for column in columns}


def replace_small(settings: Settings, contract: Contract, name: str, rows: "pa.Table") -> None:
    """Write a small table in place of what was there."""
    _write(settings, contract, name, iter([rows]), "overwrite")


def _write(
    settings: Settings,
    contract: Contract,
    name: str,
    pieces: "Iterator[pa.Table]",
    mode: Literal["append", "overwrite"],
) -> None:
    """Write one piece after the other, as they come."""
    import pyarrow as pa
    from deltalake import ColumnProperties, WriterProperties, write_deltalake

    location = lake.path_of(settings, contract.name, name)
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)
    first = next(pieces)
    batches = (batch for piece in chain([first], pieces) for batch in piece.to_batches())
    # Hardly two numbers are equal; a dictionary of them takes longer to write and to read than they do.
    repeated = [field.name for field in first.schema if field.name != KEY and pa.types.is_string(field.type)]
    properties = WriterProperties(
        max_row_group_size=_GROUP_ROWS, default_column_properties=ColumnProperties(dictionary_enabled=False),
        column_properties={name: ColumnProperties(dictionary_enabled=True) for name in repeated},
    )  # fmt: skip
    write_deltalake(
        location, pa.RecordBatchReader.from_batches(first.schema, batches), mode=mode,
        schema_mode="overwrite" if mode == "overwrite" else None, target_file_size=_FILE_BYTES,
        writer_properties=properties, configuration=_SKIPPING,
    )  # fmt: skip
