"""What a run needs of the machine: Java, the Delta JARs, memory, cores, file handles, a place for files, UTF-8."""

import locale
import os
import resource
import shlex
import tempfile
from pathlib import Path

from contender.errors import Unavailable
from contender.lake import java
from contender.operations.findings import Finding, Status, setup_command
from contender.settings import Settings

GIB = 1 << 30
BESIDE_SPARK = GIB
"""What the Python processes of a run take besides the heap of Spark's driver."""

HANDLES, FEWEST_HANDLES = 1024, 256
CGROUP_LIMITS = [Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")]


def java_is_new_enough() -> Finding:
    """Java 17 or later, the one that Spark would take."""
    needed = f"Java {java.NEEDED} or later"
    try:
        return Finding("Java", "ok", str(java.require_java()), needed)
    except Unavailable as error:
        found, _, advice = str(error).partition("; ")
        return Finding("Java", "failed", found, needed, advice.partition(": ")[2].rstrip("."))


def jars_are_intact() -> Finding:
    """The Delta JARs, byte by byte."""
    missing = [jar.path.name for jar in java.JARS if not jar.path.is_file()]
    damaged = [jar.path.name for jar in java.JARS if jar.path.is_file() and not jar.is_intact(jar.path)]
    needed = f"{len(java.JARS)} with the pinned SHA-256 digests"
    if not missing and not damaged:
        return Finding("Delta JARs", "ok", f"{len(java.JARS)} intact in {java.SHARE / 'jars'}", needed)
    told = [f"{what}: {', '.join(names)}" for what, names in (("missing", missing), ("damaged", damaged)) if names]
    return Finding("Delta JARs", "failed", f"{'; '.join(told)} in {java.SHARE / 'jars'}", needed, setup_command())


def memory_suffices(settings: Settings) -> Finding:
    """Room for the heap of Spark's driver and for Python beside it, within the limit of a container."""
    import psutil

    machine = psutil.virtual_memory()
    total = min([machine.total, *_cgroup_limits()])
    free = min(machine.available, total)
    heap = int(settings.spark_memory[:-1]) * (GIB if settings.spark_memory.endswith("g") else 1 << 20)
    needed = f"{settings.spark_memory} for Spark (CONTENDER_SPARK_MEMORY) and 1 GiB beside it"
    found = f"{total / GIB:.1f} GiB, {free / GIB:.1f} of them free"
    status: Status = "failed" if total < heap + BESIDE_SPARK else "warning" if free < heap + BESIDE_SPARK else "ok"
    if status == "ok":
        return Finding("memory", "ok", found, needed)
    room = (total if status == "failed" else free) - BESIDE_SPARK
    smaller = max(room // (512 << 20) * 512, 512)
    return Finding("memory", status, found, needed, f"export CONTENDER_SPARK_MEMORY={smaller}m")


def cores_suffice() -> Finding:
    """How many cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores > 1:
        return Finding("cores", "ok", f"{cores}", "2")
    return Finding("cores", "warning", "1, so that steps wait for each other", "2", "give the machine another core")


def handles_suffice() -> Finding:
    """Files and sockets that one process may hold open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= HANDLES:
        return Finding(
            "open files", "ok", "any number" if soft == resource.RLIM_INFINITY else f"{soft:,}", f"{HANDLES:,}"
        )
    status: Status = "failed" if soft < FEWEST_HANDLES else "warning"
    if hard != resource.RLIM_INFINITY and hard < HANDLES:
        mend = f"let root raise the hard limit of {hard:,} ('nofile' in /etc/security/limits.conf)"
    else:
        mend = f"ulimit -n {4096 if hard == resource.RLIM_INFINITY else min(4096, hard)}"
    return Finding("open files", status, f"a process may hold {soft:,}", f"{HANDLES:,}", mend)


def temporary_folder_is_writable() -> Finding:
    """The folder that Python puts temporary files in."""
    mend = f"mkdir -p ~/tmp && export TMPDIR=~/tmp, or free {shlex.quote(os.environ.get('TMPDIR', '/tmp'))}"
    needed = "a folder that can be written to"
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(4096))
        return Finding("temporary files", "ok", tempfile.gettempdir(), needed)
    except OSError as error:
        return Finding("temporary files", "failed", f"cannot be written ({error})", needed, mend)


def locale_is_utf8() -> Finding:
    """The encoding of texts and of file names, which Java takes from the same variables."""
    variables = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    name = next((value for value in variables if value), "none")
    found = f"{name}, in which Python writes {locale.getpreferredencoding(False)}"
    if "utf" in name.lower():
        return Finding("locale", "ok", found, "UTF-8")
    return Finding("locale", "warning", found, "UTF-8, or Java misreads names with accents", "export LC_ALL=C.UTF-8")


def _cgroup_limits() -> list[int]:
    """The memory limits of the container, where there is one."""
    texts = [path.read_text().strip() for path in CGROUP_LIMITS if path.is_file()]
    return [int(text) for text in texts if text.isdigit()]
