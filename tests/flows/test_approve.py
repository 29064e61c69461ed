"""A person's approval: by the command line, and in the form of a real Prefect server with a real process worker."""

import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from click.testing import CliRunner

from contender.contracts.contract import Contract
from contender.promotion import approval_decisions, approval_requests, ledger, title
from contender.promotion.verdict_document import plain_verdict
from contender.registry import model_files, model_versions
from contender.settings import Settings
from contender.values import Decision, Guardrail, Interval, Rows, TableVersion, Verdict
from flows.cli.main import main
from tests.flows.prefect_server import Prefect, eventually

ROOT = Path(__file__).parents[2]
WORKER = Path(sys.executable).with_name("prefect")

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]
WON = Verdict(
    Decision.PROMOTE,
    "roc_auc",
    0.8,
    0.85,
    0.05,
    Interval(0.02, 0.08),
    1200,
    ("The gain of 0.05 is beyond luck.",),
    (Guardrail("latency", 3.5, 200.0, True),),
)
VERDICT = plain_verdict(WON)


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A home with four versions: three that predict, and a fourth whose prediction is not a number."""
    import mlflow
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings = Settings(home=tmp_path_factory.mktemp("home"), use_cases=ROOT / "data")
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, 0.1, 0.9]})
    with model_versions.connected(settings) as client:
        place = (settings.home / "artifacts").as_uri()
        mlflow.set_experiment(experiment_id=client.create_experiment("payments", artifact_location=place))
        client.create_registered_model("payments")
        for alpha in (1, 2, 3, 4):
            model = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(frame, np.array([1.0, 2.0, 4.0]))
            if alpha == 4:
                model[-1].intercept_ = np.nan
            made = mlflow.sklearn.log_model(
                model, name="model", input_example=frame, serialization_format="skops", pip_requirements=["mlflow"]
            )
            tags = {
                "digest": model_files.digest_of(model_versions.fetch(settings, "payments", made.model_uri)),
                "trained_until": "2026-04-01",
                "model_id": made.model_id,
                "validation_status": "pending",
                model_versions.FORM: model_versions.FORM_VERSION,
            }
            client.create_model_version("payments", made.model_uri, tags=tags, model_id=made.model_id)
    return settings


@pytest.fixture
def settings(registered, monkeypatch):
    """The same home with an empty ledger, and no Prefect server."""
    for path in registered.home.glob("ledger.db*"):
        path.unlink()
    monkeypatch.setenv("CONTENDER_HOME", str(registered.home))
    monkeypatch.setenv("CONTENDER_USE_CASES", str(ROOT / "data"))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    model_versions.set_aliases(registered, "payments", champion=None, previous=None, challenger=None)
    return registered


@pytest.fixture
def command(settings, monkeypatch):
    """Runs a command in this process: `command("approve", "payments", …)` gives exit code, output and error."""

    def run(*arguments):
        # A command leaves at once, without waiting for threads; here it must only end.
        monkeypatch.setattr("flows.runtime.exits.leave", sys.exit)
        done = CliRunner().invoke(main, list(arguments))
        return done.exit_code, done.stdout, done.stderr

    return run


def crown(settings, number):
    version, after = model_versions.find(settings, "payments", number), ledger.head(settings, "payments")
    entry = title.crown(settings, "payments", version, after=after, reason="better", by="contender", evidence={})
    title.follow_verdict(settings, "payments", version, Decision.PROMOTE)
    return entry


def ask(settings, number, *, expires_after=timedelta(days=3), at=None):
    """All that a retrain leaves of a challenger that won, where the contract wants a person to agree."""
    head, version = ledger.head(settings, "payments"), model_versions.find(settings, "payments", number)
    title.follow_verdict(settings, "payments", version, Decision.PROMOTE)
    evidence = {"verdict": VERDICT, "model_digest": version.digest, "git_revision": "abc", "data": {"records": 4}}
    return approval_requests.ask(
        settings,
        "payments",
        version=number,
        follows=head.seq if head else 0,
        evidence=json.dumps(evidence),
        expires_after=expires_after,
        at=at,
    )[0]


def versions(settings):
    return [entry.version for entry in ledger.history(settings, "payments")]


def status(settings, number):
    with model_versions.connected(settings) as client:
        return client.get_model_version("payments", str(number)).tags["validation_status"]


@pytest.mark.parametrize("champion", [[], [1]], ids=["the first champion", "a later one"])
def test_who_is_approved_takes_the_title_with_its_evidence(settings, command, champion):
    for number in champion:
        crown(settings, number)
    ask(settings, 2)

    code, said, told = command("approve", "payments", "--reason", " looked at it ", "--by", "ada", "--json")

    head = ledger.head(settings, "payments")
    assert (code, told) == (0, "")
    assert json.loads(said)["by"] == "person: ada"
    assert (head.version, head.reason, head.by) == (2, "looked at it", "person: ada")
    evidence = json.loads(head.evidence)
    assert (evidence["verdict"], evidence["git_revision"], evidence["example_rows"]) == (VERDICT, "abc", 3)
    previous = {"previous": 1} if champion else {}
    assert model_versions.aliases(settings, "payments") == {"champion": 2} | previous
    assert approval_requests.waiting(settings, "payments") is None
    assert ledger.verify(settings, "payments") == 1 + len(champion)


@pytest.fixture
def announced(monkeypatch):
    """The events that a server of this test's own has received."""
    found = []

    class Ears(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(b"true")

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.extend(body if self.path == "/api/events" else [])
            self._answer(b"{}")

        def _answer(self, body):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ears)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    yield found
    server.shutdown()
    serving.join()
    server.server_close()


