"""The Java that Spark runs on, and what it is started with: the JARs that Spark lacks, an archive of loaded classes."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from contender.errors import Unavailable

NEEDED = 17
SHARE = Path(sys.prefix, "share", "contender")

# Homebrew does not put a versioned JDK on the PATH.
KEGS = [
    Path(prefix, "opt", keg, "bin") for prefix in ("/opt/homebrew", "/usr/local") for keg in ("openjdk@17", "openjdk")
]

QUIET = ["-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:class+path=off"]


@dataclass(frozen=True)
class Jar:
    """One file on Maven Central, pinned by content."""

    coordinate: str
    size: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where this installation keeps it."""
        _, artifact, version = self.coordinate.split(":")
        return SHARE / "jars" / f"{artifact}-{version}.jar"

    @property
    def part(self) -> Path:
        """Where it grows while it is being fetched."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def place(self) -> str:
        """Its path in any Maven repository."""
        group, artifact, version = self.coordinate.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"

    def is_here(self) -> bool:
        """Whether it has been fetched: cheap enough for every start, so it looks at the size only."""
        return self.path.is_file() and self.path.stat().st_size == self.size

    def is_intact(self, path: Path) -> bool:
        """Whether the file at `path` is this JAR, byte by byte."""
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


DELTA_JARS = (
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

JARS = DELTA_JARS
"""Every JAR that Spark is started with beside its own."""


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
            "run 'make setup' or 'python -m contender.lake.java_setup'."
        )
    return [jar.path for jar in JARS]


def jvm_options() -> list[str]:
    """Options that make the JVM of a Spark driver start faster; none without an archive made by this Java."""
    archive = class_archive()
    # Where the archive does not fit after all (another class path, say), the JVM goes on without it: nothing to tell.
    return [f"-XX:SharedArchiveFile={archive}", *QUIET] if archive else []


def archive_key() -> str:
    """What an archive is good for: this very Java with these very JARs."""
    java = require_java()
    jars = sorted([*(spark_home() / "jars").glob("*.jar"), *jar_paths()])
    facts = [str(java.resolve()), _banner(java)]
    facts += [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in jars]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]


def class_archive() -> Path | None:
    """The archive to start from, if there is one. Its name holds its size: a truncated one would crash the JVM."""
    made = SHARE.glob(f"spark-{archive_key()}-*.jsa")
    return next((path for path in made if path.stem.endswith(f"-{path.stat().st_size}")), None)


def spark_home() -> Path:
    """Where PySpark keeps Spark.

    Raises:
        Unavailable: PySpark is not installed.
    """
    # Looked up, not imported: importing pyspark costs a second that set-up does not need.
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise Unavailable("PySpark is not installed; run 'make setup'.")
    return Path(spec.origin).parent


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
