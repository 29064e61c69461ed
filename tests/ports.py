"""Ports for servers that tests start, out of reach of those that the system hands out by itself."""

import itertools
import os
import socket
from pathlib import Path

_FIRST, _EACH = 10_000, 1_000


def _ephemeral() -> int:
    """The first port that an outgoing connection of anybody may get, or whoever asks for port 0."""
    told = Path("/proc/sys/net/ipv4/ip_local_port_range")
    return int(told.read_text().split()[0]) if told.exists() else 32_768


def _mine() -> range:
    """A thousand ports of this process: workers of one run get others, runs beside one another mostly do."""
    blocks = max(1, (_ephemeral() - _FIRST) // _EACH)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    first = _FIRST + (os.getppid() + int(worker)) % blocks * _EACH
    return range(first, first + _EACH)


_next = itertools.cycle(_mine())


def free_port() -> int:
    """A port of this machine where nobody listens, and which this process was not given lately.

    Between a port that the system chooses (port 0) and a server that needs seconds to bind it, somebody's outgoing
    connection may take it.
    """
    for port in itertools.islice(_next, _EACH):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
