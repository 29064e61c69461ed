"""Each check, broken for real, is told with what mends it; nothing of a login is."""

import http.server
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from contender.lake import java
from contender.operations import (
    database_checks,
    doctor,
    findings,
    machine_checks,
    package_checks,
    port_checks,
    server_checks,
    storage_checks,
)
from contender.promotion.locks import at_work
from contender.redact import without_login
from contender.settings import Settings
from tests.ports import free_port

ROOT = Path(__file__).parents[3]
SECRET = "hush%2Fhush"


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("CONTENDER_", "MLFLOW_", "PREFECT_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    return Settings(home=home, use_cases=ROOT / "data")


@contextmanager
def serving(answers: dict[str, bytes], status: int = 200):
    """A server on a port of its own: what it answers by path; what it was asked."""
    asked = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            body = answers.get(self.path)
            self.send_response(status if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()


@contextmanager
def silence():
    """A port where somebody listens who never says a word."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def failed(found: findings.Finding) -> findings.Finding:
    assert found.status == "failed", found
    assert found.found
    assert found.needed
    assert found.mend
    return found


def only(found: list[findings.Finding]) -> findings.Finding:
    assert len(found) == 1, found
    return found[0]


def pretend(folder: Path, name: str, version: str, monkeypatch) -> None:
    """Make another version of a package the first on the path."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(folder)


def test_this_installation_is_as_pinned():
    assert doctor.python_fits().status == "ok"
    assert only(doctor.packages_fit()).status == "ok"


@pytest.mark.parametrize("name", sorted(package_checks.BREAKS))
def test_a_version_known_to_break_things_is_told_with_what_breaks(name, tmp_path, monkeypatch):
    pretend(tmp_path / "site", name, "99.1", monkeypatch)
    found = failed(only(doctor.packages_fit()))
    assert found.name == name
    assert found.found == f"99.1: {package_checks.BREAKS[name]}"
    assert "bin/setup" in found.mend or f"pip install '{name}" in found.mend


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        pytest.param("2.0.37", False, id="below"),
        pytest.param("2.0.38", True, id="the lowest"),
        pytest.param("2.0.99", True, id="the highest"),
        pytest.param("2.1.0b1", False, id="a foretaste of what is excluded"),
        pytest.param("2.1", False, id="above"),
        pytest.param("unknown", False, id="no version at all"),
    ],
)
def test_the_edges_of_a_range(version, fits):
    found = package_checks.misfits(["sqlalchemy<2.1,>=2.0.38"], lambda _: version)
    assert bool(found) is not fits


def test_a_missing_package_is_told_and_an_optional_one_only_where_it_is_installed():
    asked = ["mlflow[auth]==3.17.2", "psycopg[binary]<4,>=3.2; extra == 'postgres'"]
    assert [one.requirement for one in package_checks.misfits(asked, lambda _: None)] == ["mlflow[auth]==3.17.2"]
    installed = {"mlflow": "3.17.2", "psycopg": "2.9"}
    assert [one.name for one in package_checks.misfits(asked, installed.get)] == ["psycopg"]


def test_the_setup_that_mends_versions_cannot_skip_its_work(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "setup").write_text("")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".contender-setup").write_text("1 2 uv.lock dev")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.chdir(tmp_path)
    assert findings.reinstall_command("x") == "rm -f .venv/.contender-setup && bin/setup --dev"
    monkeypatch.chdir("/")
    assert findings.setup_command() == f"cd {tmp_path} && bin/setup"
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert findings.reinstall_command("pandas<3") == f"{sys.executable} -m pip install 'pandas<3'"
    assert findings.setup_command() == f"{sys.executable} -m contender.lake.java_setup"


def test_a_shell_that_does_not_find_contender_is_told_what_makes_it(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "setup").write_text("")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert findings.activation_command() == ". .venv/bin/activate"
    monkeypatch.chdir("/")
    assert findings.activation_command() == f". {tmp_path}/.venv/bin/activate"
    (tmp_path / "contender").touch(mode=0o755)
    assert findings.activation_command() is None
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "prefix", "/usr")
    assert findings.activation_command() is None


