"""What people see of runs on a real Prefect server: states, logs, pages, events, progress, and `--queue`."""

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from contender.settings import Settings
from tests.flows.beside import warm_spark
from tests.flows.prefect_server import ROOT, Prefect, eventually, served

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

FAILING = """
import errno
from prefect import flow
from contender.lake import spark_session, tables
from contender.errors import BatchRefused
from contender.settings import Settings
from flows.runtime.flow_runs import in_one_sentence, tags_of
from tasks.steps import step

def spark(): return spark_session.session(Settings(), small=True)
def refused(): raise BatchRefused("The batch is refused: 9.0% of its 400 records fail.")
def full(): raise OSError(errno.ENOSPC, "No space left on device", "/lake/records")
def java(): spark().sparkContext._jvm.java.util.ArrayList(-1)
def python():
    def bad(batches):
        raise KeyError("colour")
        yield
    spark().range(1).mapInArrow(bad, "id bigint").collect()

def story_of(what):
    @step(name=what.__name__)
    def doing(): what()
    @in_one_sentence
    @flow(name=what.__name__, flow_run_name=what.__name__)
    def story(use_case: str): doing()
    return story

@in_one_sentence
@flow(flow_run_name="outer")
def outer(use_case: str): story_of(refused)(use_case)

for what in (outer, story_of(full), story_of(java), story_of(python)):
    try:
        with tags_of(Settings(), "payments"): what("payments")
    except Exception as error:
        print(what.name, type(error).__name__)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="module")
def warm(server, tmp_path_factory):
    """A home whose Spark is warm, for the scripts that need one."""
    home = tmp_path_factory.mktemp("warm") / "home"
    environment = server.environment | {
        "CONTENDER_HOME": str(home),
        "CONTENDER_SPARK_MEMORY": "1g",
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1",
    }
    with warm_spark(Settings(home=home), environment):
        yield home


def run(server: Prefect, folder: Path, script: str, **variables: str) -> str:
    """What a script prints that runs flows on the server, with its home in the folder."""
    path = folder / "script.py"
    path.write_text(script)
    common = {"PYTHONPATH": str(ROOT), "CONTENDER_HOME": str(folder / "home"), "CONTENDER_SPARK_MEMORY": "1g"}
    return server.run(str(path), **(common | variables))


def runs(server: Prefect) -> dict[str, Any]:
    found = server.ask("/flow_runs/filter", {"sort": "START_TIME_ASC"})
    return {one["name"]: one for one in found}


def events(server: Prefect, **by: Any) -> list[Any]:
    """Events of ours, oldest first."""
    wanted = {"filter": {"event": {"prefix": ["contender."]}, "order": "ASC", **by}}
    found: list[Any] = server.ask("/events/filter", wanted)["events"]
    return found


@pytest.fixture(scope="module")
def failing(server, warm):
    """What a script printed whose flows fail, its folder, and the runs by name."""
    return run(server, warm.parent, FAILING), warm.parent, runs(server)


def test_a_failed_run_says_the_one_sentence(failing):
    _, folder, found = failing
    told = {name: found[name]["state"]["message"] for name in ("refused", "outer", "full", "java", "python")}

    assert told["refused"] == told["outer"] == "The batch is refused: 9.0% of its 400 records fail."
    disk = f"the disk that holds {folder / 'home'} or the lake is full; make room there"
    assert told["full"].startswith(f"The step 'full' of payments failed: {disk}")
    assert "Illegal Capacity: -1" in told["java"]
    began = "The step 'python' of payments failed: PythonException: KeyError: 'colour'; the whole of it is in "
    assert told["python"].startswith(began)
    assert all("\n" not in sentence for sentence in told.values())
    assert {found[name]["state_type"] for name in told} == {"FAILED"}


def test_who_calls_a_flow_that_fails_gets_the_exception_itself(failing):
    printed, _, _ = failing

    assert printed.split() == [
        "outer",
        "BatchRefused",
        "full",
        "OSError",
        "java",
        "IllegalArgumentException",
        "python",
        "PythonException",
    ]


def test_the_whole_of_what_is_no_promise_of_ours_is_kept_in_a_file(failing):
    _, folder, found = failing
    kept = {path.stem: path.read_text() for path in (folder / "home" / "logs" / "errors").iterdir()}

    assert set(kept) == {found[name]["id"] for name in ("full", "java", "python")}
    assert "Traceback (most recent call last)" in kept[found["python"]["id"]]
    assert str(folder / "home" / "logs" / "errors") in found["python"]["state"]["message"]


def test_the_log_of_a_failed_run_holds_no_page(server, failing):
    _, _, found = failing
    ids = [found[name]["id"] for name in ("refused", "full", "java", "python")]

    def logged() -> list[str]:
        wanted = {"logs": {"flow_run_id": {"any_": ids}}, "limit": 200}
        lines = [line["message"] for line in server.ask("/logs/filter", wanted)]
        return lines if sum("KeyError" in line for line in lines) >= 2 else []

    lines = eventually(logged, "the logs are kept")
    assert not [line for line in lines if "\n" in line or "Traceback" in line or "at java." in line or "\\tat" in line]


def test_runs_bear_the_tags_of_their_use_case_and_their_steps_none(server, failing):
    _, _, found = failing

    assert set(found["full"]["tags"]) == {"contender", "payments"}
    assert all(step["tags"] == [] for step in server.ask("/task_runs/filter", {}))


TAKING_IN = """
import os, sys
from pathlib import Path
from flows.ingest import ingest
try:
    ingest("orders", sys.argv[1] if len(sys.argv) > 1 else os.environ["LANDING"])
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def taken_in(server, make_home, warm):
    """A use case without a champion after a good batch and a refused one; what the second printed."""
    home, folder = make_home(), warm.parent
    rows = [f"o{n},2026-01-{1 + n % 9:02},a,red,{n},1,false" for n in range(40)]
    home.land("orders-1.csv", *rows)
    home.land("returns-1.csv", *[f"o{n},true,1" for n in range(20)])
    variables = {"CONTENDER_USE_CASES": str(home.settings.use_cases), "LANDING": str(home.landing)}
    first = run(server, folder, TAKING_IN, **variables)
    home.land("orders-2.csv", *[row.replace("o", "p", 1).replace(",a,", ",moon,") for row in rows])
    return first, run(server, folder, TAKING_IN, **variables), folder


