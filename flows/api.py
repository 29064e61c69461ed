"""The Prefect API that a command talks to: the server that runs, or one of its own for as long as it takes."""

import atexit
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path

from contender.errors import Unavailable
from contender.findings import without_login
from contender.settings import Settings

USUAL = "http://127.0.0.1:4200/api"
_READY_SECONDS = 120

ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # The default hashes every input of every task; ours name things that change under the same name.
    "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
    "PREFECT_LOGGING_SETTINGS_PATH": str(Path(__file__).with_name("logging.yml")),
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
}


def connect(settings: Settings) -> subprocess.Popen[bytes] | None:
    """Point Prefect at a server: `PREFECT_API_URL`, the one on the usual port, else a temporary one that is started.

    Must be called before Prefect is imported. Returns the process of a temporary server, which is not ready yet.

    Raises:
        Unavailable: `PREFECT_API_URL` is set and does not answer.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    given = os.environ.get("PREFECT_API_URL")
    if given:
        if not answers(given):
            raise Unavailable(
                f"No Prefect server answers at PREFECT_API_URL={without_login(given)}; start it with 'prefect server "
                "start', or unset the variable."
            )
        return None
    if answers(USUAL):
        os.environ["PREFECT_API_URL"] = USUAL
        return None
    return _start(settings)


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
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=2) as answer:
            return json.loads(answer.read()) is True
    except (OSError, ValueError, HTTPException):
        return False


def _start(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a server on a free port of this machine; its runs stay in the home, for the next server to show."""
    home = settings.home / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ["PREFECT_HOME"] = str(home)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-c", _SERVE, str(port)]
    with (home / "server.log").open("wb") as log:
        # Its own session: Ctrl-C is for the command, which then ends the server in good order.
        server = subprocess.Popen(
            command, env={**os.environ, **_TEMPORARY}, stdin=subprocess.PIPE, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    _started.append(server)
    atexit.register(stop, server)
    return server


_started: list[subprocess.Popen[bytes]] = []


def stop_all() -> None:
    """End what this process started."""
    for server in _started:
        stop(server)


_SERVE = """
import os, signal, sys, threading, uvicorn

def end_with_the_command():
    os.read(0, 1)  # returns when the command has ended, also when it was killed
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end_with_the_command, daemon=True).start()
create = "prefect.server.api.server:create_app"
uvicorn.run(create, factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
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
