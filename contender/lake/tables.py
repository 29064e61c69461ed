"""The door to Spark and Delta: one session per process, tables by name, idempotent appends.

Spark reads, joins and writes what grows with the data. Small look-ups (a table's version, a count, the list of files)
go through delta-rs, which needs no JVM.
"""

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from contender.errors import Unavailable
from contender.lake import java, shared_spark
from contender.settings import Settings
from contender.values import KEY, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable
    from pyspark.sql import DataFrame, SparkSession

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
        "spark.driver.extraJavaOptions": " ".join([*options, *java.jvm_options(), *java_options]),
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
    "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:MetaspaceSize=256m", "-XX:ReservedCodeCacheSize=240m",
)  # fmt: skip
"""A day's batch spends more on the thorough compiler and on collecting class data than on the rows.

For code that is compiled quickly only, Java would reserve a fifth of that room, and compile no more once it is full.
"""

MANY_SMALL = (
    "-XX:+UseSerialGC", "-XX:ReservedCodeCacheSize=512m", "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000", "-XX:Tier4CompileThreshold=150000", "-XX:Tier4BackEdgeThreshold=400000",
)  # fmt: skip
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


@shared_spark.answering()
def read(settings: Settings, table: TableVersion) -> "DataFrame":
    """A table at its version, as a Spark frame."""
    reader = session(settings).read.format("delta").option("versionAsOf", table.version)
    return reader.load(path_of(settings, table.use_case, table.table))


def read_small(
    settings: Settings, use_case: str, table: str, columns: Sequence[str] | None = None, version: int | None = None,
    where: Sequence[tuple[str, str, Any]] | None = None,
) -> "pa.Table | None":  # fmt: skip
    """A small table, without Spark; None when it was never written, or the version is not known.

    Args:
        where: conditions that rows must meet, such as ("day", ">=", date(2026, 1, 1)); None takes the table whole.
    """
    delta = _open(settings, use_case, table, version)
    if delta is None:
        return None
    return delta.to_pyarrow_table(columns=list(columns) if columns else None, filters=list(where) if where else None)


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


@shared_spark.answering()
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


@shared_spark.answering()
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


def replace_rows(
    settings: Settings, use_case: str, table: str, rows: "pa.Table", *, where: str | None = None, note: str = ""
) -> None:
    """Write a few rows in place of those for which `where` holds (SQL), or of all, in one commit without Spark.

    Args:
        note: kept with the commit, see `note_of`.
    """
    from deltalake import CommitProperties, write_deltalake

    location = path_of(settings, use_case, table)
    if "://" not in location:
        Path(location).mkdir(parents=True, exist_ok=True)
    write_deltalake(
        location, rows, mode="overwrite", predicate=where, schema_mode=None if where else "overwrite",
        commit_properties=CommitProperties(custom_metadata={"userMetadata": note}),
    )  # fmt: skip


def changed_files(settings: Settings, table: TableVersion, since: int) -> list[str] | None:
    """Addresses of the Parquet files that are in the table, or were at version `since`, but not at both.

    None when this cannot be told, because the log of that version, or one of its files, was cleared away.
    """
    old, new = (_open(settings, table.use_case, table.table, version) for version in (since, table.version))
    if old is None or new is None:
        return None
    before, after = ({str(uri) for uri in delta.file_uris()} for delta in (old, new))
    gone = before - after
    if any("://" not in uri and not Path(uri).exists() for uri in gone):
        return None
    return sorted(before ^ after)


def files_of(settings: Settings, use_case: str, table: str) -> list[str]:
    """Addresses of the Parquet files that make up a table now, for tools that read no Delta; empty without one."""
    delta = _open(settings, use_case, table)
    return [] if delta is None else sorted(str(uri) for uri in delta.file_uris())


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
