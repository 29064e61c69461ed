"""Takes one batch into the lake: good rows into `records` and `outcomes`, all others into `quarantine` with reasons.

Each table is written once per batch, as a Delta transaction that carries the batch's number, so that a batch cut off
half-way and run again adds nothing twice. What is accepted, quarantined and repeated adds up to what was received.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.errors import BatchRefused, ContractError, DataError
from contender.ingestion import batch_report, batches, kept_meaning, quarantine, repeats, retries, staging
from contender.ingestion.batches import BatchPlan, FileResult, Source
from contender.ingestion.drawn_times import with_drawn_times
from contender.ingestion.expectations import ExpectationResult
from contender.ingestion.quarantine import Refusal
from contender.ingestion.staging import Staged, Take
from contender.ingestion.validation import ConformedRows, conform_rows
from contender.lake import spark_session, tables
from contender.settings import Settings
from contender.values import BATCH, FILE, KEY, RECEIVED, ROW, TARGET, TIME, Ingested

if TYPE_CHECKING:
    from pyspark.sql import Column

Progress = Callable[[str], None]
T = TypeVar("T")
SOURCES: tuple[Source, Source] = ("records", "outcomes")


@dataclass(frozen=True)
class Examined:
    """A batch that was read and checked, and what is to become of it; nothing of it is written."""

    batch: BatchPlan
    staged: Staged
    parts: list[ConformedRows]
    unparsed: DataFrame | None
    broken: Mapping[str, Counter[str]]
    refusals: Mapping[Source, Refusal]

    @property
    def quarantined(self) -> int:
        """Rows that cannot be accepted."""
        of_parts = sum(part.total if part.source in self.refusals else part.bad for part in self.parts)
        return of_parts + sum(reasons.total() for reasons in self.broken.values())

    @property
    def repeated(self) -> int:
        return sum(part.repeated for part in self.parts if part.source not in self.refusals)

    @property
    def received(self) -> int:
        return sum(self.staged.rows.values())

    @property
    def reasons(self) -> Counter[str]:
        """How many rows have which reason."""
        return sum([*(part.reasons for part in self.parts), *self.broken.values()], Counter())

    def quarantine_frame(self, settings: Settings, contract: Contract) -> DataFrame | None:
        """What goes to quarantine, with each reason; None where nothing does."""
        if not self.quarantined and not self.staged.refused:
            return None
        frames = [quarantine.rows_of(part, self.refusals.get(part.source)) for part in self.parts]
        if self.unparsed is not None:
            frames.append(quarantine.unparsed_rows(self.unparsed, self.refusals))
        if self.staged.refused:
            spark = spark_session.session(settings)
            frames.append(quarantine.refused_files(settings, contract, self.batch, self.staged, spark))
        return reduce(DataFrame.unionByName, frames)


def examine(settings: Settings, contract: Contract, batch: BatchPlan, staged: Staged, progress: Progress) -> Examined:
    """Check what was staged of a batch against the contract, and write none of it."""
    spark = spark_session.session(settings)
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
    return Examined(batch, staged, parts, unparsed, broken, quarantine.refusals_of(contract, parts, broken))


def take_in(
    settings: Settings, contract: Contract, batch: BatchPlan, progress: Progress
) -> tuple[Ingested, list[ExpectationResult]]:
    """Check a planned batch and write it; the findings are those of Great Expectations.

    Raises:
        BatchRefused: more rows of a kind fail than the contract allows, or its files as a whole break an expectation.
            All of its rows are in `quarantine` then, and those of the other kind are taken in.
        DataError: a file of the batch is no longer there, or is another; the batch is abandoned then.
    """
    staged, takes = _stage(settings, contract, batch, progress)
    examined = examine(settings, contract, batch, staged, progress)
    quarantined = examined.quarantine_frame(settings, contract)
    if quarantined is not None:
        for file in batch.files:
            if file.digest in staged.refused:
                staging.keep_refused(settings, contract.name, file, takes.get(file.digest))
        _append(settings, contract, "quarantine", quarantined, batch, {})
    arrived = {file.name: takes[file.digest].arrived for file in batch.files if file.digest in takes}
    accepted = _accept(settings, contract, examined, {name: at for name, at in arrived.items() if at})
    ingested = Ingested(
        batch=batch.batch,
        files=len(batch.files),
        received=examined.received,
        accepted=examined.received - examined.quarantined - examined.repeated,
        quarantined=examined.quarantined,
        repeated=examined.repeated,
        records=accepted["records"],
        outcomes=accepted["outcomes"],
        reasons=dict(examined.reasons),
        report=str(settings.state / "reports" / contract.name / f"batch-{batch.batch}.html"),
        unread={file.name: staged.refused[file.digest] for file in batch.files if file.digest in staged.refused},
        notes=staged.notes,
    )
    findings = [finding for part in examined.parts for finding in part.findings]
    refusal = quarantine.refusal_told(examined.refusals, examined.parts) if examined.refusals else None
    report = Path(ingested.report)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(batch_report.page(contract.name, ingested, findings, refusal=refusal), encoding="utf-8")
    staging.remember_told(settings, contract, staged)
    batches.close(settings, contract, batch, "done", _results(examined))
    if refusal:
        raise BatchRefused(f"{refusal} What failed is in {report}.")
    return ingested, findings


def _stage(
    settings: Settings, contract: Contract, batch: BatchPlan, progress: Progress
) -> tuple[Staged, dict[str, Take]]:
    """The rows of a batch. What was read before, and then cut off, is not read again."""
    folder = batches.staging_of(settings, contract.name, batch.batch)
    takes = retries.takes_of(settings, contract, batch)
    if (staged := staging.staged_before(folder)) is not None:
        return staged, takes
    for file in batch.files:
        take = takes[file.digest]
        if take.path is None and not take.kept:
            reason = f"{file.path} has gone or changed since batch {batch.batch} was planned with it"
            batches.abandon(settings, contract, batch, reason)
            raise DataError(
                f"{reason}; batch {batch.batch} is abandoned and nothing of it is kept: run again to take in what is "
                "there now."
            )
    return staging.stage(settings, contract, batch, takes, folder, progress), takes


def _results(examined: Examined) -> dict[str, FileResult]:
    staged = examined.staged
    found = {}
    for file in examined.batch.files:
        refused = examined.refusals.get(file.source)
        why = staged.refused.get(file.digest) or (refused.why if refused else None)
        found[file.digest] = FileResult(staged.rows.get(file.digest), staged.last_rows.get(file.digest), why)
    return found


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


def _append(
    settings: Settings,
    contract: Contract,
    table: str,
    rows: DataFrame,
    batch: BatchPlan,
    arrived: Mapping[str, datetime],
) -> None:
    """Write rows with their batch and when they arrived: what quarantine held came when its file did."""
    received = F.lit(batch.at)
    if arrived:
        known = F.create_map(*[F.lit(part) for pair in arrived.items() for part in pair])
        received = F.coalesce(known[F.col(FILE)], received)
    stamped = rows.withColumn(BATCH, F.lit(batch.batch).cast("bigint")).withColumn(RECEIVED, received)
    from pyspark.errors import AnalysisException

    try:
        tables.append(
            settings,
            contract.name,
            table,
            stamped,
            application="ingest",
            transaction=batch.batch,
            note=kept_meaning.note(contract),
        )
    except AnalysisException as error:
        if "FAILED_TO_MERGE_FIELDS" not in str(error.getCondition()):
            raise
        raise ContractError(
            f"{contract.folder / 'contract.toml'} declares a column with another type than the table '{table}' has "
            f"({error.getMessageParameters() or error.getMessage()}); give it back its type, or another name."
        ) from None


def _accept(
    settings: Settings, contract: Contract, examined: Examined, arrived: Mapping[str, datetime]
) -> dict[str, int]:
    accepted = {"records": 0, "outcomes": 0}
    with_outcome = contract.outcome.files is None
    news = (F.size("_reasons") == 0) & ~F.col(repeats.REPEATED)
    good = {part.source: part.rows.where(news) for part in examined.parts if part.source not in examined.refusals}
    frames: dict[Source, DataFrame] = {}
    landed = good.get("records" if with_outcome else "outcomes")
    if landed is not None:
        outcomes = landed.withColumn(TARGET, target_of(contract, landed))
        if with_outcome:
            # A record whose outcome is not in yet has no target, and what has none is no outcome.
            outcomes = outcomes.where(F.col(TARGET).isNotNull())
        frames["outcomes"] = outcomes.select(KEY, TARGET, FILE, ROW, *_named(contract, contract.outcome.columns))
    if "records" in good:
        (part,) = (part for part in examined.parts if part.source == "records")
        accepted["records"] = part.total - part.bad - part.old
        records = good["records"].where(~F.col(repeats.OLD))
        if contract.records.time is None:
            records = _draw(settings, contract, records, frames.get("outcomes"), examined.batch)
        frames["records"] = records.select(KEY, TIME, FILE, ROW, *_named(contract, contract.records.columns))

    def write(source: Source) -> None:
        _append(settings, contract, source, frames[source], examined.batch, arrived)
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
