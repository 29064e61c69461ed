"""The Java that Spark runs on, and what set-up prepares for it once: the Delta JARs, an archive of loaded classes."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from contender.errors import Unavailable

Progress = Callable[[str], None]

NEEDED = 17
FETCH_SECONDS = 600
ARCHIVE_SECONDS = 300
SHARE = Path(sys.prefix, "share", "contender")

# Homebrew does not put a versioned JDK on the PATH.
KEGS = [
    Path(prefix, "opt", keg, "bin") for prefix in ("/opt/homebrew", "/usr/local") for keg in ("openjdk@17", "openjdk")
]

# Whatever else Delta asks for (hadoop-client, parquet, jackson, jts, ...) is among PySpark's own JARs.
SHIPPED_BY_PYSPARK = ",".join(
    f"{group}*:*" for group in ("ch.", "com.", "commons-", "jakarta.", "javax.", "net.", "org.")
)

QUIET = ["-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:class+path=off"]

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


@dataclass(frozen=True)
class Jar:
    """One JAR that Delta needs, pinned by content."""

    coordinate: str
    size: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where this installation keeps it."""
        _, artifact, version = self.coordinate.split(":")
        return SHARE / "jars" / f"{artifact}-{version}.jar"

    @property
    def fetched_name(self) -> str:
        """What Ivy calls the file."""
        group, artifact, version = self.coordinate.split(":")
        return f"{group}_{artifact}-{version}.jar"

    def is_here(self) -> bool:
        """Whether it has been fetched: cheap enough for every start, so it looks at the size only."""
        return self.path.is_file() and self.path.stat().st_size == self.size

    def is_intact(self, path: Path) -> bool:
        """Whether the file at `path` is this JAR, byte by byte."""
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


JARS = (
    Jar(
        "io.delta:delta-spark_4.1_2.13:4.4.0",
        size=9_471_929,
        sha256="75a9400986853c061f5109f012547de2545a5759e5e752e5ef633dabe16a4f10",
    ),
    Jar(
        "io.delta:delta-storage:4.4.0",
        size=113_863,
        sha256="c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc",
    ),
    Jar(
        "io.delta:delta-kernel-api:4.4.0",
        size=2_838_619,
        sha256="ee9b5a14ac3b7efdff4d61a58478fe8eb0e5a3fbca43889dca7290795fe79a11",
    ),
    Jar(
        "io.delta:delta-kernel-defaults:4.4.0",
        size=227_185,
        sha256="225c975199e4718b38ee5b7e6da7f19e9585024262b2cec2656b32151a856b0b",
    ),
    Jar(
        "io.delta:delta-kernel-unitycatalog:4.4.0",
        size=43_048,
        sha256="cea22dfb4ac562b3cd27bf652697750e8336009d73fb06631363aaaad5345ffa",
    ),
    Jar(
        "io.unitycatalog:unitycatalog-client:0.6.0",
        size=564_136,
        sha256="48257499a86b801a3e2372cec55ac226ca1c1c7eabe5c118e7302f29a1fdbc19",
    ),
    Jar(
        "io.unitycatalog:unitycatalog-hadoop:0.6.0",
        size=78_389,
        sha256="c47b63c961c87102b9e1d63809a0915ba4c86b7652f57c8d39ca3a05b441a150",
    ),
)


def require_java() -> Path:
    """The `java` that Spark is to run on: the one of JAVA_HOME if that is set, else the first on the PATH.

    Raises:
        Unavailable: there is none, or it is older than Java 17; the sentence holds the command that installs one.
    """
    java = _find_java()
    if java is None:
        raise Unavailable(f"No Java was found; Spark needs Java {NEEDED} or later: {_advice()}.")
    version = _version_of(java)
    if version is None:
        raise Unavailable(f"{java} does not say its version; Spark needs Java {NEEDED} or later: {_advice()}.")
    if version < NEEDED:
        raise Unavailable(f"{java} is Java {version}; Spark needs Java {NEEDED} or later: {_advice()}.")
    return java


def environment() -> dict[str, str]:
    """Variables to set in a process that starts Spark, so that Spark takes the Java of `require_java`."""
    java = require_java()
    return {"JAVA_HOME": str(java.parent.parent)} if java.parent.name == "bin" else {}


