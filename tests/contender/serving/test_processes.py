"""The server as it runs: workers of their own, a title that changes under load, and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress

import httpx
import pytest

from contender.serving import api_keys
from tests.contender.serving.conftest import RECORD
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]
PATIENCE_SECONDS = 60


@pytest.fixture
def server(place, tmp_path):
    """A server of two workers, and where it answers; nobody is champion yet."""
    port = free_port()
    command = [sys.executable, "-c", "from flows.cli.main import main; main()", "serve", "orders"]
    variables = {"CONTENDER_HOME": str(place.settings.home), "CONTENDER_USE_CASES": str(place.contract.folder.parent)}
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "2"], env=os.environ | variables, stdout=log, stderr=log
        )
    started.address, started.log = f"http://127.0.0.1:{port}", tmp_path / "log"
    try:
        wait_until(lambda: status(started, "/health/live") == 200, started)
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
        started.wait(PATIENCE_SECONDS)


def status(server, path: str) -> int:
    try:
        return httpx.get(server.address + path).status_code
    except httpx.TransportError:
        return 0


def wait_until(holds, server) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert server.poll() is None, server.log.read_text()
        assert time.monotonic() < until, server.log.read_text()
        time.sleep(0.02)


class Load:
    """Clients that ask without a pause, each over a connection of its own."""

    def __init__(self, address: str, clients: int) -> None:
        self.versions: Counter[int] = Counter()
        self.newest: dict[int, int] = {}
        self.failed: list[str] = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(address, one)) for one in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, address: str, one: int) -> None:
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not self._ending.is_set():
                try:
                    answer = client.post(f"{address}/score", json={"data": [RECORD]})
                    version = answer.json()["model_version"]
                except (httpx.TransportError, KeyError, ValueError) as error:
                    self.failed.append(repr(error))
                else:
                    self.versions[version] += 1
                    self.newest[one] = version

    def all_have(self, version: int) -> bool:
        return len(self.newest) == len(self._threads) and set(self.newest.values()) == {version}

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()


def test_the_title_changes_under_load_without_a_failed_request(place, server):
    first = httpx.post(f"{server.address}/score", json={"data": [RECORD]})
    place.crown(place.versions[0])
    wait_until(lambda: all(status(server, "/health/ready") == 200 for _ in range(20)), server)
    load = Load(server.address, 6)
    try:
        wait_until(lambda: load.all_have(1), server)
        for version in (place.versions[1], place.versions[0]):
            place.crown(version)
            wait_until(lambda version=version: load.all_have(version.version), server)
    finally:
        load.end()

    assert (first.status_code, first.headers["retry-after"]) == (503, "5")
    assert load.failed == []
    assert set(load.versions) == {1, 2}
    counted = httpx.get(f"{server.address}/metrics").text
    scored = [line for line in counted.splitlines() if line.startswith("contender_records_scored_total")]
    assert sum(float(line.split()[-1]) for line in scored) == load.versions.total(), "summed over both workers"


def raw(server, *parts: bytes) -> bytes:
    """What comes back for bytes that may be no request, until nothing more comes."""
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2])), timeout=5) as link:
        found = b""
        with suppress(OSError):
            for part in parts:
                link.sendall(part)
            while not found.endswith(b"}") and (piece := link.recv(65536)):
                found += piece
        return found


def test_what_is_no_request_is_answered_and_ended(server):
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

    endless = raw(server, b"GET /health/live HTTP/1.1\r\nX: " + b"a" * 100_000)
    broken = raw(server, head + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}")
    twice = raw(server, head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    large = raw(server, head + b"Content-Length: 100000000\r\n\r\n" + b" " * 100_000)

    assert [one[9:12] for one in (endless, broken, twice, large)] == [b"431", b"400", b"400", b"413"]
    assert status(server, "/health/live") == 200
    assert all(json.loads(line) for line in server.log.read_text().splitlines()), "also what uvicorn has to say"


def test_a_worker_that_is_killed_is_replaced_and_the_end_is_orderly(place, server):
    place.crown(place.versions[0])
    wait_until(lambda: status(server, "/health/ready") == 200, server)
    workers = {json.loads(line)["pid"] for line in server.log.read_text().splitlines()} - {server.pid}
    for worker in workers:
        os.kill(worker, signal.SIGKILL)

    wait_until(lambda: status(server, "/health/ready") == 200, server)
    key = api_keys.add(place.settings, "shop", "score", None, 0)
    wait_until(lambda: httpx.post(f"{server.address}/score", json={"data": [RECORD]}).status_code == 401, server)
    answer = httpx.post(f"{server.address}/score", json={"data": [RECORD]}, headers={"authorization": f"Bearer {key}"})
    server.terminate()

    assert workers
    assert answer.status_code == 200
    assert server.wait(PATIENCE_SECONDS) == 0
    events = [json.loads(line)["event"] for line in server.log.read_text().splitlines()]
    assert "worker ended" in events
    assert events[-1] == "ended"