def test_a_batch_that_was_taken_in_is_announced(server, taken_in):
    first, _, _ = taken_in
    assert first == ""

    def told() -> dict[str, Any]:
        found = {one["event"]: one for one in events(server)}
        return found if "contender.batch.refused" in found else {}

    found = eventually(told, "the events are kept")
    records, outcomes = found["contender.records.ingested"], found["contender.outcomes.ingested"]
    assert records["resource"]["prefect.resource.id"] == "contender.use-case.orders"
    assert records["payload"]["sentence"] == "Batch 1 of orders brought 40 records."
    assert (records["payload"]["records"], outcomes["payload"]["outcomes"]) == (40, 20)
    assert found["contender.retrain.requested"]["payload"]["sentence"] == "no challenger has been judged yet"
    assert "contender.predictions.written" not in found, "nobody holds the title"


def test_a_refused_batch_is_announced_and_shown(server, taken_in):
    _, second, _ = taken_in
    refusal = "The batch is refused: 100.0% of its 40 records fail"
    (event,) = eventually(
        lambda: [one for one in events(server) if one["event"] == "contender.batch.refused"], "the event is kept"
    )
    failed = [one for one in runs(server).values() if one["state_type"] == "FAILED" and one["name"] == "ingest orders"]
    pages = server.ask("/artifacts/filter", {"artifacts": {"key": {"any_": ["orders-batch"]}}})

    assert second.startswith(f"BatchRefused {refusal}")
    assert event["payload"]["sentence"].startswith(refusal)
    assert event["payload"]["batch"] == 2
    assert failed[-1]["state"]["message"].startswith(refusal)
    assert len(pages) == 2
    assert any(refusal in page["data"] for page in pages)
    assert any("[batch page](file://" in page["data"] for page in pages)


def test_what_is_no_name_of_a_use_case_is_refused_before_anything_is_done(server, tmp_path):
    script = "from flows.score import score\nfor name in ('../x', 'nobody'):\n    print(repr(score(name, return_state=True).message))"
    bad, unknown = run(server, tmp_path, script).splitlines()

    assert "use_case" in bad
    assert "should match pattern" in bad
    assert unknown.startswith("\"There is no use case 'nobody'")


