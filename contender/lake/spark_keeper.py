"""Keeps one Spark warm beside the runs, which attach to it: `python -m contender.lake.spark_keeper` does it.

A run in a Java of its own spends most of a day's batch on loading and compiling classes. Here they stay loaded and
compiled, and so do the Python workers. Between runs the memory is given back.
"""

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING, Any, NoReturn

from filelock import FileLock, Timeout

from contender import error_text
from contender.errors import Busy, Unavailable
from contender.lake import shared_spark, spark_session, spark_workers
from contender.lake.shared_spark import Address
from contender.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GLANCE_SECONDS = 1.0
IDLE_SECONDS = 10.0
END_SECONDS = 2.0

LASTING = (
    "-XX:+UseSerialGC",
    "-XX:InitialHeapSize=256m",
    "-XX:MinHeapSize=128m",
    "-Xmn96m",
    "-XX:MetaspaceSize=256m",
    "-XX:MinHeapFreeRatio=30",
    "-XX:MaxHeapFreeRatio=50",
    "-XX:-ShrinkHeapInSteps",
)
"""Compiled thoroughly, as it lasts; and a heap that shrinks with what is in it, though not so far that a run begins by
collecting again and again."""

FRUGAL = {
    "spark.ui.retainedJobs": "50",
    "spark.ui.retainedStages": "50",
    "spark.ui.retainedTasks": "500",
    "spark.sql.ui.retainedExecutions": "20",
    "spark.ui.retainedDeadExecutors": "1",
}
"""Spark remembers a thousand of each, with their plans; here nobody looks at them."""


def keep(settings: Settings) -> NoReturn:
    """Start Spark, offer it to runs, and hold it until this process is told to end.

    Raises:
        Busy: another process keeps one warm for this home.
        Unavailable: it cannot be started, or has ended by itself.
    """
    settings.running.mkdir(parents=True, exist_ok=True)
    mine = FileLock(settings.running / "spark.keeper.lock")
    try:
        mine.acquire(timeout=0)
    except Timeout:
        raise Busy(
            f"Another process keeps a Spark warm for {settings.state}; end it, or take another CONTENDER_HOME."
        ) from None
    # What a keeper before left behind must not write while new runs do.
    shared_spark.end_orphans(settings)
    shared_spark.offered(settings).unlink(missing_ok=True)
    # Else the C library keeps a heap for each thread, and what was freed in it.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    try:
        session = spark_session.start(settings, java_options=LASTING, more=FRUGAL)
        shared_spark.silence_traceback(session)
        rehearse(settings, session)
        gateway: Any = session.sparkContext._gateway
        parameters = gateway.java_parameters
        address = Address(
            pid=os.getpid(),
            java=gateway.proc.pid,
            port=parameters.port,
            secret=parameters.auth_token,
            configured=spark_session.configured(settings),
        )
        own = _bindings(gateway)
        _rest(settings, session, own)
        shared_spark.offer(settings, address)
        _hold(settings, session, own)
    finally:
        shared_spark.offered(settings).unlink(missing_ok=True)
        end_children()


def rehearse(settings: Settings, session: "SparkSession") -> None:
    """Do once, on next to nothing, what runs do: write, read and merge a Delta table, and hand rows to Python."""
    folder = settings.home / "scratch" / "spark" / f"rehearsal-{os.getpid()}"
    table = str(folder / "table")
    rows = session.range(1_000).selectExpr("id", "id % 2 AS part", "cast(id AS string) AS text")
    rows.write.format("delta").partitionBy("part").save(table)
    rows.write.format("delta").mode("append").option("mergeSchema", "true").save(table)
    session.range(900, 1_100).createOrReplaceTempView("news")
    session.sql(f"MERGE INTO delta.`{table}` t USING news ON t.id = news.id WHEN MATCHED THEN UPDATE SET text = 'new'")
    session.sql(f"SELECT part, count(*), avg(id) OVER (ORDER BY part) FROM delta.`{table}` GROUP BY part, id").collect()
    session.catalog.dropTempView("news")
    spark_workers.start(settings)
    shutil.rmtree(folder, ignore_errors=True)


