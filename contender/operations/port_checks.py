"""The ports that servers of our own listen on."""

import http.client
import socket

from contender.operations.findings import Finding
from contender.operations.server_checks import HEALTHY, SECONDS, ask

LOOPBACK = "127.0.0.1"
PATHS = {"Prefect": "/api/health", "MLflow": "/health", "dashboard": "/health"}


def port_is_usable(server: str, port: int) -> Finding:
    """Free, or held by the server that it is for: "Prefect", "MLflow" or "dashboard"."""
    name, needed = f"port {port}", f"free, or {server}'s"
    try:
        socket.create_connection((LOOPBACK, port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return _bindable(name, port, needed)
    except OSError as error:
        return Finding(name, "failed", f"does not answer ({error})", needed, _free(port))
    try:
        status, body = ask(f"http://{LOOPBACK}:{port}{PATHS[server]}", proxied=False)
    except (OSError, http.client.HTTPException):
        status, body = 0, b""
    if status == 200 and HEALTHY[server](body):
        return Finding(name, "ok", f"{server} answers", needed)
    return Finding(name, "failed", f"held by {_holder(port)}, which does not answer as {server}", needed, _free(port))


def _bindable(name: str, port: int, needed: str) -> Finding:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
    except OSError as error:
        return Finding(name, "failed", f"cannot be taken ({error.strerror})", needed, "choose a port above 1023")
    return Finding(name, "ok", "free", needed)


def _listening(port: int) -> tuple[str, int] | None:
    """Name and number of the process that listens; None where this system does not tell."""
    import psutil

    try:
        listening = [one for one in psutil.net_connections(kind="tcp") if one.status == psutil.CONN_LISTEN]
        pids = [one.pid for one in listening if one.laddr.port == port and one.pid]
        # Of a server with workers the first process is the one to end: it would start the others again.
        return (psutil.Process(min(pids)).name(), min(pids)) if pids else None
    except (psutil.Error, OSError):
        return None


def _holder(port: int) -> str:
    found = _listening(port)
    return f"'{found[0]}' (process {found[1]})" if found else "a process of another user"


def _free(port: int) -> str:
    found = _listening(port)
    if found and found[0].startswith("ControlCe"):
        return "turn off 'AirPlay Receiver' in the system settings"
    return f"kill {found[1]}" if found else f"sudo lsof -i :{port} tells who it is; stop it"
