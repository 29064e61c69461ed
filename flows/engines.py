"""Starts at once, side by side, what a flow needs: Spark, Prefect's server, and the libraries that load slowly."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module

from contender import java
from contender.settings import Settings
from flows import api


@dataclass
class Started:
    """Seconds until all was ready."""

    seconds: float


@contextmanager
def engines(settings: Settings) -> Iterator[Started]:
    """Spark and Prefect, ready for flows, for as long as the block runs.

    Raises:
        Unavailable: Java, the JARs or a server is missing; told before anything slow starts.
    """
    began = time.perf_counter()
    java.require_java()
    java.jar_paths()
    server = api.connect(settings)
    failures: list[BaseException] = []
    ready = threading.Event()
    threading.Thread(target=_warm_up, args=(settings, failures, ready), daemon=True).start()
    try:
        import prefect  # noqa: F401 - its settings were made by `connect`

        api.wait_until_ready(server)
        ready.wait()
        if failures:
            raise failures[0]
        yield Started(time.perf_counter() - began)
    finally:
        api.stop(server)


def _warm_up(settings: Settings, failures: list[BaseException], ready: threading.Event) -> None:
    """Start Spark, then load in the background what the next steps need, in their order."""
    from contender import lake

    try:
        lake.session(settings)
    except Exception as error:  # noqa: BLE001 - told by the main thread
        failures.append(error)
    finally:
        ready.set()
    for name in ("great_expectations", "mlflow.sklearn", "contender.training"):
        import_module(name)
