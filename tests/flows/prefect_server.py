"""A Prefect server of its own on a free port, as `contender up` runs it, and what a test asks of it over HTTP."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from flows.prefect_api import database_template, prefect_server
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
HASTE = {
    # Seconds between two writes of events, and between two looks for what did not happen; both are 5 by default.
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.5",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
}
"""What makes a server wait less for nothing."""

UNHURRIED = dict(zip(HASTE, ("5", "PT5S"), strict=True))

Found = TypeVar("Found")


def eventually(found: Callable[[], Found], what: str, seconds: float = 60) -> Found:
    """What `found` returns as soon as it is true."""
    until = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return answer


class Prefect:
    """One server, its home, and the environment in which commands find it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CONTENDER_", "PREFECT_"))}
        self.port, self.folder, self._variables = free_port(), folder, variables
        self.environment = (
            clean
            | prefect_server.ENVIRONMENT
            | {
                "PREFECT_HOME": str(folder / "prefect"),
                "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
                "PREFECT_UI_ENABLED": "false",
                "CONTENDER_HOME": str(folder / "home"),
                "CONTENDER_USE_CASES": str(ROOT / "data"),
            }
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        self.folder.mkdir(parents=True, exist_ok=True)
        database_template.begin(self.folder / "prefect", self.environment)
        with (self.folder / "server.log").open("ab") as log:
            environment = self.environment | prefect_server.SERVER_ENVIRONMENT | self._variables
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        eventually(self._answers, "the server answers", 120)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        return prefect_server.answers(self.environment["PREFECT_API_URL"])

    def stop(self, *, at_once: bool = False) -> None:
        if self.process is not None:
            self.process.kill() if at_once else self.process.terminate()
            self.process.wait(30)
            self.process = None

    def run(self, *arguments: str, folder: Path = ROOT, **environment: str) -> str:
        """What `python ARGUMENTS` prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str, document: Any = None, method: str | None = None) -> Any:
        """The answer to a request: a POST where there is a document, else a GET."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(
            f"{self.environment['PREFECT_API_URL']}{path}", body, {"Content-Type": "application/json"}, method=method
        )
        for attempt in range(5):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    content = answer.read()
                return json.loads(content) if content else None
            except urllib.error.HTTPError as error:
                # A busy SQLite file; Prefect's own clients ask again as well.
                if error.code != 503 or attempt == 4:
                    raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None
            except TimeoutError:
                # Of what was to be changed nobody knows whether it was; what is only read can be asked for again.
                if attempt == 4 or not (body is None or path.endswith("/filter")):
                    raise
            time.sleep(1)
        return None

    def emit(self, name: str, resource: str, payload: Any = None, related: tuple[str, ...] = ()) -> str:
        """Send one event, and return its id."""
        id_ = str(uuid4())
        tags = [{"prefect.resource.id": one, "prefect.resource.role": "tag"} for one in related]
        event = {"id": id_, "event": name, "occurred": datetime.now(UTC).isoformat(), "payload": payload or {}}
        self.ask("/events", [event | {"resource": {"prefect.resource.id": resource}, "related": tags}])
        return id_

    def deployment(self, name: str) -> Any:
        return self.ask(f"/deployments/name/{name}")

    def automations(self) -> list[Any]:
        found: list[Any] = self.ask("/automations/filter", {})
        return sorted(found, key=lambda one: one["name"])

    def runs_of(self, name: str) -> list[Any]:
        """Runs of a deployment that something other than its schedule started, oldest first."""
        wanted = {"deployments": {"id": {"any_": [self.deployment(name)["id"]]}}, "sort": "START_TIME_ASC"}
        found = self.ask("/flow_runs/filter", wanted)
        return [one for one in found if not one["auto_scheduled"]]

    def new_run(self, name: str, **parameters: Any) -> str:
        found = self.ask(f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": parameters})
        return str(found["id"])

    def move(self, run: str, *states: str) -> str:
        """Propose states one after the other, as a worker does, and return the name of the last one."""
        for state in states:
            kind, _, name = state.partition(":")
            proposed = {"type": kind} | ({"name": name} if name else {})
            self.ask(f"/flow_runs/{run}/set_state", {"state": proposed})
        return self.state(run)

    def state(self, run: str) -> str:
        return str(self.ask(f"/flow_runs/{run}")["state"]["name"])


@contextlib.contextmanager
def served(folder: Path, **variables: str) -> Iterator[Prefect]:
    """A server for as long as the block runs, with these variables besides those that make it hurry."""
    server = Prefect(folder, **(HASTE | variables))
    try:
        server.start()
        yield server
    finally:
        server.stop()
