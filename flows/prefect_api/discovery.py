"""What `contender up` runs here, and where: written by it, read by every other command."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from contender.errors import OtherRelease, Unavailable
from contender.home_version import check_home
from contender.settings import Settings

_VERSION = 1
"""Of what `up.json` says; it goes up with what a command of the release before could not read."""


@dataclass(frozen=True)
class Running:
    """One `contender up` and its addresses.

    `started` is when its process began, in seconds since 1970: a later process may bear the same number.
    """

    pid: int
    started: float
    id: str
    since: str
    use_cases: tuple[str, ...]
    prefect_api: str
    prefect_ui: str
    mlflow: str
    dashboard: str = ""
    ready: bool = False
    logs: str = ""
    landing: Mapping[str, str] = field(default_factory=dict)


def find_running(settings: Settings) -> Running | None:
    """What runs here now; None when nothing does, also when it was killed.

    Raises:
        OtherRelease: another release has it running.
    """
    running = _read(file_of(settings))
    return running if running is not None and _lives(running.pid, running.started) else None


def record(settings: Settings, running: Running) -> None:
    """Let other commands know, in one step: nobody reads half a file."""
    path = file_of(settings)
    part = path.with_suffix(".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump({"version": _VERSION, **asdict(running)}, file, indent=2)
    part.replace(path)


def forget(settings: Settings) -> None:
    """Remove what says that something runs here, and the words of its children."""
    for path in settings.running.glob("*.json"):
        path.unlink(missing_ok=True)


def file_of(settings: Settings) -> Path:
    """Where it is written."""
    return settings.running / "up.json"


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Hold the lock of this home; it dies with this process.

    Raises:
        Unavailable: another `up` holds it, or the home cannot be written.
    """
    from filelock import FileLock, Timeout

    check_home(settings)
    try:
        settings.running.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.running.chmod(0o700)
        settings.logs.mkdir(parents=True, exist_ok=True)
        lock = FileLock(settings.running / "up.lock")
        # One that was told to end lets go in a moment.
        lock.acquire(timeout=0 if find_running(settings) else 3)
    except Timeout:
        raise already(settings) from None
    except OSError as error:
        raise Unavailable(
            f"{settings.state} cannot be written ({error.strerror}), and all state lives there; see to its rights, or "
            "export CONTENDER_HOME=another folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


def already(settings: Settings) -> Unavailable:
    """What a second `up` is told."""
    found = find_running(settings)
    if found is None:
        return Unavailable(f"Another 'contender up' begins or ends in {settings.state} just now; try again in 10 s.")
    return Unavailable(
        f"'contender up' runs here already, as process {found.pid} since {found.since}: Prefect at {found.prefect_ui}, "
        f"MLflow at {found.mlflow}; 'contender down' ends it."
    )


def _read(path: Path) -> Running | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version, pid, started = found.pop("version", None), found["pid"], found["started"]
        if version != _VERSION and _lives(pid, started):
            raise OtherRelease(
                f"{path} has {'no version' if version is None else f'version {version}'}, needed is version "
                f"{_VERSION}: another release runs 'contender up' here, as process {pid}; end it with 'kill {pid}' and "
                "run the same command again."
            )
        running = Running(**found)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return replace(running, use_cases=tuple(running.use_cases))


def _lives(pid: int, started: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
