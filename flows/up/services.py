"""What `contender up` runs: one entry per child. To add one, add it here."""

import os
import sys
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Literal

from contender.errors import Unavailable
from contender.operations.server_checks import basic
from contender.registry.first_database import make_database
from contender.registry.moved_home import follow_home
from contender.settings import Settings
from flows.prefect_api import prefect_server
from flows.prefect_api.client import BUSY, ask, fetch
from flows.prefect_api.deployments import POOL
from flows.prefect_api.logins import MLFLOW_SHORTEST, login_of
from flows.up import processes

LOOPBACK = "127.0.0.1"
_AUTH_DATABASE = "mlflow-auth.db"


@dataclass(frozen=True)
class Child:
    """A program that `up` keeps running.

    `after` names the children that must be ready before; one that runs `once` is ready when it has ended well. Workers
    are ended before servers.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    role: Literal["servers", "workers"] = "workers"
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    once: bool = False


def children(settings: Settings, use_cases: tuple[str, ...], id_: str, server: str | None) -> tuple[Child, ...]:
    """All that is to be started, in the order in which it is shown.

    Args:
        id_: of this `up`; its worker bears it.
        server: address of a Prefect API that answers already; None lets one be started.
    """
    address = server or prefect_api(settings)
    found = [] if server else [_prefect(settings)]
    if not settings.tracking:
        found.append(_mlflow(settings))
    worker = f"{POOL}-{id_}"
    # On a server of others, runs that look dead may be at work on another machine.
    reaping, after = ((), ()) if server else (("--reap",), ("prefect",))
    found += [
        Child(
            "installing",
            (sys.executable, "-m", "flows.up.installation", *reaping, *use_cases),
            bool,
            once=True,
            after=after,
        ),
        Child(
            "worker",
            (
                sys.executable,
                "-m",
                "prefect",
                "worker",
                "start",
                "--pool",
                POOL,
                "--type",
                "process",
                "--limit",
                "2",
                "--name",
                worker,
                "--install-policy",
                "never",
            ),
            partial(_polls, address, worker),
            environment=prefect_server.WORKER_ENVIRONMENT,
            after=("installing",),
        ),
        _telling("watching", settings, "flows.watcher.watcher", *use_cases, after=("installing",)),
        _telling("spark", settings, "contender.lake.spark_keeper"),
        _telling("dashboard", settings, "flows.up.dashboard_server"),
    ]
    return tuple(found)


def prefect_api(settings: Settings) -> str:
    """Where a Prefect server of ours answers."""
    return f"http://{LOOPBACK}:{settings.prefect_port}/api"


def mlflow_address(settings: Settings) -> str:
    """Where MLflow answers: the given address, else that of a server of ours."""
    return settings.tracking or f"http://{LOOPBACK}:{settings.mlflow_port}"


def environment(settings: Settings, id_: str, server: str | None) -> dict[str, str]:
    """What all children inherit. Secrets travel only so: never by a command line, or a file of the supervisor's."""
    here = f"CONTENDER_{settings.environment.upper()}"
    found = os.environ | prefect_server.ENVIRONMENT | prefect_server.logins(settings)
    found |= {
        processes.MARK: id_,
        "PREFECT_API_URL": server or prefect_api(settings),
        # Whatever folder a child works in, they agree; the names of one environment count before others.
        "CONTENDER_ENVIRONMENT": settings.environment,
        f"{here}_HOME": str(settings.home),
        f"{here}_USE_CASES": str(settings.use_cases),
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        # A proxy knows nothing of this machine.
        **{name: ",".join(filter(None, (os.environ.get(name), LOOPBACK))) for name in ("NO_PROXY", "no_proxy")},
    }
    if server is None:
        found["PREFECT_HOME"] = str(settings.home / "prefect")
    login = login_of(settings.mlflow_auth, "CONTENDER_MLFLOW_AUTH", MLFLOW_SHORTEST)
    if login and settings.tracking:
        found["MLFLOW_TRACKING_USERNAME"], found["MLFLOW_TRACKING_PASSWORD"] = login
    elif login:
        # Read by its server only; they count before what the file says.
        found["MLFLOW_AUTH_ADMIN_USERNAME"], found["MLFLOW_AUTH_ADMIN_PASSWORD"] = login
        found["MLFLOW_FLASK_SERVER_SECRET_KEY"] = os.urandom(32).hex()
    return found


def _prefect(settings: Settings) -> Child:
    port = str(settings.prefect_port)
    command = (sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", port)
    address = prefect_api(settings)
    return Child(
        "prefect", command, partial(prefect_server.answers, address), "servers", prefect_server.SERVER_ENVIRONMENT
    )


def _mlflow(settings: Settings) -> Child:
    """MLflow's own application, without the second process of as many MB that `mlflow server` keeps beside it.

    Its variables are those that this command of the pinned release sets.
    """
    if (file := settings.state / "mlflow.db").exists():
        make_database(file)
        follow_home(file)
    database = f"sqlite:///{file}"
    variables = {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        # Not through the server: then flows, which use the database itself, could not open them.
        "_MLFLOW_SERVER_ARTIFACT_ROOT": (settings.state / "artifacts").as_uri(),
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONWARNINGS": "ignore",
    }
    application = ["mlflow.server.fastapi_app:app"]
    if settings.mlflow_auth.get_secret_value():
        variables["MLFLOW_AUTH_CONFIG_PATH"] = str(_write_auth(settings))
        application = ["--factory", "mlflow.server.auth:create_app"]
    command = (
        sys.executable,
        "-m",
        "uvicorn",
        "--host",
        LOOPBACK,
        "--port",
        str(settings.mlflow_port),
        "--no-access-log",
        "--timeout-graceful-shutdown",
        "1",
        *application,
    )
    return Child("mlflow", command, partial(_mlflow_answers, settings), "servers", variables)


def _write_auth(settings: Settings) -> Path:
    """MLflow's file on who may enter. Name and password are not in it."""
    path = settings.running / "mlflow-auth.ini"
    database = str(settings.state / _AUTH_DATABASE).replace("%", "%%")
    path.write_text(f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{database}\n", encoding="utf-8")
    return path


def _mlflow_answers(settings: Settings) -> bool:
    """Whether the server answers from its store, which it makes or migrates when first asked."""
    login = login_of(settings.mlflow_auth, "CONTENDER_MLFLOW_AUTH", MLFLOW_SHORTEST)
    authorization = basic(":".join(login)) if login else ""
    address = f"{mlflow_address(settings)}/api/2.0/mlflow/experiments/search"
    try:
        return bool(fetch(address, b'{"max_results": 1}', authorization, seconds=30))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 401:
            raise Unavailable(
                f"MLflow keeps the users it has in {settings.state / _AUTH_DATABASE}, and the password in "
                "CONTENDER_MLFLOW_AUTH is not theirs; set the one it was made with, or remove that file."
            ) from None
        return False
    except (OSError, HTTPException):
        return False


def _polls(address: str, worker: str) -> bool:
    try:
        found = ask(address, f"/work_pools/{POOL}/workers/filter", {}, pauses=BUSY)
    except (OSError, ValueError, HTTPException):
        return False
    return any(one["name"] == worker and one["status"] == "ONLINE" for one in found)


def _telling(name: str, settings: Settings, module: str, *arguments: str, after: tuple[str, ...] = ()) -> Child:
    """A child that writes a file when it is ready; what an earlier one wrote was removed."""
    told = settings.running / f"{name}.json"
    return Child(name, (sys.executable, "-m", module, *arguments), told.is_file, after=after)
