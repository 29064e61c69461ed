"""Prefect's server over plain HTTP: importing Prefect's client would cost a watcher 150 MB."""

import http.client
import json
import logging
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from contender.errors import Unavailable
from contender.operations.server_checks import basic, login_in
from contender.redact import without_login
from contender.settings import Settings
from flows.prefect_api.discovery import find_running

Document = dict[str, Any]

BUSY = (0.5, 1, 2, 4)
"""Pauses of a command that asks once and wants an answer."""

_SECONDS = 5.0
_LONGEST_REST = 15.0

log = logging.getLogger(__name__)


def ask(address: str, path: str, question: Any = None, *, login: str = "", pauses: Sequence[float] = ()) -> Any:
    """What a Prefect API answers: to a POST where there is a question, else to a GET.

    Args:
        question: what JSON can hold.
        login: NAME:PASSWORD; else that of the address, else this process's, else its key.
        pauses: seconds, more or less, before a server is asked again that says by status 503 that it is busy.

    Raises:
        OSError: no answer, or a refusal (`urllib.error.HTTPError`).
        ValueError: the answer is not JSON.
    """
    login = login or login_in(address) or os.environ.get("PREFECT_API_AUTH_STRING", "")
    key = os.environ.get("PREFECT_API_KEY", "")
    authorization = basic(login) if login else f"Bearer {key}" if key else ""
    body = None if question is None else json.dumps(question, default=str).encode()
    for pause in (*pauses, None):
        try:
            return json.loads(fetch(f"{address.rstrip('/')}{path}", body, authorization, seconds=_SECONDS) or b"null")
        except urllib.error.HTTPError as error:
            if error.code != 503 or pause is None:
                raise
            error.close()
            # Not all who wait come back at once.
            time.sleep(pause * random.uniform(0.5, 1.5))
    return None


def fetch(url: str, body: bytes | None = None, authorization: str = "", *, seconds: float) -> bytes:
    """The body of a good answer; what is posted is JSON.

    Raises:
        OSError: no answer, or a refusal (`urllib.error.HTTPError`).
    """
    parts = urlsplit(url)
    # A proxy knows nothing of this machine.
    here = parts.hostname in ("127.0.0.1", "localhost", "::1")
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(bare, body, {"Content-Type": "application/json"})
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    with opener.open(request, timeout=seconds) as answer:
        found: bytes = answer.read()
        return found


class Away(Unavailable):
    """Prefect does not answer, which was told already."""


class Server:
    """One Prefect server. While it is away, it is asked ever less often, and that is said once."""

    def __init__(self, settings: Settings) -> None:
        running = None if os.environ.get("PREFECT_API_URL") else find_running(settings)
        usual = running.prefect_api if running else f"http://127.0.0.1:{settings.prefect_port}/api"
        given = os.environ.get("PREFECT_API_URL") or usual
        parts = urlsplit(given.rstrip("/"))
        self.address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._login = login_in(given) or settings.prefect_auth.get_secret_value()
        self._lock = threading.Lock()
        self._failures, self._rests_until = 0, 0.0

    def run_page(self, flow_run: str) -> str:
        """Address of a flow run's page in the UI."""
        ui = os.environ.get("PREFECT_UI_URL") or self.address.removesuffix("/api")
        return f"{ui.rstrip('/')}/runs/flow-run/{flow_run}"

    def emit(self, event: Mapping[str, Any], *, id: str) -> None:
        """Send one event.

        Args:
            event: what `contender.events.Event.document` gives.
            id: the same when it is tried again.
        """
        self.ask("/events", [{**event, "id": id, "occurred": datetime.now(UTC).isoformat()}])

    def events(self, names: Sequence[str], since: datetime) -> Iterator[Document]:
        """The events of these names that occurred since then, oldest first; also those of clocks that are ahead."""
        until = datetime.now(UTC) + timedelta(days=1)
        occurred = {"since": since.isoformat(), "until": until.isoformat()}
        wanted = {"occurred": occurred, "event": {"name": list(names)}, "order": "ASC"}
        page = self.ask("/events/filter", {"filter": wanted, "limit": 50})
        while True:
            yield from page["events"]
            if not page.get("next_page"):
                return
            # Its host is the one by which the server knows itself, which need not be ours.
            page = self.ask(f"/events/filter/next?{urlsplit(page['next_page']).query}")

    def flow_runs(self, *, limit: int = 200, **filters: Any) -> list[Document]:
        """Flow runs by Prefect's filters (`flow_runs`, `flows`, `deployments`), the newest first."""
        found: list[Document] = self.ask(
            "/flow_runs/filter", {**filters, "limit": limit, "sort": "EXPECTED_START_TIME_DESC"}
        )
        return found

    def ask(self, path: str, document: Any = None) -> Any:
        """The answer to a request: a POST where there is a document, else a GET.

        Raises:
            Away: the server does not answer with JSON, refuses, or is left in peace after it did so.
        """
        if time.monotonic() < self._rests_until:
            raise Away(f"Prefect at {self.address} does not answer; it will be asked again.")
        try:
            answer = ask(self.address, path, document, login=self._login)
        except urllib.error.HTTPError as error:
            with error:
                raise self._away(_told(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._away(str(getattr(error, "reason", error)) or type(error).__name__) from None
        self._back()
        return answer

    def _away(self, reason: str) -> Away:
        sentence = f"Prefect at {without_login(self.address)} does not answer ({reason}); it will be asked again."
        with self._lock:
            self._failures += 1
            rest = min(_LONGEST_REST, 0.5 * 2 ** min(self._failures, 10)) * random.uniform(0.75, 1.0)
            self._rests_until = time.monotonic() + rest
            # Once is nothing: a busy server answers 503, and means "in a moment".
            if self._failures == 2:
                log.warning("%s", sentence)
        return Away(sentence)

    def _back(self) -> None:
        with self._lock:
            if self._failures >= 2:
                log.info("Prefect at %s answers again", self.address)
            self._failures, self._rests_until = 0, 0.0


def _told(error: urllib.error.HTTPError) -> str:
    if error.code == 401:
        return "401, it asks for a login: set CONTENDER_PREFECT_AUTH or PREFECT_API_AUTH_STRING to NAME:PASSWORD"
    return f"{error.code}, {error.read(200).decode(errors='replace')}"
