"""Where state is kept: room, rights, kind of file system, a clock that agrees with the files, and who holds locks."""

import errno
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from contender.operations.findings import Finding, Status
from contender.settings import Settings

GIB = 1 << 30
NEEDED_BYTES, AMPLE_BYTES = 2 * GIB, 5 * GIB
NEEDED_FILES = 10_000
CLOCK_SECONDS = 120
LONG_SECONDS = 6 * 3600

# SQLite's journal shares memory between processes, and locks are the system's: neither works across machines.
OVER_THE_NETWORK = {
    "9p",
    "afpfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "davfs",
    "drvfs",
    "fuse.glusterfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "gpfs",
    "lustre",
    "nfs",
    "nfs4",
    "prl_fs",
    "smb3",
    "smbfs",
    "vboxsf",
    "webdav",
}


def folders(settings: Settings) -> dict[str, Path]:
    """Local folders that are written to, by what they are to a person."""
    found = {"home": settings.state}
    if settings.lake and ("://" not in settings.lake or settings.lake.startswith("file://")):
        found["lake"] = Path(settings.lake.removeprefix("file://")).absolute()
    return found


def room_is_left(settings: Settings, needed: int = NEEDED_BYTES, ample: int = AMPLE_BYTES) -> list[Finding]:
    """Bytes and files that can still be written below each folder."""
    found, seen = [], set()
    for name, folder in folders(settings).items():
        place = nearest(folder)
        device = place.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free, table = shutil.disk_usage(place).free, os.statvfs(place)
        # Some file systems keep no table of files, and say 0 of 0.
        no_files = table.f_files > 0 and table.f_favail < NEEDED_FILES
        status: Status = "failed" if free < needed or no_files else "warning" if free < ample else "ok"
        told = f"{free / GIB:.1f} GiB free at {place}"
        if no_files:
            told += f", and room for only {table.f_favail:,} more files"
        scratch = shlex.quote(str(settings.state / "scratch"))
        mend = "" if status == "ok" else f"rm -rf {scratch} while nothing runs, or export CONTENDER_HOME=a larger disk"
        found.append(
            Finding(f"disk of the {name}", status, told, f"{needed / GIB:g} GiB, better {ample / GIB:g}", mend)
        )
    return found


def may_be_written(settings: Settings) -> list[Finding]:
    """A file is made and removed in each folder, or in the nearest one that is there."""
    return [_writable(name, folder) for name, folder in folders(settings).items()]


def may_be_read(settings: Settings) -> Finding:
    """The folder of the use cases."""
    folder, needed = settings.use_cases, "a folder with one folder per use case, each with a contract.toml"
    try:
        names = sorted(path.parent.name for path in folder.iterdir() for path in path.glob("contract.toml"))
    except FileNotFoundError:
        mend = "cd to the checkout, or export CONTENDER_USE_CASES=the folder"
        return Finding("use cases", "failed", f"{folder} is not there", needed, mend)
    except OSError as error:
        return Finding(
            "use cases", "failed", f"{folder} cannot be read ({error.strerror})", needed, _mend(folder, error)
        )
    if names:
        return Finding("use cases", "ok", f"{', '.join(names)} in {folder}", needed)
    mend = "contender init FILE --name NAME --target COLUMN"
    return Finding("use cases", "warning", f"{folder} holds no contract", needed, mend)


