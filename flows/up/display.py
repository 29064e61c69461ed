"""What `contender up` shows: a table of addresses, then a line that lives; on a pipe, lines when something changes."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from flows.prefect_api.client import BUSY, ask
from flows.prefect_api.deployments import POOL
from flows.prefect_api.discovery import Running
from flows.runtime.output import print_json
from flows.up.supervisor import LOST, State, Supervisor

_LOOK_SECONDS, _RUNS_SECONDS = 1, 3
_WELL = ("RUNNING", "EXITED")
_STARTED = ["RUNNING", "COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


class Teller:
    """Says what happens: to a person at a terminal, to a pipe, or to a program that wants one JSON document."""

    def __init__(self, json_: bool) -> None:
        from rich.console import Console

        self._json = json_
        self._console = Console(highlight=False, stderr=json_)
        self._status = self._console.status("starting")
        self._lives = self._console.is_terminal and not json_
        if self._lives:
            self._status.start()
        self._began = time.monotonic()
        self._states: dict[str, State] = {}
        self._pids: dict[str, int] = {}
        self._restarts: Counter[str] = Counter()
        self._last_run = ""

    def note(self, text: str, *, loud: bool = False) -> None:
        """A line that stays; to a program only what is loud, on its standard error."""
        from rich.text import Text

        if loud or not self._json:
            self._console.print(Text(text, style="bold red" if loud else ""), soft_wrap=not self._console.is_terminal)

    def tell_child(self, name: str, what: str) -> None:
        """Something about one child, with the seconds since the start."""
        self.note(f"{time.monotonic() - self._began:6.1f} s  {name} {what}")

    def tell_progress(self, names: Iterable[str]) -> None:
        """Who is waited for."""
        self._live(f"{time.monotonic() - self._began:.0f} s, waiting for {', '.join(sorted(names))}")

    def tell_ready(self, running: Running, states: Mapping[str, State], seconds: float) -> None:
        """Where everything is."""
        if self._json:
            pids = {name: state.pid for name, state in states.items() if state.pid}
            print_json({**asdict(running), "children": pids, "seconds": round(seconds, 1)})
            return
        from rich.table import Table
        from rich.text import Text

        table = Table("what", "where", box=None, header_style="bold")
        table.columns[1].overflow = "fold"
        for what, where in addresses_of(running).items():
            table.add_row(what, Text(where))
        self._console.print()
        self._console.print(table)
        self._console.print(f"\nReady after {seconds:.1f} s. Ctrl-C ends all of it; so does 'contender down'.\n")

    def follow(self, running: Running, supervisor: Supervisor) -> None:
        """Show what becomes of it, until interrupted.

        Raises:
            Unavailable: the supervisor ended.
        """
        looked = 0.0
        while True:
            states = supervisor.states()
            self.notice(states)
            if time.monotonic() - looked > _RUNS_SECONDS:
                self._show_run(_last_run(running.prefect_api))
                looked = time.monotonic()
            self._live(self._summary(states))
            time.sleep(_LOOK_SECONDS)

    def notice(self, states: Mapping[str, State]) -> None:
        """Tell of every child that died, came back, or was given up."""
        for name, state in states.items():
            before = self._pids.get(name, 0)
            if state.pid and before and state.pid != before:
                self._restarts[name] += 1
                self._say(f"{name} died and was restarted, as process {state.pid} (restart {self._restarts[name]})")
            self._pids[name] = state.pid or before
            changed = name not in self._states or self._states[name].word != state.word
            if changed and state.word == "BACKOFF":
                self._say(f"{name} ends as soon as it starts ({state.said}); it is tried again, later each time")
            if changed and state.word == "FATAL":
                self._say(f"{name} was GIVEN UP: it ended too often; see its log, then 'contender up' again", loud=True)
        self._states = dict(states)

    def close(self) -> None:
        """Give the terminal back."""
        if self._lives:
            self._status.stop()
            self._lives = False

    def _say(self, text: str, *, loud: bool = False) -> None:
        self.note(f"{datetime.now():%H:%M:%S}  {text}", loud=loud)  # noqa: DTZ005 - as clocks on the wall

    def _live(self, text: str) -> None:
        if self._lives:
            from rich.text import Text

            line = Text(text)
            line.truncate(max(self._console.width - 4, 10), overflow="ellipsis")
            self._status.update(line)

    def _summary(self, states: Mapping[str, State]) -> str:
        ill = [f"{name} {state.word.lower()}" for name, state in states.items() if state.word not in _WELL]
        well = sum(state.word == "RUNNING" for state in states.values())
        restarts = [f"{name} restarted {times} x" for name, times in self._restarts.items()]
        return " · ".join(part for part in (f"{well} running", *ill, *restarts, self._last_run) if part)

    def _show_run(self, told: str) -> None:
        if told and told != self._last_run and not self._lives:
            self._say(told)
        self._last_run = told or self._last_run


def addresses_of(running: Running) -> dict[str, str]:
    """What people look for, and where it is."""
    return {
        "dashboard": running.dashboard,
        "Prefect UI": running.prefect_ui,
        "Prefect API": running.prefect_api,
        "MLflow UI": running.mlflow,
        "work pool": POOL,
        **{f"{name} lands in": folder for name, folder in running.landing.items()},
        "logs": running.logs,
    }


def _last_run(address: str) -> str:
    """The newest flow run that has started; nothing where the server is silent."""
    question = {
        "sort": "START_TIME_DESC",
        "limit": 1,
        "flow_runs": {"state": {"type": {"any_": _STARTED}}, "start_time": {"is_null_": False}},
    }
    try:
        found: list[dict[str, Any]] = ask(address, "/flow_runs/filter", question, pauses=BUSY)
    except (*LOST, ValueError):
        return ""
    return f"run {found[0]['name']} {found[0]['state_name'].lower()}" if found else ""


def tell_running(running: Running) -> None:
    """The piece of `contender status` on what runs here."""
    click.echo(
        f"\n'contender up' {'runs' if running.ready else 'starts'}, process {running.pid} since {running.since}:"
    )
    for what, where in addresses_of(running).items():
        click.echo(f"  {what:<18} {where}")
