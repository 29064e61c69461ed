"""The whole job as a person runs it: real commands, real Spark, Prefect and MLflow, in a temporary folder."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
from deltalake import DeltaTable

from contender.contracts.contract import Contract
from contender.promotion import ledger
from contender.registry import model_versions
from contender.replay.payments_simulator import Simulation, write
from contender.settings import Settings
from contender.values import KEY
from tests.flows.in_process import Done
from tests.flows.prefect_server import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

DATA = Path(__file__).parents[2] / "data"
CONTENDER = Path(sys.executable).with_name("contender")
HAS_GIT = shutil.which("git") is not None
PAYMENTS, DAYS, SEED, DIRTY = 8000, 120, 20_260_101, 0.02
SMALL = (
    (
        'candidates = ["logistic", "random_forest", "boosting"]',
        'candidates = ["logistic"]\ntrials = 1\nfolds = 2\nmin_rows = 300\nmin_per_class = 5',
    ),
    ("min_gain = 0.01", "min_gain = 0.001\nmin_rows = 100\nmin_per_class = 5"),
    ("thresholds = { roc_auc = { min = 0.8 }, brier = { max = 0.02 } }", "thresholds = { roc_auc = { min = 0.5 } }"),
    ('warning = 0.1\ncritical = 0.5\nalert = "CRITICAL"', 'warning = 0.02\ncritical = 0.1\nalert = "WARNING"'),
    ("[fairness]\ncolumns = []", '[fairness]\ncolumns = ["entry_mode"]\nmax_selection_rate_difference = 1.0'),
)
TABLES = ("records", "outcomes", "quarantine", "features", "predictions", "alerts", "files")


class Installation:
    """A working directory with data, a home, and the commands run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.commands = folder, folder / "home", 0
        self.settings = Settings(home=self.home, use_cases=folder / "data")
        tuned = folder / "spark"
        tuned.mkdir()
        # For thousands of rows, compiling costs more than running.
        (tuned / "spark-defaults.conf").write_text(
            "spark.sql.codegen.wholeStage false\nspark.sql.codegen.factoryMode NO_CODEGEN\n"
        )
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("CONTENDER_", "PREFECT_", "MLFLOW_"))
            },
            "CONTENDER_HOME": str(self.home),
            "CONTENDER_USE_CASES": str(folder / "data"),
            "CONTENDER_SPARK_MEMORY": "1g",
            "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "SPARK_CONF_DIR": str(tuned),
        }

    def start(self, *arguments: str, **variables: str) -> "Running":
        return Running(self, arguments, variables)

    def run(self, *arguments: str, **variables: str) -> "Done":
        return self.start(*arguments, **variables).end()

    def rows(self, table: str) -> list[dict]:
        return DeltaTable(self.home / "lake" / "payments" / table).to_pyarrow_table().to_pylist()

    def keys(self, table: str) -> list[str]:
        return sorted(row[KEY] for row in self.rows(table))

    def land(self, days: int) -> int:
        """Payments that landed on the last day, dirty ones among them; all earlier days stay as they are."""
        simulation = Simulation(seed=SEED, payments=PAYMENTS, days=days, dirty_share=DIRTY)
        folder = self.folder / "landing" / "payments"
        write(simulation, folder, first_day=0 if days == DAYS else days - 1)
        return rows_in(folder / f"payments-{simulation.date_of(days - 1)}.csv")


def rows_in(*files: Path) -> int:
    return sum(len(path.read_text().splitlines()) - 1 for path in files)


