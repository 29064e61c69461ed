"""What the loop would do now, gathered from the lake and the ledger without Spark."""

from dataclasses import replace
from datetime import datetime

from contender.contracts.contract import Contract
from contender.events import ALARMS
from contender.features import exclusions
from contender.lake import tables
from contender.promotion import ledger, model_inputs
from contender.promotion.locks import is_at_work
from contender.retraining import diagnoses, policy, triggers
from contender.retraining.policy import Due, NextAction
from contender.retraining.triage import Diagnosis
from contender.settings import Settings
from contender.values import Decision

_MOST_TRIGGERS, _MOST_DIAGNOSES = 500, 100


def next_action(
    settings: Settings, contract: Contract, now: datetime, diagnosis: Diagnosis | None = None
) -> NextAction:
    """What would happen now, and why; by the newest diagnosis of the champion where none is given.

    Mature outcomes are counted from the tables' logs alone, as all outcomes but for the rows of held-out batches: an
    outcome that came early counts although its day is not mature yet, so that a wait for the last few may be told late.
    """
    name = contract.name
    if diagnosis is None:
        diagnosis = last_diagnosis(settings, name)
    verdict = ledger.last_verdict(settings, name)
    seen = verdict.outcomes if verdict else None
    outcomes = tables.count(settings, name, "outcomes")
    held = exclusions.held_out(settings, name)
    return policy.next_action(
        contract.retraining,
        diagnosis=diagnosis,
        due=due_with_outcomes(settings, contract),
        new_outcomes=None if seen is None else outcomes - seen,
        mature=max(outcomes - _rows_of(settings, name, [one.batch for one in held]), 0),
        min_mature=contract.training.min_rows + contract.judging.fewest_rows,
        held_out=len(held),
        started=_started(settings, name),
        in_flight=in_flight(settings, name),
        now=now,
    )


def due(settings: Settings, contract: Contract) -> Due:
    """Whether enough outcomes are new since the last verdict, or the champion cannot be asked any more.

    Who was judged in the place of such a champion and did not take its title was one try: the next needs news.
    """
    last, head = ledger.last_verdict(settings, contract.name), ledger.head(settings, contract.name)
    tried = head is not None and last is not None and last.champion is None and last.at.isoformat() > head.at
    if head is not None and not tried and (why := model_inputs.why_unable(head, contract)):
        return Due(True, why, urgent=True)
    return policy.retraining_due(
        contract.retraining,
        outcomes=tables.count(settings, contract.name, "outcomes"),
        seen=last.outcomes if last else None,
        kept=last is not None and last.decision is Decision.KEEP,
    )


def due_with_outcomes(settings: Settings, contract: Contract) -> Due:
    """The same; without any outcome there is nothing to train on, and nobody is to be asked for it."""
    found = due(settings, contract)
    if tables.count(settings, contract.name, "outcomes"):
        return found
    return replace(found, now=False, urgent=False, reason="no outcomes are known yet")


def last_diagnosis(settings: Settings, use_case: str) -> Diagnosis | None:
    """Of the champion of now, that of the newest window of which anything could be told.

    What was held out since is done, and not to be done again.
    """
    head = ledger.head(settings, use_case)
    found = diagnoses.newest(settings, use_case, _MOST_DIAGNOSES, head.version) if head else []
    last = next((one for one in found if one.diagnosis.name != "not enough to tell"), None)
    if last is None:
        return None
    return replace(last.diagnosis, hold_out=False) if last.action == "hold out" else last.diagnosis


def in_flight(settings: Settings, use_case: str) -> str | None:
    """None when nobody trains now: of this home, or of all that share a ledger on PostgreSQL."""
    return "" if is_at_work(settings, use_case, "training") else None


def _started(settings: Settings, use_case: str) -> list[datetime]:
    found = triggers.newest(settings, use_case, _MOST_TRIGGERS)
    return [one.at for one in found if one.outcome == "started" and one.event in ALARMS]


def _rows_of(settings: Settings, use_case: str, batches: list[int | None]) -> int:
    """Rows of records that these batches brought."""
    numbers = [batch for batch in batches if batch is not None]
    where = [("_batch", "in", numbers), ("status", "==", "done"), ("source", "==", "records")]
    table = tables.read_small(settings, use_case, "files", ["rows"], where=where) if numbers else None
    return sum(row or 0 for row in table["rows"].to_pylist()) if table is not None else 0
