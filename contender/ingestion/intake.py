"""Takes one batch into the lake: good rows into `records` and `outcomes`, all others into `quarantine` with reasons.

Each table is written once per batch, as a Delta transaction that carries the batch's number, so that a batch cut off
half-way and run again adds nothing twice. What is accepted and what is quarantined add up to what was received.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.errors import BatchRefused, ContractError
from contender.ingestion import batch_report, batches, quarantine, staging
from contender.ingestion.batches import BatchPlan, Source
from contender.ingestion.drawn_times import with_drawn_times
from contender.ingestion.expectations import ExpectationResult
from contender.ingestion.staging import Staged
from contender.ingestion.validation import ConformedRows, conform_rows
from contender.lake import spark_session, tables
from contender.settings import Settings
from contender.values import BATCH, FILE, KEY, RECEIVED, ROW, TARGET, TIME, Ingested

if TYPE_CHECKING:
    from pyspark.sql import Column

Progress = Callable[[str], None]
T = TypeVar("T")
SOURCES: tuple[Source, Source] = ("records", "outcomes")


def take_in(
    settings: Settings, contract: Contract, batch: BatchPlan, progress: Progress
) -> tuple[Ingested, list[ExpectationResult]]:
    """Check a planned batch and write it; the findings are those of Great Expectations.

    Raises:
        BatchRefused: more rows fail than the contract allows, or the batch as a whole breaks an expectation. All of
            its rows are in `quarantine` then.
    """
    spark = spark_session.session(settings)
    staged = staging.stage(settings, contract, batch, progress)
    sources: list[Source] = [source for source in SOURCES if _has_rows(staged, batch, source)]
    # Side by side, as also below: for a day's rows Spark plans longer than it computes, on one core.
    parts = _side_by_side(lambda source: conform_rows(settings, contract, batch, staged, source, spark), sources)
    for reason in staged.refused.values():
        progress(f"not taken in: {reason}")
    for note in staged.notes:
        progress(note)
    progress("checked the batch against the contract")
    unparsed = spark.read.parquet(str(staged.folder / "bad")) if staged.has("bad") else None
    # Now, because the staged rows are gone once the batch is closed.
    broken = quarantine.broken_rows(unparsed) if unparsed is not None else {}
    refusal = quarantine.refusal_of(contract, parts, broken)
    quarantined = [quarantine.rows_of(part, refusal) for part in parts]
    if unparsed is not None:
        quarantined.append(quarantine.unparsed_rows(unparsed, refusal))
    if staged.refused:
        quarantined.append(quarantine.refused_files(settings, contract, batch, staged, spark))
    bad = sum(part.total if refusal else part.bad for part in parts)
    bad += sum(reasons.total() for reasons in broken.values())
    if bad or staged.refused:
        _append(settings, contract, "quarantine", reduce(DataFrame.unionByName, quarantined), batch)
    accepted = {"records": 0, "outcomes": 0}
    if refusal is None:
        accepted = _accept(settings, contract, parts, batch)
    received = sum(staged.rows.values())
    reasons = sum([*(part.reasons for part in parts), *broken.values()], Counter())
    ingested = Ingested(
        batch=batch.batch,
        files=len(batch.files),
        received=received,
        accepted=received - bad,
        quarantined=bad,
        records=accepted["records"],
        outcomes=accepted["outcomes"],
        reasons=dict(reasons),
        report=str(settings.state / "reports" / contract.name / f"batch-{batch.batch}.html"),
        unread={file.name: staged.refused[file.digest] for file in batch.files if file.digest in staged.refused},
        notes=staged.notes,
    )
    findings = [finding for part in parts for finding in part.findings]
    report = Path(ingested.report)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(batch_report.page(contract.name, ingested, findings, refusal=refusal), encoding="utf-8")
    batches.close(settings, contract, batch, "refused" if refusal else "done", staged.rows, staged.refused)
    if refusal:
        raise BatchRefused(f"{refusal} What failed is in {report}.")
    return ingested, findings


def target_of(contract: Contract, frame: DataFrame) -> "Column":
    """The target as a number (binary: 0 or 1), or as text for several classes.

    Raises:
        ContractError: the expression cannot be evaluated over the outcome's columns, or gives the wrong type.
    """
    from pyspark.errors import AnalysisException, ParseException

    where = f"{contract.folder / 'contract.toml'}, key 'outcome.target': '{contract.outcome.target}'"
    try:
        value = F.expr(contract.target.spark(contract.stored_names))
        found = frame.select(value.alias("target")).schema["target"].dataType.simpleString()
    except (AnalysisException, ParseException) as error:
        reason = (error.getMessage() or str(error)).split("\n")[0]
        raise ContractError(
            f"{where} is not an expression over {', '.join(contract.outcome.columns)}: {reason}"
        ) from None
    if contract.kind == "multiclass":
        return value.cast("string")
    if found in ("string", "timestamp"):
        raise ContractError(
            f"{where} gives {found}; a {contract.kind} target needs a number or a condition, such as x = 'yes'."
        )
    return value.cast("double")


def _has_rows(staged: Staged, batch: BatchPlan, source: Source) -> bool:
    return any(file.source == source and staged.rows.get(file.digest) for file in batch.files)


def _append(settings: Settings, contract: Contract, table: str, rows: DataFrame, batch: BatchPlan) -> None:
    stamped = rows.withColumn(BATCH, F.lit(batch.batch).cast("bigint")).withColumn(RECEIVED, F.lit(batch.at))
    from pyspark.errors import AnalysisException

    try:
        tables.append(settings, contract.name, table, stamped, application="ingest", transaction=batch.batch)
    except AnalysisException as error:
        if "FAILED_TO_MERGE_FIELDS" not in str(error.getCondition()):
            raise
        raise ContractError(
            f"{contract.folder / 'contract.toml'} declares a column with another type than the table '{table}' has "
            f"({error.getMessageParameters() or error.getMessage()}); give it back its type, or another name."
        ) from None


def _accept(settings: Settings, contract: Contract, parts: list[ConformedRows], batch: BatchPlan) -> dict[str, int]:
    accepted = {"records": 0, "outcomes": 0}
    with_outcome = contract.outcome.files is None
    good = {part.source: part.rows.where(F.size("_reasons") == 0) for part in parts}
    frames: dict[Source, DataFrame] = {}
    landed = good.get("records" if with_outcome else "outcomes")
    if landed is not None:
        outcomes = landed.withColumn(TARGET, target_of(contract, landed))
        if with_outcome:
            # A record whose outcome is not in yet has no target, and what has none is no outcome.
            outcomes = outcomes.where(F.col(TARGET).isNotNull())
        frames["outcomes"] = outcomes.select(KEY, TARGET, FILE, ROW, *_named(contract, contract.outcome.columns))
    if "records" in good:
        accepted["records"] = sum(part.total - part.bad for part in parts if part.source == "records")
        records = good["records"]
        if contract.records.time is None:
            records = _draw(settings, contract, records, frames.get("outcomes"), batch)
        frames["records"] = records.select(KEY, TIME, FILE, ROW, *_named(contract, contract.records.columns))

    def write(source: Source) -> None:
        _append(settings, contract, source, frames[source], batch)
        if source == "outcomes":
            # Not while it is written: of a batch that is taken up again, Delta may have nothing left to write.
            accepted["outcomes"] = frames["outcomes"].count()

    _side_by_side(write, list(frames))
    return accepted


def _draw(
    settings: Settings, contract: Contract, records: DataFrame, outcomes: DataFrame | None, batch: BatchPlan
) -> DataFrame:
    """Records without a time, in drawn order; where their classes came with them, spread evenly by class."""
    stratum = None
    if contract.kind != "regression" and contract.outcome.files is None:
        stratum = target_of(contract, records)
    elif contract.kind != "regression" and outcomes is not None:
        classes = outcomes.groupBy(F.col(KEY).alias("_outcome_of")).agg(F.max(TARGET).alias(TARGET))
        records = records.join(classes, on=F.col(KEY) == F.col("_outcome_of"), how="left")
        stratum = F.col(TARGET)
    keyed = contract.records.key is not None
    return with_drawn_times(records, keyed=keyed, stratum=stratum, at=batch.at, seed=settings.seed)


def _side_by_side(work: Callable[[Source], T], sources: Sequence[Source]) -> list[T]:
    """What `work` gives for each source, all at once."""
    pool = ThreadPoolExecutor(len(SOURCES))
    running = [pool.submit(work, source) for source in sources]
    try:
        wait(running)
    finally:
        # Whoever is asked to stop does not wait for a long write: the next run takes the batch up again.
        pool.shutdown(wait=False, cancel_futures=True)
    return [one.result() for one in running]


def _named(contract: Contract, columns: Iterable[str]) -> "list[Column]":
    return [F.col(f"`{contract.stored_names[name]}`") for name in columns]
