"""The Prefect API that a command talks to: the server that runs, or one of its own for as long as it takes."""

import atexit
import json
import os
import socket
import subprocess
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from contender.errors import Unavailable
from contender.redact import without_login
from contender.settings import Settings
from flows.prefect_api import database_template, discovery
from flows.prefect_api.client import BUSY, ask, fetch
from flows.prefect_api.logins import login_of

_READY_SECONDS = 120

RUN_ENVIRONMENT = {
    # The default hashes every input of every task; ours name things that change under the same name.
    "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
    # The least that Prefect allows; deployments/automations.yaml counts on it.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
"""What a run of ours needs, also on a worker that somebody else has started: the deployments carry it."""

ENVIRONMENT = {
    **RUN_ENVIRONMENT,
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Doubling from 2 s, these are two minutes: a server that is gone for one costs no run.
    "PREFECT_CLIENT_MAX_RETRIES": "6",
    "PREFECT_LOGGING_SETTINGS_PATH": str(Path(__file__).parents[1] / "runtime" / "logging.yml"),
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
}
"""Of every process of ours that talks to Prefect, or is it."""

SERVER_ENVIRONMENT = {
    # In memory, they would be gone with the server, and a run that goes on would be ended for want of its lease.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # How long a run waits before it asks again for its turn; 30 by default.
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
"""Of a server of ours that stays, besides ENVIRONMENT."""

WORKER_ENVIRONMENT = {
    # Seconds between two looks for work; 10 by default.
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}
"""Of a worker of ours, besides ENVIRONMENT."""


def connect(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Point Prefect at a server that runs, else at a temporary one that is started.

    Must be called before Prefect is imported. Returns the process of a temporary server, which is not ready yet.

    Raises:
        Unavailable: `PREFECT_API_URL` is set and does not answer.
        UsageError: the login for Prefect is not one.
    """
    address = find_server(settings)
    if address is None:
        return _start(settings)
    os.environ["PREFECT_API_URL"] = address
    return None


def find_server(settings: Settings) -> str | None:
    """Address of the API that answers: `PREFECT_API_URL`, else that of `contender up`, else the one on the usual port.

    Prepares this process's variables for Prefect on the way.

    Raises:
        Unavailable: `PREFECT_API_URL` is set and does not answer, or the server asks for a login that we don't have.
        UsageError: the login for Prefect is not one.
    """
    for name, value in (ENVIRONMENT | logins(settings)).items():
        os.environ.setdefault(name, value)
    given = os.environ.get("PREFECT_API_URL")
    if given:
        if not answers(given):
            raise Unavailable(
                f"No Prefect server answers at PREFECT_API_URL={without_login(given)}; start it with 'prefect server "
                "start', or unset the variable."
            )
        return _admitted(given)
    running = discovery.find_running(settings)
    usual = f"http://127.0.0.1:{settings.prefect_port}/api"
    found = next((one for one in (running.prefect_api if running else usual, usual) if answers(one)), None)
    return _admitted(found) if found else None


def _admitted(address: str) -> str:
    """The address, if its server lets us in: its health it tells to everybody."""
    try:
        ask(address, "/admin/version", pauses=BUSY)
    except HTTPError as error:
        error.close()
        if error.code in (401, 403):
            raise Unavailable(
                f"The Prefect server at {without_login(address)} asks for a login, and takes none that is set here; "
                "export CONTENDER_PREFECT_AUTH=NAME:PASSWORD as its owner set it."
            ) from None
    except (OSError, ValueError, HTTPException):
        # Healthy a moment ago; who needs more will say so.
        return address
    return address


def logins(settings: Settings) -> dict[str, str]:
    """The login for Prefect as its servers and its clients read it."""
    if login_of(settings.prefect_auth, "CONTENDER_PREFECT_AUTH") is None:
        return {}
    secret = settings.prefect_auth.get_secret_value()
    return {"PREFECT_API_AUTH_STRING": secret, "PREFECT_SERVER_API_AUTH_STRING": secret}


def wait_until_ready(server: subprocess.Popen[bytes] | None) -> None:
    """Return as soon as the temporary server answers.

    Raises:
        Unavailable: it ended, or does not answer within two minutes.
    """
    address = os.environ["PREFECT_API_URL"]
    until = time.monotonic() + _READY_SECONDS
    while server is not None and not answers(address):
        if server.poll() is not None or time.monotonic() > until:
            log = Path(os.environ["PREFECT_HOME"]) / "server.log"
            raise Unavailable(f"The temporary Prefect server did not start; its last words are in {log}.")
        time.sleep(0.1)


def answers(address: str) -> bool:
    """Whether a Prefect API is healthy at an address."""
    try:
        return json.loads(fetch(f"{address.rstrip('/')}/health", seconds=2)) is True
    except (OSError, ValueError, HTTPException):
        return False


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a server on a free port of this machine; its runs stay in the home, for the next server to show."""
    home = settings.home / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home)
    database_template.begin(home, os.environ)
    with socket.socket() as door, (home / "server.log").open("wb") as log:
        # Handed on while it is held: a port that was only looked up may be another's by the time the server is loaded.
        door.bind(("127.0.0.1", 0))
        os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{door.getsockname()[1]}/api"
        # Its own session: Ctrl-C is for the command, which then ends the server in good order.
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(door.fileno())],
            env={**os.environ, **_TEMPORARY},
            pass_fds=[door.fileno()],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _started.append(server)
    atexit.register(stop, server)
    return server


_started: list[subprocess.Popen[bytes]] = []


def stop_all() -> None:
    """End what this process started."""
    for server in _started:
        stop(server)


_SERVE = """
import os, signal, socket, sys, threading, uvicorn

def end_with_the_command():
    os.read(0, 1)  # returns when the command has ended, also when it was killed
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_the_command, daemon=True).start()
create = "prefect.server.api.server:create_app"
server = uvicorn.Server(uvicorn.Config(create, factory=True, log_level="error"))
server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""
"""A server that nobody stops any more would run, and hold its memory, for ever."""

_TEMPORARY = {"PREFECT_UI_ENABLED": "false", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}


def stop(server: subprocess.Popen[bytes] | None) -> None:
    """End a temporary server, once it has what this process still wants to tell it."""
    if server is not None and server.poll() is None:
        if "prefect.logging.handlers" in sys.modules:
            from prefect.events.worker import EventsWorker
            from prefect.logging.handlers import APILogWorker

            for worker in (APILogWorker, EventsWorker):
                worker.drain_all(timeout=5)
        server.terminate()
        try:
            server.wait(timeout=5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdin:
            server.stdin.close()
