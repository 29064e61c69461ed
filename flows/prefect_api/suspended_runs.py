"""Prefect runs that wait for a person, told from the command line that it was decided, without loading Prefect."""

from contextlib import suppress
from http.client import HTTPException
from typing import Any

from contender.errors import ContenderError
from contender.promotion.approval_request import Request, what_became_of
from contender.settings import Settings
from flows.prefect_api.client import BUSY, ask
from flows.prefect_api.prefect_server import find_server


def end(settings: Settings, use_case: str, request: Request | None) -> bool:
    """Complete the run that shows a request which was answered here; whether that was done.

    A run that goes on waiting does no harm: whatever is answered in it, it finds the request closed.
    """
    if request is None or request.flow_run is None:
        return False
    run = f"/flow_runs/{request.flow_run}"
    with suppress(ContenderError, OSError, HTTPException, ValueError, LookupError):
        server = find_server(settings)
        if server is not None and _is_paused(ask(server, run, pauses=BUSY)):
            state = {"type": "COMPLETED", "name": request.state.title(), "message": what_became_of(use_case, request)}
            done = ask(server, f"{run}/set_state", {"state": state, "force": True}, pauses=BUSY)
            return bool(done["status"] == "ACCEPT")
    return False


def _is_paused(run: Any) -> bool:
    return bool(run["state"]["type"] == "PAUSED")
