"""The flow in which a challenger is trained and faces the champion."""

from datetime import UTC, datetime
from typing import Annotated, cast

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from contender.contracts.contract import Contract
from contender.events import DRIFT
from contender.promotion.locks import at_work
from contender.settings import Settings
from contender.values import Verdict
from flows.runtime.flow_runs import UseCase, in_one_sentence, name_of_run, patience_seconds
from flows.runtime.warm_up import begin_on_worker
from tasks.announcements import tell_crowned
from tasks.approvals import ask_approval
from tasks.promotion import (
    compare,
    crown,
    evaluate,
    find_rival,
    follow_verdict,
    hold_out,
    publish_report,
    repair_aliases,
)
from tasks.retraining import admit, decide_retraining
from tasks.training import split_rows, train_challenger


@in_one_sentence
@flow(flow_run_name=name_of_run)
def retrain(
    use_case: UseCase,
    reason: Annotated[str, Field(min_length=1)] = "by hand",
    as_of: datetime | None = None,
    decayed: bool = False,
    if_due: bool = False,
    event_id: str | None = None,
    event: str = DRIFT,
) -> Verdict | None:
    """Train on all that was known by `as_of`, and let the challenger face the champion.

    The challenger takes the title when it wins beyond luck on rows that neither has seen. When an event called for it,
    the contract's cool-down and budget count: a retrain that they do not allow ends as "Skipped" and says why.

    Args:
        use_case: name of the folder that holds the contract.
        reason: why now; people read it in the list of runs.
        as_of: moment (UTC) whose knowledge counts; without it, now.
        decayed: the champion is known to decay; then a challenger that is not worse takes the title.
        if_due: end as "Skipped" unless enough outcomes are new, as schedules ask; a person need not.
        event_id: the event that called for it, filled in by automations; empty when a person did.
        event: its name; an alarm is held to the contract's limits, a request is not.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    if event_id:
        allowed = admit(settings, contract, event_id, event, str(flow_run.id))
        if not allowed.allowed:
            # Prefect takes a state that a flow returns as the run's own; whoever called the flow gets None.
            return cast(None, Completed(name="Skipped", message=allowed.why))
    if if_due and not (due := decide_retraining(settings, contract)).now:
        return cast(None, Completed(name="Skipped", message=due.reason))
    with at_work(settings, use_case, "training", wait_seconds=patience_seconds()):
        begin_on_worker(settings, contract)
        repair_aliases(settings, contract)
        rival = find_rival(settings, contract)
        rows = split_rows(settings, contract, as_of or datetime.now(UTC))
        judging = hold_out(settings, contract, rows.judging, rival.version)

        challenger = train_challenger(settings, contract, rows)
        scorecard, failures = evaluate(settings, contract, challenger, judging)
        verdict = compare(settings, contract, scorecard, rival, judging, failures, decayed)
        crowned = None
        if verdict.promotes and contract.approval.required:
            ask_approval(settings, contract, challenger, rival.entry, verdict, judging)
        elif verdict.promotes:
            crowned = crown(settings, contract, challenger, rival.entry, verdict, judging)
        follow_verdict(settings, contract, challenger, verdict)
        if crowned:
            tell_crowned(settings, contract, crowned, verdict)
        publish_report(settings, contract, challenger)
    return verdict