SKIPPED = """
from datetime import UTC, datetime
from contender.retraining import triggers
from contender.contracts.contract import Contract
from contender.settings import Settings
from flows.retrain import retrain
settings = Settings()
contract = Contract.of("payments", settings.use_cases)
assert triggers.may_start(settings, contract, "first", datetime.now(UTC)).allowed
state = retrain("payments", "drift was reported", event_id="second", return_state=True)
print(state.type.value, state.name, state.message)
"""


def test_a_retrain_that_the_cool_down_forbids_ends_as_skipped(server, tmp_path):
    told = run(server, tmp_path, SKIPPED)

    assert told.startswith("COMPLETED Skipped in the cool-down until ")
    assert runs(server)["retrain payments: drift was reported"]["state"]["name"] == "Skipped"


PROGRESS = """
import time
from prefect import flow, task
from contender.lake import spark_session, tables
from contender.settings import Settings
from tasks import progress
from tasks.run_log import step_log
progress.AFTER_SECONDS, progress.EVERY_SECONDS, progress.LINE_SECONDS = 0.5, 0.5, 1.0

def slow(batches):
    import time
    time.sleep(1)
    yield from batches

@task
def long(seconds):
    settings = Settings()
    spark = spark_session.session(settings, small=True)
    with step_log() as tell, progress.progressing(settings, "payments", "scoring with version 1", tell):
        spark.range(16, numPartitions=16).mapInArrow(slow, "id bigint").collect() if seconds else None

@flow
def story():
    long(0)
    long(10)
story()
"""


def test_long_scoring_shows_how_far_it_is(server, warm):
    run(server, warm.parent, PROGRESS)
    (shown,) = server.ask("/artifacts/filter", {"artifacts": {"key": {"any_": ["payments-scoring"]}}})

    def told() -> list[str]:
        newest = server.ask("/logs/filter", {"limit": 200, "sort": "TIMESTAMP_DESC"})
        lines = [one["message"] for one in reversed(newest)]
        return [line for line in lines if line.startswith("scoring with version 1: ")]

    shares = [int(line.split(": ")[1].split("%")[0]) for line in eventually(told, "the lines are kept")]
    assert (shown["type"], shown["data"]) == ("progress", 100)
    assert any(0 < share < 100 for share in shares)


AWAY = """
import os, time
from pathlib import Path
from prefect import flow, task
from contender import events
from contender.settings import Settings
from flows.runtime.flow_runs import in_one_sentence
from tasks.announcements import announce
from tasks.run_log import show, step_log
here = Path(os.environ["CONTENDER_HOME"])

@task
def step():
    with step_log() as tell:
        tell("at work")
        show("payments", "batch", "a page", ["text"])
        announce(Settings(), events.Event(events.RECORDS, "payments", "went on"))
    return 1

@in_one_sentence
@flow(flow_run_name="went on")
def story(use_case: str):
    here.mkdir(exist_ok=True)
    (here / "begun").touch()
    while not (here / "away").exists(): time.sleep(0.1)
    (here / "done").write_text(str(step() + step()))
    return "kept"
print(story("payments"))
"""


def test_a_flow_finishes_its_work_while_the_server_is_away(tmp_path):
    home = tmp_path / "home"
    (tmp_path / "script.py").write_text(AWAY)
    with served(tmp_path / "served") as server:
        environment = server.environment | {"PYTHONPATH": str(ROOT), "CONTENDER_HOME": str(home)}
        command = [sys.executable, str(tmp_path / "script.py")]
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as it:
            eventually((home / "begun").exists, "the flow begins")
            server.stop(at_once=True)
            (home / "away").touch()
            done = eventually((home / "done").exists, "the work is done without the server")
            server.start()
            out, err = it.communicate(timeout=120)
        found = runs(server)["went on"]

    assert done
    assert (home / "done").read_text() == "2"
    assert (it.returncode, out) == (0, "kept\n"), err
    assert found["state_type"] == "COMPLETED"
    assert "Prefect does not keep the page 'a page'" in " ".join(err.split())


SENDING = """
from dataclasses import replace
from contender.promotion.ledger import LedgerEntry
from contender.settings import Settings
from flows.prefect_api import events
entry = LedgerEntry("payments", 2, 1, "2026-01-01", "promoted by hand", 7, 3, "agreed", "person: ada", "{}", "d", "e")
events.tell_title(Settings(), "payments", entry)
events.tell_title(Settings(), "payments", replace(entry, action="rolled back", version=3))
"""


