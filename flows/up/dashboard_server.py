"""Serves the dashboard on this machine: `python -m flows.up.dashboard_server`, started by `contender up`.

The server itself is small. What reads lake and ledger needs five times its memory, so that it is another process, which
ends when it has given the page: at most one at a time, and only when somebody looks and something has changed.
"""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from contender import error_text
from contender.reports.dashboard_state import State, state_of
from contender.settings import Settings

LOOPBACK = "127.0.0.1"
_NAMES = (LOOPBACK, "localhost")
_LEAST_SECONDS = 5
"""So long a page is given without a look at what changed."""

_MOST_SECONDS = 300
"""After so long a page is made anew without a change: an approval may have expired."""

_PATIENCE_SECONDS, _IDLE_SECONDS, _RENEWS_SECONDS = 120, 15, 60

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
_HEADERS = {
    "Content-Security-Policy": f"{_POLICY}frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class Page:
    """A page as it is sent, packed with gzip, and what it was made from."""

    packed: bytes
    tag: str
    state: State
    made: float


class Pages:
    """The newest page, made when it is asked for and something has changed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._page: dict[bool, Page] = {}
        self._looked: dict[bool, float] = {}

    def newest(self, renews: bool) -> Page | None:
        """The page; None where it cannot be made."""
        with self._lock:
            page, now = self._page.get(renews), time.monotonic()
            if page is not None and now - self._looked[renews] < _LEAST_SECONDS:
                return page
            # Before it is read: what changes while it is read counts as changed.
            state = state_of(self._settings)
            if page is None or page.state != state or now - page.made > _MOST_SECONDS:
                page = _make(state, renews)
                if page is not None:
                    self._page[renews] = page
            self._looked[renews] = time.monotonic()
            return page


class DashboardServer(ThreadingHTTPServer):
    """On this machine only."""

    daemon_threads = True

    def __init__(self, settings: Settings, port: int) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.pages = Pages(settings)
        self.reports = settings.state / "reports"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is nothing to tell."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            _log(error_text.brief(error) if error else "nothing is known of it")


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of the page, of its health, and of the reports below the home."""

    server: DashboardServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "contender", ""
    timeout = _IDLE_SECONDS

    def do_GET(self) -> None:
        if not self._is_addressed_here():
            return self._fail(HTTPStatus.FORBIDDEN, "This server answers to localhost only.")
        parts = urlsplit(self.path)
        if parts.path == "/health":
            return self._send(HTTPStatus.OK, b'{"status": "ok"}\n', "application/json")
        if parts.path == "/":
            return self._page(renews=parts.query != "still")
        if parts.path.startswith("/reports/"):
            return self._report(parts.path.removeprefix("/reports/"))
        if parts.path == "/favicon.ico":
            return self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        return self._fail(HTTPStatus.NOT_FOUND, "There is no such page.")

    def do_HEAD(self) -> None:
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What cannot be read as a request, in our words and without its text."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            return self._fail(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.", {"Allow": "GET, HEAD"})
        return self._fail(HTTPStatus(code), "This is not a request that is answered here.")

    def log_message(self, format: str, *args: Any) -> None:
        """Who looks at a page of his own is not written down."""

    def _is_addressed_here(self) -> bool:
        """Whether the browser was sent here under our own name, not under one that somebody else lets point here."""
        with suppress(ValueError):
            return urlsplit(f"//{self.headers.get('Host', '')}").hostname in _NAMES
        return False

    def _page(self, *, renews: bool) -> None:
        page = self.server.pages.newest(renews)
        if page is None:
            advice = "The dashboard cannot be made just now; its log says why, and 'contender doctor' may too."
            return self._fail(HTTPStatus.SERVICE_UNAVAILABLE, advice, {"Retry-After": str(_LEAST_SECONDS)})
        more = {"ETag": page.tag, "Vary": "Accept-Encoding"} | ({"Refresh": str(_RENEWS_SECONDS)} if renews else {})
        if self.headers.get("If-None-Match") == page.tag:
            return self._send(HTTPStatus.NOT_MODIFIED, b"", "text/html; charset=utf-8", more)
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            return self._send(HTTPStatus.OK, page.packed, _HTML, more | {"Content-Encoding": "gzip"})
        return self._send(HTTPStatus.OK, gzip.decompress(page.packed), _HTML, more)

    def _report(self, name: str) -> None:
        """A page that lies in the folder of reports, wherever its name points to."""
        root = self.server.reports.resolve()
        try:
            path = (root / unquote(name, errors="strict")).resolve()
            if not path.is_relative_to(root) or path.suffix != ".html" or not path.is_file():
                raise FileNotFoundError
            file = path.open("rb")
        # A name may hold what no file's name can.
        except (OSError, ValueError):
            return self._fail(HTTPStatus.NOT_FOUND, "There is no such report.")
        with file:
            self._head(HTTPStatus.OK, os.fstat(file.fileno()).st_size, _HTML)
            if self.command != "HEAD":
                shutil.copyfileobj(file, self.wfile)

    def _fail(self, status: HTTPStatus, sentence: str, more: dict[str, str] | None = None) -> None:
        self._send(status, f"{sentence}\n".encode(), "text/plain; charset=utf-8", more)

    def _send(self, status: HTTPStatus, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self._head(status, len(body), kind, more)
        if getattr(self, "command", None) != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, size: int, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, **(more or {})}.items():
            self.send_header(name, value)
        if status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.send_header("Content-Length", str(size))
        self.end_headers()


_HTML = "text/html; charset=utf-8"


def serve(settings: Settings) -> None:
    """Answer until a signal ends this process; where it answers is in `run/dashboard.json` of the home."""
    try:
        server = DashboardServer(settings, settings.dashboard_port)
    except OSError as error:
        _log(
            f"Port {settings.dashboard_port} cannot be had ({error.strerror}); "
            "export CONTENDER_DASHBOARD_PORT=another port."
        )
        raise SystemExit(1) from None
    settings.running.mkdir(parents=True, exist_ok=True)
    ready = settings.running / "dashboard.json"
    ready.write_text(json.dumps({"address": f"http://{LOOPBACK}:{server.server_port}"}), encoding="utf-8")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


def print_page(settings: Settings, renews: bool) -> None:
    """The page on standard output, and what could not be read on standard error."""
    from contender.reports import dashboard

    text, causes = dashboard.page(settings, renews=renews)
    for cause in causes:
        _log(cause)
    sys.stdout.buffer.write(gzip.compress(text.encode(), 6, mtime=0))


def _make(state: State, renews: bool) -> Page | None:
    command = [sys.executable, "-m", "flows.up.dashboard_server", "--page", "renews" if renews else "still"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=_PATIENCE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        _log(f"The page was not made: {error_text.brief(error)}")
        return None
    tag = f'"{hashlib.sha256(done.stdout).hexdigest()[:32]}"'
    return Page(done.stdout, tag, state, time.monotonic())


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    with error_text.process("dashboard"):
        if sys.argv[1:2] == ["--page"]:
            print_page(Settings(), renews=sys.argv[2:] == ["renews"])
        else:
            serve(Settings())
