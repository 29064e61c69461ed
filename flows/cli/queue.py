"""`--queue`: a run of a deployment on the server that answers, instead of one in this terminal."""

import json
import urllib.error
from http.client import HTTPException
from typing import Any
from uuid import uuid4

import click

from contender.contracts.contract import Contract
from contender.errors import Unavailable, UsageError
from contender.redact import without_login
from contender.settings import Settings
from flows.prefect_api import prefect_server
from flows.prefect_api.client import BUSY, ask
from flows.runtime.output import print_json


def enqueue(flow: str, use_case: str, parameters: dict[str, Any], json_: bool) -> None:
    """Have a worker run a flow, and tell where it can be watched.

    Raises:
        UsageError: there is no such use case, or no such deployment, or Prefect refuses the parameters.
        Unavailable: no server answers.
    """
    settings = Settings()
    Contract.of(use_case, settings.use_cases)
    server = prefect_server.find_server(settings)
    if server is None:
        raise Unavailable("No Prefect server answers that could queue it; start one with 'contender up'.")
    run = _create(server, f"{flow}/{settings.name_of(use_case)}", {"use_case": use_case, **parameters})
    url = f"{without_login(server).rstrip('/').removesuffix('/api')}/runs/flow-run/{run['id']}"
    if json_:
        print_json({"flow_run": run["id"], "name": run["name"], "url": url})
        return
    click.echo(f"Queued {flow} of {use_case} as '{run['name']}'; a worker takes it up.")
    click.echo(f"Watch it: {url}")


def _create(server: str, deployment: str, parameters: dict[str, Any]) -> Any:
    # With a key, an answer that got lost makes no second run.
    question = {"parameters": parameters, "idempotency_key": str(uuid4())}
    try:
        found = ask(server, f"/deployments/name/{deployment}", pauses=BUSY)
        return ask(server, f"/deployments/{found['id']}/create_flow_run", question, pauses=BUSY)
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(server, deployment, error.code, error.read()) from error
    except (OSError, ValueError, LookupError, TypeError, HTTPException) as error:
        raise Unavailable(
            f"The Prefect server at {without_login(server)} stopped answering; look into it, then run this again."
        ) from error


def _refusal(server: str, deployment: str, code: int, answer: bytes) -> Exception:
    shown = without_login(server)
    if code == 404:
        return UsageError(f"The Prefect server at {shown} has no deployment {deployment}; 'contender up' installs it.")
    if code in (401, 403):
        return Unavailable(f"The Prefect server at {shown} asks for a login; set CONTENDER_PREFECT_AUTH=NAME:PASSWORD.")
    try:
        detail = json.loads(answer)["detail"]
    except (ValueError, LookupError, TypeError):
        detail = f"status {code}"
    return UsageError(f"Prefect refuses to run {deployment}: {detail}.")
