"""The processes of a server: a parent that keeps the title, and workers, forked from it, that answer.

What all need is imported once, before the fork, and its memory is shared. The parent has no other threads, so that a
worker that dies can be forked again at any time.
"""

import contextlib
import ctypes
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from contender.contracts.contract import Contract
from contender.errors import ContenderError, UsageError
from contender.inference.scorer import why_plain
from contender.registry.model_files import arrays_in
from contender.serving import title_copy
from contender.serving.answers import Answers
from contender.serving.api_keys import Rates
from contender.serving.api_keys import read as read_keys
from contender.serving.application import Application, json_lines
from contender.serving.champions import NO_LOOK_UPS, open_champion
from contender.serving.title_copy import Keeper
from contender.settings import Settings

_LOOKS_SECONDS = 0.2
_GRACE_SECONDS = 30
_PAUSE_SECONDS = 1.0
_BACKLOG = 2048
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Listening:
    """Where a server answers, and how it is shielded."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    certificate: Path | None = None
    private_key: Path | None = None
    behind_proxy: bool = False


def check(settings: Settings, where: Listening) -> None:
    """Return only if nobody is let in who should not be.

    Raises:
        UsageError: it would answer other machines without keys, or keys would travel in the open.
    """
    if (where.certificate is None) != (where.private_key is None):
        raise UsageError("TLS needs a certificate and its private key; give --certificate and --private-key.")
    if where.host in _LOOPBACK:
        return
    if not read_keys(settings):
        raise UsageError(
            f"The address {where.host} is not of this machine alone, and there are no API keys, so that anybody could "
            "ask; make one with 'contender keys add NAME', or leave --host out."
        )
    if where.certificate is None and not where.behind_proxy:
        raise UsageError(
            f"The address {where.host} is not of this machine alone, and keys would travel in the open; give "
            "--certificate and --private-key, or say --behind-proxy where a proxy ends TLS."
        )


def serve(settings: Settings, contracts: Sequence[Contract], where: Listening) -> None:
    """Answer until a signal ends this process; what is under way then is answered first.

    Raises:
        UsageError: as `check`, or the port cannot be had.
    """
    check(settings, where)
    listening = _listen(where)
    folder = Path(tempfile.mkdtemp(prefix="contender-serving-"))
    try:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        _Parent(settings, contracts, where, listening, folder).run()
    finally:
        listening.close()
        shutil.rmtree(folder, ignore_errors=True)


def _listen(where: Listening) -> socket.socket:
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((where.host, where.port))
    except OSError as error:
        found.close()
        raise UsageError(
            f"Port {where.port} of {where.host} cannot be had ({error.strerror}); name another with --port."
        ) from None
    found.listen(_BACKLOG)
    found.set_inheritable(True)
    return found


class _Parent:
    def __init__(
        self,
        settings: Settings,
        contracts: Sequence[Contract],
        where: Listening,
        listening: socket.socket,
        folder: Path,
    ) -> None:
        self._settings, self._contracts, self._where, self._listening = settings, contracts, where, listening
        self._say, self._flush = json_lines(_write)
        self._keepers = [Keeper(settings, contract.name, self._say) for contract in contracts]
        self._answers, self._rates = folder / "answers.db", Rates()
        self._workers: dict[int, float] = {}
        self._ending = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        # Before the workers: the first of them finds its champion.
        for keeper in self._keepers:
            keeper.look()
        _import_all()
        self._rehearse()
        gc.collect()
        gc.freeze()
        for _ in range(self._where.workers):
            self._fork()
        self._say(
            "serving",
            address=f"{'https' if self._where.certificate else 'http'}://{self._where.host}:{self._port}",
            use_cases=[contract.name for contract in self._contracts],
            workers=self._where.workers,
        )
        while not self._ending:
            time.sleep(_LOOKS_SECONDS)
            for keeper in self._keepers:
                keeper.look()
            self._renew()
        for keeper in self._keepers:
            keeper.close()
        self._stop()

    def _rehearse(self) -> None:
        """Open and ask each champion once here, so that workers share what that takes; they do it again on their own.

        Only where arrays answer: a pipeline loads libraries with threads, which must not be there when it is forked.
        """
        for contract in self._contracts:
            title = title_copy.read(self._settings, contract.name)
            with contextlib.suppress(ContenderError, OSError):
                folder = title_copy.model_of(self._settings, contract.name, title.digest)
                if title.version is not None and why_plain(arrays_in(folder, title.digest)) is None:
                    open_champion(self._settings, contract, title, NO_LOOK_UPS)

    @property
    def _port(self) -> int:
        return int(self._listening.getsockname()[1])

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._ending = True

    def _fork(self) -> None:
        child = os.fork()
        if child:
            self._workers[child] = time.monotonic()
            return
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            _die_with_parent()
            _work(self._settings, self._contracts, self._where, self._listening, self._answers, self._rates)
            code = 0
        finally:
            # Nothing of the parent's is to be run to its end here.
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os._exit(code)

    def _renew(self) -> None:
        """A worker in the place of each that ended."""
        from prometheus_client import multiprocess

        for process, started in list(self._workers.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended:
                continue
            del self._workers[process]
            multiprocess.mark_process_dead(process)  # type: ignore[no-untyped-call]
            self._say("worker ended", worker=process, status=os.waitstatus_to_exitcode(status))
            if time.monotonic() - started < _PAUSE_SECONDS:
                time.sleep(_PAUSE_SECONDS)
            self._fork()

    def _stop(self) -> None:
        for process in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)
        until = time.monotonic() + _GRACE_SECONDS + 2
        while self._workers:
            for process in list(self._workers):
                if os.waitpid(process, os.WNOHANG)[0]:
                    del self._workers[process]
            if time.monotonic() > until:
                for process in self._workers:
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.02)
        self._say("ended")


def _work(
    settings: Settings,
    contracts: Sequence[Contract],
    where: Listening,
    listening: socket.socket,
    answers: Path,
    rates: Rates,
) -> None:
    import uvicorn

    from contender.serving.http_protocol import BoundedHttp

    say, flush = json_lines(_write)
    application = Application(settings, contracts, say, answers=Answers(answers), rates=rates)
    application.flush = flush
    _say_what_is_logged(say)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=75,
        ssl_certfile=where.certificate,
        ssl_keyfile=where.private_key,
    )
    uvicorn.Server(config).run(sockets=[listening])


class _Saying(logging.Handler):
    """Writes what others log as an event of ours; its text may hold what was asked, and is left out."""

    def __init__(self, say: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say("logged", by=record.name, level=record.levelname, text=str(record.msg)[:200])


def _say_what_is_logged(say: Callable[..., None]) -> None:
    logging.getLogger().handlers = [_Saying(say)]


def _import_all() -> None:
    import prometheus_client.multiprocess  # noqa: F401
    import uvloop  # noqa: F401

    from contender.inference import kernels  # noqa: F401
    from contender.serving import http_protocol  # noqa: F401


def _die_with_parent() -> None:
    """Be asked to end when the parent dies, also by a signal that it cannot catch."""
    if sys.platform == "linux":
        before = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        if os.getppid() != before:
            os._exit(1)


def _write(lines: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(2, lines)