def test_a_title_that_is_approved_by_command_is_announced_once(settings, announced, command):
    ask(settings, 2)
    assert command("approve", "payments", "--reason", "looked at it", "--by", "ada")[0] == 0
    [event] = announced
    assert (event["event"], event["payload"]["version"]) == ("contender.champion.promoted", 2)


def test_who_is_rejected_challenges_no_more(settings, command):
    crown(settings, 1)
    ask(settings, 2)

    code, said, _ = command("reject", "payments", "--version", "2", "--reason", "too many alarms", "--by", "ada")

    assert code == 0
    assert re.match(r"Version 2 of payments was rejected by person: ada at .* UTC: too many alarms. The champ", said)
    assert versions(settings) == [1]
    assert model_versions.aliases(settings, "payments") == {"champion": 1}
    assert status(settings, 2) == "rejected"


@pytest.mark.parametrize(
    ("before", "arguments", "code", "sentence"),
    [
        ([], ["approve", "payments", "--reason", "r"], 2, "A version of payments was never put to a person"),
        ([], ["reject", "payments", "--version", "2", "--reason", "r"], 2, "Version 2 of payments was never put to a"),
        (["ask"], ["approve", "payments", "--reason", " "], 2, "--reason is blank"),
        (["ask"], ["approve", "payments", "--version", "3", "--reason", "r"], 2, "Version 3 of payments was never"),
        (["ask", "approve"], ["approve", "payments", "--reason", "r"], 1, "2 of payments was approved by person: eve"),
        (["ask", "approve"], ["reject", "payments", "--reason", "r"], 1, "was approved by person: eve .*nothing to do"),
        (["ask", "reject"], ["approve", "payments", "--reason", "r"], 1, "was rejected by person: eve .*--to 2"),
        (["late"], ["approve", "payments", "--reason", "r"], 1, "expired at .*; the champion stays; 'contender retrai"),
        (["ask", "ask 3"], ["approve", "payments", "--version", "2", "--reason", "r"], 1, "version 3 was asked about"),
        (["ask", "crown"], ["approve", "payments", "--reason", "r"], 1, "is void since .*: entry 1 of the title came"),
        (["ask 4"], ["approve", "payments", "--reason", "r"], 1, "version 4 does not answer each of the 3 rows"),
        (["ask"], ["approve", "payment", "--reason", "r"], 2, "did you mean 'payments'"),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_sentence_and_changes_nothing(
    settings, command, before, arguments, code, sentence
):
    for step in before:
        if step in ("approve", "reject"):
            assert command(step, "payments", "--reason", "r", "--by", "eve")[0] == 0
        elif step == "crown":
            crown(settings, 1)
        elif step == "late":
            ask(settings, 2, at=datetime.now(UTC) - timedelta(days=4))
        else:
            ask(settings, int(step.removeprefix("ask") or 2))
    held = versions(settings)

    found, said, told = command(*arguments)

    assert (found, said, told.count("\n")) == (code, "", 1), told
    assert re.search(sentence, told), told
    assert versions(settings) == held


def test_a_model_that_does_not_predict_leaves_the_request_open(settings, command):
    ask(settings, 4)

    assert command("approve", "payments", "--reason", "r")[0] == 1
    assert approval_requests.waiting(settings, "payments").version == 4
    assert command("reject", "payments", "--reason", "it does not predict")[0] == 0


def test_a_model_that_is_not_the_one_that_was_judged_is_refused(settings, command):
    ask(settings, 2)
    with model_versions.connected(settings) as client:
        kept = client.get_model_version("payments", "2").tags["digest"]
        client.set_model_version_tag("payments", "2", "digest", "f" * 64)
    try:
        code, _, said = command("approve", "payments", "--reason", "r")
    finally:
        with model_versions.connected(settings) as client:
            client.set_model_version_tag("payments", "2", "digest", kept)

    assert code == 1
    assert f"registered with the digest ffffffffffff…, but {kept[:12]}… was judged" in said
    assert versions(settings) == []


@pytest.mark.parametrize("how", ["approve", "reconcile"])
def test_an_approval_cut_off_before_the_title_changed_is_finished(settings, command, monkeypatch, how):
    crown(settings, 1)
    ask(settings, 2)
    with monkeypatch.context() as patch:
        patch.setattr("contender.promotion.ledger.take_title", lambda *_, **__: sys.exit("killed"))
        with pytest.raises(SystemExit):
            approval_decisions.approve(settings, "payments", version=None, reason="looked at it", by="person: ada")
    assert (versions(settings), approval_requests.find(settings, "payments", 2).state) == ([1], "approved")
    assert command("reject", "payments", "--reason", "r")[0] == 1, "the answer is given"

    arguments = ["approve", "payments", "--reason", "again", "--by", "bob"] if how == "approve" else ["reconcile"]
    code, said, _ = command(*arguments)

    head = ledger.head(settings, "payments")
    assert (code, head.version, head.by, head.reason) == (0, 2, "person: ada", "looked at it"), said
    assert model_versions.aliases(settings, "payments") == {"champion": 2, "previous": 1}
    assert command("approve", "payments", "--reason", "r")[0] == 1
    assert command("reconcile", "payments")[0] == 0
    assert versions(settings) == [1, 2]


def test_an_approval_cut_off_is_void_when_the_title_went_elsewhere(settings, command):
    crown(settings, 1)
    request = ask(settings, 2)
    approval_requests.decide(settings, "payments", request, "approved", reason="r", by="person: ada")
    crown(settings, 3)

    code, _, said = command("approve", "payments", "--reason", "r")

    assert (code, versions(settings)) == (1, [1, 3])
    assert "is void since" in said
    assert command("reconcile", "payments")[0] == 0
    assert approval_requests.find(settings, "payments", 2).state == "superseded"


def test_who_takes_the_title_while_the_model_is_proven_wins(settings, command, monkeypatch):
    crown(settings, 1)
    ask(settings, 2)
    prove = approval_decisions.prove

    def prove_while_somebody_else_takes_the_title(*arguments):
        crown(settings, 3)
        return prove(*arguments)

    monkeypatch.setattr("contender.promotion.approval_decisions.prove", prove_while_somebody_else_takes_the_title)
    code, _, said = command("approve", "payments", "--reason", "r")

    assert (code, versions(settings)) == (1, [1, 3])
    assert "is void since" in said
    assert "version 3 promoted by contender" in said
    assert model_versions.aliases(settings, "payments")["champion"] == 3


def compete(home, name, together, said):
    from contender.errors import TitleError

    settings = Settings(home=home)
    together.wait()
    try:
        entry = approval_decisions.approve(settings, "payments", version=None, reason=name, by=f"person: {name}")
        said.put(f"entry by {entry.by}")
    except TitleError as error:
        said.put(str(error))


def test_of_two_people_at_once_one_changes_the_title(settings):
    crown(settings, 1)
    ask(settings, 2)
    context = get_context("spawn")
    together, said = context.Barrier(2), context.Queue()
    people = [context.Process(target=compete, args=(settings.home, name, together, said)) for name in ("ada", "bob")]
    for person in people:
        person.start()
    sentences = [said.get(timeout=120) for _ in people]
    for person in people:
        person.join(60)

    by = ledger.head(settings, "payments").by
    assert versions(settings) == [1, 2]
    assert all(by in sentence for sentence in sentences), sentences
    assert ledger.verify(settings, "payments") == 2


# The Prefect UI's form


class Server:
    """The Prefect server with a process worker of these tests' own, asked over HTTP as the UI does."""

    def __init__(self, prefect: Prefect, folder: Path, home: Path) -> None:
        self.url = prefect.environment["PREFECT_API_URL"]
        environment = prefect.environment | {"PREFECT_WORKER_QUERY_SECONDS": "1", "CONTENDER_HOME": str(home)}
        with (folder / "worker.log").open("w") as log:
            self.worker = subprocess.Popen(
                [WORKER, "worker", "start", "--pool", "people", "--type", "process"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self.ask("GET", "work_pools/people"), "the worker has made its pool")
        flow = wait_until(lambda: self.ask("POST", "flows/", {"name": "approve"}), "the flow is made")["id"]
        steps = [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]
        deployment = {
            "name": "payments",
            "flow_id": flow,
            "entrypoint": "flows.approve.approve",
            "path": str(ROOT),
            "work_pool_name": "people",
            "pull_steps": steps,
        }
        # Creating it again changes nothing, and a server that has just begun may be busy.
        made = wait_until(lambda: self.ask("POST", "deployments/", deployment), "the deployment is made")
        self.deployment = made["id"]

    def ask(self, method, path, body=None):
        """What the API answers; None when it refuses or cannot. One that is busy is asked again."""
        request = urllib.request.Request(f"{self.url}/{path}", method=method)
        request.add_header("Content-Type", "application/json")
        for _ in range(5):
            try:
                with urllib.request.urlopen(request, None if body is None else json.dumps(body).encode(), 60) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code < 500:
                    return None
            except OSError:
                return None
            time.sleep(1)
        return None

    def show(self, version):
        """The run that shows a request, as soon as it waits."""
        parameters = {"use_case": "payments", "version": version}
        asked = {"parameters": parameters, "idempotency_key": uuid4().hex}
        path = f"deployments/{self.deployment}/create_flow_run"
        run = wait_until(lambda: self.ask("POST", path, asked), "the run is made")
        return self.wait_for(run["id"], "PAUSED")

    def run(self, run):
        return wait_until(lambda: self.ask("GET", f"flow_runs/{run}"), "the server tells of the run")

    def wait_for(self, run, state):
        def reached():
            found = self.run(run)
            assert found["state"]["type"] in (state, "SCHEDULED", "PENDING", "RUNNING", "PAUSED"), found["state"]
            return found["state"]["type"] == state

        wait_until(reached, f"the run is {state}")
        return self.run(run)

    def resume(self, run, **form):
        """Fill the form, as the UI does."""
        return self.ask("POST", f"flow_runs/{run['id']}/resume", {"run_input": form})

    def stop(self):
        self.worker.terminate()
        try:
            self.worker.wait(30)
        except subprocess.TimeoutExpired:
            self.worker.kill()
            self.worker.wait()


def wait_until(true, what):
    """What `true` answers when it holds at last."""
    until = time.monotonic() + 120
    while not (answer := true()):
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.3)
    return answer


@pytest.fixture(scope="module")
def served(registered, prefect, tmp_path_factory):
    server = None
    try:
        server = Server(prefect, tmp_path_factory.mktemp("worker"), registered.home)
        yield server
    finally:
        if server:
            server.stop()


@pytest.fixture
def win(settings, served, at_home):
    """Asks for approval of a version as a retrain does that it won."""
    from prefect import flow

    from tasks.approvals import ask_approval

    contract = Contract.of("payments", ROOT / "data")
    day = datetime(2026, 1, 1, tzinfo=UTC)
    rows = Rows(day, day, day, (TableVersion("payments", "features", 3),))
    verdict = replace(WON, guardrails=(Guardrail("latency", None, 200.0, True),))

    @flow
    def won(number: int):
        version = model_versions.find(settings, "payments", number)
        ask_approval(settings, contract, version, ledger.head(settings, "payments"), verdict, rows)

    with at_home(settings, ROOT):
        yield won


def test_the_winner_is_shown_in_the_ui_and_its_form_gives_the_title(settings, served, win):
    crown(settings, 1)
    win(2)
    filters = {"deployments": {"id": {"any_": [served.deployment]}}, "sort": "EXPECTED_START_TIME_DESC"}
    run = served.wait_for(served.ask("POST", "flow_runs/filter", filters)[0]["id"], "PAUSED")

    assert (run["name"], run["state"]["name"]) == ("approve payments version 2", "Suspended")
    assert approval_requests.waiting(settings, "payments").flow_run == run["id"]
    artifact = served.ask("GET", "artifacts/payments-approval/latest")["data"]
    assert "Version 2 won, and the contract wants a person to agree" in artifact
    assert "- The gain of 0.05 is beyond luck." in artifact
    assert "| roc_auc | 0.8000 | 0.8500 | +0.0500 | +0.0200 to +0.0800 | 1,200 |" in artifact
    assert "| latency | unknown | 200 | yes |" in artifact
    asked = served.ask("GET", f"flow_runs/{run['id']}/input/suspended-answer-description")
    assert "waits for approval until" in asked
    worker = psutil.Process(served.worker.pid)
    waiting = lambda: [p for p in worker.children(recursive=True) if "approve" in " ".join(p.cmdline())]  # noqa: E731
    wait_until(lambda: not waiting(), "no process stays for a run that waits")
    assert versions(settings) == [1]

    refused = [
        served.resume(run),
        served.resume(run, decision="perhaps", reason="r", by="ada"),
        served.resume(run, decision="approve", reason=" ", by="ada"),
    ]
    assert [answer["status"] for answer in refused] == ["REJECT"] * 3
    assert served.resume(run, decision="approve", reason="looked at it", by="ada")["status"] == "ACCEPT"
    ended = served.wait_for(run["id"], "COMPLETED")

    head = ledger.head(settings, "payments")
    assert ended["state"]["name"] == "Approved"
    assert "Version 2 of payments was approved by person: ada at" in ended["state"]["message"]
    assert (head.version, head.by, head.reason) == (2, "person: ada", "looked at it")
    assert json.loads(head.evidence)["data"] == {"features": 3}
    assert model_versions.aliases(settings, "payments") == {"champion": 2, "previous": 1}


def test_the_form_can_keep_the_champion(settings, served):
    crown(settings, 1)
    ask(settings, 2)
    run = served.show(2)

    served.resume(run, decision="reject", reason="too many alarms", by="ada")
    ended = served.wait_for(run["id"], "COMPLETED")

    assert ended["state"]["name"] == "Rejected"
    assert ended["state"]["message"].endswith("too many alarms")
    assert versions(settings) == [1]
    assert status(settings, 2) == "rejected"


def test_an_answer_that_comes_too_late_changes_nothing_and_says_so(settings, served):
    crown(settings, 1)
    request = ask(settings, 2)
    run = served.show(2)
    approval_requests.expire(settings, datetime.fromisoformat(request.expires_at))

    served.resume(run, decision="approve", reason="looked at it", by="ada")
    ended = served.wait_for(run["id"], "COMPLETED")

    assert ended["state"]["name"] == "Expired"
    assert "expired at" in ended["state"]["message"]
    assert versions(settings) == [1]


def test_the_command_ends_the_run_that_waits(settings, served, command, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", served.url)
    ask(settings, 2)
    run = served.show(2)

    assert command("approve", "payments", "--reason", "looked at it", "--by", "ada")[0] == 0

    ended = served.run(run["id"])["state"]
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Approved")
    assert "was approved by person: ada" in ended["message"]
    assert versions(settings) == [2]
    late = served.resume(run, decision="reject", reason="r", by="bob")
    assert late["status"] == "ABORT"


def test_the_next_winner_ends_the_run_of_the_one_before(settings, served, win):
    ask(settings, 2)
    run = served.show(2)

    win(3)

    ended = served.run(run["id"])["state"]
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Superseded")
    assert "version 3 was asked about" in ended["message"]
    assert approval_requests.waiting(settings, "payments").version == 3


def test_the_sweep_ends_the_run_of_what_nobody_answered(settings, served, at_home):
    crown(settings, 1)
    ask(settings, 2)
    run = served.show(2)

    from prefect import flow

    from tasks.approvals import expire_requests

    now = datetime.now(UTC)
    sweep = flow(lambda later: len(expire_requests(settings, now + later)), name="sweep")
    with at_home(settings, ROOT):
        assert (sweep(timedelta()), sweep(timedelta(days=3))) == (0, 1)

    ended = served.run(run["id"])["state"]
    assert (ended["type"], ended["name"]) == ("COMPLETED", "Expired")
    assert approval_requests.find(settings, "payments", 2).state == "expired"
    assert versions(settings) == [1]


# A real retrain

SMALL = """\
[training]
min_rows = 50
candidates = ['logistic']
trials = 1
folds = 2
min_per_class = 5
"""


def test_a_winner_that_nobody_has_approved_scores_nothing(make_home, at_home, prefect, tmp_path):
    home = make_home(
        ("max_bad_share = 0.2", "max_bad_share = 0.2\n\n" + SMALL),
        ("min_gain = 0.01", "min_gain = 0.01\nmin_rows = 50\nmin_per_class = 5"),
        extra="\n[approval]\nrequired = true\n",
    )
    numbers = range(400)
    home.land(
        "orders-1.csv",
        *[f"o{n},2026-01-{1 + n % 28:02}T{n % 24:02}:00:00,{'abc'[n % 3]},red,{n * 7 % 90},1,false" for n in numbers],
    )
    home.land("returns-1.csv", *[f"o{n},{str(n * 7 % 90 > 60 or n % 17 == 0).lower()},0" for n in numbers])

    with at_home(home.settings, tmp_path) as run:
        asked = run("run", "orders", "--landing", home.landing, "--json").document

        assert (asked["last_verdict"], asked["champion"], asked["predictions"]) == ("PROMOTE", None, 0)
        assert asked["approval"]["version"] == 1
        assert asked["approval"]["sentence"].startswith("Version 1 of orders waits for approval until ")

        def logged() -> list[str]:
            newest = prefect.ask("/logs/filter", {"limit": 200, "sort": "TIMESTAMP_DESC"})
            return [one["message"] for one in newest]

        eventually(lambda: [line for line in logged() if "so the command above decides" in line], "nobody shows it")

        assert run("approve", "orders", "--reason", "looked at it", "--by", "ada").code == 0
        scored = run("score", "orders", "--json").document

    head = ledger.head(home.settings, "orders")
    assert (head.version, head.by, head.action) == (1, "person: ada", "crowned")
    assert {"verdict", "data", "git_revision", "as_of", "model_digest"} <= json.loads(head.evidence).keys()
    assert (scored["version"], scored["predictions"]) == (1, asked["records"])
