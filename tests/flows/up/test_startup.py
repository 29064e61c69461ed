"""`contender up` and `contender down`, as a person runs them: real servers on free ports, in a home of their own."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from deltalake import DeltaTable

from contender.contracts.contract import Contract
from contender.settings import Settings
from flows.prefect_api import discovery, prefect_server
from flows.prefect_api.client import BUSY, ask
from flows.up import processes
from flows.up.services import Child
from flows.up.supervisor import socket_of, start_supervisor
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CONTENDER = Path(sys.executable).with_name("contender")
# Ready in 40 s and ended in 10 on two cores of its own; what is above is for a machine that is busy with other things.
READY_SECONDS, END_SECONDS, SOON_SECONDS = 700, 40, 120
PREFECT_PASSWORD, MLFLOW_PASSWORD = "opensesame-prefect", "opensesame-mlflow"
PREFECT_LOGIN, MLFLOW_LOGIN = f"ada:{PREFECT_PASSWORD}", f"ada:{MLFLOW_PASSWORD}"


def until(true: Callable[[], Any], seconds: float = SOON_SECONDS) -> Any:
    """What `true` returns once it is something."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)
    return found


@dataclass
class Installation:
    """A home, its ports, and one small use case; commands are run as in a terminal."""

    settings: Settings
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        foreign = ("CONTENDER_", "MLFLOW_", "PREFECT_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return (
            clean
            | {
                "CONTENDER_HOME": str(self.settings.home),
                "CONTENDER_USE_CASES": str(self.settings.use_cases),
                "CONTENDER_PREFECT_PORT": str(self.settings.prefect_port),
                "CONTENDER_MLFLOW_PORT": str(self.settings.mlflow_port),
                "CONTENDER_DASHBOARD_PORT": str(self.settings.dashboard_port),
                "CONTENDER_SPARK_MEMORY": "1g",
            }
            | self.variables
        )

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CONTENDER, *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_SECONDS,
        )

    @property
    def prefect_api(self) -> str:
        """Address of Prefect's API, with the login."""
        return f"http://{PREFECT_LOGIN}@127.0.0.1:{self.settings.prefect_port}/api"

    def marked(self) -> list[psutil.Process]:
        return list(processes._marked(self.settings))

    def child(self, name: str) -> int:
        log = (self.settings.logs / "supervisor.log").read_text()
        return int(re.findall(rf"spawned: '{name}' with pid (\d+)", log)[-1])


# So small that the first champion is there in seconds.
QUICK = """
[training]
candidates = ["logistic"]
trials = 1
folds = 2
min_rows = 100
min_per_class = 5
"""


def install(make_home, tmp_path_factory, **variables: str) -> Installation:
    made = make_home(
        ('landing = "landing"', f'landing = "{tmp_path_factory.mktemp("land")}"'),
        ("min_gain = 0.01", "min_gain = 0.01\nmin_rows = 60\nmin_per_class = 5"),
        extra=QUICK,
    )
    ports = {f"{name}_port": free_port() for name in ("prefect", "mlflow", "dashboard")}
    return Installation(made.settings.model_copy(update=ports), tmp_path_factory.mktemp("work"), variables)


