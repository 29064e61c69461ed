"""The steps from landed files to features."""

from datetime import datetime
from pathlib import Path

from contender.contracts.contract import Contract
from contender.errors import BatchRefused
from contender.features import feature_tables
from contender.ingestion import batches, intake, sources
from contender.ingestion.batches import BatchPlan
from contender.ingestion.expectations import ExpectationResult
from contender.settings import Settings
from contender.values import Ingested, TableVersion
from tasks.run_log import show, step_log, table
from tasks.steps import step


@step
def fetch_sources(settings: Settings, contract: Contract, folder: Path) -> None:
    """Land what is new in the tables and queries that the contract names as sources."""
    with step_log() as tell:
        sources.fetch(settings, contract, folder, tell)


@step
def find_batch(
    settings: Settings, contract: Contract, folder: Path, at: datetime, settled_seconds: float = 0
) -> BatchPlan | None:
    """The batch to take in next, or None when all that landed is in the lake."""
    with step_log() as tell:
        batch = batches.plan(settings, contract, folder, at, settled_seconds=settled_seconds)
        tell(
            f"batch {batch.batch}: {len(batch.files):,} new files in {folder}"
            if batch
            else f"all that landed in {folder} is taken in"
        )
        others = batches.unmatched(contract, folder) if batch else ()
        if others:
            names = ", ".join(others[:5]) + (f" and {len(others) - 5:,} more" if others[5:] else "")
            tell(f"left alone, since no pattern of the contract matches: {names}")
        return batch


@step(task_run_name="take in batch {batch.batch}")
def take_in(settings: Settings, contract: Contract, batch: BatchPlan) -> Ingested:
    """Check a batch and write it: good rows to records and outcomes, the others to quarantine."""
    with step_log() as tell:
        try:
            ingested, findings = intake.take_in(settings, contract, batch, tell)
        except BatchRefused as error:
            show(contract.name, "batch", f"{contract.name}: batch {batch.batch} is refused", [str(error)])
            raise
        tell(
            f"batch {ingested.batch}: {ingested.received:,} rows received, {ingested.accepted:,} accepted, "
            f"{ingested.quarantined:,} quarantined"
            + (f", {ingested.repeated:,} came before" if ingested.repeated else "")
            + _unread(ingested)
        )
    show(contract.name, "batch", f"{contract.name}: batch {batch.batch}", _page(ingested, findings))
    return ingested


@step
def refresh_features(settings: Settings, contract: Contract, folder: Path) -> TableVersion | None:
    """Bring look-ups and features up to date with the records."""
    with step_log() as tell:
        for lookup in feature_tables.update_lookups(settings, contract, folder):
            tell(f"look-up {lookup}")
        features = feature_tables.update_features(settings, contract)
        tell(f"features {features}" if features else "no records yet, so no features")
        return features


def _unread(ingested: Ingested) -> str:
    return f", {len(ingested.unread):,} files that cannot be read" if ingested.unread else ""


def _page(ingested: Ingested, findings: list[ExpectationResult]) -> list[str]:
    failing = [finding for finding in findings if finding.failing or not finding.holds]
    return [
        *table(
            ["received", "accepted", "quarantined", "came before", "records", "outcomes"],
            [
                [
                    f"{n:,}"
                    for n in (
                        ingested.received,
                        ingested.accepted,
                        ingested.quarantined,
                        ingested.repeated,
                        ingested.records,
                        ingested.outcomes,
                    )
                ]
            ],
        ),
        "",
        *[f"- Not taken in: {reason}" for reason in ingested.unread.values()],
        *[f"- {note}" for note in ingested.notes],
        "",
        "## Why rows were quarantined",
        "",
        *(table(["reason", "rows"], [*ingested.reasons.items()]) if ingested.reasons else ["None was."]),
        "",
        f"## Great Expectations: {len(findings)} expectations, {len(failing)} with failing rows",
        "",
        *table(
            ["expectation", "column", "failing", "of", "samples"],
            [(f.expectation, f.column, f"{f.failing:,}", f"{f.measured:,}", ", ".join(f.samples)) for f in failing],
        ),
        "",
        f"All expectations: [batch page]({Path(ingested.report).as_uri()}), which is `{ingested.report}`.",
    ]
