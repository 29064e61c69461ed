import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.ports import free_port


def find_postgres() -> Path | None:
    """Folder of PostgreSQL's programs: Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


@pytest.fixture(scope="session")
def postgres_url():
    """The address of a PostgreSQL server of these tests' own, which ends with them."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs = find_postgres()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: no initdb on the PATH or below /usr/lib/postgresql")
    # Short, because the path of a socket may have 107 characters; and the server refuses to be run by root.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = None
    if os.getuid() == 0:
        user = pwd.getpwnam("nobody").pw_name
        shutil.chown(folder, user)
    port = free_port()

    def start(name: str, *arguments: str, **options) -> subprocess.Popen:
        options = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
        return subprocess.Popen([programs / name, *arguments], user=user, extra_groups=[] if user else None, **options)

    made = start("initdb", "-D", str(folder / "data"), "-U", "contender", "-A", "trust", "-E", "UTF8", "--no-sync")
    said, _ = made.communicate(timeout=120)
    assert made.returncode == 0, said
    with (folder / "log").open("w") as log:
        server = start(
            "postgres",
            "-D",
            str(folder / "data"),
            "-k",
            str(folder),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-F",
            stdout=log,
        )
    try:
        wait_for(server, folder / "log", port)
        yield f"postgresql+psycopg://contender@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # does not wait for those that are still connected
        server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(server: subprocess.Popen, log: Path, port: int) -> None:
    import psycopg

    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user=contender dbname=postgres", connect_timeout=5).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