@dataclass
class Up:
    """An `up` at work, and the lines that it has written."""

    process: subprocess.Popen[str]
    lines: list[str]
    reader: threading.Thread

    @classmethod
    def start(cls, installation: Installation) -> "Up":
        process = subprocess.Popen(
            [CONTENDER, "up", "orders"],
            cwd=installation.folder,
            env=installation.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
        reader.start()
        return cls(process, lines, reader)

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def wait_for(self, words: str, seconds: float = SOON_SECONDS) -> None:
        until(lambda: words in self.said or self.process.poll() is not None, seconds)
        assert words in self.said, self.said


@pytest.fixture(scope="module")
def installation(make_home, tmp_path_factory) -> Iterator[Installation]:
    """One whose servers ask for passwords."""
    made = install(
        make_home, tmp_path_factory, CONTENDER_PREFECT_AUTH=PREFECT_LOGIN, CONTENDER_MLFLOW_AUTH=MLFLOW_LOGIN
    )
    yield made
    processes.end_all(made.settings)


@pytest.fixture(scope="module")
def up(installation) -> Iterator[Up]:
    made = Up.start(installation)
    try:
        made.wait_for("Ready after", READY_SECONDS)
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        made.reader.join()
        made.process.stdout.close()


def get(url: str, login: str = "", body: bytes | None = None) -> int:
    headers = {"Content-Type": "application/json"}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def search(settings: Settings, login: str = "") -> int:
    return get(
        f"http://127.0.0.1:{settings.mlflow_port}/api/2.0/mlflow/experiments/search", login, b'{"max_results": 1}'
    )


def test_up_tells_where_everything_is_and_all_of_it_answers(installation, up):
    settings = installation.settings
    prefect = f"http://127.0.0.1:{settings.prefect_port}"

    print(up.said)
    table = up.said[: up.said.index("Ready after")]
    for where in (prefect, f"{prefect}/api", f"http://127.0.0.1:{settings.mlflow_port}", "contender"):
        assert where in table
    assert prefect_server.answers(f"{prefect}/api")
    assert search(settings, MLFLOW_LOGIN) == 200
    assert (settings.state / "mlflow.db").is_file()
    workers = ask(installation.prefect_api, "/work_pools/contender/workers/filter", {}, pauses=BUSY)
    assert [one["status"] for one in workers] == ["ONLINE"]
    deployments = ask(installation.prefect_api, "/deployments/filter", {}, pauses=BUSY)
    assert {"orders"} == {one["name"] for one in deployments}
    report_memory(installation)


def report_memory(installation: Installation) -> None:
    shares = [(one.memory_full_info().pss / 2**20, " ".join(one.cmdline())[:90]) for one in installation.marked()]
    for share, what in sorted(shares, reverse=True):
        print(f"{share:7.0f} MiB  {what}")
    print(f"{sum(share for share, _ in shares):7.0f} MiB in all")


def test_nobody_enters_without_the_passwords_and_they_stand_nowhere(installation, up):
    settings = installation.settings
    version = f"http://127.0.0.1:{settings.prefect_port}/api/admin/version"
    assert (get(version), get(version, PREFECT_LOGIN)) == (401, 200)
    assert (search(settings), search(settings, MLFLOW_LOGIN)) == (401, 200)
    shown = [" ".join(one.info["cmdline"] or []) for one in psutil.process_iter(["cmdline"])]
    files = [path for folder in (settings.logs, settings.running) for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for secret in (PREFECT_PASSWORD, MLFLOW_PASSWORD):
        assert not [line for line in shown if secret in line]
        assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_nothing_listens_but_on_the_loopback(installation, up):
    listening = [
        (one.pid, place.laddr)
        for one in installation.marked()
        for place in one.net_connections(kind="inet")
        if place.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2
    assert {place.ip for _, place in listening} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_a_second_up_says_that_it_runs_and_where(installation, up):
    second = installation.run("up", "orders")

    assert second.returncode == 1
    assert f"process {up.process.pid} " in second.stderr
    assert f"http://127.0.0.1:{installation.settings.prefect_port}" in second.stderr
    assert second.stderr.count("\n") == 1


def test_another_terminal_knows_it_and_uses_its_server(installation, up):
    told = json.loads(installation.run("status", "--json").stdout)["up"]

    assert (told["pid"], told["ready"], told["use_cases"]) == (up.process.pid, True, ["orders"])
    assert f"process {up.process.pid}" in installation.run("status").stdout
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", *prefect_server.ENVIRONMENT):
            patch.delenv(name, raising=False)
            patch.setenv(name, "") if name == "PREFECT_API_URL" else None
        patch.setenv("PREFECT_API_AUTH_STRING", PREFECT_LOGIN)
        elsewhere = installation.settings.model_copy(update={"prefect_port": free_port()})
        assert prefect_server.find_server(elsewhere) == told["prefect_api"]


def test_a_child_that_dies_comes_back_and_is_shown(installation, up):
    before = installation.child("watching")
    os.kill(before, signal.SIGKILL)

    up.wait_for("watching died and was restarted")
    after = installation.child("watching")
    assert after != before
    assert psutil.pid_exists(after)


def test_what_lands_is_taken_in_learnt_from_and_scored_by_itself(installation, up):
    landed = land(installation, "first", range(40))
    until(lambda: keys(installation, "predictions") == landed, READY_SECONDS)

    landed |= land(installation, "second", [40])
    until(lambda: keys(installation, "predictions") == landed, READY_SECONDS)
    assert keys(installation, "records") == landed
    champion = json.loads(installation.run("status", "--json").stdout)["use_cases"][0]["champion"]
    assert champion["version"] == 1


def land(installation: Installation, name: str, days: Iterable[int]) -> set[str]:
    """Twenty orders of each day, of which those of one shop are mostly sent back, renamed into place; their keys."""
    now = datetime.now(UTC)
    orders, returns = ["order_id,ordered_at,shop,colour,amount,items,express"], ["order_id,returned,refund"]
    for number in (20 * day + one for day in days for one in range(20)):
        at = now - timedelta(days=42) + timedelta(hours=number * 1.2)
        shop = "abc"[number * 7 % 3]
        orders.append(f"{number},{at:%Y-%m-%dT%H:%M:%S},{shop},red,{number * 37 % 100},2,true")
        if at < now - timedelta(days=2):
            # A shop that told all would be taken for a leak.
            returns.append(f"{number},{str((shop == 'b') != (number % 5 == 0)).lower()},")
    folder = Contract.of("orders", installation.settings.use_cases).records.landing
    for kind, lines in (("returns", returns), ("orders", orders)):
        part = Path(folder, f".{kind}-{name}.csv.part")
        part.write_text("\n".join(lines) + "\n")
        part.rename(part.with_name(f"{kind}-{name}.csv"))
    return {line.partition(",")[0] for line in orders[1:]}


def keys(installation: Installation, table: str) -> set[str]:
    """Keys of a table, each of which is there once; none where there is no table yet."""
    place = str(installation.settings.home / "lake" / "orders" / table)
    if not DeltaTable.is_deltatable(place):
        return set()
    found = DeltaTable(place).to_pyarrow_table(columns=["_key"])["_key"].to_pylist()
    assert len(found) == len(set(found))
    return set(found)


def test_sigterm_ends_all_of_it_with_a_flow_run_in_progress(installation, up):
    address = installation.prefect_api
    deployment = next(
        one for one in ask(address, "/deployments/filter", {}, pauses=BUSY) if "ingest" in one["entrypoint"]
    )
    asked = f"/deployments/{deployment['id']}/create_flow_run"
    run = ask(address, asked, {"parameters": {"use_case": "orders"}}, pauses=BUSY)
    until(lambda: ask(address, f"/flow_runs/{run['id']}", pauses=BUSY)["state_type"] not in ("SCHEDULED", "PENDING"))

    began = time.monotonic()
    up.process.terminate()
    code = up.process.wait(timeout=END_SECONDS)

    print(f"ended after {time.monotonic() - began:.1f} s")
    assert code == 0, up.said
    assert installation.marked() == []
    assert discovery.find_running(installation.settings) is None
    assert "Nothing runs" in installation.run("down").stdout


@pytest.mark.soak
def test_without_passwords_everybody_here_enters_and_down_ends_what_a_killed_up_left(make_home, tmp_path_factory):
    open_ = install(make_home, tmp_path_factory)
    settings = open_.settings
    try:
        done = open_.run("up", "orders", "--detach", "--json")
        assert done.returncode == 0, done.stderr
        running = json.loads(done.stdout)
        assert (get(f"{running['prefect_api']}/admin/version"), search(settings)) == (200, 200)

        os.kill(running["pid"], signal.SIGKILL)
        until(lambda: discovery.find_running(settings) is None)
        assert open_.marked()
        down = open_.run("down")
        assert down.returncode == 0
        assert "left behind" in down.stdout
        assert open_.marked() == []
    finally:
        processes.end_all(settings)


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def fresh(make_home, tmp_path_factory) -> Iterator[Installation]:
    made = install(make_home, tmp_path_factory)
    yield made
    assert made.marked() == []


def test_an_unknown_use_case_is_wrong_use(fresh):
    assert "orders" in refused(fresh.run("up", "ordres"), 2)


@pytest.mark.parametrize("server", ["PREFECT", "MLFLOW"])
def test_a_port_that_somebody_else_holds_is_told_with_its_variable(fresh, server):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        variable = f"CONTENDER_{server}_PORT"
        assert variable in refused(fresh.run("up", "orders", **{variable: str(holder.getsockname()[1])}), 1)


def test_a_prefect_api_that_does_not_answer_is_told(fresh):
    said = refused(fresh.run("up", "orders", PREFECT_API_URL=f"http://127.0.0.1:{free_port()}/api"), 1)
    assert "PREFECT_API_URL" in said


def test_a_home_that_cannot_be_made_is_told(fresh):
    (fresh.folder / "file").write_text("")
    assert "CONTENDER_HOME" in refused(fresh.run("up", "orders", CONTENDER_HOME=str(fresh.folder / "file" / "home")), 1)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        pytest.param("CONTENDER_PREFECT_AUTH", "topsecret", "NAME:PASSWORD", id="no colon"),
        pytest.param("CONTENDER_PREFECT_AUTH", ":topsecret", "NAME:PASSWORD", id="no name"),
        pytest.param("CONTENDER_MLFLOW_AUTH", "ada:topsecret", "12", id="shorter than MLflow wants"),
        pytest.param("CONTENDER_MLFLOW_AUTH", "ada:top secret word", "blank", id="a blank"),
    ],
)
def test_a_login_that_is_none_is_told_without_the_secret(fresh, variable, value, said):
    told = refused(fresh.run("up", "orders", **{variable: value}), 2)

    assert variable in told
    assert said in told
    assert "top" not in told


def test_down_where_nothing_runs_says_so(fresh):
    done = fresh.run("down")

    assert done.returncode == 0
    assert "Nothing runs" in done.stdout


def test_a_child_that_never_stays_is_tried_with_growing_pauses_then_given_up(fresh, monkeypatch):
    """The supervisor's own word, with a child that ends at once and few retries."""
    settings = fresh.settings
    settings.running.mkdir(parents=True)
    settings.logs.mkdir(parents=True)
    monkeypatch.setattr("flows.up.supervisor._RETRIES", 2)
    child = Child("hasty", (sys.executable, "-c", "print('100 % gone')"), bool, environment={"RATE": "5%"})
    mark = {processes.MARK: f"{processes.key_of(settings)}.test"}
    supervisor = start_supervisor(settings, [child], os.environ | mark)
    try:
        until(supervisor.answers)
        supervisor.launch("hasty")
        until(lambda: supervisor.states()["hasty"].word == "BACKOFF")
        until(lambda: supervisor.states()["hasty"].word == "FATAL")
    finally:
        supervisor.stop(5)
    assert (settings.logs / "hasty.log").read_text().count("100 % gone") == 3


def test_a_home_with_a_long_or_odd_name_has_a_supervisor_as_well(tmp_path):
    for name in ("x" * 120, "a b's 100%"):
        home = tmp_path / name
        settings = Settings(home=home)
        settings.running.mkdir(parents=True)
        settings.logs.mkdir(parents=True)
        child = Child("calm", (sys.executable, "-c", "import time; time.sleep(60)", str(home)), bool)
        supervisor = start_supervisor(settings, [child], os.environ)
        try:
            until(supervisor.answers)
            supervisor.launch("calm")
            until(lambda found=supervisor: found.states()["calm"].pid)
        finally:
            supervisor.stop(5)
        place = socket_of(settings)
        assert len(str(place)) < 100
        if not place.is_relative_to(home):
            shutil.rmtree(place.parent)
