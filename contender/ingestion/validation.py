"""The rows of a batch, typed and checked against the contract, with what was found about them."""

from collections import Counter
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from contender import column_names
from contender.contracts.contract import Contract
from contender.ingestion import cells, repeats, staging
from contender.ingestion.batches import BatchPlan, Source
from contender.ingestion.expectations import BatchFacts, ExpectationResult, expect
from contender.ingestion.row_checks import checks_of, conform, content_key, key_checks, mark_repeated
from contender.ingestion.staging import Staged
from contender.lake import tables
from contender.settings import Settings
from contender.values import BATCH, FILE, KEY, ROW, TIME

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import SparkSession

_BROADCAST_ROWS = 500_000
_expecting = Lock()
"""Great Expectations has one project for a process."""


@dataclass(frozen=True)
class ConformedRows:
    """The conformed rows of one kind of file, with what was found about them.

    `old` are records that are in the lake already; of these, `repeated` bring no news of their outcome either.
    """

    source: Source
    rows: DataFrame
    total: int
    bad: int
    old: int
    repeated: int
    reasons: Counter[str]
    findings: list[ExpectationResult]


def _named(contract: Contract, key: str, batch: BatchPlan) -> "SparkColumn":
    """The record's name in a row of either kind, by the column `key`, which says it as it landed, not as it is typed.

    Records may call text what outcomes call a number; but where the records' key is a whole number, it is named by its
    value: a tool that writes 7 as 7.0, or as 0007, means the same one.
    """
    landed = cells.trimmed(F.col(f"_raw.`{key}`"))
    own = contract.records.columns[contract.records.key or ""]
    if own.type == "integer":
        value = cells.read(landed, own, contract.records.missing, batch.at)[1]
        landed = F.coalesce(value.cast("string"), landed)
    return F.when(F.col(f"`{key}`").isNotNull(), landed)


def conform_rows(
    settings: Settings, contract: Contract, batch: BatchPlan, staged: Staged, source: Source, spark: "SparkSession"
) -> ConformedRows:
    """What landed of one kind of file, each row with the reasons why it cannot be accepted."""
    of_records = source == "records"
    key, time = (contract.records.key, contract.records.time) if of_records else (contract.outcome_key, None)
    key, time = (contract.stored_names[name] if name else None for name in (key, time))
    columns = contract.stored(staging.declared(contract, source))
    checks = checks_of(columns, key=key, time=time, at=batch.at, skew=contract.batch.clock_skew)
    rows = conform(
        spark.read.parquet(str(staged.folder / source)),
        columns,
        checks,
        contract.records.missing,
        batch.at,
        contract.made(staging.declared(contract, source)),
    )
    rows = rows.withColumn(KEY, _named(contract, key, batch) if key else content_key(columns))
    if of_records:
        rows = rows.withColumn(TIME, F.col(f"`{time}`") if time else _arrival(batch, staged))
    size = sum(staged.rows.values())
    if of_records and key is not None:
        known = _accepted_before(settings, contract, batch, rows, size, "records")
        rows = mark_repeated(rows, known, contract.stored(contract.records.columns), key)
        same, other = key_checks(key)
        rows = repeats.mark_old_records(rows, same.reason)
        # That a row came before is no fault of its file.
        checks.append(other)
    else:
        rows = rows.withColumns({repeats.OLD: F.lit(False), repeats.REPEATED: F.lit(False)})
    valid = F.size("_reasons") == 0
    if not of_records or (contract.outcome.files is None and key is not None):
        of_outcome = contract.stored(contract.outcome.columns)
        if of_records:
            # A record whose outcome is not in yet has none of its columns filled.
            valid &= F.coalesce(*[F.col(f"`{name}`").cast("string") for name in of_outcome]).isNotNull()
        before = _accepted_before(settings, contract, batch, rows, size, "outcomes")
        dated = contract.outcome.known_at is not None
        rows = repeats.mark_old_outcomes(rows, before, of_outcome, dated=dated, among=valid)
        nothing_new = F.col("_old_outcome") if not of_records else F.col(repeats.OLD) & (F.col("_old_outcome") | ~valid)
        rows = rows.withColumn(repeats.REPEATED, nothing_new)
    # Written down rather than cached: what reads it then plans one scan, not all that went before.
    conformed, counted = staged.folder / f"conformed-{source}", Observation()
    rows = rows.observe(
        counted,
        F.count("*").alias("total"),
        F.count_if(F.size("_reasons") > 0).alias("bad"),
        F.count_if(repeats.OLD).alias("old"),
        F.count_if(repeats.REPEATED).alias("repeated"),
    )
    landed = F.struct(*[F.col("_raw").getField(name).alias(column_names.exact(name)) for name in columns])
    rows.withColumn("_raw", F.to_json(landed)).write.mode("overwrite").parquet(str(conformed))
    rows = spark.read.parquet(str(conformed))
    total, bad, old, repeated = (int(counted.get[name]) for name in ("total", "bad", "old", "repeated"))
    reasons: Counter[str] = Counter()
    if bad:
        found = rows.select(F.explode("_reasons").alias("reason")).groupBy("reason").count().collect()
        reasons.update({row["reason"]: row["count"] for row in found})
    facts = BatchFacts(total, sum(file.source == source for file in batch.files), None, batch.at)
    if of_records:
        facts = BatchFacts(total, facts.files, batch.usual_rows_per_file, batch.at)
    with _expecting:
        findings = expect(rows, checks, facts, contract.batch, time=time, clean=bad == 0) if total else []
    return ConformedRows(source, rows, total, bad, old, repeated, reasons, findings)


def _arrival(batch: BatchPlan, staged: Staged) -> "SparkColumn":
    """Without a time column the order of arrival is the time: one microsecond per row since the batch arrived."""
    before, starts = 0, []
    for file in batch.files:
        starts += [F.lit(file.name), F.lit(before)]
        before += staged.rows.get(file.digest, 0)
    return F.timestamp_micros(F.unix_micros(F.lit(batch.at)) + F.create_map(*starts)[F.col(FILE)] + F.col(ROW))


def _accepted_before(
    settings: Settings, contract: Contract, batch: BatchPlan, rows: DataFrame, size: int, source: Source
) -> DataFrame | None:
    """What was accepted of one kind that may share a key with the batch: Delta skips files by the range of keys."""
    table = tables.find(settings, contract.name, source)
    if table is None:
        return None
    low, high = rows.agg(F.min(KEY), F.max(KEY)).head() or ("", "")
    known = tables.read(settings, table).where((F.col(BATCH) < batch.batch) & F.col(KEY).between(low, high))
    keys = rows.select(KEY).distinct()
    return known.join(F.broadcast(keys) if size < _BROADCAST_ROWS else keys, on=KEY, how="left_semi")
