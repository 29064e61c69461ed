"""What a person sees when a step of `contender run` breaks on what nobody thought of: one sentence, never a page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.prefect_server import ROOT, served

pytestmark = pytest.mark.slow

# The real steps and flows on a real server; what a step does inside is a stand-in's, so that each costs a second.
SCRIPT = '''
import contextlib, json, os, sys, tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from flows.cli import main
from flows.cli import run as commands
from flows.runtime import exits
from flows import ingest
from flows import pipeline
from flows import retrain
from flows import score
from contender.errors import Unavailable
from contender.promotion.title import Rival
from contender.retraining.policy import Due
from contender.values import Ingested, ModelVersion, Scored
from prefect import Task
from tests.flows.in_process import without_heartbeats
from tasks.steps import Step, _guarded

class StrangeError(Exception):
    """Says a page of Java, and a login."""

PAGE = """An error occurred while calling o71.save.
: org.apache.spark.SparkException: Job aborted.
\\tat org.apache.spark.sql.errors.QueryExecutionErrors$.jobAborted(QueryExecutionErrors.scala:638)
Caused by: java.io.IOException: no answer from postgresql://me:se@cret@host/db
\\tat java.base/java.lang.Thread.run(Thread.java:840)
Traceback (most recent call last):
  File "x.py", line 1, in <module>
