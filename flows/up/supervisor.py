"""The supervisor of `contender up`: supervisord with a configuration of ours, and its answers."""

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Error, ServerProxy

from contender.errors import Unavailable, UsageError
from contender.settings import Settings
from flows.up.services import Child

LOST = (OSError, HTTPException, Error)
"""What a call to a supervisor that ends, or has ended, raises."""

_LONGEST_SOCKET = 90
"""Systems allow 104 or 108 characters; supervisord first binds a name with its process id behind it."""

_STARTED_SECONDS = 15
"""Whoever ends earlier did not start: supervisord tries again after 1, 2, 3, ... seconds, instead of at once."""

_RETRIES, _STOP_SECONDS = 30, 2

_HEAD = """\
[supervisord]
nodaemon = true
silent = true
logfile = {logs}/supervisor.log
logfile_maxbytes = 5MB
logfile_backups = 1
pidfile = {running}/supervisor.pid
minfds = 256
minprocs = 64
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[unix_http_server]
file = {socket}
chmod = 0600
"""

_PROGRAM = """
[program:{name}]
command = {command}
environment = {environment}
autostart = false
autorestart = {again}
startsecs = {started}
startretries = {retries}
stopsignal = TERM
stopasgroup = true
killasgroup = true
stopwaitsecs = {stop}
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 5MB
stdout_logfile_backups = 2
"""

_GROUP = """
[group:{role}]
programs = {names}
priority = {priority}
"""


@dataclass(frozen=True)
class State:
    """What the supervisor says of one child; `word` is in its terms: RUNNING, BACKOFF, FATAL, EXITED, ..."""

    name: str
    word: str
    pid: int
    exit_code: int
    said: str


class Supervisor:
    """A supervisord of this process's own."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket: Path, roles: Mapping[str, str]) -> None:
        self.process, self._roles = process, roles
        from supervisor.xmlrpc import SupervisorTransport

        self._transport = SupervisorTransport(None, None, f"unix://{socket}")
        self._calls: Any = ServerProxy("http://127.0.0.1", transport=self._transport).supervisor

    @property
    def lives(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def answers(self) -> bool:
        """Whether it takes calls."""
        try:
            return bool(self._calls.getState()["statename"] == "RUNNING")
        except LOST:
            # A connection that was refused once takes no further request.
            self._transport.close()
            return False

    def launch(self, name: str) -> None:
        """Start a child, and keep it running from now on.

        Raises:
            Unavailable: the supervisor ended.
        """
        with _lost_as_unavailable():
            self._calls.startProcess(f"{self._roles[name]}:{name}", False)

    def states(self) -> dict[str, State]:
        """Every child by its name.

        Raises:
            Unavailable: the supervisor ended.
        """
        with _lost_as_unavailable():
            found = self._calls.getAllProcessInfo()
        return {
            one["name"]: State(one["name"], one["statename"], one["pid"], one["exitstatus"], one["description"])
            for one in found
        }

    def stop_workers(self) -> None:
        """Ask all workers to end, and don't wait."""
        self._calls.stopProcessGroup("workers", False)

    def stop(self, within_seconds: float) -> None:
        """End it and its children: workers first, then servers."""
        self._transport.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=within_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def _lost_as_unavailable() -> Iterator[None]:
    try:
        yield
    except LOST as error:
        raise Unavailable("The supervisor of all processes has ended; start again by 'contender up'.") from error


def start_supervisor(settings: Settings, children: Sequence[Child], environment: Mapping[str, str]) -> Supervisor:
    """A supervisord that knows the children, and has started none.

    Raises:
        Unavailable: it cannot be started.
        UsageError: the home's path holds signs that its configuration cannot.
    """
    socket = socket_of(settings)
    path = settings.running / "supervisor.conf"
    text = configuration(settings, children, socket)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(text)
    with (settings.logs / "supervisor.out").open("wb") as out:
        # Its own session: Ctrl-C is for `up`, which then ends all in good order.
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(path)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    return Supervisor(process, socket, {child.name: child.role for child in children})


def configuration(settings: Settings, children: Sequence[Child], socket: Path) -> str:
    """The file that supervisord reads; there is no secret in it."""
    # Said on purpose, since supervisord warns of it.
    user = "user = root\n" if os.geteuid() == 0 else ""
    places = {"logs": settings.logs, "running": settings.running, "socket": socket}
    parts = [_HEAD.format(**{name: _literal(str(place)) for name, place in places.items()}, user=user)]
    for child in children:
        variables = ",".join(_pair(*item) for item in child.environment.items())
        parts.append(
            _PROGRAM.format(
                name=child.name,
                command=_literal(shlex.join(child.command)),
                environment=_literal(variables),
                again="false" if child.once else "true",
                started=0 if child.once else _STARTED_SECONDS,
                retries=_RETRIES,
                stop=_STOP_SECONDS,
                # Read twice over, unlike all else.
                log=_literal(_literal(str(settings.logs / f"{child.name}.log"))),
            )
        )
    for priority, role in enumerate(("servers", "workers"), start=1):
        names = ",".join(child.name for child in children if child.role == role)
        parts.append(_GROUP.format(role=role, names=names, priority=priority) if names else "")
    return "".join(parts)


def socket_of(settings: Settings) -> Path:
    """Where the supervisor listens: in the home, or, where that name is too long, in a private temporary folder.

    Raises:
        Unavailable: that folder belongs to somebody else.
    """
    path = settings.running / "up.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    folder = Path(tempfile.gettempdir()) / f"contender-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077 or folder.is_symlink():
        raise Unavailable(f"{folder} belongs to somebody else, and a folder of your own is needed there; remove it.")
    return folder / "up.sock"


def _literal(text: str) -> str:
    """A text that supervisord's configuration gives back as it is."""
    if any(sign in text for sign in ("\n", "\r", " ;", " #", "\t;", "\t#")):
        raise UsageError(f"{text!r} holds a line break or a blank before ; or #; choose a CONTENDER_HOME without them.")
    return text.replace("%", "%%")


def _pair(name: str, value: str) -> str:
    if '"' in value:
        raise UsageError(f"{value!r} holds a quotation mark; choose a CONTENDER_HOME without one.")
    return f'{name}="{value}"'
