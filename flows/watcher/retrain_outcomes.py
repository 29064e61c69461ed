"""What became of the events that called for a retrain: a run of it, or the reason why there is none."""

from datetime import datetime, timedelta

from contender.contracts.contract import Contract
from contender.retraining import triggers
from contender.retraining.policy import alarm_may_start
from contender.retraining.triggers import Trigger
from contender.settings import Settings
from flows.prefect_api.client import Document, Server
from flows.watcher.pace import USUAL, Pace

_ALIVE = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]


def settle_triggers(settings: Settings, contract: Contract, server: Server, now: datetime, pace: Pace = USUAL) -> bool:
    """Write down what became of the pending events of a use case; whether some are pending still."""
    waiting = triggers.pending(settings, contract.name)
    if not waiting:
        return False
    soon = now + timedelta(minutes=5)
    runs = _runs(settings, contract, server, {"after_": waiting[0].at - timedelta(minutes=5), "before_": soon})
    of_event = {run["parameters"].get("event_id"): run for run in reversed(runs)}
    in_flight: str | None = None
    if any(trigger.event_id not in of_event or _refused(of_event[trigger.event_id]) for trigger in waiting):
        alive = _runs(settings, contract, server, {"before_": soon}, state={"type": {"any_": _ALIVE}})
        in_flight = next((run["name"] for run in alive if _is_in_flight(run)), None)
    left = [
        one for one in waiting if not _settle(settings, contract, one, of_event.get(one.event_id), in_flight, now, pace)
    ]
    return bool(left)


def _settle(
    settings: Settings,
    contract: Contract,
    trigger: Trigger,
    run: Document | None,
    in_flight: str | None,
    now: datetime,
    pace: Pace,
) -> bool:
    """Write down what became of one event, where that is known."""
    if run is not None and _refused(run):
        why = f"another retrain was in flight{f' ({in_flight})' if in_flight else ''}"
        triggers.settle(settings, contract.name, trigger.event_id, "skipped", why=why, flow_run=run["id"])
        return True
    if run is not None:
        return _follow(settings, contract, trigger, run)
    age = now - trigger.at
    before = triggers.started_before(settings, contract.name, trigger)
    rule = alarm_may_start(contract.retraining, started=before, in_flight=in_flight, now=trigger.at)
    if rule.allowed and age > pace.unexplained:
        why = "no automation started a retrain, though the contract's limits allow one; 'contender up' installs it"
    elif not rule.allowed and age > pace.explained:
        why = rule.why
    else:
        return False
    triggers.settle(settings, contract.name, trigger.event_id, "skipped", why=why)
    return True


def _follow(settings: Settings, contract: Contract, trigger: Trigger, run: Document) -> bool:
    """Write down how far the run of an event has come; whether it has begun, or never will."""
    outcome: triggers.Outcome = "started"
    why = ""
    if run["state_type"] in ("SCHEDULED", "PENDING"):
        outcome, why = "pending", f"{run['name']} waits to begin"
    elif run["state_type"] in ("CANCELLED", "CRASHED") and run.get("start_time") is None:
        outcome, why = "skipped", f"{run['name']} was {run['state_name'].lower()} before it began"
    if (outcome, why) != (trigger.outcome, trigger.why):
        triggers.settle(settings, contract.name, trigger.event_id, outcome, why=why, flow_run=run["id"])
    return outcome != "pending"


def _runs(
    settings: Settings, contract: Contract, server: Server, expected: Document, **more: Document
) -> list[Document]:
    return server.flow_runs(
        flows={"name": {"any_": ["retrain"]}},
        deployments={"name": {"any_": [settings.name_of(contract.name)]}},
        flow_runs={"expected_start_time": expected, **more},
    )


def _refused(run: Document) -> bool:
    """Whether Prefect cancelled it at once, because of the deployment's limit."""
    message = str((run.get("state") or {}).get("message") or "").lower()
    return run["state_type"] == "CANCELLED" and "concurrency limit" in message


def _is_in_flight(run: Document) -> bool:
    # What a schedule created long before its time is not at work.
    return run["state_type"] != "SCHEDULED" or not run.get("auto_scheduled") or run.get("run_count", 0) > 0
