"""How flows speak to automations and to people who are elsewhere. What they say may get lost; the work goes on."""

from typing import Any

from prefect.events import emit_event
from prefect.logging import get_run_logger

from contender import events
from contender.contracts.contract import Contract
from contender.drift.drift_check import DriftCheck
from contender.errors import BatchRefused
from contender.operations import delivery
from contender.performance.quality_readings import Readings
from contender.promotion.ledger import LedgerEntry
from contender.registry import ui_links
from contender.retraining.diagnoses import Kept
from contender.retraining.policy import Due
from contender.settings import Settings
from contender.values import Ingested, Scored, Verdict
from tasks.run_log import is_rehearsal


def announce(settings: Settings, event: events.Event) -> None:
    """Send an event to Prefect's server, without waiting for it."""
    if is_rehearsal():
        return
    try:
        emit_event(**event.document(settings))
    except Exception as error:  # noqa: BLE001 - who waits for it finds the same in the lake or the ledger
        get_run_logger().warning("The event %s is not sent: %s", event.name, str(error).partition("\n")[0])


def tell_ingested(settings: Settings, contract: Contract, batch: Ingested) -> None:
    """Records and outcomes that are in the lake now."""
    counts = {
        "batch": batch.batch,
        "files": batch.files,
        "received": batch.received,
        "accepted": batch.accepted,
        "quarantined": batch.quarantined,
        "repeated": batch.repeated,
        "records": batch.records,
        "outcomes": batch.outcomes,
    }
    for name, rows, what in ((events.RECORDS, batch.records, "records"), (events.OUTCOMES, batch.outcomes, "outcomes")):
        if rows:
            sentence = f"Batch {batch.batch} of {contract.name} brought {rows:,} {what}."
            announce(settings, events.Event(name, contract.name, sentence, counts))


def tell_refused(settings: Settings, contract: Contract, batch: int, error: BatchRefused) -> None:
    """A batch that was refused as a whole."""
    sentence = str(error)
    announce(settings, events.Event(events.REFUSED, contract.name, sentence, {"batch": batch}))
    delivery.notify(settings, "batch refused", contract.name, sentence)


def tell_scored(settings: Settings, contract: Contract, scored: Scored) -> None:
    """Predictions that are new; nothing where all was scored before."""
    if scored.predictions:
        version = scored.model.version
        sentence = f"{scored.predictions:,} records of {contract.name} are scored by version {version}."
        payload = {
            "predictions": scored.predictions,
            "alerts": scored.alerts,
            "bands": dict(scored.bands),
            "model_version": version,
            "run_id": scored.model.run_id,
            "table_version": scored.table.version if scored.table else None,
        }
        announce(settings, events.Event(events.PREDICTIONS, contract.name, sentence, payload))


def tell_crowned(settings: Settings, contract: Contract, entry: LedgerEntry, verdict: Verdict | None = None) -> None:
    """A new champion, with what it won by where a verdict gave it the title."""
    event = events.title_changed(
        events.PROMOTED,
        contract.name,
        version=entry.version,
        previous=entry.previous_version,
        action=entry.action,
        reason=entry.reason,
        by=entry.by,
        **(_won_by(verdict) if verdict else {}),
    )
    announce(settings, event)
    link = ui_links.of_version(settings, settings.name_of(contract.name), entry.version)
    delivery.notify(settings, "promoted", contract.name, event.sentence, link or "")


def tell_due(settings: Settings, contract: Contract, due: Due) -> None:
    """A retrain is due: an automation starts it, where one listens."""
    # The sentence becomes the reason of the run that an automation starts.
    announce(
        settings, events.Event(events.RETRAIN, contract.name, due.reason, {"reason": due.reason, "decayed": False})
    )


def tell_finding(
    settings: Settings, contract: Contract, found: Kept, check: DriftCheck, quality: Readings, *, notify: bool
) -> str:
    """What the monitor found: to people where they should know of it, and as an event where it calls for a retrain.

    Returns:
        The event's name; empty where none was sent.
    """
    diagnosis, name = found.diagnosis, contract.name
    kind = TOLD.get(diagnosis.name)
    sentence = f"{diagnosis.sentence} {found.why}" if diagnosis.hold_out else diagnosis.sentence
    if kind is not None and notify and not is_rehearsal():
        what = f"{kind} {settings.name_of(name)} v{found.model_version} {found.start} {found.end}"
        link = ui_links.of_version(settings, settings.name_of(name), found.model_version)
        delivery.notify(settings, kind, name, sentence, link or "", id=what)
    if found.action != "retrain":
        return ""
    event = events.DEGRADED if diagnosis.decayed else events.DRIFT
    payload = {
        "reason": sentence,
        "reasons": list(diagnosis.reasons),
        "diagnosis": diagnosis.name,
        "columns": list(found.columns),
        "scores": {str(one): one.score for one in check.drifted},
        "quality": _quality(quality),
        "window": [str(found.start), str(found.end)],
        "model_version": found.model_version,
        "decayed": diagnosis.decayed,
        "notified": True,
    }
    announce(settings, events.Event(event, name, sentence, payload))
    return event


def _quality(quality: Readings) -> dict[str, Any]:
    """The quality that is known, as JSON can hold it."""
    known = (("measured", quality.measured), ("estimated", quality.estimated))
    return {
        "metric": quality.metric,
        **{
            kind: {
                "value": one.value,
                "rows": one.rows,
                "past": one.past,
                "interval": [one.interval.low, one.interval.high] if one.interval else None,
            }
            for kind, one in known
            if one is not None
        },
    }


TOLD: dict[str, delivery.Kind] = {"broken feed": "broken feed", "shift": "drift", "decay": "decay"}


def _won_by(verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.decision.value,
        "metric": verdict.metric,
        "gain": verdict.gain,
        "interval": [verdict.interval.low, verdict.interval.high],
        "interval_level": verdict.interval.level,
        "rows": verdict.rows,
    }
