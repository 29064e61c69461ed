"""The watcher beside a real Prefect server: what lands is announced, alarms are written down, people are told."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from contender.events import DRIFT, LANDED
from contender.operations import notices
from contender.retraining import triggers
from contender.settings import Settings
from flows.prefect_api.client import Away, Server
from tests.flows.prefect_server import HASTE
from tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
# Files come, and events are looked for, ten times as fast; what Prefect does in between takes as long as ever.
HASTY = """
import logging, os, sys
from datetime import timedelta
from flows.watcher.pace import Pace
from flows.watcher.watcher import main
pace = Pace(
    settle_seconds=0.6, busy_seconds=0.2, idle_seconds=0.5, explained=timedelta(seconds=4), unexplained=timedelta(seconds=30)
)
code = main(sys.argv[1:], pace)
logging.shutdown()
os._exit(code)
"""
FOREIGN = ("CONTENDER_", "MLFLOW_", "PREFECT_")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def wait_for(found: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    until = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)
    return answer


def ended(process: subprocess.Popen) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class Prefect:
    """A Prefect server with a login, that can be stopped and started again."""

    login = "admin:secret-of-this-test"

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        variables = {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_SERVER_API_AUTH_STRING": self.login,
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_API_URL": self.api,
            "PREFECT_UI_ENABLED": "false",
            **HASTE,
        }
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=CLEAN | variables, stdout=log, stderr=log)
        wait_for(self._answers, "Prefect answers", 180)

    def stop(self) -> None:
        if self.process is not None:
            ended(self.process)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text()
        try:
            return self.ask("/health") is True
        except OSError:
            return False

    def ask(self, path: str, document: Any = None) -> Any:
        import base64

        login = base64.b64encode(self.login.encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.api}{path}", body, headers)
        for patience in range(10, -1, -1):
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    content = answer.read()
                    break
            except urllib.error.HTTPError as error:
                # SQLite is busy, says Prefect, and takes the same again a moment later.
                if error.code != 503 or not patience:
                    raise
                time.sleep(0.5)
        return json.loads(content) if content else None

    def landed(self, folder: Path) -> list[dict]:
        """What was announced of a folder."""
        occurred = {"since": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
        page = self.ask("/events/filter", {"filter": {"event": {"name": [LANDED]}, "occurred": occurred}})
        return [event for event in page["events"] if event["payload"]["folder"] == str(folder)]

    def emit(self, name: str, use_case: str, payload: dict, id: str = "") -> str:
        id = id or str(uuid.uuid4())
        event = {
            "event": name,
            "resource": {"prefect.resource.id": f"contender.use-case.{use_case}"},
            "payload": payload,
        }
        self.ask("/events", [event | {"id": id, "occurred": datetime.now(UTC).isoformat()}])
        return id

    def deploy_retrain(self, use_case: str) -> str:
        flow = self.ask("/flows/", {"name": "retrain"})
        document = {"name": use_case, "flow_id": flow["id"], "tags": ["contender", use_case]}
        return self.ask("/deployments/", document)["id"]

    def set_state(self, flow_run: str, type_: str, message: str | None = None) -> None:
        state = {"type": type_, "name": type_.title(), "message": message}
        self.ask(f"/flow_runs/{flow_run}/set_state", {"state": state, "force": True})


class Watcher:
    """`python -m flows.watcher.watcher` in a folder of its own, with the use case payments."""

    def __init__(self, folder: Path, server: Prefect, **variables: str) -> None:
        self.folder, self.server = folder, server
        self.landing = folder / "landing" / "payments"
        self.settings = Settings(home=folder / "home", use_cases=folder / "data")
        shutil.copytree(ROOT / "data" / "payments", folder / "data" / "payments")
        self.variables = {
            "CONTENDER_HOME": str(folder / "home"),
            "CONTENDER_USE_CASES": str(folder / "data"),
            "PREFECT_API_URL": server.api,
            "CONTENDER_PREFECT_AUTH": server.login,
            "PYTHONPATH": str(ROOT),
            **variables,
        }
        self.process: subprocess.Popen | None = None

    def start(self, *use_cases: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HASTY, *use_cases],
                cwd=self.folder,
                env=CLEAN | self.variables,
                stdout=log,
                stderr=log,
            )
        wait_for(self.heartbeat, "the watcher is ready")

    def heartbeat(self) -> dict | None:
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        path = self.settings.running / "watching.json"
        return json.loads(path.read_text()) if path.exists() else None

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def landed(self) -> list[dict]:
        return self.server.landed(self.landing)

    def land(self, name: str, content: str = "x") -> None:
        (self.landing / name).write_text(content)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    prefect = Prefect(tmp_path_factory.mktemp("prefect"))
    try:
        prefect.start()
        yield prefect
    finally:
        prefect.stop()


@pytest.fixture
def watcher(tmp_path, server):
    one = Watcher(tmp_path, server)
    yield one
    if one.process is not None:
        ended(one.process)


@pytest.fixture
def inbox():
    taken: list[dict] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as listener:
        threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        yield f"json://127.0.0.1:{listener.server_port}", taken
        listener.shutdown()


def test_what_lands_is_announced_once_when_it_is_whole(watcher):
    watcher.start("payments")
    beat = watcher.heartbeat()
    assert (beat["pid"], beat["folders"]) == (watcher.process.pid, {"payments": str(watcher.landing)})

    # Fifty at once, one of them in pieces, one renamed into place, and some that nobody wants.
    for number in range(48):
        watcher.land(f"payments-{number:02}.csv", f"file {number}")
    watcher.land("payments-gone.csv")
    with (watcher.landing / "payments-48.csv").open("w") as slow:
        for piece in range(10):
            slow.write(f"piece {piece}\n")
            slow.flush()
            time.sleep(0.15)
    (watcher.landing / "payments-gone.csv").unlink()
    watcher.land("payments-49.csv.part", "file 49")
    (watcher.landing / "payments-49.csv.part").rename(watcher.landing / "payments-49.csv")
    for name in (".payments-50.csv", "payments-51.csv.tmp", "notes.txt"):
        watcher.land(name)

    [event] = wait_for(watcher.landed, "the files are announced")
    payload = event["payload"]
    assert event["resource"]["prefect.resource.id"] == "contender.use-case.payments"
    assert payload["files"] == [f"payments-{number:02}.csv" for number in range(50)]
    assert (payload["count"], payload["use_case"]) == (50, "payments")
    assert payload["bytes"] == sum((watcher.landing / name).stat().st_size for name in payload["files"])

    watcher.land("payments-52.csv", "the next day")
    wait_for(lambda: len(watcher.landed()) == 2, "the next file is announced")
    assert {tuple(one["payload"]["files"]) for one in watcher.landed()} >= {("payments-52.csv",)}


def test_what_lay_there_before_and_a_folder_made_anew_are_announced(watcher):
    watcher.landing.mkdir(parents=True)
    watcher.land("payments-1.csv")
    watcher.start()
    [first] = wait_for(watcher.landed, "what lay there is announced")
    assert first["payload"]["files"] == ["payments-1.csv"]
    shutil.rmtree(watcher.landing)
    wait_for(watcher.landing.is_dir, "the landing folder is made again")
    watcher.land("payments-2.csv")
    wait_for(lambda: len(watcher.landed()) == 2, "the file in the new folder is announced")


def test_a_server_that_is_away_hears_of_it_when_it_is_back(watcher, server):
    server.stop()
    try:
        watcher.start("payments")
        watcher.land("payments-1.csv")
        wait_for(lambda: "does not answer" in watcher.said(), "its absence is told")
        time.sleep(1.5)
        watcher.land("payments-2.csv")
        # Longer than it settles, so that there are some tries in vain.
        time.sleep(2)
    finally:
        server.start()
    wait_for(watcher.landed, "the files are announced")
    assert sorted({name for one in watcher.landed() for name in one["payload"]["files"]}) == [
        "payments-1.csv",
        "payments-2.csv",
    ]
    assert watcher.said().count("does not answer") == 1
    wait_for(lambda: "answers again" in watcher.said(), "its return is told")
    assert server.login.partition(":")[2] not in watcher.said()


def test_a_broken_use_case_does_not_keep_the_others_and_sigterm_ends_it(watcher):
    broken = watcher.folder / "data" / "broken"
    broken.mkdir()
    (broken / "contract.toml").write_text("name = ")
    watcher.start()
    assert "broken is not watched" in watcher.said()
    watcher.land("payments-1.csv")
    wait_for(watcher.landed, "the other one's file is announced")
    (watcher.folder / "data" / "payments" / "contract.toml").write_text("name = ")
    watcher.land("payments-2.csv")
    wait_for(lambda: len(watcher.landed()) == 2, "the contract as it was still counts")
    assert ended(watcher.process) == 0
    assert not (watcher.settings.running / "watching.json").exists()


@pytest.mark.parametrize(
    ("variables", "use_cases", "sentence"),
    [
        ({"CONTENDER_NOTIFY": "nosuch://token-of-mine"}, (), "CONTENDER_NOTIFY: what it holds is not an address"),
        ({}, ("paymets",), "There is no use case 'paymets'; did you mean 'payments'?"),
    ],
)
def test_what_can_never_work_is_told_at_the_start(variables, use_cases, sentence, tmp_path, server):
    one = Watcher(tmp_path, server)
    done = subprocess.run(
        [sys.executable, "-m", "flows.watcher.watcher", *use_cases],
        cwd=tmp_path,
        env=CLEAN | one.variables | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "token-of-mine" not in done.stderr


def test_a_burst_of_alarms_is_twenty_rows_and_one_start(watcher, server):
    deployment = server.deploy_retrain("payments")
    automation = {
        "name": "payments: retrain on drift",
        "trigger": {
            "type": "event",
            "match": {"prefect.resource.id": "contender.use-case.payments"},
            "expect": [DRIFT],
            "for_each": ["prefect.resource.id"],
            "posture": "Reactive",
            "threshold": 1,
            "within": 43200,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment,
                "parameters": {"event_id": "{{ event.id | string }}"},
            }
        ],
    }
    server.ask("/automations/", automation)
    watcher.start("payments")
    sent = [server.emit(DRIFT, "payments", {"sentence": f"amount drifted {n}", "notified": True}) for n in range(20)]

    def runs():
        return server.ask("/flow_runs/filter", {"deployments": {"id": {"any_": [deployment]}}})

    [run] = wait_for(runs, "the automation makes a run")
    server.set_state(run["id"], "RUNNING")

    def outcomes():
        found = triggers.newest(watcher.settings, "payments", 50)
        return found if len(found) == 20 and not any(one.outcome == "pending" for one in found) else None

    found = wait_for(outcomes, "it is known what became of each")
    assert {one.event_id for one in found} == set(sent)
    [started] = [one for one in found if one.outcome == "started"]
    assert (started.flow_run, started.event_id) == (run["id"], run["parameters"]["event_id"])
    skipped = [one for one in found if one.outcome == "skipped"]
    assert {one.why for one in skipped} == {f"another retrain was in flight ({run['name']})"}
    assert all(one.reason.startswith("amount drifted") for one in found)

    # Once that one has ended, the next alarm meets the cool-down.
    server.set_state(run["id"], "COMPLETED")
    late = server.emit(DRIFT, "payments", {"reason": "amount drifted again", "notified": True})

    def answer():
        return next(
            (
                o
                for o in triggers.newest(watcher.settings, "payments", 50)
                if o.event_id == late and o.outcome != "pending"
            ),
            None,
        )

    told = wait_for(answer, "the late one is settled")
    assert (told.outcome, told.reason) == ("skipped", "amount drifted again")
    assert told.why.startswith("in the cool-down until ")
    # A second look at the same events, after a restart that forgot them, changes nothing.
    ended(watcher.process)
    (watcher.settings.running / "sentinel.json").unlink(missing_ok=True)
    watcher.start("payments")
    other = server.emit(DRIFT, "payments", {"reason": "a last one", "notified": True})
    wait_for(lambda: any(o.event_id == other for o in triggers.newest(watcher.settings, "payments", 1)), "the last one")
    assert len(triggers.newest(watcher.settings, "payments", 50)) == 22
    assert notices.newest(watcher.settings) == []


def test_people_are_told_of_what_failed_and_of_alarms_from_outside(tmp_path, server, inbox):
    address, taken = inbox
    watcher = Watcher(tmp_path, server, CONTENDER_NOTIFY=address)
    watcher.start("payments")
    try:
        drift = server.emit(DRIFT, "payments", {"reason": "amounts doubled"})
        flow = server.ask("/flows/", {"name": "ingest"})["id"]
        tags = ["contender", "payments"]
        failed, foreign, crashed = (
            server.ask("/flow_runs/", {"name": name, "flow_id": flow, "tags": with_tags})["id"]
            for name, with_tags in (("ingest payments", tags), ("not ours", ["payments"]), ("score payments", tags))
        )
        server.set_state(failed, "FAILED", "Flow run encountered an exception: DataError: The lake is full.\nmore")
        server.set_state(foreign, "FAILED", "whatever")
        server.set_state(crashed, "CRASHED", "No sign of life.")
        wrong = {
            "name": "an automation of ours",
            "trigger": {
                "type": "event",
                "match": {"prefect.resource.id": "contender.use-case.payments"},
                "expect": ["contender.test.failing"],
                "posture": "Reactive",
                "threshold": 1,
                "within": 0,
            },
            "actions": [{"type": "run-deployment", "source": "selected", "deployment_id": str(uuid.uuid4())}],
        }
        server.ask("/automations/", wrong)

        def all_is_kept() -> bool:
            kinds = [one.kind for one in notices.newest(watcher.settings)]
            if "automation failed" not in kinds and time.monotonic() > again[-1]:
                # Prefect hears of a new automation a moment after it was made.
                server.emit("contender.test.failing", "payments", {})
                again.append(time.monotonic() + 5)
            return len(kinds) >= 4 and "automation failed" in kinds

        again = [time.monotonic()]
        wait_for(all_is_kept, "all is kept")
        found = {one.kind: one for one in notices.newest(watcher.settings) if one.link != link_of(server, crashed)}
        assert (found["drift"].id, found["drift"].sentence) == (drift, "amounts doubled")
        assert found["flow failed"].sentence == "ingest payments failed: The lake is full."
        assert found["flow failed"].link == link_of(server, failed)
        assert found["automation failed"].sentence.startswith("An automation failed: an automation of ours: ")
        [lost] = [one for one in notices.newest(watcher.settings) if one.link == link_of(server, crashed)]
        assert lost.sentence == "score payments crashed: No sign of life."
        # What fails says so itself; a process that is gone cannot.
        [crash] = notices.failing(watcher.settings, "payments")
        assert (crash.flow, crash.sentence, crash.times) == ("ingest", "No sign of life.", 1)
        assert len([one for one in notices.newest(watcher.settings) if one.kind != "automation failed"]) == 3
        wait_for(lambda: len(taken) == 3, "people are told")
        assert sorted((one["title"], one["message"].partition("\n")[0]) for one in taken) == [
            ("Contender: payments drift", "amounts doubled"),
            ("Contender: payments flow failed", "ingest payments failed: The lake is full."),
            ("Contender: payments flow failed", "score payments crashed: No sign of life."),
        ]
    finally:
        ended(watcher.process)


def test_more_events_than_a_page_are_all_read(server, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", server.api.replace("//", f"//{server.login}@"))
    sent = {server.emit("contender.test.many", "paging", {"number": number}) for number in range(120)}
    client, since = Server(Settings()), datetime.now(UTC) - timedelta(minutes=10)
    wait_for(lambda: {one["id"] for one in client.events(["contender.test.many"], since)} == sent, "all are read")
    assert server.login.partition(":")[2] not in client.address
    assert client.run_page("r1") == f"{server.api.removesuffix('/api')}/runs/flow-run/r1"


def test_without_its_login_a_server_is_as_good_as_away_and_the_reason_is_told(server, monkeypatch, caplog):
    monkeypatch.setenv("PREFECT_API_URL", server.api)
    client = Server(Settings())

    def refused() -> bool:
        with pytest.raises(Away):
            client.ask("/flow_runs/filter", {})
        return bool(caplog.records)

    wait_for(refused, "the reason is told")
    for _ in range(3):
        assert refused()
    assert [record.message for record in caplog.records] == [
        f"Prefect at {server.api} does not answer (401, it asks for a login: set CONTENDER_PREFECT_AUTH or "
        "PREFECT_API_AUTH_STRING to NAME:PASSWORD); it will be asked again."
    ]


def link_of(server: Prefect, flow_run: str) -> str:
    return f"{server.api.removesuffix('/api')}/runs/flow-run/{flow_run}"
