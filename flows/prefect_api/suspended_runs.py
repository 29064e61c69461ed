"""Prefect runs that wait for a person, told from the command line that it was decided, without loading Prefect."""

from contextlib import suppress
from typing import Any

from contender.errors import Unavailable
from contender.promotion.approval_request import Request, what_became_of
from contender.settings import Settings
from flows.prefect_api.client import Server
from flows.prefect_api.prefect_server import answers


def end(settings: Settings, use_case: str, request: Request | None) -> bool:
    """Complete the run that shows a request which was answered here; whether that was done.

    A run that goes on waiting does no harm: whatever is answered in it, it finds the request closed.
    """
    if request is None or request.flow_run is None:
        return False
    server = Server(settings)
    with suppress(Unavailable, ValueError, LookupError):
        if answers(server.address) and _is_paused(server.ask(f"/flow_runs/{request.flow_run}")):
            state = {"type": "COMPLETED", "name": request.state.title(), "message": what_became_of(use_case, request)}
            done = server.ask(f"/flow_runs/{request.flow_run}/set_state", {"state": state, "force": True})
            return bool(done["status"] == "ACCEPT")
    return False


def _is_paused(run: Any) -> bool:
    return bool(run["state"]["type"] == "PAUSED")
