"""The step from a champion to predictions."""

from datetime import datetime

from prefect import task

from contender import registry, scoring
from contender.contract import Contract
from contender.settings import Settings
from contender.values import ModelVersion, Scored
from tasks.telling import show, table, working


@task(task_run_name="score with {champion}")
def score_records(settings: Settings, contract: Contract, champion: ModelVersion, at: datetime) -> Scored:
    """Score, with one version from first to last, all records that have no prediction yet."""
    with working() as tell:
        folder = registry.fetch_approved(settings, champion, champion.digest)
        scored = scoring.score_pending(settings, contract, champion, folder, at)
        tell(f"{scored.predictions:,} predictions by {champion}, {scored.alerts:,} alerts")
    show(
        contract.name, "predictions", f"{contract.name}: predictions by {champion}",
        [*table(["band", "predictions"], sorted(scored.bands.items())), "", f"Table: `{scored.table}`"],
    )  # fmt: skip
    return scored