def test_an_old_java_is_told_with_the_command_that_installs_a_newer_one(tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "java"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'openjdk version \"11.0.21\"' >&2\n")
    fake.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    found = failed(machine_checks.java_is_new_enough())
    assert found.found == f"{fake} is Java 11"
    assert found.needed == "Java 17 or later"
    assert found.mend.startswith("install")


def test_a_jar_with_one_changed_byte_and_a_missing_one_are_told_by_name(tmp_path, monkeypatch):
    if not all(jar.is_here() for jar in java.JARS):
        pytest.skip("the Delta JARs have not been fetched: run 'make setup'")
    shutil.copytree(java.SHARE / "jars", tmp_path / "jars")
    monkeypatch.setattr(java, "SHARE", tmp_path)
    assert machine_checks.jars_are_intact().status == "ok"
    changed, missing = java.JARS[1].path, java.JARS[4].path
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    missing.unlink()
    found = failed(machine_checks.jars_are_intact())
    assert f"missing: {missing.name}; damaged: {changed.name}" in found.found
    assert found.mend.endswith(("bin/setup", "-m contender.lake.java_setup"))


def test_a_heap_larger_than_the_machine_fails_with_one_that_fits(settings):
    assert machine_checks.memory_suffices(settings.model_copy(update={"spark_memory": "1m"})).status in (
        "ok",
        "warning",
    )
    found = failed(machine_checks.memory_suffices(settings.model_copy(update={"spark_memory": "99999g"})))
    fitting = found.mend.removeprefix("export CONTENDER_SPARK_MEMORY=")
    assert machine_checks.memory_suffices(settings.model_copy(update={"spark_memory": fitting})).status != "failed"


def test_the_memory_of_a_container_is_its_limit(settings, tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine_checks, "CGROUP_LIMITS", [limit])
    limit.write_text("max\n")
    assert machine_checks.memory_suffices(settings).status != "failed"
    limit.write_text(f"{1 << 30}\n")
    assert failed(machine_checks.memory_suffices(settings)).found.startswith("1.0 GiB")


@pytest.mark.parametrize(("allowed", "status"), [(200, "failed"), (1000, "warning"), (1024, "ok")])
def test_few_file_handles_are_told_with_the_limit_to_set(allowed, status):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    try:
        found = machine_checks.handles_suffice()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.status == status
    assert found.mend.startswith("ulimit -n ") is (status != "ok")


def test_a_temporary_folder_that_is_none_fails(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert "export TMPDIR=" in failed(machine_checks.temporary_folder_is_writable()).mend


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        pytest.param({"LC_ALL": "C"}, "warning", id="plain C"),
        pytest.param({"LC_ALL": "", "LC_CTYPE": "", "LANG": ""}, "warning", id="none"),
        pytest.param({"LC_ALL": "", "LC_CTYPE": "C.UTF-8", "LANG": "C"}, "ok", id="the type of signs counts"),
        pytest.param({"LC_ALL": "de_DE.utf8"}, "ok", id="another spelling"),
    ],
)
def test_a_locale_without_utf8_is_a_warning(variables, status, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = machine_checks.locale_is_utf8()
    assert found.status == status
    assert found.mend == ("" if status == "ok" else "export LC_ALL=C.UTF-8")


def test_a_disk_with_little_room_is_a_warning_and_with_less_a_failure(settings):
    free = shutil.disk_usage(settings.home).free
    assert only(storage_checks.room_is_left(settings, 1, 2)).status == "ok"
    assert only(storage_checks.room_is_left(settings, 1, free * 2)).status == "warning"
    found = failed(only(storage_checks.room_is_left(settings, free * 2, free * 3)))
    assert f"rm -rf {settings.home}/scratch" in found.mend


def test_a_home_that_is_not_there_yet_is_well_and_is_not_made(tmp_path):
    settings = Settings(home=tmp_path / "not" / "yet", use_cases=ROOT / "data")
    ports = {f"{name}_port": free_port() for name in ("prefect", "mlflow", "dashboard")}
    assert healthy_but_for_the_machine(doctor.examine(settings.model_copy(update=ports)))
    assert not list(tmp_path.iterdir())


def healthy_but_for_the_machine(found: tuple[findings.Finding, ...]) -> bool:
    """Whether all is well with what a test brings along; the machine's memory, Java and the like are as they are."""
    names = {"home", "lake", "clock", "file system", "locks", "settings", "use cases", "ledger", "MLflow"}
    return findings.healthy(one for one in found if one.name in names)


@pytest.mark.parametrize("which", ["home", "lake"])
def test_a_file_in_the_place_of_a_folder_is_told_with_the_command_that_moves_it(which, settings, tmp_path):
    place = tmp_path / "a file"
    place.write_text("")
    settings = settings.model_copy(update={which: place if which == "home" else str(place)})
    found = failed(next(one for one in storage_checks.may_be_written(settings) if one.name == which))
    assert found.mend == f"mv '{place}' '{place}.old'"


def test_a_folder_without_rights_is_told_with_the_command_that_gives_them(settings):
    (settings.home / "locks").mkdir()
    try:
        (settings.home / "locks").chmod(0o500)
        if os.access(settings.home / "locks", os.W_OK):
            pytest.skip("root may write everywhere")
        assert (
            failed(only(storage_checks.may_be_written(settings))).found
            == f"{settings.home / 'locks'} cannot be written"
        )
        settings.home.chmod(0o500)
        found = failed(only(storage_checks.may_be_written(settings)))
        assert found.mend == f'sudo chown -R "$(id -un)" {settings.home} && chmod -R u+rwX {settings.home}'
        failed(database_checks.ledger_answers(settings))
    finally:
        settings.home.chmod(0o700)


def test_use_cases_are_missing_empty_or_named(settings, tmp_path):
    (tmp_path / "empty").mkdir()
    assert storage_checks.may_be_read(settings).found.startswith("bikes, flights, payments in")
    nowhere = settings.model_copy(update={"use_cases": tmp_path / "nowhere"})
    assert "CONTENDER_USE_CASES" in failed(storage_checks.may_be_read(nowhere)).mend
    empty = storage_checks.may_be_read(settings.model_copy(update={"use_cases": tmp_path / "empty"}))
    assert (empty.status, empty.mend[:14]) == ("warning", "contender init")


@pytest.mark.parametrize(
    ("mounts", "status"),
    [
        pytest.param([("/", "ext4")], "ok", id="local"),
        pytest.param([("/", "ext4"), ("{home}", "nfs4")], "warning", id="the home itself is mounted"),
        pytest.param([("{home}", "nfs4"), ("/", "ext4")], "warning", id="in any order"),
        pytest.param([("/", "ext4"), ("{home}x", "nfs4")], "ok", id="a neighbour of the same beginning"),
        pytest.param([("/", "nfs"), ("/", "overlay")], "ok", id="what was mounted last covers what was before"),
        pytest.param([], "ok", id="a system that does not tell"),
    ],
)
def test_a_home_on_the_network_is_a_warning(mounts, status, settings):
    found = storage_checks.is_local(settings, [(point.format(home=settings.home), kind) for point, kind in mounts])
    assert found.status == status
    assert found.mend.startswith("export CONTENDER_HOME=") is (status == "warning")


def test_a_file_from_the_future_means_a_clock_that_is_behind(settings):
    assert storage_checks.clock_agrees(settings).status == "ok"
    file = settings.home / "ledger.db"
    file.write_text("")
    os.utime(file, (time.time() + 3600, time.time() + 3600))
    found = storage_checks.clock_agrees(settings)
    assert found.status == "warning"
    assert f"{file} was written" in found.found
    assert found.mend.endswith(f"touch {file}")


HOLD = """
import sys, time
from contender.promotion.locks import at_work
from contender.settings import Settings
with at_work(Settings(), "payments"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/locks").is_file(), reason="this system does not tell who holds locks")
@pytest.mark.slow
def test_who_holds_a_lock_is_told_and_a_stopped_process_with_the_command_that_lets_it_go_on(settings):
    with at_work(settings, "flights"):
        pass
    assert only(storage_checks.locks_are_held(settings)).found == "none is held"
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=os.environ | {"CONTENDER_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert held.stdout
    try:
        assert held.stdout.readline() == "held\n"
        found = only(storage_checks.locks_are_held(settings))
        assert (found.name, found.status) == ("lock payments.data", "ok")
        assert f"process {held.pid}" in found.found
        held.send_signal(signal.SIGSTOP)
        while psutil.Process(held.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        found = only(storage_checks.locks_are_held(settings))
        assert (found.status, found.mend) == ("warning", f"kill -CONT {held.pid}")
    finally:
        held.kill()
        held.communicate()
    assert only(storage_checks.locks_are_held(settings)).found == "none is held"


def test_a_variable_that_nobody_reads_is_told_with_the_one_that_was_meant(monkeypatch):
    monkeypatch.setenv("CONTENDER_PROD_LEDGER_URL", "sqlite://")
    monkeypatch.setenv("CONTENDER_SOMETHING_ELSE", "of another program")
    assert only(doctor.variables_are_known()).status == "ok"
    monkeypatch.setenv("CONTENDER_LEDGER_URI", "postgresql://me:hush@db/l")
    found = only(doctor.variables_are_known())
    assert found.status == "warning"
    assert found.mend == 'export CONTENDER_LEDGER_URL="$CONTENDER_LEDGER_URI" && unset CONTENDER_LEDGER_URI'


def test_a_setting_that_cannot_be_read_is_a_finding_and_the_machine_is_examined_all_the_same(monkeypatch):
    monkeypatch.setenv("CONTENDER_SPARK_MEMORY", "lots")
    found = {one.name: one for one in doctor.examine_here()}
    assert failed(found["settings"]).mend == "unset CONTENDER_SPARK_MEMORY"
    assert "CONTENDER_SPARK_MEMORY is 'lots'" in found["settings"].found
    assert {"Python", "packages", "Java", "Delta JARs"} <= set(found)


def test_a_broken_contract_is_told_by_line_and_the_others_are_read(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    use_cases = tmp_path / "data"
    shutil.copytree(ROOT / "data", use_cases)
    path = use_cases / "flights" / "contract.toml"
    path.write_text(path.read_text().replace("[records]", "[records]\ncoding = 1", 1))
    (tmp_path / "landing" / "bikes").mkdir(parents=True)
    found = {one.name: one for one in doctor.contracts_hold(settings.model_copy(update={"use_cases": use_cases}))}
    assert "key 'records.coding': this key is not known" in failed(found["contract flights"]).found
    assert found["contract flights"].found.startswith("line ")
    assert found["contract flights"].mend == f"edit {path}"
    assert found["contract bikes"].status == "ok"
    assert (found["contract payments"].status, found["contract payments"].mend) == ("warning", "contender simulate")
    (tmp_path / "landing" / "bikes").rmdir()
    (tmp_path / "landing" / "bikes").write_text("")
    found = {one.name: one for one in doctor.contracts_hold(settings.model_copy(update={"use_cases": use_cases}))}
    assert failed(found["contract bikes"]).mend.startswith("mv ")


def test_a_missing_landing_folder_is_a_warning_with_the_command_that_makes_it(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {one.name: one for one in doctor.contracts_hold(settings)}["contract flights"]
    assert found.status == "warning"
    subprocess.run(["sh", "-c", found.mend], check=True)
    assert {one.name: one for one in doctor.contracts_hold(settings)}["contract flights"].status == "ok"


@pytest.mark.parametrize(
    ("server", "path", "body"), [("Prefect", "/api/health", b"true"), ("MLflow", "/health", b"OK")]
)
def test_a_port_is_free_or_held_by_the_server_that_it_is_for(server, path, body):
    assert port_checks.port_is_usable(server, free_port()).found == "free"
    with serving({path: body}) as (port, _):
        assert port_checks.port_is_usable(server, port).found == f"{server} answers"
    with serving({path: b"welcome"}) as (port, _):
        found = failed(port_checks.port_is_usable(server, port))
        assert f"(process {os.getpid()}), which does not answer as {server}" in found.found
        assert found.mend == f"kill {os.getpid()}"


@pytest.mark.slow
def test_a_port_held_by_somebody_who_speaks_no_http_or_nothing_at_all_is_not_usable():
    with silence() as port:
        failed(port_checks.port_is_usable("Prefect", port))

    def greet(listening: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"SSH-2.0-somebody\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=greet, args=(listening,)).start()
        failed(port_checks.port_is_usable("MLflow", listening.getsockname()[1]))


def test_configured_servers_answer_and_get_their_login(settings, monkeypatch):
    with serving({"/api/health": b"true", "/health": b"OK"}) as (port, asked):
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
        assert server_checks.prefect_answers().status == "ok"
        tracked = settings.model_copy(update={"tracking_uri": f"http://me:{SECRET}@127.0.0.1:{port}/"})
        found = database_checks.mlflow_answers(tracked)
        assert (found.status, found.found) == ("ok", f"http://127.0.0.1:{port}/ answers")
        assert asked == [("/api/health", None), ("/health", "Basic bWU6aHVzaC9odXNo")]


@pytest.mark.parametrize(
    ("status", "body", "mend"),
    [
        pytest.param(
            403, b"Invalid Host header - possible DNS rebinding", "MLFLOW_SERVER_ALLOWED_HOSTS=127", id="host"
        ),
        pytest.param(401, b"who are you?", "MLFLOW_TRACKING_USERNAME", id="login"),
        pytest.param(200, b"<html>a router</html>", "unset CONTENDER_TRACKING_URI", id="somebody else"),
    ],
)
def test_a_server_that_answers_otherwise_is_told_with_what_mends_that(status, body, mend, settings):
    with serving({"/health": body}, status) as (port, _):
        tracked = settings.model_copy(update={"tracking_uri": f"http://127.0.0.1:{port}"})
        assert mend in failed(database_checks.mlflow_answers(tracked)).mend


def test_nothing_of_a_login_is_told_when_nobody_answers(settings, monkeypatch):
    port = free_port()
    monkeypatch.setenv("PREFECT_API_URL", f"http://me:{SECRET}@127.0.0.1:{port}/api")
    elsewhere = settings.model_copy(
        update={
            "tracking_uri": f"http://me:{SECRET}@127.0.0.1:{port}",
            "ledger_url": f"postgresql+psycopg://me:{SECRET}@127.0.0.1:{port}/titles?password=hush",
            "spark_master": f"spark://127.0.0.1:{port},127.0.0.1:{port}",
        }
    )
    found = {one.name: one for one in doctor.examine(elsewhere)}
    for name in ("Prefect server", "MLflow server", "ledger", "Spark master"):
        assert f"127.0.0.1:{port}" in failed(found[name]).found
    assert "hush" not in json.dumps([vars(one) for one in found.values()])
    assert [name for name in found if name.startswith("port ")] == [f"port {elsewhere.dashboard_port}"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:hush@host:1/x?token=hush#hush", "http://host:1/x"),
        ("postgresql://me:hu/sh@host/db", "postgresql://host/db"),
        ("postgresql://me:hu@sh@host/db", "postgresql://host/db"),
        ("postgresql://me:hu?sh@host/db", "postgresql://..."),
        ("postgresql://host/db?password=hu@sh", "postgresql://..."),
        ("databricks", "databricks"),
    ],
)
def test_an_address_is_shown_without_any_piece_of_its_login(address, shown):
    assert without_login(address) == shown


def test_an_address_whose_password_is_not_encoded_is_told_without_it(settings):
    odd = settings.model_copy(update={"ledger_url": "postgresql+psycopg://me:hu/sh@127.0.0.1/titles"})
    found = failed(database_checks.ledger_answers(odd))
    assert "%-encoded" in found.found
    assert "hu/" not in found.sentence


@pytest.mark.slow
def test_a_postgresql_that_listens_and_never_answers_is_given_up(settings):
    pytest.importorskip("psycopg")
    with silence() as port:
        url = f"postgresql+psycopg://me:{SECRET}@127.0.0.1:{port}/titles?sslmode=disable"
        found = failed(database_checks.ledger_answers(settings.model_copy(update={"ledger_url": url})))
    assert "hush" not in found.sentence


def test_the_driver_of_postgresql_is_named_or_installed(settings):
    with silence() as port:
        other = settings.model_copy(update={"ledger_url": f"postgresql://me:hush@127.0.0.1:{port}/titles"})
        found = failed(database_checks.ledger_answers(other))
        assert found.mend.startswith(f"export CONTENDER_LEDGER_URL=postgresql+psycopg://127.0.0.1:{port}/titles")
        none = settings.model_copy(update={"ledger_url": f"postgresql+pg8000://me:hush@127.0.0.1:{port}/titles"})
        found = failed(database_checks.ledger_answers(none))
        assert "--extra postgres" in found.mend or "pip install 'psycopg" in found.mend


@pytest.mark.slow
def test_a_postgresql_that_cannot_be_written_is_told_with_what_mends_that(settings, postgres_url):
    import psycopg

    def examined(url: str) -> findings.Finding:
        return database_checks.ledger_answers(settings.model_copy(update={"ledger_url": url}))

    def as_(user: str, database: str) -> str:
        return postgres_url.replace("contender@", f"{user}@").replace("/postgres", f"/{database}")

    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as owner:
        owner.execute("CREATE ROLE reader LOGIN")
        owner.execute("CREATE DATABASE bare")
        owner.execute("CREATE DATABASE replica")
        owner.execute("ALTER DATABASE replica SET default_transaction_read_only = on")
        assert examined(postgres_url).status == "ok"
        mend = failed(examined(as_("reader", "postgres"))).mend
        owner.execute(mend.replace("the ledger's user, by the tables' owner", "reader"))
        assert examined(as_("reader", "postgres")).status == "ok"
        assert "permission denied" in failed(examined(as_("reader", "bare"))).found
        assert "read-only" in failed(examined(as_("contender", "replica"))).found
        assert "does not exist" in failed(examined(as_("contender", "nowhere"))).found
        owner.execute("DROP OWNED BY reader")
        owner.execute("DROP ROLE reader")


@pytest.mark.slow
def test_a_ledger_that_is_no_database_fails_and_one_that_is_written_just_now_is_a_warning(settings):
    file = settings.home / "ledger.db"
    assert database_checks.ledger_answers(settings).found == f"{file}, made by the first run"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE title (seq INTEGER)")
    connection.close()
    assert database_checks.ledger_answers(settings).status == "ok"
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert database_checks.ledger_answers(settings).status == "warning"
    writer.close()
    file.write_bytes(b"not a database at all" * 100)
    assert "not a database" in failed(database_checks.ledger_answers(settings)).found
    file.unlink()
    file.mkdir()
    failed(database_checks.ledger_answers(settings))


@pytest.mark.parametrize(
    ("master", "status"),
    [("local[2]", "ok"), ("yarn", "failed"), ("k8s://127.0.0.1:{port}", "ok"), ("sprak://host:7077", "failed")],
)
def test_a_spark_master_is_of_a_known_kind_and_reached(master, status, settings, monkeypatch):
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    monkeypatch.delenv("YARN_CONF_DIR", raising=False)
    with silence() as port:
        named = settings.model_copy(update={"spark_master": master.format(port=port)})
        assert server_checks.spark_answers(named).status == status


@pytest.mark.slow
def test_a_check_that_crashes_or_hangs_is_a_failed_finding_and_the_others_are_made(monkeypatch):
    def crash() -> findings.Finding:
        raise KeyError("http://me:hush@host")

    for name in ("python_fits", "packages_fit"):
        monkeypatch.setattr(doctor, name, crash)
    monkeypatch.setattr(machine_checks, "cores_suffice", threading.Event().wait)
    monkeypatch.setattr(doctor, "DEADLINE_SECONDS", 2)
    monkeypatch.setenv("CONTENDER_SEED", "-1")
    found = {one.name: one for one in doctor.examine_here()}
    assert "KeyError" in failed(found["Python"]).found
    assert "hush" not in found["Python"].sentence
    assert "did not end within 2 s" in failed(found["cores"]).found
    assert found["locale"].found


def test_warnings_do_not_make_it_ill():
    well = findings.Finding("x", "ok", "y")
    assert findings.healthy([well, replace(well, status="warning")])
    assert not findings.healthy([well, replace(well, status="failed")])


@pytest.mark.slow
def test_nothing_heavy_is_loaded(tmp_path):
    script = (
        "import sys; from contender.operations import doctor; doctor.examine_here()\n"
        "heavy = {'prefect', 'mlflow', 'pyspark', 'great_expectations', 'pandas', 'numpy', 'sqlalchemy', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = os.environ | {"CONTENDER_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
