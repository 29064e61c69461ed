"""The steps that decide whether a new challenger is worth its training, and whether an alarm may have one."""

from datetime import UTC, datetime

from contender.contracts.contract import Contract
from contender.retraining import next_action, triggers
from contender.retraining.policy import Allowed, Due
from contender.settings import Settings
from tasks.announcements import tell_due
from tasks.retries import TRIES
from tasks.run_log import step_log
from tasks.steps import step


@step(**TRIES)
def decide_retraining(settings: Settings, contract: Contract) -> Due:
    """Whether enough outcomes are new since the last verdict."""
    with step_log() as tell:
        due = next_action.due(settings, contract)
        tell(f"a challenger is {'due' if due.now else 'not due'}: {due.reason}")
        return due


@step(**TRIES)
def ask_for_retraining(settings: Settings, contract: Contract) -> Due:
    """Whether a challenger is due; where it is, and there is something to train on, an event asks for it."""
    with step_log() as tell:
        due = next_action.due_with_outcomes(settings, contract)
        tell(f"a challenger is {'asked for' if due.now else 'not due'}: {due.reason}")
        if due.now:
            tell_due(settings, contract, due)
        return due


@step(**TRIES)
def admit(settings: Settings, contract: Contract, event_id: str, event: str, flow_run: str) -> Allowed:
    """Whether the retrain that an event called for may go on, by the contract's limits."""
    with step_log() as tell:
        allowed = triggers.may_start(
            settings,
            contract,
            event_id,
            datetime.now(UTC),
            event=event,
            flow_run=flow_run,
            in_flight=next_action.in_flight(settings, contract.name),
        )
        tell(f"the retrain {'goes on' if allowed.allowed else 'is skipped'}: {allowed.why}")
        return allowed
