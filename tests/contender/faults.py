"""A real MLflow server behind a proxy that can be made to fail in the ways in which networks and gateways fail."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.ports import free_port

PAGE = b"<html><body>gateway</body></html>"
PAGES = {"500": 500, "503": 503, "429": 429, "404 page": 404, "garbage": 200, "empty": 200}
FAST = ("refuse", "503", "500", "429", "404 page", "garbage", "empty", "cut", "too short")
"""Faults that can be noticed at once."""
WAITING = ("hang", "trickle", "trickling headers", "too long")
"""Faults that only waiting shows."""

Trigger = Callable[[str, str], bool]


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, or does not.

    Attributes:
        fault: what is done to requests, of `FAST`, `WAITING`, "slow" and "steady" (which are none) and "pass".
        faulted_at: when the first request was treated badly since the last switch, in monotonic seconds.
    """

    daemon_threads = True
    allow_reuse_address = True
    # A test that ends must not wait for connections that hang.
    block_on_close = False

    def __init__(self, upstream: int) -> None:
        self.upstream, self.fault, self.requests = upstream, "pass", list[str]()
        self.faulted_at: float | None = None
        self._next: tuple[str, Trigger] | None = None
        self._changed = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._serve()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def switch(self, fault: str) -> None:
        """Treat all requests so from now on; those that hang are let go."""
        closed, self._next, self.faulted_at = self.fault == "refuse", None, None
        self._become(fault)
        if closed and fault != "refuse":
            self.socket = socket.socket(self.address_family, self.socket_type)
            self.server_bind()
            self.server_activate()
            self._serve()

    def switch_at(self, fault: str, trigger: Trigger) -> None:
        """Treat requests so from the first on for which `trigger` says yes to method and path."""
        self.switch("pass")
        self._next = fault, trigger

    def treatment(self, method: str, path: str) -> str:
        """What happens to this request."""
        self.requests.append(f"{method} {path}")
        if self._next and self._next[1](method, path):
            fault, self._next = self._next[0], None
            self._become(fault)
        if self.fault not in ("pass", "slow", "steady"):
            self.faulted_at = self.faulted_at or time.monotonic()
        return self.fault

    def wait(self, seconds: float) -> bool:
        """Whether the treatment was switched meanwhile."""
        return self._changed.wait(seconds)

    def _become(self, fault: str) -> None:
        if fault == "refuse" != self.fault:
            self.shutdown()
            self.server_close()
        self.fault = fault
        self._changed.set()
        self._changed = threading.Event()

    def _serve(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that give up are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        pass

    def _treat(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.treatment(self.command, self.path)
        # A connection outlives a switch; so that none is told by the former treatment, each is used once.
        self.close_connection = True
        if fault == "refuse":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif fault == "hang":
            self.server.wait(60)
        elif fault == "trickle":
            self._send(200, {"Content-Length": "1000000"}, b"")
            self._drip()
        elif fault == "trickling headers":
            self._drip()
        elif fault in PAGES:
            page = b"" if fault == "empty" else PAGE
            # An hour is what an overloaded server may ask for; nobody can wait that long.
            self._send(PAGES[fault], {"Content-Length": str(len(page)), "Retry-After": "3600"}, page)
        else:
            self._relay(fault, body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _treat  # noqa: N815 - named by the library

    def _drip(self) -> None:
        while not self.server.wait(1):
            self.wfile.write(b"H")

    def _relay(self, fault: str, body: bytes) -> None:
        if fault == "slow":
            self.server.wait(3)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        kept = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in ("content-length", "transfer-encoding", "connection")
        }
        wrong = {"too long": 100, "too short": -1}.get(fault, 0)
        sent = content[: len(content) // 2] if fault == "cut" else content
        pieces = 10 if fault == "steady" else 1
        self._send(answer.status, {**kept, "Content-Length": str(max(0, len(content) + wrong))}, sent, pieces)
        if fault == "too long":
            self.server.wait(60)

    def _send(self, status: int, headers: dict[str, str], content: bytes, pieces: int = 1) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        size = max(1, -(-len(content) // pieces))
        for begin in range(0, len(content), size):
            if begin:
                time.sleep(0.1)
            self.wfile.write(content[begin : begin + size])


@contextmanager
def served(folder: Path) -> Iterator[Proxy]:
    """A proxy in front of a real MLflow server that keeps everything in a folder."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    # MLflow looks for its own variables, which the proxy's address in a test must not become.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    # Eight more processes, for what nobody asks of it here.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [
                Path(sys.executable).with_name("mlflow"),
                "server",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--backend-store-uri",
                f"sqlite:///{folder / 'mlflow.db'}",
                "--artifacts-destination",
                folder / "artifacts",
                "--serve-artifacts",
                "--workers",
                "1",
            ],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(port, server, folder / "server.log")
        proxy = Proxy(port)
        try:
            yield proxy
        finally:
            # Closes the port, and lets go what hangs.
            proxy.switch("refuse")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


def _wait_until_healthy(port: int, server: subprocess.Popen[bytes], log: Path, seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            connection.close()
    raise AssertionError(f"MLflow did not start: {log.read_text()}")
