"""What `contender up` has running beside a command, so that it starts no Spark of its own."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from contender.lake import shared_spark
from contender.settings import Settings
from tests.flows.prefect_server import eventually


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
