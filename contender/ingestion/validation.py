"""The rows of a batch, typed and checked against the contract, with what was found about them."""

from collections import Counter
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.ingestion import cells
from contender.ingestion.batches import BatchPlan, Source
from contender.ingestion.expectations import BatchFacts, ExpectationResult, expect
from contender.ingestion.row_checks import checks_of, conform, content_key, key_checks, mark_repeated
from contender.ingestion.staging import Staged
from contender.lake import tables
from contender.settings import Settings
from contender.values import BATCH, FILE, KEY, ROW, TIME

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

_BROADCAST_ROWS = 500_000
_expecting = Lock()
"""Great Expectations has one project for a process."""


@dataclass(frozen=True)
class ConformedRows:
    """The conformed rows of one kind of file, with what was found about them."""

    source: Source
    rows: DataFrame
    total: int
    bad: int
    reasons: Counter[str]
    findings: list[ExpectationResult]


def conform_rows(
    settings: Settings, contract: Contract, batch: BatchPlan, staged: Staged, source: Source, spark: "SparkSession"
) -> ConformedRows:
    """What landed of one kind of file, each row with the reasons why it cannot be accepted."""
    of_records = source == "records"
    key, time = (contract.records.key, contract.records.time) if of_records else (contract.outcome_key, None)
    columns = contract.records.columns if of_records else contract.outcome.columns
    if of_records and contract.outcome.files is None:
        columns = columns | contract.outcome.columns
    checks = checks_of(columns, key=key, time=time, at=batch.at, skew=contract.batch.clock_skew)
    rows = conform(spark.read.parquet(str(staged.folder / source)), columns, checks, contract.records.missing, batch.at)
    # As it landed, not as typed: records may call text what outcomes call a number.
    named = (
        F.when(F.col(f"`{key}`").isNotNull(), cells.trimmed(F.col(f"_raw.`{key}`"))) if key else content_key(columns)
    )
    rows = rows.withColumn(KEY, named)
    if of_records:
        rows = rows.withColumn(TIME, F.col(f"`{time}`") if time else _arrival(batch, staged))
    if of_records and key is not None:
        known = _accepted_before(settings, contract, batch, rows, sum(staged.rows.values()))
        rows = mark_repeated(rows, known, contract.records.columns, key)
        checks += key_checks(key)
    # Written down rather than cached: what reads it then plans one scan, not all that went before.
    conformed, counted = staged.folder / f"conformed-{source}", Observation()
    rows = rows.observe(counted, F.count("*").alias("total"), F.count_if(F.size("_reasons") > 0).alias("bad"))
    rows.withColumn("_raw", F.to_json("_raw")).write.mode("overwrite").parquet(str(conformed))
    rows = spark.read.parquet(str(conformed))
    total, bad = int(counted.get["total"]), int(counted.get["bad"])
    reasons: Counter[str] = Counter()
    if bad:
        found = rows.select(F.explode("_reasons").alias("reason")).groupBy("reason").count().collect()
        reasons.update({row["reason"]: row["count"] for row in found})
    facts = BatchFacts(total, sum(file.source == source for file in batch.files), None, batch.at)
    if of_records:
        facts = BatchFacts(total, facts.files, batch.usual_rows_per_file, batch.at)
    with _expecting:
        findings = expect(rows, checks, facts, contract.batch, time=time, clean=bad == 0) if total else []
    return ConformedRows(source, rows, total, bad, reasons, findings)


def _arrival(batch: BatchPlan, staged: Staged) -> "Column":
    """Without a time column the order of arrival is the time: one microsecond per row since the batch arrived."""
    before, starts = 0, []
    for file in batch.files:
        starts += [F.lit(file.name), F.lit(before)]
        before += staged.rows.get(file.digest, 0)
    return F.timestamp_micros(F.unix_micros(F.lit(batch.at)) + F.create_map(*starts)[F.col(FILE)] + F.col(ROW))


def _accepted_before(
    settings: Settings, contract: Contract, batch: BatchPlan, rows: DataFrame, size: int
) -> DataFrame | None:
    """Accepted records that may share a key with the batch: Delta skips files by the range of keys."""
    table = tables.find(settings, contract.name, "records")
    if table is None:
        return None
    low, high = rows.agg(F.min(KEY), F.max(KEY)).head() or ("", "")
    known = tables.read(settings, table).where((F.col(BATCH) < batch.batch) & F.col(KEY).between(low, high))
    keys = rows.select(KEY).distinct()
    return known.join(F.broadcast(keys) if size < _BROADCAST_ROWS else keys, on=KEY, how="left_semi")
