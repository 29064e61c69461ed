"""The door to Spark and Delta: one session per process, tables by name, idempotent appends.

Spark reads, joins and writes what grows with the data. Small look-ups (a table's version, a count, the list of files)
go through delta-rs, which needs no JVM.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from contender import java
from contender.settings import Settings
from contender.values import KEY, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame, SparkSession

_starting = Lock()


def session(settings: Settings, *, small: bool = False) -> "SparkSession":
    """The one Spark session of this process, started when first asked for.

    Args:
        small: there is little to do, so that compiling Java thoroughly would take longer than it saves.

    Raises:
        Unavailable: Java or the Delta JARs are missing; says what installs them.
    """
    with _starting:
        os.environ.update(java.environment())
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        if settings.spark_master.startswith("local"):
            # Elsewhere the workers of a cluster must be able to reach this driver.
            os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        from pyspark.sql import SparkSession

        scratch = settings.home / "scratch" / "spark"
        scratch.mkdir(parents=True, exist_ok=True)
        logging = Path(__file__).with_name("log4j2.properties")
        options = [f"-Dlog4j2.configurationFile={logging.as_uri()}", f"-Dderby.system.home={scratch}"]
        builder = SparkSession.builder.master(settings.spark_master).appName("contender")
        for name, value in {
            "spark.jars": ",".join(str(path) for path in java.jar_paths()),
            "spark.driver.memory": settings.spark_memory,
            "spark.driver.extraJavaOptions": " ".join(
                [*options, *java.jvm_options(), *(_SHORT_LIVED if small else ())]
            ),
            "spark.local.dir": str(scratch),
            "spark.sql.warehouse.dir": str(scratch / "warehouse"),
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.execution.arrow.pyspark.enabled": "true",
            "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
            "spark.python.daemon.module": "contender.workers",
            # Each core has a task of its own; threads inside it would only wait for one another.
            "spark.executorEnv.OMP_NUM_THREADS": "1",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            **({"spark.sql.adaptive.enabled": "false"} if small else {}),
            **(_SMALL_MACHINE if settings.spark_master.startswith("local") else {}),
        }.items():
            builder = builder.config(name, value)
        with _java_speaks_to(settings.home / "logs" / "spark.log"):
            return builder.getOrCreate()


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


_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:MetaspaceSize=256m")
"""A day's batch spends more on the thorough compiler and on collecting class data than on the rows."""

_SMALL_MACHINE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": str(max(2, os.cpu_count() or 2)),
    "spark.databricks.delta.snapshotPartitions": "2",
}
"""Without these a small table costs hundreds of empty tasks, and the driver listens beyond this machine."""


def stop() -> None:
    """End this process's session, if there is one."""
    from pyspark.sql import SparkSession

    if active := SparkSession.getActiveSession():
        active.stop()


def path_of(settings: Settings, use_case: str, table: str) -> str:
    """Address of a table."""
    return f"{settings.lake_of(use_case)}/{table}"


def find(settings: Settings, use_case: str, table: str) -> TableVersion | None:
    """The table at its newest version, or None when nothing was ever written to it."""
    delta = _open(settings, use_case, table)
    return TableVersion(use_case, table, delta.version()) if delta is not None else None


def count(settings: Settings, use_case: str, table: str) -> int:
    """Number of rows of a table, from its log alone; 0 when it was never written."""
    delta = _open(settings, use_case, table)
    if delta is None:
        return 0
    import pyarrow as pa

    return int(sum(pa.table(delta.get_add_actions(flatten=True)).column("num_records").to_pylist()))


def last_transaction(settings: Settings, use_case: str, table: str, application: str) -> int:
    """Highest transaction version that `application` committed to a table; -1 when none."""
    delta = _open(settings, use_case, table)
    version = delta.transaction_version(application) if delta is not None else None
    return -1 if version is None else int(version)


def read(settings: Settings, table: TableVersion) -> "DataFrame":
    """A table at its version, as a Spark frame."""
    reader = session(settings).read.format("delta").option("versionAsOf", table.version)
    return reader.load(path_of(settings, table.use_case, table.table))


def read_small(
    settings: Settings, use_case: str, table: str, columns: Sequence[str] | None = None
) -> "pa.Table | None":
    """A small table whole, without Spark; None when it was never written."""
    delta = _open(settings, use_case, table)
    return None if delta is None else delta.to_pyarrow_table(columns=list(columns) if columns else None)


