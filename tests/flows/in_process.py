"""Commands in the process of a test, where neither signals nor another process's output are what it is about.

They take the Spark session of all tests and one Prefect server, so that a command costs what it does and no start.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from contender.settings import Settings
from flows.prefect_api import prefect_server


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def refusal(self) -> str:
        """The one sentence of a command that did not do what it was asked."""
        assert self.code not in (0, None), self.err
        assert self.out == ""
        assert "Traceback" not in self.err
        sentences = [line for line in self.err.splitlines() if line.startswith("contender: ")]
        assert len(sentences) == 1, self.err
        assert self.err.endswith(f"{sentences[0]}\n")
        return sentences[0].removeprefix("contender: ")


@dataclass(frozen=True)
class Here:
    """A home, the working directory, and further variables of the commands."""

    settings: Settings
    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, **variables: str) -> Done:
        """Run a command with these arguments, and these variables besides."""
        from flows.cli.main import main

        with pytest.MonkeyPatch.context() as patch:
            # A command leaves at once, without waiting for threads; here it must only end.
            patch.setattr("flows.runtime.exits.leave", sys.exit)
            for name, value in variables.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(main, list(map(str, arguments)))
        return Done(done.exit_code, done.stdout, done.stderr)


@contextmanager
def here(run: Here) -> Iterator[Here]:
    """Variables, working directory and Prefect's settings as the home's commands need them, for as long as it lasts."""
    ours = {
        "CONTENDER_HOME": str(run.settings.home),
        "CONTENDER_USE_CASES": str(run.settings.use_cases),
        "CONTENDER_SPARK_MEMORY": "1g",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("CONTENDER_", "MLFLOW_", "PREFECT_"))]:
            patch.delenv(name)
        for name, value in (prefect_server.ENVIRONMENT | ours | dict(run.variables)).items():
            patch.setenv(name, value)
        patch.chdir(run.folder)
        with without_heartbeats():
            yield run


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Prefect's settings as the variables are now, though it read them when it was imported, and no sign of life.

    Each flow would wait for up to a second for the thread that gives it. Who looks for them is `test_automations`.
    """
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import Settings as PrefectSettings

    told = PrefectSettings()
    quiet = told.model_copy(update={"flows": told.flows.model_copy(update={"heartbeat_frequency": None})})
    with SettingsContext(profile=get_settings_context().profile, settings=quiet):
        yield


def leave_nothing_to_tell() -> None:
    """Have Prefect's server told all that flows of this process said: when it is gone, the process waits for it at its end."""
    if "prefect.logging.handlers" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        for worker in (APILogWorker, EventsWorker):
            worker.drain_all(timeout=10)
