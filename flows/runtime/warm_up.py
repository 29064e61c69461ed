"""Starts at once, side by side, what a flow needs: Spark, Prefect's server, and the libraries that load slowly."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from contender.contracts.contract import Contract
from contender.ingestion import batches
from contender.lake import java, shared_spark, spark_session, spark_workers, tables
from contender.lake.locks import loading
from contender.settings import Settings
from flows.prefect_api import prefect_server


@dataclass
class Started:
    """Seconds until all was ready."""

    seconds: float


@dataclass
class Size:
    """How much there is to do: what has landed, and what is there already."""

    landed: int
    records: int

    @property
    def small(self) -> bool:
        return self.landed < 64 << 20 and self.records < 2_000_000

    @property
    def tiny(self) -> bool:
        return self.landed < 4 << 20 and self.records < 1_000_000


@contextmanager
def engines(settings: Settings, contract: Contract, folder: Path | None = None) -> Iterator[Started]:
    """Spark and Prefect, ready for flows on a use case, for as long as the block runs.

    Args:
        folder: where the use case's files land; else where its contract says.

    Raises:
        Unavailable: Java, the JARs or a server is missing; told before anything slow starts.
    """
    began = time.perf_counter()
    java.require_java()
    java.jar_paths()
    server = prefect_server.connect(settings)
    failures: list[BaseException] = []
    ready = threading.Event()
    size = _size_of(settings, contract, folder)
    # Whoever has records mostly has a champion, and a new challenger is seldom due: then these would load for nothing.
    later = () if size.records else ("contender.training.trainer",)
    threading.Thread(target=_warm_up, args=(settings, size, later, failures, ready), daemon=True).start()
    try:
        # Here, as its settings were made by `connect`.
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        prefect_server.wait_until_ready(server)
        ready.wait()
        if failures:
            raise failures[0]
        # Nobody looks for signs of life on a server of our own, and each flow would wait a second for the last of them.
        heartbeat = {} if server is None else {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
        with temporary_settings(heartbeat), shared_spark.answering():
            yield Started(time.perf_counter() - began)
    finally:
        prefect_server.stop(server)


def begin_on_worker(settings: Settings, contract: Contract, folder: Path | None = None) -> None:
    """Have Spark and what loads slowly ready soon, in a run that a worker has started; elsewhere `engines` does it."""
    from prefect.runtime import deployment

    if deployment.id:
        arguments = (settings, _size_of(settings, contract, folder), (), [], threading.Event())
        threading.Thread(target=_warm_up, args=arguments, daemon=True).start()


def _size_of(settings: Settings, contract: Contract, folder: Path | None) -> Size:
    landed = batches.unseen_bytes(settings, contract, folder or Path(contract.records.landing).absolute())
    return Size(landed, tables.count(settings, contract.name, "records"))


def _warm_up(
    settings: Settings, size: Size, later: tuple[str, ...], failures: list[BaseException], ready: threading.Event
) -> None:
    """Start Spark, then load in the background what the next steps need, in their order."""
    try:
        spark_session.session(settings, small=size.small, tiny=size.tiny)
    except Exception as error:  # noqa: BLE001 - told by the main thread
        failures.append(error)
        return
    finally:
        ready.set()
    # Best effort: when this fails, or the command ends first, the step that needs it waits for it or tells why.
    with suppress(Exception):
        with loading:
            import_module("great_expectations")
        spark_workers.start(settings)
        for name in ("mlflow", *later):
            with loading:
                import_module(name)