def test_a_title_given_by_a_person_is_announced(server, tmp_path):
    run(server, tmp_path, SENDING)

    def told() -> list[Any]:
        return [one for one in events(server) if one["event"].startswith("contender.champion.")][-2:]

    found = eventually(lambda: told() if len(told()) == 2 else [], "the events are kept")
    assert [one["event"] for one in found] == ["contender.champion.promoted", "contender.champion.rolled-back"]
    assert found[0]["payload"]["sentence"] == (
        "Version 7 of payments holds the title after version 3, promoted by hand by person: ada: agreed"
    )


def test_nobody_to_tell_is_no_error(server, tmp_path):
    began = time.monotonic()
    run(server, tmp_path, SENDING, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert time.monotonic() - began < 100


AGAIN = """
from prefect import flow
from contender.errors import ModelError, Unavailable
from tasks.retries import TRIES
from tasks.steps import step

tries = []
def failing(error):
    @step(**TRIES | {"retry_delay_seconds": 0})
    def ask():
        tries.append(type(error).__name__)
        if len(tries) < 3: raise error
    return ask

@flow
def story(error):
    failing(error)()

for error in (Unavailable("MLflow does not answer."), ModelError("The model is none.")):
    tries.clear()
    print(story(error, return_state=True).type.value, len(tries))
"""


def test_what_did_not_answer_is_asked_again_on_a_worker_and_nothing_else_is(server, tmp_path):
    worker = {"PREFECT__RUNTIME__DEPLOYMENT__ID": "0"}

    assert run(server, tmp_path, AGAIN, **worker).split() == ["COMPLETED", "3", "FAILED", "1"]
    assert run(server, tmp_path, AGAIN).split() == ["FAILED", "1", "FAILED", "1"]


DEPLOYING = """
from flows.retrain import retrain
from flows.score import score
for flow in (score, retrain):
    flow.to_deployment("payments", parameters={"use_case": "payments"}).apply()
"""


@pytest.fixture(scope="module")
def deployed(server, tmp_path_factory):
    run(server, tmp_path_factory.mktemp("deploying"), DEPLOYING)
    return server


def contender(server: Prefect, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("contender"), *arguments],
        env=server.environment | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_queue_has_a_worker_do_it(deployed):
    done = contender(deployed, "retrain", "payments", "--reason", "a look", "--queue", "--json")
    told = json.loads(done.stdout)
    queued = deployed.ask(f"/flow_runs/{told['flow_run']}")

    assert (done.returncode, done.stderr) == (0, "")
    assert queued["state_type"] == "SCHEDULED"
    assert queued["parameters"] == {"use_case": "payments", "reason": "a look", "decayed": False}
    assert told["name"] == queued["name"]
    assert told["url"] == f"http://127.0.0.1:{deployed.port}/runs/flow-run/{queued['id']}"


def test_queue_tells_people_where_to_look(deployed):
    done = contender(deployed, "score", "payments", "--queue")

    assert done.returncode == 0
    assert done.stdout.startswith("Queued score of payments as '")
    assert "Watch it: http://127.0.0.1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        pytest.param(("ingest", "payments"), {}, "has no deployment ingest/payments; 'contender up'", id="none"),
        pytest.param(("score", "nobody"), {}, "There is no use case 'nobody'", id="no use case"),
        pytest.param(("retrain", "payments", "--reason", ""), {}, "refuses to run retrain/payments", id="parameters"),
        pytest.param(
            ("score", "payments"), {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "No Prefect server", id="no server"
        ),
    ],
)
def test_what_cannot_be_queued_is_refused_with_one_sentence(deployed, arguments, variables, words):
    done = contender(deployed, *arguments, "--queue", "--json", **variables)

    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith("contender: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.parametrize("flow", ["ingest", "score", "retrain", "pipeline", "release"])
def test_every_parameter_is_described_for_the_form(flow):
    document = getattr(import_module(f"flows.{flow}"), flow).parameters.model_dump()
    properties = document["properties"]

    assert all(one.get("description") for one in properties.values())
    assert properties["use_case"]["pattern"] == r"^[a-z][a-z0-9_]*$"
