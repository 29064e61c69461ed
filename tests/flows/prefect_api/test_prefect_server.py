"""The Prefect server that a command starts for itself."""

import os
import socket
from urllib.parse import urlsplit

import pytest

from contender.settings import Settings
from flows.prefect_api import prefect_server

pytestmark = pytest.mark.slow


def test_its_port_is_nobody_else_s_from_the_start(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_HOME", "")
    monkeypatch.setenv("PREFECT_API_URL", "")
    server = prefect_server._start(Settings(home=tmp_path))
    try:
        address = os.environ["PREFECT_API_URL"]
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", urlsplit(address).port))
        prefect_server.wait_until_ready(server)

        assert prefect_server.answers(address)
    finally:
        prefect_server.stop(server)
    assert server.returncode is not None
    assert not prefect_server.answers(address)