def jar_paths() -> list[Path]:
    """The Delta JARs of this installation, for `spark.jars` or the class path.

    Raises:
        Unavailable: they have not been fetched yet.
    """
    missing = [jar.path.name for jar in JARS if not jar.is_here()]
    if missing:
        raise Unavailable(
            f"{len(missing)} of {len(JARS)} Delta JARs are missing in {SHARE / 'jars'} ({missing[0]}, ...); "
            "run 'make setup' or 'python -m contender.lake.java'."
        )
    return [jar.path for jar in JARS]


def fetch_jars(progress: Progress) -> None:
    """Fetch the Delta JARs unless they are here already; several processes may call this at once.

    Spark's own Ivy resolves them, so that the mirrors a user has set up for Spark hold here too.

    Raises:
        Unavailable: they cannot be fetched or kept, or are not the ones that were pinned.
    """
    try:
        SHARE.mkdir(parents=True, exist_ok=True)
        with FileLock(SHARE / "setup.lock"):
            if all(jar.is_here() and jar.is_intact(jar.path) for jar in JARS):
                return
            megabytes = sum(jar.size for jar in JARS) / 1e6
            progress(f"Fetching {len(JARS)} Delta JARs ({megabytes:.0f} MB, once)...")
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=SHARE) as scratch:
                _resolve(Path(scratch))
                _keep(Path(scratch, "jars"))
    except OSError as error:
        raise Unavailable(f"The Delta JARs cannot be kept in {SHARE} ({error}); make that folder writable.") from error


def jvm_options() -> list[str]:
    """Options that make the JVM of a Spark driver start faster; none without an archive made by this Java."""
    archive = _archive()
    # Where the archive does not fit after all (another class path, say), the JVM goes on without it: nothing to tell.
    return [f"-XX:SharedArchiveFile={archive}", *QUIET] if archive else []


def archive_classes(progress: Progress) -> None:
    """Keep the classes that Spark and Delta load in an archive that later JVMs map into memory instead.

    It only saves seconds at every start, so a failure leaves things as they were.
    """
    with FileLock(SHARE / "setup.lock"):
        if _archive():
            return
        progress("Preparing Spark's classes for faster starts (190 MB, half a minute, once)...")
        with tempfile.TemporaryDirectory(prefix=".archive-", dir=SHARE) as scratch:
            made = Path(scratch, "spark.jsa")
            script = Path(scratch, "warm_up.py")
            script.write_text(WARM_UP)
            command: list[str | Path] = ["--master", "local[1]", "--jars", ",".join(map(str, jar_paths()))]
            command += [
                "--driver-java-options",
                " ".join([f"-XX:ArchiveClassesAtExit={made}", "-XX:TieredStopAtLevel=1", *QUIET]),
            ]
            done = _submit([*command, script, Path(scratch, "table")], seconds=ARCHIVE_SECONDS)
            if done is None or done.returncode != 0 or not made.is_file():
                progress("That did not work out; Spark will start without.")
                return
            for old in SHARE.glob("spark-*.jsa"):
                old.unlink()
            made.replace(SHARE / f"spark-{_archive_key()}-{made.stat().st_size}.jsa")


def setup(progress: Progress) -> None:
    """Make this installation ready to start Spark: Java is there, the JARs are, and it starts as fast as it can."""
    require_java()
    fetch_jars(progress)
    archive_classes(progress)


def _resolve(scratch: Path) -> None:
    """Let Spark's Ivy put the JARs into `scratch/jars`, and its cache beside them."""
    command: list[str | Path] = ["--master", "local[1]", "--conf", f"spark.jars.ivy={scratch}"]
    command += ["--packages", JARS[0].coordinate, "--exclude-packages", SHIPPED_BY_PYSPARK]
    # spark-submit has to run something after it has resolved: Ivy's own version message costs nothing.
    answer = _submit([*command, "--class", "org.apache.ivy.Main", "spark-internal", "-version"], seconds=FETCH_SECONDS)
    if answer is None:
        raise Unavailable(
            f"The Delta JARs were not fetched within {FETCH_SECONDS} seconds; check the network and run it again."
        )
    if answer.returncode != 0:
        raise Unavailable(
            f"The Delta JARs ({JARS[0].coordinate}) could not be fetched: {_reason(answer.stderr)}; "
            "check the network, or name your Maven mirror in Spark's 'spark.jars.ivySettings', and run it again."
        )