"""
model = ModelVersion("payments", 1, "run", "id", "digest", datetime(2026, 1, 1, tzinfo=UTC))
batches = []
happens = {
    "find_batch": lambda *_: batches.pop() if batches else None,
    "take_in": lambda *_: Ingested(1, 1, 0, 0, 0, 0, 0),
    "refresh_features": lambda *_: None,
    "decide_retraining": lambda *_: Due(True, "enough is new"),
    "repair_aliases": lambda *_: None,
    "find_champion": lambda *_: (SimpleNamespace(version=1, seq=1), model),
    "find_rival": lambda *_: Rival(SimpleNamespace(version=1, seq=1), model),
    "split_rows": lambda *_: SimpleNamespace(judging="rows"),
    "hold_out": lambda *_: "rows",
    "train_challenger": lambda *_: model,
    "evaluate": lambda *_: ("scorecard", []),
    "compare": lambda *_: SimpleNamespace(
        promotes=True, decision=SimpleNamespace(value="PROMOTE"), reasons=["more"], champion_score=None, metric="m",
        challenger_score=0.5, rows=9, gain=0.1, against="dummy",
    ),
    "crown": lambda *_: "entry",
    "ask_approval": lambda *_: "request",
    "follow_verdict": lambda *_: None,
    "publish_report": lambda *_: "",
    "score_records": lambda *_: Scored(model, 0, 0, {}, None),
}
steps = {n: one for module in (ingest, retrain, score, pipeline) for n, one in vars(module).items() if isinstance(one, Task)}
assert all(isinstance(one, Step) for one in steps.values())
passed, breaking, error = [], "", None

def inside(name):
    def act(*args, **kwargs):
        passed.append(name)
        if name == breaking:
            raise error
        return happens[name]()
    return act

for name in happens:
    # The flows hold the steps by their own names.
    fake = inside(name)
    fake.__signature__ = __import__("inspect").signature(steps[name].fn)
    fake.__name__ = name
    steps[name].fn = _guarded(steps[name].name, fake)
for module in (ingest, retrain, score):
    for name in ("tell_ingested", "tell_crowned", "tell_scored"):
        if hasattr(module, name):
            setattr(module, name, lambda *_: None)
commands.engines = lambda *_: contextlib.nullcontext(SimpleNamespace(seconds=0.0))
commands._make_sure_there_is_data = lambda *_: None
def leave(code): raise SystemExit(code)
exits.leave = leave

settings = without_heartbeats()
settings.__enter__()

def run(*arguments):
    """Exit code, standard output and standard error of a command, whoever writes to them."""
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        code = 0
        try:
            main.main([*arguments], standalone_mode=True)
        except SystemExit as ended:
            code = ended.code
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os.dup2(kept[0], 1), os.dup2(kept[1], 2)
        out.seek(0), err.seek(0)
        return {"code": code, "out": out.read(), "err": err.read()}

def broken(name, what, *more, use_case="payments"):
    global breaking, error
    breaking, error = name, what
    passed.clear()
    batches[:] = [SimpleNamespace(batch=1)]
    return {**run("run", use_case, *more), "passed": list(passed)}

found = {"well": broken("", None), "with approval": broken("", None, use_case="asked")}
for name in happens:
    found[name] = broken(name, StrangeError(PAGE), use_case="asked" if name == "ask_approval" else "payments")
found["json"] = broken("train_challenger", StrangeError(PAGE), "--json")
os.environ["CONTENDER_DEBUG"] = "1"
found["debug"] = broken("train_challenger", StrangeError(PAGE))
del os.environ["CONTENDER_DEBUG"]
found["failing"] = run("status", "--json")
found["ours"] = broken("find_champion", Unavailable("The registry does not answer; start it."))
found["mended"] = broken("", None)
found["after"] = run("status", "--json")
errors = Path(os.environ["CONTENDER_HOME"], "logs", "errors")
errors.rename(errors.with_name("before"))
errors.write_text("in the way")
found["unwritten"] = broken("train_challenger", StrangeError(PAGE))
print(json.dumps(found))
'''
STEPS = [
    "find_batch",
    "take_in",
    "refresh_features",
    "decide_retraining",
    "repair_aliases",
    "find_champion",
    "find_rival",
    "split_rows",
    "hold_out",
    "train_challenger",
    "evaluate",
    "compare",
    "crown",
    "ask_approval",
    "follow_verdict",
    "publish_report",
    "score_records",
]
CAUSE = "StrangeError: java.io.IOException: no answer from postgresql://host/db"


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """What each command printed; the states of runs of flows and of tasks; where all of it happened."""
    folder = tmp_path_factory.mktemp("sentences")
    script = folder / "script.py"
    script.write_text(SCRIPT)
    contracts = folder / "data"
    for name in ("payments", "asked"):
        text = (
            (ROOT / "data" / "payments" / "contract.toml").read_text().replace('name = "payments"', f'name = "{name}"')
        )
        (contracts / name).mkdir(parents=True)
        if name == "asked":
            text = text.replace("[approval]\nrequired = false", "[approval]\nrequired = true")
        (contracts / name / "contract.toml").write_text(text)
    with served(folder / "served") as server:
        variables = {"PYTHONPATH": str(ROOT), "CONTENDER_HOME": str(folder / "home"), "COLUMNS": "80"}
        told = server.run(str(script), **variables, CONTENDER_USE_CASES=str(contracts))
        states = {}
        for kind in ("flow_runs", "task_runs"):
            states[kind] = [one["state"] for one in _all(server, kind) if one["state"]["type"] == "FAILED"]
    return json.loads(told.splitlines()[-1]), states, folder


def _all(server, kind):
    found = []
    while page := server.ask(f"/{kind}/filter", {"limit": 200, "offset": len(found)}):
        found += page
    return found


def sentence_of(done, folder) -> str:
    assert done["code"] == 1
    assert done["out"] == ""
    said = [line for line in done["err"].splitlines() if line.startswith("contender: ")]
    assert len(said) == 1
    assert done["err"].endswith(f"{said[0]}\n")
    assert "Traceback" not in done["err"]
    assert "\tat " not in done["err"]
    assert "cret@" not in done["err"]
    return said[0].removeprefix("contender: ")


def test_these_are_the_steps_that_a_run_passes_through(played):
    told, _, _ = played

    assert (told["well"]["code"], told["with approval"]["code"]) == (0, 0), told["well"]["err"]
    assert {*told["well"]["passed"], *told["with approval"]["passed"]} == {*STEPS}


@pytest.mark.parametrize("name", STEPS)
def test_a_strange_error_in_a_step_is_one_sentence_to_people_and_in_both_states(played, name):
    told, states, folder = played
    use_case = "asked" if name == "ask_approval" else "payments"
    sentence = sentence_of(told[name], folder)

    began = f"The step '{name.replace('_', ' ')}' of {use_case} failed: {CAUSE}; the whole of it is in "
    assert sentence.startswith(began)
    path, _, advice = sentence.removeprefix(began).partition(": ")
    assert advice == "report it with that file and the output of 'contender doctor'."
    kept = folder / "home" / "logs" / "before" / Path(path).name
    assert Path(path).parent == folder / "home" / "logs" / "errors"
    whole = kept.read_text()
    assert "Traceback (most recent call last)" in whole
    assert "StrangeError" in whole
    assert "Job aborted" in whole
    assert "cret@" not in whole
    assert sentence in [state["message"] for state in states["task_runs"]]
    assert sentence in [state["message"] for state in states["flow_runs"]]


def test_an_error_is_kept_once_for_its_step_and_all_flows_around_it(played):
    _, _, folder = played
    kept = [*(folder / "home" / "logs" / "before").iterdir()]

    # Each step, and that of training again as JSON and with the traceback shown.
    assert len(kept) == len(STEPS) + 2


def test_no_state_of_any_run_holds_a_page(played):
    _, states, _ = played

    for state in [*states["flow_runs"], *states["task_runs"]]:
        assert not re.search(r"\n|Traceback|\tat |encountered an exception|cret@", state["message"])


def test_an_error_of_ours_stays_its_own_sentence_also_in_the_state_of_the_step(played):
    told, states, folder = played

    assert sentence_of(told["ours"], folder) == "The registry does not answer; start it."
    for kind in ("flow_runs", "task_runs"):
        assert "The registry does not answer; start it." in [state["message"] for state in states[kind]]


def test_with_json_standard_output_stays_empty(played):
    told, _, folder = played

    assert "train challenger" in sentence_of(told["json"], folder)


def test_who_debugs_sees_the_whole_before_the_sentence(played):
    told, _, _ = played
    shown = told["debug"]

    assert shown["code"] == 1
    assert "Traceback (most recent call last)" in shown["err"]
    assert "cret@" not in shown["err"]
    assert shown["err"].splitlines()[-1].startswith("contender: The step 'train challenger'")


def test_where_no_log_can_be_written_the_sentence_says_so_without_a_path(played):
    told, _, folder = played
    sentence = sentence_of(told["unwritten"], folder)

    assert "the whole of it could not be written down (File exists): report it with what CONTENDER_DEBUG=1" in sentence
    assert str(folder) not in sentence


def test_what_failed_last_is_in_the_status_until_it_succeeds(played):
    told, _, _ = played

    def failing(name):
        (found,) = [one for one in json.loads(told[name]["out"])["use_cases"] if one["name"] == "payments"]
        return {one["flow"]: one for one in found["failing"]}

    before = failing("failing")
    assert before["retrain"]["sentence"].startswith("The step 'train challenger' of payments failed")
    # Since scoring broke, before which it did what it should.
    assert before["retrain"]["times"] == 2
    assert failing("after") == {}


def contender(folder: Path, *arguments: str, **variables: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CONTENDER_", "PREFECT_"))}
    environment = clean | {"CONTENDER_HOME": str(folder), "PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-c", "from flows.cli.main import main; main()", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return [str(done.returncode), done.stdout, done.stderr]


def test_a_setting_that_cannot_be_used_is_one_sentence(tmp_path):
    code, out, err = contender(tmp_path, "status", CONTENDER_SEED="secret")

    assert (code, out) == ("1", "")
    assert err.startswith("contender: CONTENDER_SEED cannot be used (")
    assert "secret" not in err
    assert err.count("\n") == 1


def test_where_nobody_reads_on_nothing_is_said(tmp_path):
    command = f"{sys.executable} -c 'from flows.cli.main import main; main()' status --json | true"
    environment = os.environ | {"CONTENDER_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stderr == ""


BREAKING = """
from contender.promotion import ledger
def broken(*_): raise {}
ledger.head = broken
from flows.cli.main import main
main()
"""


def breaking(folder: Path, error: str) -> subprocess.CompletedProcess[str]:
    """`contender status` that breaks on an error."""
    script = folder / "breaking.py"
    script.write_text(BREAKING.format(error))
    environment = os.environ | {"CONTENDER_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, str(script), "status"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_connection_that_breaks_is_not_taken_for_a_reader_that_left(tmp_path):
    done = breaking(tmp_path, "BrokenPipeError(32, 'Broken pipe')")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("contender: 'contender status' failed: BrokenPipeError: ")


def test_on_a_terminal_a_sentence_is_folded_between_words_and_its_path_stays_whole(tmp_path):
    controller, terminal = os.openpty()
    script = tmp_path / "breaking.py"
    script.write_text(BREAKING.format("KeyError('word ' * 40)"))
    environment = os.environ | {"CONTENDER_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, str(script), "status"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=terminal, check=False)
    os.close(terminal)
    lines = os.read(controller, 10_000).decode().splitlines()
    os.close(controller)

    assert (done.returncode, done.stdout) == (1, b"")
    assert len(lines) > 3
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    (kept,) = (tmp_path / "home" / "logs" / "errors").iterdir()
    assert any(str(kept) in line for line in lines)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("__import__('click').ClickException('as click says it')", 1, "Error: as click says it"),
        ("__import__('click').Abort()", 1, "Aborted!"),
        ("KeyboardInterrupt()", 130, "contender: interrupted; nothing is half done"),
    ],
)
def test_what_click_knows_and_ctrl_c_stay_as_they_were(tmp_path, error, code, said):
    done = breaking(tmp_path, error)

    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert not (tmp_path / "home" / "logs").exists()
