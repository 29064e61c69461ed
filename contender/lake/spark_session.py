"""The Spark session of this process: in the warm Spark if there is a fitting one, else in one of its own."""

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from contender.errors import Unavailable
from contender.lake import java, shared_spark
from contender.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_starting = Lock()


def session(settings: Settings, *, small: bool = False, tiny: bool = False) -> "SparkSession":
    """The one Spark session of this process, in the warm Spark if there is a fitting one, else in one of its own.

    Args:
        small: there is little to do, so that compiling Java thoroughly would take longer than it saves.
        tiny: there is so little that Spark's own compiling of each query would, too.

    Raises:
        Unavailable: Java or the Delta JARs are missing, with what installs them; or the warm Spark ended.
    """
    with _starting:
        if present := shared_spark.attached():
            return present
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        from pyspark.sql import SparkSession

        if SparkSession._instantiatedSession is None and (address := _fitting(settings)):
            with suppress(Unavailable):
                return shared_spark.attach(settings, address, _asking(settings, small=small, tiny=tiny))
        return start(settings, small=small, tiny=tiny, java_options=_SHORT_LIVED if small else ())


def start(
    settings: Settings,
    *,
    small: bool = False,
    tiny: bool = False,
    java_options: Iterable[str] = (),
    more: Mapping[str, str] | None = None,
) -> "SparkSession":
    """A Spark of this process's own, or the one that it has started before.

    Args:
        java_options: of the JVM, beside those that it always needs.
        more: options of Spark, likewise.

    Raises:
        Unavailable: Java or the Delta JARs are missing, with what installs them; or Java does not start.
    """
    os.environ.update(java.environment())
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    if settings.spark_master.startswith("local"):
        # Elsewhere the workers of a cluster must be able to reach this driver.
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    scratch = _scratch(settings)
    scratch.mkdir(parents=True, exist_ok=True)
    logging = Path(__file__).with_name("log4j2.properties")
    options = [f"-Dlog4j2.configurationFile={logging.as_uri()}", f"-Dderby.system.home={scratch}"]
    builder = SparkSession.builder.appName("contender")
    for name, value in {
        **_launching(settings),
        "spark.driver.extraJavaOptions": " ".join(map(quoted, [*options, *java.jvm_options(), *java_options])),
        **_asking(settings, small=small, tiny=tiny),
        **(more or {}),
    }.items():
        builder = builder.config(name, value)
    log = settings.home / "logs" / "spark.log"
    with _java_speaks_to(log):
        try:
            return builder.getOrCreate()
        except PySparkRuntimeError as error:
            if error.getCondition() != "JAVA_GATEWAY_EXITED":
                raise
            raise Unavailable(f"Java ended before Spark was up; mend what its last words in {log} name.") from error


def quoted(option: str) -> str:
    """One option among several in one text: the launcher splits it at blanks that are not in quotes."""
    if not any(sign in option for sign in " \t\"'\\"):
        return option
    escaped = option.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def configured(settings: Settings) -> dict[str, str]:
    """All that a Spark was started with and that cannot be changed afterwards, the code of its workers too."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        code.update(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}\n".encode())
    return {**_launching(settings), "lake": settings.lake, "python": sys.executable, "code": code.hexdigest()}


def _fitting(settings: Settings) -> shared_spark.Address | None:
    """A warm Spark that answers and was started as one of our own would be."""
    address = shared_spark.find(settings)
    if address is None or dict(address.configured) != configured(settings) or not shared_spark.answers(address):
        return None
    return address


def _launching(settings: Settings) -> dict[str, str]:
    """What a Spark is started with."""
    local = settings.spark_master.startswith("local")
    return {
        "spark.master": settings.spark_master,
        "spark.jars": ",".join(str(path) for path in java.jar_paths()),
        "spark.driver.memory": settings.spark_memory,
        "spark.local.dir": str(_scratch(settings)),
        "spark.sql.warehouse.dir": str(_scratch(settings) / "warehouse"),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.python.daemon.module": "contender.lake.spark_workers",
        # Each core has a task of its own; threads inside it would only wait for one another.
        "spark.executorEnv.OMP_NUM_THREADS": "1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **({"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"} if local else {}),
    }


def _asking(settings: Settings, *, small: bool, tiny: bool) -> dict[str, str]:
    """What one session asks of a Spark."""
    return {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
        **({"spark.sql.adaptive.enabled": "false"} if small else {}),
        **(_AS_IT_IS if tiny else {}),
        **(_SMALL_MACHINE if settings.spark_master.startswith("local") else {}),
    }


def _scratch(settings: Settings) -> Path:
    return settings.home / "scratch" / "spark"


@contextmanager
def _java_speaks_to(log: Path) -> Iterator[None]:
    """Send what a JVM started inside the block ever prints to a file: people get our sentence, not a page of Java."""
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


_SHORT_LIVED = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:MetaspaceSize=256m",
    "-XX:ReservedCodeCacheSize=240m",
)
"""A day's batch spends more on the thorough compiler and on collecting class data than on the rows.

For code that is compiled quickly only, Java would reserve a fifth of that room, and compile no more once it is full.
"""

MANY_SMALL = (
    "-XX:+UseSerialGC",
    "-XX:ReservedCodeCacheSize=512m",
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
"""For a process that runs thousands of small queries: only what runs ten times as often as Java's own limits ask is
compiled thoroughly, which else takes one of two cores for minutes."""

_AS_IT_IS = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
"""A query over a day's rows has run before it would be compiled."""

_SMALL_MACHINE = {
    "spark.sql.shuffle.partitions": str(max(2, os.cpu_count() or 2)),
    "spark.databricks.delta.snapshotPartitions": "2",
}
"""Without these a small table costs hundreds of empty tasks."""


def stop() -> None:
    """End this process's session, if there is one; a warm Spark stays."""
    from pyspark.sql import SparkSession

    if active := SparkSession._instantiatedSession:
        active.stop()