def _submit(arguments: list[str | Path], *, seconds: int) -> subprocess.CompletedProcess[str] | None:
    """What `spark-submit` answers, or None when it takes longer than `seconds`."""
    spark = _spark_home()
    variables = {"SPARK_HOME": str(spark), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    variables["PYSPARK_DRIVER_PYTHON"] = sys.executable
    try:
        return subprocess.run(
            [spark / "bin" / "spark-submit", *arguments],
            env=os.environ | environment() | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None


def _keep(fetched: Path) -> None:
    """Move what was fetched to its place once all of it is known to be what was pinned."""
    sources = {jar: fetched / jar.fetched_name for jar in JARS}
    for jar, source in sources.items():
        if not jar.is_intact(source):
            found = "has another SHA-256 digest than the pinned one" if source.is_file() else "was not delivered"
            raise Unavailable(f"{jar.coordinate} {found}; nothing was kept, check your Maven mirror.")
    for jar, source in sources.items():
        jar.path.parent.mkdir(exist_ok=True)
        source.replace(jar.path)


def _reason(log: str) -> str:
    """The one line of a failed `spark-submit` that says why."""
    lines = [line.strip() for line in log.splitlines()]
    causes = [line for line in lines if re.search(r"Exception|unresolved|not found", line)]
    return (causes or [line for line in lines if line] or ["it gave no reason"])[-1].rstrip(".")[:300]


def _spark_home() -> Path:
    # Looked up, not imported: importing pyspark costs a second that set-up does not need.
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise Unavailable("PySpark is not installed; run 'make setup'.")
    return Path(spec.origin).parent


def _archive_key() -> str:
    """What an archive is good for: this very Java with these very JARs."""
    java = require_java()
    jars = sorted([*(_spark_home() / "jars").glob("*.jar"), *jar_paths()])
    facts = [str(java.resolve()), _banner(java)]
    facts += [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in jars]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def _archive() -> Path | None:
    """The archive to start from, if there is one. Its name holds its size: a truncated one would crash the JVM."""
    made = SHARE.glob(f"spark-{_archive_key()}-*.jsa")
    return next((path for path in made if path.stem.endswith(f"-{path.stat().st_size}")), None)


def _find_java() -> Path | None:
    home = os.environ.get("JAVA_HOME")
    found = shutil.which(Path(home, "bin", "java")) if home else shutil.which("java")
    # macOS has a `java` that only says there is none.
    if not home and (found is None or _version_of(Path(found)) is None):
        found = next((str(keg / "java") for keg in KEGS if (keg / "java").is_file()), found)
    return Path(found) if found else None


def _version_of(java: Path) -> int | None:
    # Up to Java 8 it is "1.8.0_392", from 9 on "17.0.15".
    found = re.search(r'version "(?:1\.)?(\d+)', _banner(java))
    return int(found.group(1)) if found else None


@cache
def _banner(java: Path) -> str:
    """What `java -version` prints; empty when it does not run."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stderr + answer.stdout


def _advice() -> str:
    home = "JAVA_HOME" if os.environ.get("JAVA_HOME") else ""
    sudo = "sudo " if os.geteuid() else ""
    if shutil.which("apt-get"):
        command = f"install it with '{sudo}apt-get install -y openjdk-17-jre-headless'"
    elif shutil.which("dnf"):
        command = f"install it with '{sudo}dnf install -y java-17-openjdk-headless'"
    elif shutil.which("brew"):
        command = "install it with 'brew install openjdk@17'"
    else:
        return f"install a Java {NEEDED}+ runtime and set JAVA_HOME"
    return f"{command} and unset {home} or point it there" if home else command


if __name__ == "__main__":
    try:
        setup(lambda line: print(line, flush=True))
    except Unavailable as error:
        sys.exit(str(error))
