"""Takes one batch into the lake: good rows into `records` and `outcomes`, all others into `quarantine` with reasons.

Each table is written once per batch, as a Delta transaction that carries the batch's number, so that a batch cut off
half-way and run again adds nothing twice. What is accepted and what is quarantined add up to what was received.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contender import batch_page, lake, landing, staging
from contender.conforming import checks_of, conform, content_key, key_checks, mark_repeated
from contender.contract import Contract
from contender.errors import BatchRefused, ContractError
from contender.expectations import BatchFacts, Finding, expect
from contender.landing import Plan, Source
from contender.settings import Settings
from contender.staging import Staged
from contender.values import BATCH, FILE, KEY, RECEIVED, ROW, TARGET, TIME, Ingested

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

Progress = Callable[[str], None]
T = TypeVar("T")
_BROADCAST_ROWS = 500_000
SOURCES: tuple[Source, Source] = ("records", "outcomes")
_expecting = Lock()
"""Great Expectations has one project for a process."""
_WHOLE_BATCH = "the whole batch was refused"


@dataclass(frozen=True)
class _Part:
    """The conformed rows of one kind of file, with what was found about them."""

    source: Source
    rows: DataFrame
    total: int
    bad: int
    reasons: Counter[str]
    findings: list[Finding]


def take_in(settings: Settings, contract: Contract, batch: Plan, progress: Progress) -> tuple[Ingested, list[Finding]]:
    """Check a planned batch and write it; the findings are those of Great Expectations.

    Raises:
        BatchRefused: more rows fail than the contract allows, or the batch as a whole breaks an expectation. All of
            its rows are in `quarantine` then.
    """
    spark = lake.session(settings)
    staged = staging.stage(settings, contract, batch, progress)
    sources: list[Source] = [source for source in SOURCES if _has_rows(staged, batch, source)]
    # Side by side, as also below: for a day's rows Spark plans longer than it computes, on one core.
    parts = _side_by_side(lambda source: _conformed(settings, contract, batch, staged, source, spark), sources)
    progress("checked the batch against the contract")
    unparsed = spark.read.parquet(str(staged.folder / "bad")) if staged.has("bad") else None
    # Now, because the staged rows are gone once the batch is closed.
    broken = _broken(unparsed) if unparsed is not None else {}
    refusal = _refusal(contract, parts, broken)
    quarantined = [_quarantine_rows(part, refusal) for part in parts]
    if unparsed is not None:
        quarantined.append(_quarantine_unparsed(unparsed, refusal))
    if staged.refused:
        quarantined.append(_quarantine_files(settings, contract, batch, staged, spark))
    bad = sum(part.total if refusal else part.bad for part in parts) + len(staged.refused)
    bad += sum(reasons.total() for reasons in broken.values())
    if bad:
        _append(settings, contract, "quarantine", reduce(DataFrame.unionByName, quarantined), batch)
    accepted = {"records": 0, "outcomes": 0}
    if refusal is None:
        accepted = _accept(settings, contract, parts, batch)
    received = sum(staged.rows.values()) + len(staged.refused)
    reasons = sum([*(part.reasons for part in parts), *broken.values(), Counter(staged.refused.values())], Counter())
    ingested = Ingested(
        batch=batch.batch, files=len(batch.files), received=received, accepted=received - bad, quarantined=bad,
        records=accepted["records"], outcomes=accepted["outcomes"],
        reasons=dict(reasons),
        report=str(settings.state / "reports" / contract.name / f"batch-{batch.batch}.html"),
    )  # fmt: skip
    findings = [finding for part in parts for finding in part.findings]
    report = Path(ingested.report)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(batch_page.page(contract.name, ingested, findings, refusal=refusal), encoding="utf-8")
    landing.close(settings, contract, batch, "refused" if refusal else "done", staged.rows, staged.refused)
    if refusal:
        raise BatchRefused(f"{refusal} What failed is in {report}.")
    return ingested, findings


def target_of(contract: Contract, frame: DataFrame) -> "Column":
    """The target as a number (binary: 0 or 1), or as text for several classes.

    Raises:
        ContractError: the expression cannot be evaluated over the outcome's columns, or gives the wrong type.
    """
    from pyspark.errors import AnalysisException, ParseException

    expression = contract.outcome.target
    where = f"{contract.folder / 'contract.toml'}, key 'outcome.target': '{expression}'"
    try:
        value = F.expr(f"`{expression}`" if expression in contract.outcome.columns else expression)
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


def _has_rows(staged: Staged, batch: Plan, source: Source) -> bool:
    return any(file.source == source and staged.rows.get(file.digest) for file in batch.files)


def _conformed(
    settings: Settings, contract: Contract, batch: Plan, staged: Staged, source: Source, spark: "SparkSession"
) -> _Part:
    of_records = source == "records"
    key, time = (contract.records.key, contract.records.time) if of_records else (contract.outcome_key, None)
    columns = contract.records.columns if of_records else contract.outcome.columns
    if of_records and contract.outcome.files is None:
        columns = columns | contract.outcome.columns
    checks = checks_of(columns, key=key, time=time, at=batch.at, skew=contract.batch.clock_skew)
    rows = conform(spark.read.parquet(str(staged.folder / source)), columns, checks, contract.records.missing)
    # As it landed, not as typed: records may call text what outcomes call a number.
    named = F.when(F.col(f"`{key}`").isNotNull(), F.trim(F.col(f"_raw.`{key}`"))) if key else content_key(columns)
    rows = rows.withColumn(KEY, named)
    if of_records:
        rows = rows.withColumn(TIME, F.col(f"`{time}`") if time else _arrival(batch, staged))
    if of_records and key is not None:
        known = _accepted_before(settings, contract, batch, rows, sum(staged.rows.values()))
        rows = mark_repeated(rows, known, contract.records.columns, key)
        checks += key_checks(key)
    # Written down rather than cached: what reads it then plans one scan, not all that went before.
    conformed = staged.folder / f"conformed-{source}"
    rows.withColumn("_raw", F.to_json("_raw")).write.mode("overwrite").parquet(str(conformed))
    rows = spark.read.parquet(str(conformed))
    counted = rows.select(F.explode("_reasons").alias("reason")).groupBy("reason").count().collect()
    total, bad = rows.agg(F.count("*"), F.count_if(F.size("_reasons") > 0)).head() or (0, 0)
    facts = BatchFacts(total, sum(file.source == source for file in batch.files), None, batch.at)
    if of_records:
        facts = BatchFacts(total, facts.files, batch.usual_rows_per_file, batch.at)
    with _expecting:
        findings = expect(rows, checks, facts, contract.batch, time=time, clean=bad == 0) if total else []
    reasons = Counter({row["reason"]: row["count"] for row in counted})
    return _Part(source, rows, total, bad, reasons, findings)


def _arrival(batch: Plan, staged: Staged) -> "Column":
    """Without a time column the order of arrival is the time: one microsecond per row since the batch arrived."""
    before, starts = 0, []
    for file in batch.files:
        starts += [F.lit(file.name), F.lit(before)]
        before += staged.rows.get(file.digest, 0)
    return F.timestamp_micros(F.unix_micros(F.lit(batch.at)) + F.create_map(*starts)[F.col(FILE)] + F.col(ROW))


def _accepted_before(
    settings: Settings, contract: Contract, batch: Plan, rows: DataFrame, size: int
) -> DataFrame | None:
    """Accepted records that may share a key with the batch: Delta skips files by the range of keys."""
    table = lake.find(settings, contract.name, "records")
    if table is None:
        return None
    low, high = rows.agg(F.min(KEY), F.max(KEY)).head() or ("", "")
    known = lake.read(settings, table).where((F.col(BATCH) < batch.batch) & F.col(KEY).between(low, high))
    keys = rows.select(KEY).distinct()
    return known.join(F.broadcast(keys) if size < _BROADCAST_ROWS else keys, on=KEY, how="left_semi")


def _broken(unparsed: DataFrame) -> dict[str, Counter[str]]:
    """How often which reason, by source."""
    found: dict[str, Counter[str]] = {}
    for source, reason, count in unparsed.groupBy("_source", "reason").count().collect():
        found.setdefault(source, Counter())[reason] = count
    return found


def _refusal(contract: Contract, parts: list[_Part], broken: Mapping[str, Counter[str]]) -> str | None:
    for part in parts:
        unparsed = broken.get(part.source, Counter[str]())
        total = part.total + unparsed.total()
        share = (part.bad + unparsed.total()) / total
        if share > contract.batch.max_bad_share:
            ((most, _),) = (part.reasons + unparsed).most_common(1)
            return (
                f"The batch is refused: {share:.1%} of its {total:,} {part.source} fail, the contract allows "
                f"{contract.batch.max_bad_share:.1%}; most often: {most}. Mend the files or the contract and run again."
            )
        for finding in part.findings:
            if finding.whole_batch and not finding.holds:
                return (
                    f"The batch is refused: {part.source} fail '{finding.expectation}' {finding.column} (found "
                    f"{', '.join(finding.samples)}); see batch.* in the contract."
                )
    return None


def _quarantine_rows(part: _Part, refusal: str | None) -> DataFrame:
    rows = part.rows if refusal else part.rows.where(F.size("_reasons") > 0)
    reasons = F.array_append("_reasons", F.lit(_WHOLE_BATCH)) if refusal else F.col("_reasons")
    return rows.select(
        F.lit("row").alias("kind"), F.lit(part.source).alias("source"), F.col(FILE), F.col(ROW),
        F.col("_raw").alias("raw"), reasons.alias("reasons"),
    )  # fmt: skip


def _quarantine_unparsed(unparsed: DataFrame, refusal: str | None) -> DataFrame:
    reasons = F.array("reason", F.lit(_WHOLE_BATCH)) if refusal else F.array("reason")
    return unparsed.select(
        F.lit("row").alias("kind"), F.col("_source").alias("source"), F.col(FILE), F.col(ROW), "raw",
        reasons.alias("reasons"),
    )  # fmt: skip


def _quarantine_files(
    settings: Settings, contract: Contract, batch: Plan, staged: Staged, spark: "SparkSession"
) -> DataFrame:
    rows = [
        ("file", file.source, file.name, None, str(staging.refused_copy(settings, contract.name, file)), [reason])
        for file in batch.files
        if (reason := staged.refused.get(file.digest))
    ]
    return spark.createDataFrame(
        rows, f"kind string, source string, {FILE} string, {ROW} bigint, raw string, reasons array<string>"
    )


def _append(settings: Settings, contract: Contract, table: str, rows: DataFrame, batch: Plan) -> None:
    stamped = rows.withColumn(BATCH, F.lit(batch.batch).cast("bigint")).withColumn(RECEIVED, F.lit(batch.at))
    from pyspark.errors import AnalysisException

    try:
        lake.append(settings, contract.name, table, stamped, application="ingest", transaction=batch.batch)
    except AnalysisException as error:
        if "FAILED_TO_MERGE_FIELDS" not in str(error.getCondition()):
            raise
        raise ContractError(
            f"{contract.folder / 'contract.toml'} declares a column with another type than the table '{table}' has "
            f"({error.getMessageParameters() or error.getMessage()}); give it back its type, or another name."
        ) from None


def _accept(settings: Settings, contract: Contract, parts: list[_Part], batch: Plan) -> dict[str, int]:
    accepted = {"records": 0, "outcomes": 0}
    with_outcome = contract.outcome.files is None
    frames: dict[Source, DataFrame] = {}
    for part in parts:
        good = part.rows.where(F.size("_reasons") == 0)
        if part.source == "outcomes" or with_outcome:
            outcomes = good.withColumn(TARGET, target_of(contract, good))
            if with_outcome:
                # A record whose outcome is not in yet has none of its columns filled.
                outcomes = outcomes.where(
                    F.coalesce(*[F.col(f"`{n}`").cast("string") for n in contract.outcome.columns]).isNotNull()
                )
            frames["outcomes"] = outcomes.select(KEY, TARGET, FILE, ROW, *_named(contract.outcome.columns))
        if part.source == "records":
            accepted["records"] = part.total - part.bad
            frames["records"] = good.select(KEY, TIME, FILE, ROW, *_named(contract.records.columns))

    def write(source: Source) -> None:
        _append(settings, contract, source, frames[source], batch)
        if source == "outcomes":
            # Not while it is written: of a batch that is taken up again, Delta may have nothing left to write.
            accepted["outcomes"] = frames["outcomes"].count()

    _side_by_side(write, list(frames))
    return accepted


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


def _named(columns: Iterable[str]) -> "list[Column]":
    return [F.col(f"`{name}`") for name in columns]
