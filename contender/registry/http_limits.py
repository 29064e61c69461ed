"""How long MLflow may be silent: one limit for requests, for answers that drip, and for a locked database."""

import http.client
import io
import time
from contextvars import ContextVar
from typing import Any

import requests
from mlflow.utils import request_utils
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

SILENCE_SECONDS = 10.0
"""From the first request without an answer until all further ones are given up, those of MLflow's threads included."""

SLOWEST_BYTES_PER_SECOND = 256 * 1024
"""What is sent or received at this pace is no silence, however long it takes."""

LOCK_MILLISECONDS = 5_000
"""MLflow waits for SQLite once for the call and once more to end the run; its own 20 s each are too long for that."""

_DATABASE_ATTEMPTS = 2
_deadline: ContextVar[float] = ContextVar("deadline")


class _Silence:
    """Since when nobody answers, in monotonic seconds; of the process, because MLflow's pools make its requests too."""

    since: float | None = None

    def deadline(self, now: float) -> float:
        return (self.since or now) + SILENCE_SECONDS

    def note(self, began: float) -> None:
        self.since = self.since or began


_silence = _Silence()


def start_anew() -> None:
    """Forget earlier silence: whoever asks now wants to know how it is now."""
    _silence.since = None


def refuse_silence() -> None:
    """Tell of a last request without an answer: here and there MLflow swallows that and goes on with what it has.

    Raises:
        requests.ConnectionError: there was one.
    """
    if _silence.since is not None:
        raise requests.ConnectionError("no answer to the last request")


class _Paced(io.RawIOBase):
    """The bytes of an answer, until the deadline: a timeout of the socket never fires while single bytes drip."""

    def __init__(self, sock: Any, raw: Any, deadline: float) -> None:
        self._sock, self._raw, self._deadline, self._got = sock, raw, deadline, 0
        self._timeout: float | None = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline + self._got / SLOWEST_BYTES_PER_SECOND - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError("the answer does not come to an end")
            self._sock.settimeout(min(left, self._timeout or left))
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            # A streamed answer ends outside the adapter, which could not note it.
            _silence.note(self._deadline - SILENCE_SECONDS)
            raise
        self._got += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Paced(sock, self.fp.detach(), _deadline.get()))


class _Connection(HTTPConnection):
    response_class = _Answer


class _TlsConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class PatientAdapter(request_utils.TCPKeepAliveHTTPAdapter):
    """MLflow's way to its server, with the limit."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager: Any = super().proxy_manager_for(*args, **kwargs)  # type: ignore[no-untyped-call]
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """The answer, complete unless it is streamed.

        Raises:
            requests.RequestException: the deadline has passed, or what answers is not MLflow.
        """
        began = time.monotonic()
        body = int(request.headers.get("Content-Length") or 0)
        deadline = _silence.deadline(began) + body / SLOWEST_BYTES_PER_SECOND
        if deadline <= began:
            raise requests.ConnectionError(f"no answer for {SILENCE_SECONDS:.0f} s", request=request)
        if timeout is None or isinstance(timeout, int | float):
            timeout = min(timeout or SILENCE_SECONDS, deadline - began)
        token = _deadline.set(deadline)
        try:
            response = super().send(request, stream, timeout, *args, **kwargs)
            if not stream:
                _check_is_mlflow(response)
        except requests.RequestException as error:
            _silence.note(began)
            raise requests.ConnectionError(_reason(error), request=request) from error
        finally:
            _deadline.reset(token)
        _silence.since = None
        return response


def _reason(error: requests.RequestException) -> str:
    """What went wrong, without the objects and addresses around it."""
    cause: Any = error.args[0] if error.args else error
    return str(getattr(cause, "reason", None) or cause).rpartition("): ")[2]


def _check_is_mlflow(response: requests.Response) -> None:
    """Refuse pages of gateways: MLflow takes an empty one for 'nothing found'. Its own refusals to log in are pages."""
    if "/api/" not in response.url or response.is_redirect or response.status_code in (204, 401, 403):
        return
    if response.request.method == "PUT" and not response.content:
        return  # an upload that went well
    try:
        understood = isinstance(response.json(), dict)
    except ValueError:
        understood = False
    if not understood:
        raise requests.ConnectionError(f"answered {response.status_code} with something else than MLflow does")


def limit_requests() -> None:
    """Give all requests of MLflow in this process the limit. Repeating it changes nothing."""
    # The one place that all requests pass. MLflow has no setting for it: its timeout is for the silence between two
    # bytes, and its hooks for headers and credentials see requests but no answers.
    module: Any = request_utils
    module.TCPKeepAliveHTTPAdapter = PatientAdapter


def limit_database() -> None:
    """Give MLflow's own database the limit. Repeating it changes nothing."""
    import sqlalchemy
    from mlflow.store.db import utils

    # Ten attempts, with ever longer pauses, would be 100 s and more.
    utils.MAX_RETRY_COUNT = _DATABASE_ATTEMPTS
    if not sqlalchemy.event.contains(sqlalchemy.Engine, "before_cursor_execute", _shorten_wait):
        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", _shorten_wait, retval=True)


def _shorten_wait(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
    return statement.replace("PRAGMA busy_timeout = 20000;", f"PRAGMA busy_timeout = {LOCK_MILLISECONDS};"), parameters