def _hold(settings: Settings, session: "SparkSession", own: Any) -> NoReturn:
    from py4j.protocol import Py4JError

    gateway: Any = session.sparkContext._gateway
    used, idle_since = False, time.monotonic()
    while gateway.proc.poll() is None:
        time.sleep(GLANCE_SECONDS)
        with shared_spark.attach_lock(settings):
            nobody = shared_spark.is_unused(settings)
        try:
            # Here too, and not only by whoever comes next: nobody may come for a day.
            shared_spark.cancel_orphans(settings, gateway)
            if not nobody:
                used, idle_since = True, time.monotonic()
            elif used and time.monotonic() - idle_since > IDLE_SECONDS:
                used = not _rest(settings, session, own)
        except (Py4JError, OSError):
            # It is ending, then, which takes a moment.
            with suppress(TimeoutExpired):
                gateway.proc.wait(timeout=END_SECONDS)
            if gateway.proc.poll() is None:
                raise
    raise Unavailable(
        f"The warm Spark ended with status {gateway.proc.returncode}; its last words are in "
        f"{settings.home / 'logs' / 'spark.log'}."
    )


def _rest(settings: Settings, session: "SparkSession", own: Any) -> bool:
    """Let go of all that runs left in Java, and give the memory back; False when a run has just come."""
    context: Any = session.sparkContext
    with shared_spark.attach_lock(settings):
        if not shared_spark.is_unused(settings):
            return False
        _bindings_of(context._gateway).retainAll(own)
        session.catalog.clearCache()
        kept = Path(context._temp_dir)
        for left in kept.parent.glob("pyspark-*"):
            if left != kept:
                shutil.rmtree(left, ignore_errors=True)
    beans = context._jvm.java.lang.management.ManagementFactory.getPlatformMXBeans(
        context._jvm.java.lang.Class.forName("com.sun.management.HotSpotDiagnosticMXBean")
    )
    # For as long as it rests, next to nothing is kept in reserve.
    _keep_free(beans, low=5, high=10)
    # Twice: what the first frees is unlinked by Spark's own cleaner, which frees more.
    for _ in range(2):
        context._jvm.System.gc()
        time.sleep(0.5)
    _keep_free(beans, low=30, high=50)
    return True


def _keep_free(beans: Any, *, low: int, high: int) -> None:
    """How much of the heap may be free after a collection, in percent; another JVM than HotSpot has no such bean."""
    for bean in beans:
        # By way of none and all, because the lower may never be above the higher.
        for name, percent in (("MinHeapFreeRatio", 0), ("MaxHeapFreeRatio", high), ("MinHeapFreeRatio", low)):
            bean.setVMOption(name, str(percent))


def _bindings_of(gateway: Any) -> Any:
    from py4j.java_gateway import JavaObject

    return JavaObject("GATEWAY_SERVER", gateway._gateway_client).getGateway().getBindings().keySet()


def _bindings(gateway: Any) -> Any:
    """The names of all that Java keeps for Python at this moment, as a list that Java keeps."""
    own = gateway.jvm.java.util.ArrayList(_bindings_of(gateway))
    own.add(own._target_id)
    return own


def end_children() -> None:
    """End Java, which ends the Python workers, in good order if that is quick."""
    import psutil
    from pyspark import SparkContext

    children = psutil.Process().children(recursive=True)
    if SparkContext._gateway is not None:
        # Java ends itself when this pipe closes.
        SparkContext._gateway.proc.stdin.close()
    else:
        for child in children:
            child.terminate()
    _, left = psutil.wait_procs(children, timeout=END_SECONDS)
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=END_SECONDS)


def _end(*_: object) -> NoReturn:
    # Once: a second signal must not cut off the ending.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with error_text.process("spark"):
        keep(Settings())
