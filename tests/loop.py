"""`contender up` as a person runs it, in a folder that is its whole world: for the end-to-end test and its benchmark."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
from deltalake import DeltaTable

from flows.prefect_api.client import BUSY, ask
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[1]
CONTENDER = Path(sys.executable).with_name("contender")
Found = TypeVar("Found")


def wait_until(found: Callable[[], Found], what: str, seconds: float, every: float = 0.2) -> Found:
    """What `found` returns as soon as it is true; an answer that is refused or cut off is no answer yet."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            if answer := found():
                return answer
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(every)


class Loop:
    """One home with its landing folder, its free ports, and whatever `up` runs on it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        foreign = ("CONTENDER_", "MLFLOW_", "PREFECT_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.log = folder / "up.log"
        self.folder, self.home, self.landing = folder, folder / ".contender", folder / "landing" / "payments"
        self.prefect, self.mlflow, self.dashboard = free_port(), free_port(), free_port()
        self.environment = clean | {
            "CONTENDER_USE_CASES": str(REPOSITORY / "data"),
            "CONTENDER_HOME": str(self.home),
            "CONTENDER_PREFECT_PORT": str(self.prefect),
            "CONTENDER_MLFLOW_PORT": str(self.mlflow),
            "CONTENDER_DASHBOARD_PORT": str(self.dashboard),
            **variables,
        }
        self.landing.mkdir(parents=True)
        self.process: subprocess.Popen[str] | None = None

    def up(self, *arguments: str, ready_seconds: float = 180) -> float:
        """Start it, and return the seconds until it said that it is ready."""
        began = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [CONTENDER, "up", "payments", *arguments],
                cwd=self.folder,
                env=self.environment,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._is_ready, "up is ready", ready_seconds)
        return time.perf_counter() - began

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        return any(line.startswith("Ready after") for line in self.log.read_text().splitlines())

    def run(self, *arguments: str) -> str:
        """What `contender ARGUMENTS` prints."""
        done = subprocess.run(
            [CONTENDER, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"contender {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """`contender status --json` of payments."""
        return next(one for one in json.loads(self.run("status", "--json"))["use_cases"] if one["name"] == "payments")

    def simulate(self, *arguments: str, into: Path) -> list[Path]:
        """The files of a simulation, in a folder beside."""
        self.run("simulate", "--to", str(into), *arguments)
        return sorted(into.iterdir())

    def drop(self, files: list[Path]) -> None:
        """Land files as a careful sender does: written under another name, then renamed into place."""
        for file in files:
            part = self.landing / f".{file.name}.part"
            shutil.copy(file, part)
            part.rename(self.landing / file.name)

    def rows(self, table: str) -> int:
        """Rows of a table of payments; 0 where it is not there yet."""
        place = str(self.home / "lake" / "payments" / table)
        if not DeltaTable.is_deltatable(place):
            return 0
        import pyarrow as pa

        actions = pa.table(DeltaTable(place).get_add_actions(flatten=True))
        return int(sum(actions.column("num_records").to_pylist()))

    def ask(self, path: str, document: Any = None) -> Any:
        """An answer of Prefect's API; a POST where there is something to send."""
        return ask(f"http://127.0.0.1:{self.prefect}/api", f"/{path}", document, pauses=BUSY)

    def flow_runs(self, flow: str, *states: str) -> list[dict[str, Any]]:
        """Runs of a flow, newest first; in any state, or in those named."""
        runs = self.ask(
            "flow_runs/filter",
            {
                "sort": "EXPECTED_START_TIME_DESC",
                "limit": 200,
                "flows": {"name": {"any_": [flow]}},
            },
        )
        return [run for run in runs if run["state_type"] != "SCHEDULED" and (not states or run["state_name"] in states)]

    def processes(self) -> Iterator[psutil.Process]:
        """All processes that work for this home, by the variable that they inherit."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("CONTENDER_HOME") == str(self.home):
                    yield process

    def gibibytes(self) -> float:
        """Memory of all of them, shared pages counted once where the system tells (PSS), else RSS."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                total += getattr(memory, "pss", 0) or memory.rss
        return total / 2**30

    def end(self, by: signal.Signals = signal.SIGTERM) -> float:
        """End it, and return the seconds that it took."""
        assert self.process is not None
        began = time.perf_counter()
        self.process.send_signal(by)
        self.process.wait(timeout=60)
        return time.perf_counter() - began

    def clean_up(self) -> None:
        """Whatever a failed test left behind."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.end()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
