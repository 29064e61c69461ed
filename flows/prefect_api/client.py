"""Prefect's server over plain HTTP: importing Prefect's client would cost a watcher 150 MB."""

import base64
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
from urllib.parse import unquote, urlsplit

from contender.errors import Unavailable
from contender.operations.findings import without_login
from contender.settings import Settings
from flows.prefect_api.discovery import find_running

Document = dict[str, Any]

_SECONDS = 5.0
_LONGEST_REST = 15.0

log = logging.getLogger(__name__)


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
        self._login = settings.prefect_auth.get_secret_value() or os.environ.get("PREFECT_API_AUTH_STRING", "")
        if parts.username is not None:
            self._login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # A proxy knows nothing of this machine.
        here = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))
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
            Away: the server does not answer, refuses, or is left in peace after it did so.
        """
        if time.monotonic() < self._rests_until:
            raise Away(f"Prefect at {self.address} does not answer; it will be asked again.")
        body = None if document is None else json.dumps(document, default=str).encode()
        request = urllib.request.Request(f"{self.address}{path}", body, {"Content-Type": "application/json"})
        if key := os.environ.get("PREFECT_API_KEY"):
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        elif self._login:
            secret = base64.b64encode(self._login.encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {secret}")
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise self._away(_told(error)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._away(str(getattr(error, "reason", error)) or type(error).__name__) from None
        self._back()
        return json.loads(content) if content else None

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
