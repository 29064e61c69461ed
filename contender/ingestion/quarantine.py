"""What of a batch is refused, and why: whether all of a kind is, and its rows as the table `quarantine` keeps them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.ingestion import staging
from contender.ingestion.batches import BatchPlan, Source
from contender.ingestion.expectations import ExpectationResult
from contender.ingestion.staging import Staged
from contender.ingestion.validation import ConformedRows
from contender.settings import Settings
from contender.values import FILE, ROW

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_WHOLE_BATCH = "the whole batch was refused"


def broken_rows(unparsed: DataFrame) -> dict[str, Counter[str]]:
    """How often which reason kept a row from being read, by source."""
    found: dict[str, Counter[str]] = {}
    for source, reason, count in unparsed.groupBy("_source", "reason").count().collect():
        found.setdefault(source, Counter())[reason] = count
    return found


@dataclass(frozen=True)
class Refusal:
    """Why all files of a kind are refused, and what of the contract can be changed, where that is known."""

    why: str
    way_out: str = ""


def refusals_of(
    contract: Contract, parts: list[ConformedRows], broken: Mapping[str, Counter[str]]
) -> dict[Source, Refusal]:
    """Why the files of a kind cannot be trusted as a whole, by kind; a fault in one holds back no other."""
    found = {part.source: _refusal_of(contract, part, broken.get(part.source, Counter[str]())) for part in parts}
    return {source: refusal for source, refusal in found.items() if refusal}


def _refusal_of(contract: Contract, part: ConformedRows, unparsed: Counter[str]) -> Refusal | None:
    total = part.total + unparsed.total()
    share = (part.bad + unparsed.total()) / total if total else 0.0
    if share > contract.batch.max_bad_share:
        ((most, count),) = (part.reasons + unparsed).most_common(1)
        return Refusal(
            f"{share:.1%} of its {total:,} {part.source} fail, the contract allows {contract.batch.max_bad_share:.1%}; "
            f"most often: {most} ({count:,} row{'s' * (count != 1)}{_samples(part, most)})",
            _way_out(most),
        )
    for finding in part.findings:
        if finding.whole_batch and not finding.holds:
            return Refusal(_unlike_those_before(part.source, finding))
    return None


def _unlike_those_before(source: Source, finding: ExpectationResult) -> str:
    found, (least, most) = ", ".join(finding.samples), finding.limits
    if finding.column:
        return (
            f"the newest {finding.column} of its {source} is {found}, and batch.freshness in the contract allows none "
            f"before {least}"
        )
    usual = f"at least {least}" if most is None else f"{least} to {most}"
    return (
        f"it holds {found} rows of {source}, and by the batches before {usual} are usual (batch.min_volume and "
        "batch.max_volume in the contract)"
    )


def refusal_told(refusals: Mapping[Source, Refusal], parts: list[ConformedRows]) -> str:
    """What is refused and why, what was taken in all the same, and what to do."""
    others = [part.source for part in parts if part.source not in refusals]
    beside = f" Its {' and '.join(others)} are taken in all the same." if others else ""
    why = "; ".join(refusal.why for refusal in refusals.values())
    ways = "".join(dict.fromkeys(refusal.way_out for refusal in refusals.values()))
    return f"The batch is refused: {why}.{beside} Mend the files or the contract{ways} and run again."


def _samples(part: ConformedRows, reason: str) -> str:
    """Some of the values that were found where a row fails for a reason."""
    column, _, what = reason.partition(": ")
    if what == "missing":
        return ""
    for finding in part.findings:
        if finding.column == reason or (finding.column == column and finding.failing == part.reasons[reason]):
            values = [sample for sample in dict.fromkeys(finding.samples) if sample not in ("None", "nan", "<NA>")]
            if values:
                return f", such as {', '.join(repr(value) for value in values)}"
    return ""


_WAYS_OUT = {
    ": none of the": 'unseen = "accept" takes new values in',
    ": missing": "without 'required' it may be missing",
    ": above": "'max' may be higher",
    ": below": "'min' may be lower",
    ": not a time": "'format' says how times are written",
    ": not a finite number": "'decimal', 'thousands', 'drop' and 'missing' say how numbers are written",
    ": not a whole number": 'type = "number" takes fractions, "text" keeps every digit',
    ": neither true nor false": "'yes' and 'no' say how it is spelt",
    ": in the future": "batch.clock_skew says how far a clock may be ahead",
}
"""What of the contract can be changed, by how a reason goes on after the column's name."""


def _way_out(reason: str) -> str:
    way = next((way for kind, way in _WAYS_OUT.items() if kind in reason), None)
    return f" ({reason.partition(': ')[0]}: {way})" if way else ""


def rows_of(part: ConformedRows, refusal: Refusal | None) -> DataFrame:
    """The rows that were read and cannot be accepted: those with a reason, or all once their kind is refused."""
    rows = part.rows if refusal else part.rows.where(F.size("_reasons") > 0)
    reasons = F.array_append("_reasons", F.lit(_WHOLE_BATCH)) if refusal else F.col("_reasons")
    return rows.select(
        F.lit("row").alias("kind"),
        F.lit(part.source).alias("source"),
        F.col(FILE),
        F.col(ROW),
        F.col("_raw").alias("raw"),
        reasons.alias("reasons"),
    )


def unparsed_rows(unparsed: DataFrame, refusals: Mapping[Source, Refusal]) -> DataFrame:
    """The rows that could not be taken apart, each as its own text: of kind `line`."""
    refused = F.col("_source").isin(*refusals) if refusals else F.lit(False)
    reasons = F.when(refused, F.array("reason", F.lit(_WHOLE_BATCH))).otherwise(F.array("reason"))
    return unparsed.select(
        F.lit("line").alias("kind"),
        F.col("_source").alias("source"),
        F.col(FILE),
        F.col(ROW),
        "raw",
        reasons.alias("reasons"),
    )


def refused_files(
    settings: Settings, contract: Contract, batch: BatchPlan, staged: Staged, spark: "SparkSession"
) -> DataFrame:
    """The files of which nothing could be read, one row each, with where their copy lies."""
    rows = [
        ("file", file.source, file.name, None, str(staging.refused_copy(settings, contract.name, file)), [reason])
        for file in batch.files
        if (reason := staged.refused.get(file.digest))
    ]
    return spark.createDataFrame(
        rows, f"kind string, source string, {FILE} string, {ROW} bigint, raw string, reasons array<string>"
    )