class Running:
    """A command at work, its words read line by line."""

    def __init__(self, place: Installation, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
        place.commands += 1
        self.out = place.folder / f"stdout-{place.commands}"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [CONTENDER, *map(str, arguments)],
                cwd=place.folder,
                env=place.environment | variables,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        self.said: list[str] = []
        self.family: list[psutil.Process] = []

    def wait_for(self, pattern: str) -> None:
        """Read until a line says so, then note all processes that the command has started."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if re.search(pattern, line):
                self.family = psutil.Process(self.process.pid).children(recursive=True)
                return
        raise AssertionError(f"never said {pattern}: {''.join(self.said)}")

    def end(self) -> "Done":
        with self.process:
            rest = self.process.communicate(timeout=240)[1]
        return Done(self.process.returncode, self.out.read_text(), "".join(self.said) + rest)

    def survivors(self, seconds: float = 15) -> list[str]:
        """Command lines of what still runs of the command's family, after a moment of grace."""
        alive = psutil.wait_procs(self.family, timeout=seconds)[1]
        names = [" ".join(process.cmdline())[:100] for process in alive]
        for process in alive:
            process.kill()
        return names


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ["git", *who, "-C", folder, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def revision_of(folder: Path) -> str | None:
    return git(folder, "rev-parse", "HEAD") if HAS_GIT else None


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An installation whose contract suits a few thousand payments, in a repository of its own; payments have landed."""
    place = Installation(tmp_path_factory.mktemp("place"))
    shutil.copytree(DATA / "payments", place.folder / "data" / "payments")
    path = place.folder / "data" / "payments" / "contract.toml"
    text = path.read_text()
    for old, new in SMALL:
        assert old in text, f"the contract has no {old}"
        text = text.replace(old, new)
    path.write_text(text)
    if HAS_GIT:
        git(place.folder, "init", "-q")
        git(place.folder, "add", "data")
        git(place.folder, "commit", "-qm", "contract")
    place.land(DAYS)
    return place


@pytest.fixture(scope="module")
def first(place):
    """The first run from landed files to predictions, and what a second command beside it heard."""
    running = place.start("run", "payments", "--json")
    running.wait_for("batch 1: ")
    beside = place.run("score", "payments", "--json")
    return running.end(), beside


@pytest.fixture(scope="module")
def crowned(place, first):
    """The document of the first run."""
    return first[0].document


@pytest.fixture(scope="module")
def inside(place, crowned, at_home):
    """Runs commands of the place in this process, once it has a champion."""
    with at_home(place.settings, place.folder) as run:
        yield run


@pytest.fixture(scope="module")
def again(place, crowned):
    """The document of a second run, when nothing new has landed, and the predictions before it."""
    before = place.keys("predictions")
    return place.run("run", "payments", "--json").document, before


def test_the_first_run_crowns_a_champion_and_scores_every_record(place, crowned):
    (batch,) = crowned["ingested"]

    assert crowned["verdict"]["decision"] == crowned["last_verdict"] == "PROMOTE"
    assert crowned["champion"]["version"] == 1
    assert crowned["challenger"] is None
    assert crowned["records"] == crowned["predictions"] == crowned["scored"] == batch["records"]
    landed = rows_in(*(place.folder / "landing" / "payments").glob("payments-*.csv"))
    assert landed >= batch["records"] > 0.95 * landed
    assert crowned["quarantined"] == batch["quarantined"] == sum(batch["reasons"].values()) > 0
    assert batch["received"] == batch["accepted"] + batch["quarantined"] + batch["repeated"]
    assert batch["accepted"] == crowned["records"] + crowned["outcomes"]
    assert crowned["overhead_seconds"] < crowned["seconds"]
    assert Path(batch["report"]).is_file()


def test_a_run_tells_its_steps_and_keeps_standard_output_for_the_document(first):
    done, _ = first

    for step in (
        "checked the batch",
        "features payments.features@v0",
        "verdict: PROMOTE",
        "holds the title",
        "predictions by",
    ):
        assert step in done.err
    assert "Traceback" not in done.err


def test_a_second_command_beside_the_first_hears_that_another_is_at_work(first):
    _, beside = first

    assert beside.code == 1
    assert beside.refusal.startswith("Another command is at work on payments")


def test_every_record_has_one_prediction_by_the_champion(place, crowned):
    predictions = place.rows("predictions")
    run_id = model_versions.find(place.settings, "payments", 1).run_id

    assert sorted(row[KEY] for row in predictions) == place.keys("records") == place.keys("features")
    assert len(set(place.keys("predictions"))) == len(predictions)
    assert {(row["model_version"], row["run_id"], row["source_version"]) for row in predictions} == {(1, run_id, 0)}
    assert len({row["scored_at"] for row in predictions}) == 1
    assert DeltaTable(place.home / "lake/payments/predictions").metadata().partition_columns == ["scored_date"]
    assert {row["scored_date"] for row in predictions} == {row["scored_at"].date() for row in predictions}
    assert all(isinstance(row["scored_date"], date) for row in predictions)


def test_bands_and_predictions_follow_the_cuts_of_the_contract(place, crowned):
    cuts = Contract.of("payments", place.settings.use_cases).scoring
    predictions = place.rows("predictions")

    for row in predictions:
        score = row["score"]
        assert 0 <= score <= 1
        assert row["band"] == (
            "CRITICAL" if score >= cuts.critical else "WARNING" if score >= cuts.warning else "NORMAL"
        )
        assert row["prediction"] == int(score >= cuts.threshold)
    assert set(Counter(row["band"] for row in predictions)) == {"NORMAL", "WARNING", "CRITICAL"}, "the test needs each"


def test_alerts_are_the_predictions_from_the_alerting_band_on(place, crowned):
    loud = [row for row in place.rows("predictions") if row["band"] in ("WARNING", "CRITICAL")]
    alerts = place.rows("alerts")

    assert sorted(row[KEY] for row in alerts) == sorted(row[KEY] for row in loud)
    assert crowned["alerts"] == len(alerts) > 0
    assert alerts[0].keys() == loud[0].keys()


def test_mlflow_answers_as_the_predictions_say(place, crowned):
    contract = Contract.of("payments", place.settings.use_cases)
    features = DeltaTable(place.home / "lake/payments/features").to_pyarrow_table()
    names = [column.name for column in contract.model_columns]
    with model_versions.connected(place.settings):
        import mlflow

        answer = mlflow.pyfunc.load_model("models:/payments@champion").predict(features.select(names).to_pandas())
    scores = {row[KEY]: row["score"] for row in place.rows("predictions")}

    np.testing.assert_allclose(
        np.asarray(answer)[:, 1], [scores[key] for key in features[KEY].to_pylist()], rtol=0, atol=1e-12
    )


def test_the_registry_mirrors_the_ledger(place, crowned):
    entry = ledger.head(place.settings, "payments")
    with model_versions.connected(place.settings) as client:
        tags = client.get_model_version("payments", "1").tags

    assert (entry.seq, entry.action, entry.version, entry.previous_version) == (1, "crowned", 1, None)
    assert model_versions.aliases(place.settings, "payments") == {"champion": 1}
    assert tags["validation_status"] == "approved"
    assert tags["digest"] == entry.model_digest
    assert ledger.verify(place.settings, "payments") == 1
    assert json.loads(entry.evidence)["git_revision"] == revision_of(place.folder)


def test_mlflow_keeps_how_the_champion_came_about(place, crowned):
    found = model_versions.find(place.settings, "payments", 1)
    with model_versions.connected(place.settings) as client:
        import mlflow

        run = client.get_run(found.run_id)
        folds = client.get_metric_history(found.run_id, "fold_average_precision")
        signature = mlflow.models.get_model_info("models:/payments/1").signature
        artifacts = {
            artifact.path
            for other in client.search_runs([run.info.experiment_id])
            for artifact in client.list_artifacts(other.info.run_id)
        }
        batch = client.list_artifacts(found.run_id)
    data = {one.dataset.name: {tag.key: tag.value for tag in one.tags} for one in run.inputs.dataset_inputs}

    assert run.data.params["family"] == "logistic"
    assert int(run.data.params["seed"]) == place.settings.seed
    assert [fold.step for fold in folds] == [0, 1]
    assert data["payments.features@v0"]["delta_version"] == data["payments.records@v0"]["delta_version"] == "0"
    assert run.data.tags.get("mlflow.source.git.commit") == revision_of(place.folder)
    assert "terminal_fraud_28d" in signature.inputs.input_names()
    assert {"importance.png", "verdict.json"} <= {artifact.path for artifact in batch}
    assert artifacts >= {
        "roc_curve_plot.png",
        "precision_recall_curve_plot.png",
        "calibration_curve_plot.png",
        "confusion_matrix.png",
        "importance.png",
        "scorecard.json",
    }


def test_the_model_is_stored_as_skops_and_nothing_is_pickled(place, crowned):
    files = [path for path in (place.home / "artifacts").rglob("*") if path.is_file()]
    (model,) = [path.parent for path in files if path.name == "MLmodel"]

    assert {"model.skops", "input_example.json", "requirements.txt"} <= {path.name for path in model.iterdir()}
    assert "skops==" in (model / "requirements.txt").read_text()
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".joblib", ".cloudpickle")]
    # A pickle of protocol 2 or later begins with 0x80 and its protocol, and ends with a stop.
    starts = {path.name: path.read_bytes()[:2] for path in files if path.suffix not in (".png",)}
    assert not [name for name, start in starts.items() if start[:1] == b"\x80"]


def test_prefect_keeps_the_runs_of_every_flow_and_step(place, crowned):
    with closing(sqlite3.connect(f"file:{place.home / 'prefect' / 'prefect.db'}?mode=ro", uri=True)) as runs:
        flows = runs.execute(
            "select flow.name, run.name, run.state_type from flow_run run join flow on flow.id = flow_id"
        )
        flows = {name: (run, state) for name, run, state in flows}
        steps = [name for (name,) in runs.execute("select name from task_run where state_type = 'COMPLETED'")]
        pages = {key for (key,) in runs.execute("select key from artifact")}

    assert flows["pipeline"] == ("run payments", "COMPLETED")
    assert flows["ingest"] == ("ingest payments", "COMPLETED")
    assert flows["retrain"] == ("retrain payments: no challenger has been judged yet", "COMPLETED")
    assert flows["score"] == ("score payments", "COMPLETED")
    assert {"take in batch 1", "evaluate payments version 1", "score with payments version 1"} <= set(steps)
    assert {f"payments-{what}" for what in ("batch", "scorecard", "verdict", "predictions")} <= pages


def test_why_history_and_status_have_the_fields_that_programs_rely_on(inside, crowned):
    why = inside("why", "payments", "--json").document
    (entry,) = inside("history", "payments", "--json").document
    (status,) = inside("status", "--json").document["use_cases"]

    assert set(why) >= {
        "decision",
        "metric",
        "champion_score",
        "challenger_score",
        "gain",
        "interval",
        "rows",
        "reasons",
        "guardrails",
    }
    assert why["interval"]["low"] < why["gain"] < why["interval"]["high"]
    assert why["interval"]["level"] == 0.9
    assert all(set(guardrail) == {"name", "value", "limit", "holds"} for guardrail in why["guardrails"])
    assert set(entry) == {"seq", "at", "action", "version", "previous_version", "reason", "by"}
    assert set(status) >= {
        "name",
        "records",
        "quarantined",
        "outcomes",
        "predictions",
        "champion",
        "challenger",
        "last_verdict",
    }
    assert status["champion"] == crowned["champion"] == {"version": 1, "since": entry["at"]}


def test_the_verdict_compares_the_groups_that_the_contract_names(inside):
    why = inside("why", "payments", "--json").document
    (column,) = why["fairness"]

    assert column["column"] == "entry_mode"
    assert {group["group"] for group in column["groups"]} == {"chip", "contactless", "online", "swipe"}
    assert sum(group["rows"] for group in column["groups"]) == why["rows"]
    assert "fairness entry_mode: selection rate difference" in {rail["name"] for rail in why["guardrails"]}


def test_the_report_is_written_and_kept_with_the_challengers_run(place, crowned):
    written = (place.home / "reports" / "payments" / "report.html").read_text()
    with model_versions.connected(place.settings) as client:
        run_id = model_versions.find(place.settings, "payments", 1).run_id
        kept = Path(client.download_artifacts(run_id, "report.html")).read_text()

    assert kept == written
    assert "version 1" in written


@pytest.mark.parametrize("command", [("why", "payments"), ("history", "payments"), ("status",)])
def test_people_are_told_the_same_in_lines_that_fit(inside, command):
    done = inside(*command)

    assert done.code == 0
    assert done.err == ""
    assert max(len(line) for line in done.out.splitlines()) <= 80
    assert "\x1b" not in done.out


def test_a_second_run_adds_nothing(place, again):
    document, before = again

    assert document["ingested"] == []
    assert document["due"]["now"] is False
    assert document["scored"] == 0
    assert place.keys("predictions") == before
    assert DeltaTable(place.home / "lake/payments/features").version() == 0


@pytest.fixture(scope="module")
def cut_off(place, again):
    """What was left when Ctrl-C and then a kill had cut off the runs of one more day."""
    place.land(DAYS + 1)
    found = {}
    for name, stop, moment in (
        ("Ctrl-C while taking in", signal.SIGINT, "checked the batch"),
        ("killed while scoring", signal.SIGKILL, "champion: payments version 1"),
    ):
        running = place.start("run", "payments", "--json")
        running.wait_for(moment)
        time.sleep(0.5)
        if stop == signal.SIGINT:
            # A terminal sends it to all that the command started and did not put aside.
            os.killpg(running.process.pid, stop)
        else:
            running.process.kill()
        done = running.end()
        tables = {table: len(place.rows(table)) for table in TABLES}
        found[name] = done, running.survivors(), tables, ledger.verify(place.settings, "payments")
    return found


@pytest.fixture(scope="module")
def finished(inside, cut_off):
    """The document of the run that finished the day, on a Prefect server and in a Spark that ran already."""
    return inside("run", "payments", "--json").document


@pytest.fixture(scope="module")
def by_hand(inside, finished):
    """The document of a challenger trained by hand."""
    return inside("retrain", "payments", "--reason", "a look", "--json").document


def test_ctrl_c_ends_a_run_with_one_sentence_and_leaves_no_process(cut_off):
    done, survivors, tables, entries = cut_off["Ctrl-C while taking in"]

    assert done.code == 130
    assert done.refusal == "interrupted; nothing is half done, the next run finishes the work."
    assert survivors == []
    assert entries == 1
    assert tables["predictions"] == tables["features"] <= tables["records"]


def test_a_killed_run_leaves_every_table_readable_and_no_process(cut_off):
    done, survivors, tables, entries = cut_off["killed while scoring"]

    assert done.code == -signal.SIGKILL
    assert done.out == ""
    assert survivors == []
    assert entries == 1
    assert tables["features"] <= tables["records"]


def test_the_kill_while_scoring_came_after_the_day_was_taken_in(cut_off, finished):
    tables = cut_off["killed while scoring"][2]

    assert tables["records"] == tables["features"] == finished["records"]
    assert tables["quarantine"] == finished["quarantined"]


def test_the_next_run_finishes_the_day(place, crowned, cut_off, finished):
    files = list((place.folder / "landing" / "payments").glob("*.csv"))

    lines = [line for file in files for line in file.read_text().splitlines()[1:]]
    repeated = rows_in(*files) - finished["records"] - finished["outcomes"] - finished["quarantined"]
    assert crowned["ingested"][0]["repeated"] <= repeated <= len(lines) - len(set(lines)), "no row is lost or doubled"
    assert finished["records"] > crowned["records"]
    assert place.keys("predictions") == place.keys("records") == place.keys("features")
    assert len(set(place.keys("records"))) == finished["records"]
    assert sorted(row[KEY] for row in place.rows("alerts")) == sorted(
        row[KEY] for row in place.rows("predictions") if row["band"] != "NORMAL"
    )
    assert Counter(row["status"] for row in place.rows("files")) == {"planned": len(files), "done": len(files)}


def test_one_more_day_is_scored_without_a_new_challenger(place, finished):
    assert finished["due"]["now"] is False
    assert finished["champion"]["version"] == 1
    assert {row["model_version"] for row in place.rows("predictions")} == {1}
    assert DeltaTable(place.home / "lake/payments/features").version() == 1, "the days before were not made again"


RUN, RETRAIN = "run payments", "retrain payments: a look"


def newest(prefect, *names):
    """The newest runs of these names."""
    wanted = {"flow_runs": {"name": {"any_": names}}, "sort": "START_TIME_ASC"}
    found = {one["name"]: one for one in prefect.ask("/flow_runs/filter", wanted)}
    return [found[name] for name in names]


def test_a_prefect_server_that_runs_already_gets_the_runs_with_their_tags(by_hand, prefect):
    found = newest(prefect, RUN, RETRAIN)

    assert {one["state_type"] for one in found} == {"COMPLETED"}
    assert {tuple(sorted(one["tags"])) for one in found} == {("contender", "payments")}


def test_a_run_announces_what_it_did(finished, prefect):
    (run,) = newest(prefect, RUN)
    wanted = {"event": {"name": ["contender.predictions.written"]}, "occurred": {"since": run["start_time"]}}
    written = eventually(lambda: prefect.ask("/events/filter", {"filter": wanted})["events"], "the event is kept")

    told = [(one["payload"]["model_version"], one["payload"]["predictions"]) for one in written]
    assert (1, finished["scored"]) in told


def test_a_challenger_by_hand_gets_a_verdict_that_is_kept(inside, by_hand):
    verdict = by_hand["verdict"]
    status = inside("status", "--json").document["use_cases"][0]
    history = inside("history", "payments", "--json").document

    assert inside("why", "payments", "--json").document == verdict
    assert verdict["against"] == "champion"
    assert (verdict["champion"], verdict["challenger"]) == (1, 2)
    assert abs(verdict["gain"] - (verdict["challenger_score"] - verdict["champion_score"])) < 1e-9
    assert status["last_verdict"] == verdict["decision"] in ("PROMOTE", "KEEP", "INCONCLUSIVE")
    promoted = verdict["decision"] == "PROMOTE"
    assert [entry["action"] for entry in history] == ["crowned", "promoted"][: 1 + promoted]
    assert status["champion"]["version"] == history[-1]["version"] == 1 + promoted
    waits = verdict["decision"] == "INCONCLUSIVE"
    assert status["challenger"] == ({"version": 2} if waits else None)


def test_after_a_verdict_the_aliases_say_what_the_ledger_says(place, by_hand):
    decision = by_hand["last_verdict"]
    with model_versions.connected(place.settings) as client:
        status = client.get_model_version("payments", "2").tags["validation_status"]

    assert (status, model_versions.aliases(place.settings, "payments")) == {
        "PROMOTE": ("approved", {"champion": 2, "previous": 1}),
        "KEEP": ("rejected", {"champion": 1}),
        "INCONCLUSIVE": ("pending", {"champion": 1, "challenger": 2}),
    }[decision]


def is_said(prefect, name, words):
    """Whether a run of this name says so in its log."""
    (run,) = newest(prefect, name)
    wanted = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200}
    return eventually(lambda: [1 for one in prefect.ask("/logs/filter", wanted) if words in one["message"]], words)


def test_ingest_by_itself_goes_on_to_score_and_asks_for_a_retrain_when_one_is_due(place, inside, by_hand, prefect):
    from flows.ingest import ingest

    landed = place.land(DAYS + 2)

    assert len(ingest("payments")) == 1
    assert landed > 0
    assert len(place.keys("records")) > by_hand["records"]
    assert place.keys("predictions") == place.keys("records")
    assert is_said(prefect, "ingest payments", "a challenger is not due: ")


def test_a_retrain_on_schedule_is_skipped_until_enough_outcomes_are_new(place, inside, by_hand, prefect):
    verdicts = len(ledger.verdicts(place.settings, "payments", newest=None))
    from flows.retrain import retrain

    assert retrain("payments", "on schedule", if_due=True) is None
    assert is_said(prefect, "retrain payments: on schedule", "a challenger is not due: ")
    assert len(ledger.verdicts(place.settings, "payments", newest=None)) == verdicts


@pytest.fixture(scope="module")
def released(place, crowned):
    """What two releases of the champion to production told, which has records of its own."""
    taken = place.run("ingest", "payments", "--json", CONTENDER_ENVIRONMENT="prod")
    assert taken.code == 0, taken.err
    command = ("release", "payments", "--from", "dev", "--to", "prod", "--json")
    return place.run(*command).document, place.run(*command).document


def test_a_release_is_a_challenger_there_and_never_at_once_the_champion(place, crowned, released):
    first, again = released
    prod = Settings(home=place.home, use_cases=place.folder / "data", environment="prod")
    champion = ledger.head(place.settings, "payments")

    assert (first["model"], first["version"]) == ("payments-prod", 1)
    assert first["digest"] == champion.model_digest
    assert again == first, "a release is made once"
    assert model_versions.aliases(prod, "payments") == {"challenger": 1}
    assert ledger.head(prod, "payments") is None
    assert not (place.home / "environments" / "prod" / "lake" / "payments" / "predictions").exists()


def test_a_release_brings_its_evidence_along(place, released):
    prod = Settings(home=place.home, use_cases=place.folder / "data", environment="prod")
    version = model_versions.find(prod, "payments", 1)
    with model_versions.connected(prod) as client:
        evidence = json.loads(Path(client.download_artifacts(version.run_id, "evidence.json")).read_text())

    assert evidence["entry"]["action"] == ledger.head(place.settings, "payments").action
    assert evidence["entry"]["evidence"]["verdict"]["decision"] == "PROMOTE"
    assert evidence["environment"] == "dev"
    assert len(model_versions.training_keys(prod, version)) > 1000


def test_in_production_a_person_gives_the_title(place, released):
    given = place.run("promote", "payments", "--to", "1", "--reason", "held on its rows", CONTENDER_ENVIRONMENT="prod")
    assert given.code == 0, given.err
    told = place.run("status", "--json", CONTENDER_ENVIRONMENT="prod").document["use_cases"]
    assert [one["champion"]["version"] for one in told if one["name"] == "payments"] == [1]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        pytest.param(("--from", "dev", "--to", "dev"), "not from dev to itself", id="itself"),
        pytest.param(
            ("--from", "staging", "--to", "prod"), "Nobody holds the title of payments in staging", id="nobody"
        ),
    ],
)
def test_what_cannot_be_released_is_refused_before_anything_slow_starts(place, crowned, variables, words):
    assert words in place.run("release", "payments", *variables).refusal


@pytest.fixture(scope="module")
def orders(make_home, tmp_path_factory, at_home):
    """An installation of the small use case, where only records have landed."""
    home = make_home(
        ("max_bad_share = 0.2", "max_bad_share = 0.2\n\n[training]\nmin_rows = 50\ncandidates = ['logistic']")
    )
    rows = [f"o{n},2026-01-{1 + n % 28:02}T{n % 24:02}:00:00,{'abc'[n % 3]},red,{n % 90},1,false" for n in range(400)]
    home.land("orders-1.csv", *rows)
    with at_home(home.settings, tmp_path_factory.mktemp("orders")) as run:
        yield home, partial(run, "run", "orders", "--landing", home.landing, "--json")


def test_without_outcomes_the_records_are_kept_and_nothing_is_trained(orders):
    home, run = orders
    done = run()

    assert done.code == 1
    assert "orders has no records with known outcomes yet" in done.refusal
    assert len(home.rows("records")) == len(home.rows("features")) == 400


def test_with_outcomes_of_one_class_only_nothing_is_trained(orders):
    home, run = orders
    home.land("returns-1.csv", *[f"o{n},false,0" for n in range(400)])

    done = run()

    assert done.code == 1
    assert re.search(
        r"All [\d,]+ outcomes to judge on are one class, and telling classes apart needs at least two", done.refusal
    )
    assert len(home.rows("outcomes")) == 400
    assert home.rows("predictions") == []
