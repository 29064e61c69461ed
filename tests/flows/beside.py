"""What `contender up` has running beside a command, so that it starts neither Spark nor a Prefect server of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from contender.lake import shared_spark
from contender.settings import Settings
from tests.flows.prefect_server import Prefect, eventually


@contextmanager
def warm_spark(settings: Settings, environment: Mapping[str, str]) -> Iterator[None]:
    """A Spark that the commands of this home and environment attach to."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "contender.lake.spark_keeper"], env=environment, stdout=log, stderr=log
        )
    try:
        eventually(lambda: shared_spark.find(settings) or keeper.poll() is not None, "Spark is warm", 240)
        assert keeper.poll() is None, (settings.home / "keeper.log").read_text()
        yield
    finally:
        keeper.terminate()
        keeper.wait(timeout=60)


@contextmanager
def prefect_and_spark(settings: Settings, environment: MutableMapping[str, str], folder: Path) -> Iterator[None]:
    """Both, for all commands that get this environment inside the block."""
    server = Prefect(folder)
    server.start()
    environment["PREFECT_API_URL"] = server.environment["PREFECT_API_URL"]
    try:
        with warm_spark(settings, environment):
            yield
    finally:
        del environment["PREFECT_API_URL"]
        server.stop()
