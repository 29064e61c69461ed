"""Prefect's database as it is before the first run, made once by setup: a home begins with a copy of it.

A server would bring an empty one through all of Prefect's migrations, which takes it longer than all else at its start.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from contender.lake import java

_SECONDS = 300
_NAME = "prefect.db"
_ELSEWHERE = ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL")


def template() -> Path:
    """Where it is, once it was made; its name holds the release of Prefect that it is good for."""
    return java.SHARE / f"prefect-{version('prefect')}.db"


def make(progress: Callable[[str], None]) -> None:
    """Make the template unless it is there. It only saves seconds, so a failure leaves things as they were."""
    if template().is_file():
        return
    progress("Preparing Prefect's database for faster starts (1 MB, ten seconds, once)...")
    java.SHARE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".prefect-", dir=java.SHARE) as scratch:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
        made = Path(scratch, "whole.db")
        try:
            subprocess.run(
                command,
                env=clean | {"PREFECT_HOME": scratch, "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=True,
            )
            # In one file, whatever still stands in a log beside it.
            with closing(sqlite3.connect(Path(scratch, _NAME))) as database:
                database.execute("VACUUM INTO ?", (str(made),))
        except (OSError, subprocess.SubprocessError, sqlite3.Error):
            progress("That did not work out; Prefect will start without.")
            return
        for old in java.SHARE.glob("prefect-*.db"):
            old.unlink()
        made.replace(template())


def begin(prefect_home: Path, environment: Mapping[str, str]) -> None:
    """Give a home of Prefect that has no database yet a copy, unless its server keeps one elsewhere."""
    database = prefect_home / _NAME
    if database.exists() or any(environment.get(name) for name in _ELSEWHERE) or not template().is_file():
        return
    prefect_home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".prefect-", dir=prefect_home) as scratch:
        copy = shutil.copyfile(template(), Path(scratch, _NAME))
        # Of two servers that begin at once the second takes what the first has.
        with suppress(OSError):
            os.link(copy, database)


if __name__ == "__main__":
    make(lambda line: print(line, flush=True))
