"""`contender up`: everything at once, until it is ended."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import click

from contender.contracts.contract import Contract
from contender.errors import Unavailable
from contender.redact import without_login
from contender.settings import Settings
from flows.prefect_api import database_template, discovery, prefect_server
from flows.prefect_api.discovery import Running
from flows.prefect_api.logins import MLFLOW_SHORTEST, login_of
from flows.runtime.output import print_json
from flows.up import display, preflight, processes, services
from flows.up.services import Child
from flows.up.supervisor import LOST, Supervisor, start_supervisor

_READY_SECONDS, _BLINK_SECONDS = 600, 0.2
_WORKERS_AND_SERVERS_SECONDS, _REST_SECONDS = 6.5, 2.5
"""Together the time in which all of it ends."""


def bring_up(names: Sequence[str], json_: bool, detach: bool) -> None:
    """`contender up`: returns when it was ended; with `detach`, when it is ready."""
    settings = Settings()
    contracts = preflight.read_contracts(settings, names)
    login_of(settings.mlflow_auth, "CONTENDER_MLFLOW_AUTH", MLFLOW_SHORTEST)
    login_of(settings.prefect_auth, "CONTENDER_PREFECT_AUTH")
    if detach:
        _bring_up_apart(settings, names, json_)
        return
    _end_by_signals()
    with discovery.alone(settings):
        try:
            _run(settings, contracts, display.Teller(json_))
        finally:
            _hear_no_more()
            processes.end_all(settings, within_seconds=_REST_SECONDS)
            discovery.forget(settings)


def _run(settings: Settings, contracts: Sequence[Contract], teller: display.Teller) -> None:
    """Start all, tell where it is, follow it until a signal or a failure ends it."""
    began = time.monotonic()
    names = tuple(contract.name for contract in contracts)
    id_ = f"{processes.key_of(settings)}.{secrets.token_hex(4)}"
    running = _describe(settings, contracts, id_, os.environ.get("PREFECT_API_URL"))
    _announce(settings, running)
    if left := processes.end_all(settings):
        teller.note(f"Ended {left} processes that an earlier 'contender up' left behind.")
        _announce(settings, running)
    preflight.examine(settings, names, teller)
    server = prefect_server.find_server(settings)
    running = replace(running, prefect_api=server or running.prefect_api)
    discovery.record(settings, running)
    family = services.children(settings, names, id_.partition(".")[2], server)
    environment = services.environment(settings, id_, server)
    if server is None:
        database_template.begin(Path(environment["PREFECT_HOME"]), environment)
    supervisor = start_supervisor(settings, family, environment)
    try:
        _start(settings, supervisor, family, teller)
        running = replace(running, ready=True)
        discovery.record(settings, running)
        teller.tell_ready(running, supervisor.states(), time.monotonic() - began)
        # From here on a signal is how it is meant to end.
        with suppress(KeyboardInterrupt):
            teller.follow(running, supervisor)
    finally:
        _hear_no_more()
        teller.close()
        teller.note("Ending all of it.")
        with suppress(*LOST):
            supervisor.stop_workers()
        processes.end_flow_runs(settings)
        supervisor.stop(_WORKERS_AND_SERVERS_SECONDS)


def _start(settings: Settings, supervisor: Supervisor, family: Sequence[Child], teller: display.Teller) -> None:
    """Start each child as soon as those are ready that it needs.

    Raises:
        Unavailable: one of them does not become ready.
    """
    until = time.monotonic() + _READY_SECONDS
    while not supervisor.answers():
        if not supervisor.lives or time.monotonic() > until:
            raise Unavailable(
                f"The supervisor did not start; its last words are in {settings.logs / 'supervisor.out'}."
            )
        time.sleep(0.05)
    waiting, started, ready = list(family), dict[str, Child](), set[str]()
    while len(ready) < len(family):
        for child in [one for one in waiting if ready.issuperset(one.after)]:
            supervisor.launch(child.name)
            started[child.name] = child
            waiting.remove(child)
        states = supervisor.states()
        for name in started.keys() - ready:
            child, state = started[name], states[name]
            ended_well = child.once and state.word == "EXITED" and state.exit_code == 0
            if ended_well if child.once else state.word in ("STARTING", "RUNNING") and child.ready():
                ready.add(name)
                teller.tell_child(name, "is ready")
            elif state.word == "FATAL" or (child.once and state.word == "EXITED") or time.monotonic() > until:
                log = settings.logs / f"{name}.log"
                raise Unavailable(f"'{name}' does not become ready ({state.said}); its last words are in {log}.")
        teller.tell_progress(started.keys() - ready)
        teller.notice(states)
        time.sleep(_BLINK_SECONDS)


def _announce(settings: Settings, running: Running) -> None:
    discovery.forget(settings)
    discovery.record(settings, running)


def _describe(settings: Settings, contracts: Sequence[Contract], id_: str, server: str | None) -> Running:
    import psutil

    address = server or services.prefect_api(settings)
    return Running(
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        id=id_,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        use_cases=tuple(contract.name for contract in contracts),
        prefect_api=address,
        prefect_ui=without_login(os.environ.get("PREFECT_UI_URL", address.removesuffix("/api"))),
        mlflow=without_login(services.mlflow_address(settings)),
        dashboard=f"http://{services.LOOPBACK}:{settings.dashboard_port}",
        logs=str(settings.logs),
        landing={one.name: str(Path(one.records.landing).expanduser().absolute()) for one in contracts},
    )


def _end_by_signals() -> None:
    """SIGTERM, and the end of the terminal, are as Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Whoever starts this by nohup wants it to outlive the terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _hear_no_more() -> None:
    """Nothing interrupts the end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _bring_up_apart(settings: Settings, names: Sequence[str], json_: bool) -> None:
    """Start an `up` that outlives this command, and return when it is ready."""
    if discovery.find_running(settings):
        raise discovery.already(settings)
    settings.logs.mkdir(parents=True, exist_ok=True)
    log = settings.logs / "up.log"
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli.main", "up", *names],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        while not ((running := discovery.find_running(settings)) and running.ready):
            if process.poll() is not None:
                *before, reason = log.read_text(encoding="utf-8").splitlines() or [f"It ended; see {log}."]
                click.echo("".join(f"{line}\n" for line in before), err=True, nl=False)
                raise Unavailable(reason.removeprefix("contender: "))
            time.sleep(_BLINK_SECONDS)
    except KeyboardInterrupt:
        process.terminate()
        raise
    if json_:
        print_json({**asdict(running), "seconds": round(time.monotonic() - began, 1)})
    else:
        click.echo(f"Prefect at {running.prefect_ui}, MLflow at {running.mlflow}; 'contender down' ends it.")
