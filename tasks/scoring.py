"""The step from a champion to predictions."""

from datetime import datetime

from contender.contracts.contract import Contract
from contender.inference.scorer import why_plain
from contender.registry import model_versions, ui_links
from contender.registry.model_files import arrays_in
from contender.scoring import batch_scoring
from contender.settings import Settings
from contender.values import ModelVersion, Scored
from tasks.progress import progressing
from tasks.retries import TRIES
from tasks.run_log import show, step_log, table
from tasks.steps import step


@step(task_run_name="score with {champion}", **TRIES)
def score_records(settings: Settings, contract: Contract, champion: ModelVersion, at: datetime) -> Scored:
    """Score, with one version from first to last, all records that have no prediction yet."""
    with step_log() as tell:
        folder = model_versions.fetch_approved(settings, champion, champion.digest)
        with progressing(settings, contract.name, f"scoring with {champion}", tell):
            scored = batch_scoring.score_pending(settings, contract, champion, folder, at)
        tell(f"{scored.predictions:,} predictions by {champion}, {scored.alerts:,} alerts")
        if scored.predictions:
            why = why_plain(arrays_in(folder, champion.digest, str(champion)))
            tell(f"answered by its pipeline: {why}" if why else "answered by its arrays, equal to scikit-learn")
    show(
        contract.name,
        "predictions",
        f"{contract.name}: predictions by {champion}",
        _page(settings, scored),
    )
    return scored


def _page(settings: Settings, scored: Scored) -> list[str]:
    written = f"{scored.predictions:,} predictions, {scored.alerts:,} alerts."
    return [
        written if scored.predictions else "All records were scored before.",
        "",
        *table(["band", "predictions"], [(band, f"{rows:,}") for band, rows in sorted(scored.bands.items())]),
        "",
        f"Table: `{scored.table}`. {ui_links.version_line(settings, scored.model)}",
    ]
