"""What prepares this installation for Spark, once: the JARs that PySpark lacks, and an archive of loaded classes."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from contender.errors import ContenderError, Unavailable
from contender.lake import downloads, java, maven

Progress = Callable[[str], None]

ARCHIVE_SECONDS = 300
AGAIN = "run 'make setup' or 'python -m contender.lake.java_setup' again"

# Runs once so that the JVM meets the classes that Spark and Delta need for writing, merging and reading a table.
WARM_UP = """
import sys
from pyspark.sql import SparkSession
spark = (
    SparkSession.builder.config("spark.ui.enabled", "false")
    .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
    .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
    .config("spark.sql.shuffle.partitions", "2")
    .config("spark.databricks.delta.snapshotPartitions", "2")
    .getOrCreate()
)
path = sys.argv[1]
spark.range(100).selectExpr("id", "id % 2 AS part", "cast(id AS string) AS text").write.format("delta").save(path)
spark.range(90, 110).createOrReplaceTempView("news")
spark.sql(f"MERGE INTO delta.`{path}` t USING news ON t.id = news.id WHEN MATCHED THEN UPDATE SET text = 'new'")
spark.sql(f"SELECT part, count(*), avg(id) OVER (ORDER BY part) FROM delta.`{path}` GROUP BY part, id").collect()
spark.stop()
"""


def setup(progress: Progress) -> None:
    """Make this installation ready to start Spark: Java is there, the JARs are, and it starts as fast as it can."""
    java.require_java()
    fetch_jars(progress)
    archive_classes(progress)


def fetch_jars(progress: Progress) -> None:
    """Fetch the JARs that PySpark lacks unless they are here already; several processes may call this at once.

    Raises:
        Unavailable: they cannot be fetched or kept, or are not the ones that were pinned.
    """
    try:
        (java.SHARE / "jars").mkdir(parents=True, exist_ok=True)
        with FileLock(java.SHARE / "setup.lock"):
            if missing := [jar for jar in java.JARS if not (jar.is_here() and jar.is_intact(jar.path))]:
                _bring(missing, progress)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        needed = (
            f"free {sum(jar.size for jar in java.JARS) / 1e6:.0f} MB there" if full else "make that folder writable"
        )
        raise Unavailable(
            f"The Delta JARs cannot be kept in {java.SHARE} ({error}); {needed}, then {AGAIN}."
        ) from error


def _bring(jars: list[java.Jar], progress: Progress) -> None:
    repository = maven.repository()
    began = time.monotonic()
    absent = [jar for jar in jars if not maven.copy(jar, repository.local)]
    copied = f"{len(jars) - len(absent)} of {len(java.JARS)} Delta JARs copied from {repository.local}"
    if not absent:
        progress(f"{copied}.")
        return
    megabytes = sum(jar.size - downloads.came(jar) for jar in absent) / 1e6
    progress(f"Fetching {len(absent)} Delta JARs from {repository.name} ({megabytes:.1f} MB, once)...")
    downloads.fetch(absent, repository)
    seconds = time.monotonic() - began
    progress(f"Fetched {megabytes:.1f} MB in {seconds:.1f} s" + (f"; {copied}." if len(absent) < len(jars) else "."))


def archive_classes(progress: Progress) -> None:
    """Keep the classes that Spark and Delta load in an archive that later JVMs map into memory instead.

    It only saves seconds at every start, so a failure leaves things as they were.
    """
    with FileLock(java.SHARE / "setup.lock"):
        if java.class_archive():
            return
        progress("Preparing Spark's classes for faster starts (190 MB, half a minute, once)...")
        with tempfile.TemporaryDirectory(prefix=".archive-", dir=java.SHARE) as scratch:
            made = Path(scratch, "spark.jsa")
            script = Path(scratch, "warm_up.py")
            script.write_text(WARM_UP)
            command: list[str | Path] = ["--master", "local[1]", "--jars", ",".join(map(str, java.jar_paths()))]
            command += [
                "--driver-java-options",
                " ".join([f"-XX:ArchiveClassesAtExit={made}", "-XX:TieredStopAtLevel=1", *java.QUIET]),
            ]
            done = _submit([*command, script, Path(scratch, "table")], seconds=ARCHIVE_SECONDS)
            if done is None or done.returncode != 0 or not made.is_file():
                progress("That did not work out; Spark will start without.")
                return
            for old in java.SHARE.glob("spark-*.jsa"):
                old.unlink()
            made.replace(java.SHARE / f"spark-{java.archive_key()}-{made.stat().st_size}.jsa")


def _submit(arguments: list[str | Path], *, seconds: int) -> subprocess.CompletedProcess[str] | None:
    """What `spark-submit` answers, or None when it takes longer than `seconds`."""
    spark = java.spark_home()
    variables = {"SPARK_HOME": str(spark), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    variables["PYSPARK_DRIVER_PYTHON"] = sys.executable
    try:
        return subprocess.run(
            [spark / "bin" / "spark-submit", *arguments],
            env=os.environ | java.environment() | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


if __name__ == "__main__":
    try:
        setup(lambda line: print(line, flush=True))
    except ContenderError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped; what came is kept for the next call.")
