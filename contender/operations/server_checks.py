"""The servers that this installation is configured to talk to: whether they answer, and as what they should be."""

import base64
import http.client
import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from contender.operations.findings import Finding
from contender.redact import without_login
from contender.settings import Settings

SECONDS = 2
HEALTHY: dict[str, Callable[[bytes], bool]] = {
    "Prefect": lambda body: body.strip() == b"true",
    "MLflow": lambda body: body.strip() == b"OK",
    "dashboard": lambda body: body.split() == [b'{"status":', b'"ok"}'],
}


def prefect_answers() -> Finding:
    """The server of PREFECT_API_URL; without it, commands start one of their own."""
    address = os.environ.get("PREFECT_API_URL", "")
    if not address:
        return Finding("Prefect server", "ok", "none configured (PREFECT_API_URL), commands start their own")
    return server_answers(
        "Prefect", address, f"{address.rstrip('/')}/health", "PREFECT_API_URL", "prefect server start"
    )


def spark_answers(settings: Settings) -> Finding:
    """The Spark master: one in this process needs nothing."""
    master = settings.spark_master
    if master.startswith("local"):
        return Finding("Spark master", "ok", master)
    if master.startswith("spark://"):
        # Several masters stand by for each other.
        found = [
            host_answers("Spark master", f"spark://{host}", 7077, "CONTENDER_SPARK_MASTER")
            for host in master.removeprefix("spark://").split(",")
        ]
        return next((one for one in found if one.status == "ok"), found[0])
    if master.startswith("k8s://"):
        address = master.removeprefix("k8s://")
        address = address if "://" in address else f"https://{address}"
        return host_answers("Spark master", address, 443, "CONTENDER_SPARK_MASTER")
    if master == "yarn":
        if any(os.environ.get(name) for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR")):
            return Finding("Spark master", "ok", "yarn, which is not probed")
        mend = "export HADOOP_CONF_DIR=the folder with yarn-site.xml"
        return Finding("Spark master", "failed", "yarn, and no HADOOP_CONF_DIR", "the cluster's addresses", mend)
    needed, mend = "local[*], spark://HOST:PORT, k8s://HOST:PORT or yarn", "export CONTENDER_SPARK_MASTER='local[*]'"
    return Finding("Spark master", "failed", without_login(master), needed, mend)


def server_answers(server: str, address: str, health: str, variable: str, start: str) -> Finding:
    """Whether a health address answers as the "Prefect" or "MLflow" that it should be."""
    name, shown, needed = f"{server} server", without_login(address), f"{server} at {variable}"
    mend = f"{start}, or unset {variable}"
    try:
        status, body = ask(health)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            mend = "export SSL_CERT_FILE=the certificate of your authority (and REQUESTS_CA_BUNDLE for MLflow)"
            return Finding(name, "warning", f"the certificate of {shown} is not trusted here", needed, mend)
        told = reason if isinstance(reason, OSError) else type(error).__name__
        return Finding(name, "failed", f"{shown} does not answer ({told})", needed, mend)
    if status == 200 and HEALTHY[server](body):
        return Finding(name, "ok", f"{shown} answers", needed)
    if b"Invalid Host header" in body:
        mend = f"start the server with MLFLOW_SERVER_ALLOWED_HOSTS={urlsplit(address).hostname}"
    elif status in (401, 403):
        mend = "export MLFLOW_TRACKING_USERNAME=... MLFLOW_TRACKING_PASSWORD=... (Prefect: PREFECT_API_AUTH_STRING)"
    return Finding(name, "failed", f"{shown} answers with {status}, not as {server}", needed, mend)


def host_answers(name: str, address: str, port: int, variable: str) -> Finding:
    """Whether anybody listens where an address points; one without a host is a socket file, which is not probed."""
    shown, needed = without_login(address), "a server that listens there"
    mend = f"export {variable}=the right address, or start the server"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port or port
        if host:
            socket.create_connection((host, port), timeout=SECONDS).close()
    except (OSError, ValueError) as error:
        # What is wrong with a port that is no number may be a piece of a password.
        unreadable = "it cannot be read; signs such as / and @ in a password must be %-encoded"
        told = error if isinstance(error, OSError) else unreadable
        return Finding(name, "failed", f"{shown} does not answer ({told})", needed, mend)
    return Finding(name, "ok", f"{shown} answers" if host else shown, needed)


def ask(url: str, *, proxied: bool = True) -> tuple[int, bytes]:
    """Status and first bytes of an answer; user and password of the address go where they belong."""
    parts = urlsplit(url)
    request = urllib.request.Request(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
    if login := login_in(url):
        request.add_unredirected_header("Authorization", basic(login))
    handlers = [] if proxied else [urllib.request.ProxyHandler({})]
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=SECONDS) as answer:
            return answer.status, answer.read(300)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(300)


def login_in(address: str) -> str:
    """NAME:PASSWORD of an address; empty where it holds none."""
    parts = urlsplit(address)
    return "" if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"


def basic(login: str) -> str:
    """The header `Authorization` for NAME:PASSWORD."""
    return f"Basic {base64.b64encode(login.encode()).decode()}"
