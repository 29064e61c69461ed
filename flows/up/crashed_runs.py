"""Ends what a machine left behind when it stopped: runs that Prefect still counts, and the slots they hold.

Without it such a run stays Running for ever, and a limit of one would cancel or keep waiting every later run.
"""

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from uuid import UUID

from contender.contracts.contract import known_use_cases
from contender.errors import Busy
from contender.promotion.locks import at_work
from contender.settings import Environment, Settings
from flows.prefect_api.deployments import PLANS, TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter

_PAGE = 200
_MESSAGE = "The machine stopped while it ran. What it had finished stays, and the next run does the rest."


@dataclass(frozen=True)
class Reaped:
    """How many runs were ended, how many were left because somebody is at work on their use case, and freed slots."""

    crashed: int
    left: int
    slots: int


def reap(settings: Settings) -> Reaped:
    """Crash every run of ours that cannot be running: for a server that has just started, before its worker does.

    Runs that wait, for a person or for their turn, are left as they are. A run without a deployment belongs to a
    command in a terminal, or to another run; it is ended only when nobody is at work on its use case.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    with get_client(sync_client=True) as client:
        dead = _runs(client, ours)
        alone = [run for run in _runs(client, None) if run.deployment_id is None and _is_ours(client, run, settings)]
        ended = [run for run in alone if _nobody_is_at_work(settings, run)]
        for run in [*dead, *ended]:
            _crash(client, run)
        return Reaped(len(dead) + len(ended), len(alone) - len(ended), _free(client, ours))


def _runs(client: "SyncPrefectClient", deployments: "DeploymentFilter | None") -> list[Any]:
    """What Prefect counts as being at work."""
    found: list[Any] = []
    while page := client.read_flow_runs(
        flow_run_filter=_counted(), deployment_filter=deployments, limit=_PAGE, offset=len(found)
    ):
        found.extend(page)
    return found


def _counted() -> "FlowRunFilter":
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    at_work = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=at_work)))


def _is_ours(client: "SyncPrefectClient", run: Any, settings: Settings) -> bool:
    known = run.parameters.get("use_case") in known_use_cases(settings.use_cases)
    return known and client.read_flow(run.flow_id).name in PLANS


def _nobody_is_at_work(settings: Settings, run: Any) -> bool:
    # A release holds the lock of the environment it goes to.
    target = run.parameters.get("target")
    there = settings.model_copy(update={"environment": target}) if target in get_args(Environment) else settings
    use_case = run.parameters["use_case"]
    try:
        with ExitStack() as held:
            held.enter_context(at_work(there, use_case, "data"))
            held.enter_context(at_work(there, use_case, "training"))
            return True
    except Busy:
        return False


def _crash(client: "SyncPrefectClient", run: Any) -> None:
    from prefect.states import Crashed

    client.set_flow_run_state(run.id, Crashed(message=_MESSAGE), force=True)


def _free(client: "SyncPrefectClient", ours: "DeploymentFilter") -> int:
    """Give back slots that no run is known to hold any more: its lease, or its end, got lost with the machine."""
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
    from prefect.exceptions import ObjectNotFound

    for lease in _leases():
        with suppress(ObjectNotFound):
            client.release_concurrency_slots_with_lease(lease)
    freed = 0
    for one in client.read_deployments(deployment_filter=ours, limit=_PAGE):
        limit = one.global_concurrency_limit
        if limit is not None and limit.active_slots:
            freed += limit.active_slots
            client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=0))
    return freed


def _leases() -> list[UUID]:
    """Leases in the folder of the server's home, where that is on this machine."""
    home = os.environ.get("PREFECT_HOME")
    found: list[UUID] = []
    for file in (Path(home) / "concurrency_leases").glob("*.json") if home else ():
        with suppress(ValueError):
            found.append(UUID(file.stem))
    return found
