"""The one client of Prefect's API, against servers on loopback that say what they were asked."""

import json
import threading
import urllib.error
from base64 import b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from contender.promotion.approval_request import Request
from contender.settings import Settings
from flows.prefect_api import suspended_runs
from flows.prefect_api.client import Away, Server, ask


@contextmanager
def answering(*answers):
    """The address of an API that gives these answers one after the other, the last for ever, and what it was asked."""
    asked, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.command, self.path, self.headers.get("Authorization")))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, body = (200, b"true") if self.path.endswith("/health") else left.pop(0) if len(left) > 1 else left[0]
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/api", asked
        server.shutdown()


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "CONTENDER_PREFECT_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("flows.prefect_api.prefect_server.ENVIRONMENT", {})


def basic(login: str) -> str:
    return f"Basic {b64encode(login.encode()).decode()}"


def test_a_busy_server_is_asked_again_as_often_as_there_are_pauses():
    with answering((503, b"busy"), (503, b"busy"), (200, b'{"a": 1}')) as (address, asked):
        assert ask(address, "/x", pauses=(0, 0)) == {"a": 1}
        assert len(asked) == 3
    with answering((503, b"busy")) as (address, asked):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(address, "/x", pauses=(0,))
        caught.value.close()
        assert len(asked) == 2


def test_what_is_refused_is_not_asked_again():
    with answering((404, b"")) as (address, asked):
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask(address, "/x", pauses=(0, 0))
        caught.value.close()
        assert len(asked) == 1


def test_an_empty_answer_is_nothing():
    with answering((204, b"")) as (address, asked):
        assert ask(address, "/x", {"q": 1}) is None
        assert asked == [("POST", "/api/x", None)]


def test_the_login_is_the_given_one_else_that_of_the_address_else_that_of_the_process_else_a_key(monkeypatch):
    with answering((200, b"1")) as (address, asked):
        monkeypatch.setenv("PREFECT_API_KEY", "key")
        ask(address, "/x")
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "env:1")
        ask(address, "/x")
        within = address.replace("//", "//me:p%40ss@")
        ask(within, "/x")
        ask(within, "/x", login="given:1")
    assert [login for *_, login in asked] == ["Bearer key", basic("env:1"), basic("me:p@ss"), basic("given:1")]


def test_a_server_that_does_not_speak_json_is_away(monkeypatch, tmp_path):
    with answering((200, b"<html>")) as (address, _):
        monkeypatch.setenv("PREFECT_API_URL", address)
        with pytest.raises(Away):
            Server(Settings(home=tmp_path)).ask("/x")


def request() -> Request:
    asked, expires, decided = "2026-01-01T00:00:00", "2026-01-08T00:00:00", "2026-01-02T00:00:00"
    return Request("payments", 2, 1, asked, expires, "approved", "{}", "ok", decided, "person: ada", "r1")


@pytest.mark.parametrize(("state", "ended"), [("PAUSED", True), ("COMPLETED", False)])
def test_a_run_that_waits_is_ended_though_the_server_is_busy_at_first(monkeypatch, tmp_path, state, ended):
    monkeypatch.setattr(suspended_runs, "BUSY", (0,))
    version, run = (200, b'"3"'), (200, json.dumps({"state": {"type": state}}).encode())
    with answering(version, (503, b"busy"), run, (200, b'{"status": "ACCEPT"}')) as (address, asked):
        monkeypatch.setenv("PREFECT_API_URL", address)
        assert suspended_runs.end(Settings(home=tmp_path), "payments", request()) is ended
    assert (("POST", "/api/flow_runs/r1/set_state", None) in asked) is ended


def test_a_run_that_waits_on_a_server_that_is_away_is_left(monkeypatch, tmp_path):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    assert suspended_runs.end(Settings(home=tmp_path), "payments", request()) is False