def is_local(settings: Settings, mounts: Iterable[tuple[str, str]] | None = None) -> Finding:
    """Whether the home, with its SQLite files and locks, is on a file system of this machine.

    Args:
        mounts: where each file system is mounted and of which type; else this machine's.
    """
    import psutil

    if mounts is None:
        mounts = [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
    place = nearest(settings.state).resolve()
    holding = [(point, kind) for point, kind in mounts if place.is_relative_to(point)]
    # Of several mounted at one point the last one is seen.
    kind = max(enumerate(holding), key=lambda one: (len(one[1][0]), one[0]))[1][1] if holding else "unknown"
    needed = "a file system of this machine, because SQLite and file locks may fail over a network"
    if kind.lower() in OVER_THE_NETWORK:
        mend = "export CONTENDER_HOME=a folder on a local disk (tables may stay: CONTENDER_LAKE)"
        return Finding("file system", "warning", f"{place} is on {kind}", needed, mend)
    return Finding("file system", "ok", kind, needed)


def clock_agrees(settings: Settings) -> Finding:
    """No file of the home, nor this program, is from the future."""
    state = settings.state
    files = [Path(__file__), *state.glob("*"), *state.glob("lake/*/*/_delta_log"), *state.glob("locks/*")]
    times = {file: file.stat().st_mtime for file in files if file.exists()}
    newest = max(times, key=lambda file: times[file])
    ahead = times[newest] - time.time()
    needed = "a clock that does not run behind the files"
    if ahead <= CLOCK_SECONDS:
        return Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), needed)
    found = f"{newest} was written {ahead / 60:,.0f} minutes in the future"
    mend = f"sudo timedatectl set-ntp true, or, if the clock is right, touch {shlex.quote(str(newest))}"
    return Finding("clock", "warning", found, needed, mend)


def locks_are_held(settings: Settings) -> list[Finding]:
    """Who is at work on which use case; a lock whose process ended is free, whatever files are left."""
    table = Path("/proc/locks")
    files = sorted((settings.state / "locks").glob("*.lock"))
    if not table.is_file():
        return [Finding("locks", "ok", f"{len(files)} files; this system does not tell who holds them")]
    holders = {}
    for line in table.read_text().splitlines():
        fields = line.split()
        # A line with an arrow is somebody who waits: "1: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF".
        if len(fields) > 5 and fields[1] == "FLOCK":
            major, minor, inode = fields[5].split(":")
            holders[os.makedev(int(major, 16), int(minor, 16)), int(inode)] = int(fields[4])
    held = [(file, holders.get((file.stat().st_dev, file.stat().st_ino))) for file in files]
    return [_held(file, holder) for file, holder in held if holder] or [Finding("locks", "ok", "none is held")]


def nearest(path: Path) -> Path:
    """The path, or of its parents the nearest that is there."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def owning(folder: Path) -> str:
    """The command that lets this user write a folder and all below it."""
    quoted = shlex.quote(str(folder))
    return f'sudo chown -R "$(id -un)" {quoted} && chmod -R u+rwX {quoted}'


def _writable(name: str, folder: Path) -> Finding:
    place, needed = nearest(folder), "a folder that can be written to"
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".doctor-") as file:
            file.write(bytes(4096))
    except OSError as error:
        return Finding(name, "failed", f"{place} cannot be written ({error.strerror})", needed, _mend(place, error))
    # What a command started with sudo left behind.
    foreign = [path for path in sorted(folder.glob("*")) if not os.access(path, os.W_OK)]
    if foreign:
        return Finding(name, "failed", f"{foreign[0]} cannot be written", needed, owning(folder))
    return Finding(name, "ok", str(folder) if place == folder else f"{folder}, made by the first run", needed)


def _mend(place: Path, error: OSError) -> str:
    if error.errno in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
        return "export CONTENDER_HOME=a folder on a disk that has room and can be written"
    if not place.is_dir():
        quoted = shlex.quote(str(place))
        return f"mv {quoted} {shlex.quote(f'{place}.old')}"
    return owning(place)


def _held(file: Path, pid: int) -> Finding:
    import psutil

    name = f"lock {file.stem}"
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())[:80] or process.name()
        seconds, stopped = time.time() - process.create_time(), process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        # A child inherits a lock, and holds it on when the process that took it has ended.
        return Finding(
            name, "warning", f"held by a child of process {pid}", "none", f"fuser -k {shlex.quote(str(file))}"
        )
    told = f"held by process {pid} ({command}), which began {seconds / 60:,.0f} minutes ago"
    if stopped:
        return Finding(name, "warning", f"{told} and is stopped", "a process that goes on", f"kill -CONT {pid}")
    if seconds > LONG_SECONDS:
        return Finding(name, "warning", told, "none that long", f"kill {pid}, if it hangs")
    return Finding(name, "ok", told)
