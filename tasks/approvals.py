"""The steps around a person's approval: asked, shown, and carried out."""

import json
from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed

from contender import events
from contender.contracts.contract import Contract
from contender.operations import delivery
from contender.promotion import approval_decisions, approval_requests
from contender.promotion.approval_request import Request, what_became_of
from contender.promotion.ledger import LedgerEntry
from contender.promotion.verdict_document import verdict_in
from contender.registry import model_versions, ui_links
from contender.reports import publication
from contender.settings import Settings
from contender.values import ModelVersion, Rows, Verdict
from tasks.announcements import announce
from tasks.run_log import show, step_log, verdict_page
from tasks.steps import step


@step
def ask_approval(
    settings: Settings,
    contract: Contract,
    challenger: ModelVersion,
    after: LedgerEntry | None,
    verdict: Verdict,
    rows: Rows,
) -> Request:
    """Ask a person whether the challenger may take the title, and start the run that shows the verdict and waits."""
    from contender.promotion import comparison
    from tasks.training import git_revision

    with step_log() as tell:
        evidence = comparison.evidence_of(contract, verdict, rows, git_revision(contract.folder))
        evidence |= {"model_digest": challenger.digest, "run_id": challenger.run_id}
        request, replaced = approval_requests.ask(
            settings,
            contract.name,
            version=challenger.version,
            follows=after.seq if after else 0,
            evidence=json.dumps(evidence, sort_keys=True, default=str),
            expires_after=contract.approval.expires_after,
        )
        for older in replaced:
            _end_run(older, what_became_of(contract.name, older))
        sentence = what_became_of(contract.name, request)
        tell(sentence)
        payload = {"version": request.version, "expires_at": request.expires_at}
        announce(settings, events.Event(events.APPROVAL, contract.name, sentence, payload))
        link = ui_links.of_version(settings, challenger.name, request.version)
        delivery.notify(settings, "approval", contract.name, sentence, link or "")
        if not _start_run(settings, contract.name, request):
            tell("no deployment of the flow 'approve' shows it in the Prefect UI, so the command above decides")
        return request


@step
def show_request(settings: Settings, contract: Contract, request: Request, flow_run: str) -> Request:
    """The verdict and what is asked, as a page in the Prefect UI; and the run in which the answer is waited for."""
    with step_log() as tell:
        challenger = model_versions.find(settings, contract.name, request.version)
        page = request_page(settings, contract.name, request, challenger)
        show(contract.name, "approval", f"{contract.name}: may version {request.version} take the title?", page)
        tell(what_became_of(contract.name, request))
        return approval_requests.link(settings, request, flow_run)


@step
def finish_approval(settings: Settings, contract: Contract) -> None:
    """The title for whom a person has approved, where a command was cut off before it changed."""
    with step_log() as tell:
        entry = approval_decisions.finish(settings, contract.name)
        if entry:
            tell(f"{contract.name} version {entry.version} holds the title by {entry}")


@step
def give_title(settings: Settings, contract: Contract, version: int, reason: str, by: str) -> LedgerEntry:
    """The title for the challenger, as a person wants it."""
    with step_log() as tell:
        entry = approval_decisions.approve(settings, contract.name, version=version, reason=reason, by=by)
        tell(f"{contract.name} version {version} holds the title by {entry}")
        return entry


@step
def refuse_title(settings: Settings, contract: Contract, version: int, reason: str, by: str) -> Request:
    """The champion stays, as a person wants it."""
    with step_log() as tell:
        request = approval_decisions.reject(settings, contract.name, version=version, reason=reason, by=by)
        tell(what_became_of(contract.name, request))
        return request


@step
def expire_requests(settings: Settings, at: datetime | None = None) -> list[Request]:
    """Close what nobody has answered until `at` (else now), and the runs that wait for it."""
    with step_log() as tell:
        expired = approval_requests.expire(settings, at)
        for request in expired:
            sentence = what_became_of(request.use_case, request)
            _end_run(request, sentence)
            tell(sentence)
        return expired


def request_page(settings: Settings, use_case: str, request: Request, challenger: ModelVersion) -> list[str]:
    """The lines of the page on which a person decides."""
    until = f"{request.expires_at[:16].replace('T', ' ')} UTC"
    return [
        f"Version {request.version} won, and the contract wants a person to agree before it takes the title. Without "
        f"an answer until **{until}** the champion stays.",
        "",
        f"Answer with *Resume* on this run, or by `contender approve {use_case} --reason …` or `contender reject "
        f"{use_case} --reason …`.",
        "",
        *verdict_page(verdict_in(request.evidence)),
        "",
        ui_links.version_line(settings, challenger),
        "",
        f"Report: `{publication.path_of(settings, use_case)}`.",
    ]


def _start_run(settings: Settings, use_case: str, request: Request) -> bool:
    """Start the run that shows a request, once however often it is asked for; whether that could be done."""
    name = settings.name_of(use_case)
    try:
        run_deployment(
            f"approve/{name}",
            parameters={"use_case": use_case, "version": request.version},
            timeout=0,
            as_subflow=False,
            idempotency_key=f"approve {name} {request.version} {request.asked_at}",
        )
    except (ObjectNotFound, httpx.HTTPError):
        # Without the UI's form a person decides by the command.
        return False
    return True


def _end_run(request: Request, sentence: str) -> None:
    """Complete the run that waits for a request which nobody can answer any more."""
    if request.flow_run is None:
        return
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(request.flow_run))
            if run.state and run.state.is_paused():
                client.set_flow_run_state(run.id, Completed(name=request.state.title(), message=sentence), force=True)
        except (ObjectNotFound, httpx.HTTPError):
            # The run belongs to a server that is not this one, or is deleted.
            return