def read_key(settings: Settings, use_case: str, table: str, key: str, version: int | None = None) -> "pa.Table | None":
    """The rows of one key, without Spark; None when the table was never written, or the version is not known.

    Files whose smallest and largest key exclude it are not read, and of the others a batch of rows at a time.

    Args:
        version: of the table; None takes the newest.

    Raises:
        FileNotFoundError: files of an old version were cleared away.
    """
    delta = _open(settings, use_case, table, version)
    if delta is None:
        return None
    import pyarrow.dataset as ds

    return delta.to_pyarrow_dataset().to_table(filter=ds.field(KEY) == key, **_FRUGAL)


def read_newest(
    settings: Settings, use_case: str, table: str, rows: int, seed: int, version: int | None = None
) -> "pa.Table | None":
    """At most `rows` rows, drawn from the first 100,000 of the newest files, without Spark; None as for `read_key`.

    The same version and seed give the same rows, in the order of the files.

    Raises:
        FileNotFoundError: files of an old version were cleared away.
    """
    delta = _open(settings, use_case, table, version)
    if delta is None:
        return None
    import numpy as np
    import pyarrow as pa
    import pyarrow.dataset as ds

    every, actions = delta.to_pyarrow_dataset(), pa.table(delta.get_add_actions(flatten=True))
    written = dict(zip(actions["path"].to_pylist(), actions["modification_time"].to_pylist(), strict=True))
    files, within = [], 0
    for file in sorted(every.get_fragments(), key=lambda file: (-written.get(file.path, 0), file.path)):
        if within < _NEWEST_ROWS:
            files.append(file)
            within += file.count_rows()
    within = min(within, _NEWEST_ROWS)
    places = np.sort(np.random.default_rng(seed).choice(within, min(rows, within), replace=False))
    taken, start = [], 0
    for batch in ds.FileSystemDataset(files, every.schema, every.format, every.filesystem).to_batches(**_FRUGAL):
        here = places[(places >= start) & (places < start + len(batch))]
        taken.append(batch.take(pa.array(here - start)))
        start += len(batch)
        if start >= within:
            break
    return pa.Table.from_batches(taken, every.schema)


_NEWEST_ROWS = 100_000
_FRUGAL = {"batch_size": 16_384, "batch_readahead": 1, "fragment_readahead": 1}


def append(
    settings: Settings,
    use_case: str,
    table: str,
    frame: "DataFrame",
    *,
    application: str,
    transaction: int,
    partition_by: Iterable[str] = (),
    note: str = "",
) -> TableVersion:
    """Add rows once: a transaction that `application` has committed before is skipped by Delta.

    Columns that the table does not have yet are added to it; they are null in older rows.

    Args:
        application: who writes; transactions are counted for each apart.
        transaction: must grow from write to write, because Delta skips anything at or below the last one.
        note: kept with the commit, see `note_of`.
    """
    writer = frame.write.format("delta").mode("append").partitionBy(*partition_by).option("userMetadata", note)
    writer = writer.option("mergeSchema", "true").option("txnAppId", application).option("txnVersion", transaction)
    writer.save(path_of(settings, use_case, table))
    return _written(settings, use_case, table)


def replace(settings: Settings, use_case: str, table: str, frame: "DataFrame", *, note: str = "") -> TableVersion:
    """Write in place of all rows and of the columns, for what can be computed again."""
    writer = (
        frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").option("userMetadata", note)
    )
    writer.save(path_of(settings, use_case, table))
    return _written(settings, use_case, table)


def note_of(settings: Settings, use_case: str, table: str) -> str:
    """The note of a table's newest commit; empty when there is none."""
    delta = _open(settings, use_case, table)
    return str(delta.history(1)[0].get("userMetadata") or "") if delta is not None else ""


def append_small(
    settings: Settings, use_case: str, table: str, rows: Sequence[Mapping[str, Any]], schema: "pa.Schema"
) -> None:
    """Add a few rows in one commit, without Spark."""
    import pyarrow as pa
    from deltalake import write_deltalake

    location = path_of(settings, use_case, table)
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)
    write_deltalake(location, pa.Table.from_pylist(list(rows), schema=schema), mode="append")


def delete_batch(settings: Settings, use_case: str, table: str, batch: int) -> None:
    """Take back what an abandoned batch wrote."""
    delta = _open(settings, use_case, table)
    if delta is not None:
        delta.delete(f"_batch = {batch}")


def _written(settings: Settings, use_case: str, table: str) -> TableVersion:
    written = find(settings, use_case, table)
    assert written is not None
    return written


def _open(settings: Settings, use_case: str, table: str, version: int | None = None) -> "DeltaTable | None":
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    location = path_of(settings, use_case, table)
    if not DeltaTable.is_deltatable(location):
        return None
    try:
        return DeltaTable(location, version=version)
    except DeltaError:
        if version is None:
            raise
        return None
