"""What a person decides about the title, through the command line and in a real home."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from contender.promotion import ledger, title
from contender.registry import model_files, model_versions
from contender.settings import Settings
from contender.values import Decision
from flows.cli.main import main
from tests.contender.verdicts import verdict_document

ROOT = Path(__file__).parents[3]
CONTENDER = Path(sys.executable).with_name("contender")

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


def logged(settings, client, model, example):
    """A version of payments, registered as ours are."""
    import mlflow

    made = mlflow.sklearn.log_model(
        model, name="model", input_example=example, serialization_format="skops", pip_requirements=["mlflow"]
    )
    tags = {
        "digest": model_files.digest_of(model_versions.fetch(settings, "payments", made.model_uri)),
        "trained_until": "2026-04-01",
        "model_id": made.model_id,
        model_versions.FORM: model_versions.FORM_VERSION,
    }
    version = client.create_model_version("payments", made.model_uri, tags=tags, model_id=made.model_id)
    return int(version.version)


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """A home with four versions: three that predict, and a fourth whose prediction is not a number."""
    import mlflow
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings = Settings(home=tmp_path_factory.mktemp("home"))
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, 0.1, 0.9]})
    with model_versions.connected(settings) as client:
        place = (settings.home / "artifacts").as_uri()
        mlflow.set_experiment(experiment_id=client.create_experiment("payments", artifact_location=place))
        client.create_registered_model("payments")
        for alpha in (1, 2, 3, 4):
            model = make_pipeline(StandardScaler(), Ridge(alpha=alpha)).fit(frame, np.array([1.0, 2.0, 4.0]))
            if alpha == 4:
                model[-1].intercept_ = np.nan
            logged(settings, client, model, frame)
    return settings


@pytest.fixture
def settings(registered, monkeypatch):
    """The same home with an empty ledger."""
    for path in registered.home.glob("ledger.db*"):
        path.unlink()
    monkeypatch.setenv("CONTENDER_HOME", str(registered.home))
    monkeypatch.setenv("CONTENDER_USE_CASES", str(ROOT / "data"))
    model_versions.set_aliases(registered, "payments", champion=None, previous=None, challenger=None)
    return registered


@pytest.fixture
def command(settings, monkeypatch):
    """Runs a command in this process: `command("rollback", "payments", …)` gives exit code, output and error."""

    def run(*arguments):
        # A command leaves at once, without waiting for threads; here it must only end.
        monkeypatch.setattr("flows.runtime.exits.leave", sys.exit)
        done = CliRunner().invoke(main, list(arguments))
        return done.exit_code, done.stdout, done.stderr

    return run


def crown(settings, *versions):
    for number in versions:
        version, after = model_versions.find(settings, "payments", number), ledger.head(settings, "payments")
        title.crown(
            settings,
            "payments",
            version,
            after=after,
            reason="better",
            by="contender",
            evidence={"verdict": {"challenger": number}, "git_revision": "abc"},
        )
        title.follow_verdict(settings, "payments", version, Decision.PROMOTE)


def test_a_rollback_gives_the_title_back_and_says_who_and_why(settings, command):
    crown(settings, 1, 2)

    code, said, _ = command("rollback", "payments", "--reason", " too many alarms ", "--by", "ada")

    head = ledger.head(settings, "payments")
    assert (code, said.splitlines()[0]) == (
        0,
        "Version 1 of payments holds the title after version 2: rolled back by person: ada.",
    )
    assert (head.version, head.previous_version, head.reason, head.by) == (1, 2, "too many alarms", "person: ada")
    assert json.loads(head.evidence) == {
        "verdict": {"challenger": 1},
        "git_revision": "abc",
        "restores": 1,
        "example_rows": 3,
    }
    assert model_versions.aliases(settings, "payments") == {"champion": 1, "previous": 2}
    assert ledger.verify(settings, "payments") == 3


def test_a_second_rollback_does_not_return_to_the_bad_one(settings, command):
    crown(settings, 1, 2, 3)

    assert command("rollback", "payments", "--reason", "bad")[0] == 0
    assert command("rollback", "payments", "--reason", "bad as well")[0] == 0
    code, _, said = command("rollback", "payments", "--reason", "and this one")

    assert [entry.version for entry in ledger.history(settings, "payments")] == [1, 2, 3, 2, 1]
    assert code == 2
    assert "no champion of payments before version 1 that was not rolled back from; name one with --to" in said
    assert command("rollback", "payments", "--to", "3", "--reason", "after all")[0] == 0


def test_a_promotion_by_hand_is_recorded_as_a_persons(settings, command):
    crown(settings, 1)
    judged = verdict_document(decision=Decision.KEEP, versions={"records": 4})
    ledger.record_verdict(settings, "payments", judged)

    code, said, _ = command("promote", "payments", "--to", "2", "--reason", "agreed", "--by", "ada", "--json")
    evidence = json.loads(ledger.head(settings, "payments").evidence)
    assert (code, json.loads(said)["action"], json.loads(said)["by"]) == (0, "promoted by hand", "person: ada")
    assert evidence["note"].startswith("the last verdict on it was KEEP, at 2")
    assert evidence["data"] == {"records": 4}

    command("promote", "payments", "--to", "3", "--reason", "agreed")
    head = ledger.head(settings, "payments")
    assert json.loads(head.evidence)["note"] == "no verdict backs it"
    assert head.by.startswith("person: ")
    assert model_versions.aliases(settings, "payments") == {"champion": 3, "previous": 2}


def test_a_person_may_crown_the_first_champion(settings, command):
    assert command("promote", "payments", "--to", "1", "--reason", "to begin with")[0] == 0
    assert model_versions.aliases(settings, "payments") == {"champion": 1}


@pytest.mark.parametrize(
    ("held", "arguments", "code", "sentence"),
    [
        ([1, 2], ["rollback", "payments", "--reason", " "], 2, "--reason is blank"),
        ([1], ["promote", "payments", "--to", "2", "--reason", ""], 2, "--reason is blank"),
        ([1], ["promote", "payments", "--to", "2", "--reason", "r", "--by", " "], 2, "It is not known who you are"),
        ([], ["rollback", "payments", "--reason", "r"], 2, "Nobody has held the title of payments yet"),
        ([1], ["rollback", "payments", "--reason", "r"], 2, "no champion of payments before version 1"),
        ([1], ["rollback", "payments", "--to", "1", "--reason", "r"], 1, "Version 1 of payments is the champion alr"),
        ([1], ["rollback", "payments", "--to", "3", "--reason", "r"], 2, "never held the title, .*'contender promote"),
        ([1], ["rollback", "payments", "--to", "9", "--reason", "r"], 2, "payments has no version 9"),
        ([1], ["promote", "payments", "--to", "1", "--reason", "r"], 1, "Version 1 of payments is the champion alr"),
        ([1], ["promote", "payments", "--to", "9", "--reason", "r"], 2, "payments has no version 9"),
        ([1], ["promote", "payments", "--to", "4", "--reason", "r"], 1, "version 4 does not answer each of the 3 rows"),
        ([4, 1], ["rollback", "payments", "--reason", "r"], 1, "version 4 does not answer each of the 3 rows"),
        ([], ["promote", "payment", "--to", "1", "--reason", "r"], 2, "did you mean 'payments'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence_and_changes_nothing(
    settings, command, held, arguments, code, sentence
):
    crown(settings, *held)

    found, said, told = command(*arguments)

    assert (found, said, told.count("\n")) == (code, "", 1)
    assert told.startswith("contender: ")
    assert re.search(sentence, told), told
    assert [entry.version for entry in ledger.history(settings, "payments")] == held


def test_who_is_slower_than_somebody_else_hears_so(settings, command, monkeypatch):
    crown(settings, 1, 2)
    prove = title.prove

    def prove_while_somebody_else_takes_the_title(*arguments):
        crown(settings, 3)
        return prove(*arguments)

    monkeypatch.setattr("contender.promotion.title.prove", prove_while_somebody_else_takes_the_title)
    code, said, told = command("rollback", "payments", "--reason", "r")

    assert (code, said) == (1, "")
    assert "The title of payments changed in the meantime" in told
    assert ledger.head(settings, "payments").version == 3
    assert model_versions.aliases(settings, "payments")["champion"] == 3


def test_files_that_were_exchanged_do_not_get_the_title_back(settings, command):
    crown(settings, 1, 2)
    with model_versions.connected(settings) as client:
        kept = client.get_model_version("payments", "1").tags["digest"]
        client.set_model_version_tag("payments", "1", "digest", "f" * 64)
    try:
        code, _, said = command("rollback", "payments", "--reason", "r")
    finally:
        with model_versions.connected(settings) as client:
            client.set_model_version_tag("payments", "1", "digest", kept)

    assert code == 1
    assert "is registered with the digest ffffffffffff…" in said
    assert ledger.head(settings, "payments").version == 2


def test_reconcile_repairs_the_aliases_and_says_which(settings, command):
    crown(settings, 1, 2)
    model_versions.set_aliases(settings, "payments", champion=3, previous=None, challenger=2)

    code, said, _ = command("reconcile", "payments", "--json")
    again = command("reconcile")[1]

    assert code == 0
    assert json.loads(said) == {
        "use_cases": [
            {
                "use_case": "payments",
                "entries": 2,
                "champion": 2,
                "repaired": {"champion": [3, 2], "previous": [None, 1], "challenger": [2, None]},
            }
        ]
    }
    assert model_versions.aliases(settings, "payments") == {"champion": 2, "previous": 1}
    assert "payments: 2 entries, none of them changed; version 2 holds the title; the aliases are as the" in again
    assert "flights: 0 entries, none of them changed; nobody holds the title" in again


def test_reconcile_finds_a_changed_ledger(settings, command):
    import sqlite3
    from contextlib import closing

    crown(settings, 1, 2)
    with closing(sqlite3.connect(settings.home / "ledger.db")) as database, database:
        database.execute("UPDATE title SET reason = 'nicer' WHERE seq = 1")

    code, said, told = command("reconcile", "payments")

    assert (code, said) == (1, "")
    assert "The ledger of payments was changed" in told


def test_history_and_why_fit_80_columns_and_lose_no_word(settings, command, monkeypatch):
    crown(settings, 1)
    reason = "the [bold]bank[/] agreed that " + " ".join(f"word{number}" for number in range(60))
    ledger.take_title(
        settings,
        "payments",
        version=model_versions.find(settings, "payments", 2),
        after=ledger.head(settings, "payments"),
        action="promoted by hand",
        reason=reason,
        by="person: ada",
        evidence={},
    )
    ledger.record_verdict(settings, "payments", verdict_document(decision=Decision.KEEP, reasons=(reason,)))
    monkeypatch.setenv("COLUMNS", "80")

    for name in ("history", "why"):
        code, said, _ = command(name, "payments")
        assert code == 0
        assert max(len(line) for line in said.splitlines()) <= 80
        assert set(reason.split()) <= set(said.split())


def test_a_rollback_starts_neither_spark_nor_prefect(settings):
    crown(settings, 1, 2)
    code = (
        "import sys, click.testing, flows.cli.main\n"
        "done = click.testing.CliRunner().invoke(flows.cli.main.main, ['rollback', 'payments', '--reason', 'r'])\n"
        "assert done.exit_code == 0, done.output\n"
        "print([name for name in ('prefect', 'contender.lake.tables', 'matplotlib', 'shap') if name in sys.modules])\n"
        # MLflow imports Spark's Python modules by itself; what takes seconds is to start it.
        "from pyspark import SparkContext\n"
        "print(SparkContext._active_spark_context, SparkContext._gateway)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)

    assert done.stdout == "[]\nNone None\n", done.stdout + done.stderr
