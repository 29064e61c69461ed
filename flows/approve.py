"""The flow in which a person decides whether a challenger that won takes the title."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from prefect import State, flow
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from contender.contracts.contract import Contract
from contender.errors import TitleError
from contender.promotion import approval_requests
from contender.promotion.approval_request import WAITING, Request, refusal, what_became_of
from contender.promotion.verdict_document import verdict_in
from contender.settings import Settings
from flows.runtime.flow_runs import UseCase, in_one_sentence
from tasks.announcements import tell_crowned
from tasks.approvals import finish_approval, give_title, refuse_title, show_request

GRACE = timedelta(days=1)
"""How long after a request's end Prefect keeps its run, which then fails if nobody has ended it in good order."""


class Answer(RunInput):
    """The form in the Prefect UI."""

    decision: Literal["approve", "reject"] = Field(description="Approve: the challenger takes the title, at once.")
    reason: str = Field(pattern=r"\S", description="Why; the ledger keeps it.")
    by: str = Field(pattern=r"\S", description="Your name; the ledger keeps it.")


@in_one_sentence
@flow(flow_run_name="approve {use_case} version {version}")
def approve(use_case: UseCase, version: Annotated[int, Field(ge=1)]) -> State[Any]:
    """Show the verdict on a challenger that won, wait for a person's answer, and carry it out.

    While it waits, the run is suspended and no process stays: after the answer it begins anew, with the answer at hand.

    Args:
        use_case: name of the folder that holds the contract.
        version: the challenger's version in the registry.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    request = approval_requests.find(settings, use_case, version)
    if request is None:
        raise refusal(use_case, None, version)
    if request.state != WAITING:
        # An answer may have been cut off before the title changed.
        finish_approval(settings, contract)
        return _ended(use_case, approval_requests.find(settings, use_case, version) or request)
    if request.flow_run != flow_run.id:
        request = show_request(settings, contract, request, flow_run.id)
    answer = _wait_for_answer(use_case, request)
    try:
        person = f"person: {answer.by.strip()}"
        if answer.decision == "approve":
            tell_crowned(settings, contract, give_title(settings, contract, version, answer.reason, person))
        else:
            refuse_title(settings, contract, version, answer.reason, person)
    except TitleError as error:
        # Somebody else was faster, or it was too late; what stands in the ledger counts.
        return Completed(name="Void", message=str(error))
    return _ended(use_case, approval_requests.find(settings, use_case, version) or request)


def _wait_for_answer(use_case: str, request: Request) -> Answer:
    """Leave, until a person has filled the form; in the run that begins anew, what was filled in."""
    left = datetime.fromisoformat(request.expires_at) + GRACE - datetime.now(UTC)
    verdict = [f"- {reason}" for reason in verdict_in(request.evidence).reasons]
    asked = (
        f"{what_became_of(use_case, request)}\n\n" + "\n".join(verdict) + "\n\nAll numbers are in this run's artifact."
    )
    form = Answer.with_initial_data(description=asked)
    return suspend_flow_run(wait_for_input=form, timeout=int(left.total_seconds()), key="answer")


def _ended(use_case: str, request: Request) -> State[Any]:
    return Completed(name=request.state.title(), message=what_became_of(use_case, request))
