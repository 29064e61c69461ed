"""`contender release-held` in this process: what is held out of training, and a person's word that it may be learnt."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from contender.features import exclusions
from contender.settings import Settings
from flows.cli.main import main

ROOT = Path(__file__).parents[3]
START = datetime(2026, 4, 1, tzinfo=UTC)
END = START + timedelta(days=7)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A home in which two batches and a week of payments are held out."""
    monkeypatch.setenv("CONTENDER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTENDER_USE_CASES", str(ROOT / "data"))
    monkeypatch.setenv("COLUMNS", "120")
    found = Settings()
    exclusions.hold_out_batch(found, "payments", [3, 14], reason="amounts look like cents", at=END)
    exclusions.hold_out_window(found, "payments", START, END, reason="[distance] is missing", at=END)
    return found


@pytest.fixture
def command(monkeypatch):
    """Runs `contender release-held` in this process; gives exit code, output and error."""

    def run(*arguments, name="release-held"):
        monkeypatch.setattr("flows.runtime.exits.leave", sys.exit)
        done = CliRunner().invoke(main, [name, *arguments])
        return done.exit_code, done.stdout, done.stderr

    return run


def held(settings) -> list[str]:
    return [str(one) for one in exclusions.held_out(settings, "payments")]


def test_without_a_choice_it_shows_what_is_held_out_since_when_and_why(settings, command):
    code, said, _ = command("payments")

    assert code == 0
    rows = [" ".join(line.split()) for line in said.splitlines()]
    assert rows[1:4] == [
        "batch 3 2026-04-08 00:00 contender amounts look like cents",
        "batch 14 2026-04-08 00:00 contender amounts look like cents",
        "2026-04-01 00:00..2026-04-08 00:00 2026-04-08 00:00 contender [distance] is missing",
    ]
    assert rows[-1].startswith("Release: contender release-held payments --batch 3 --reason")
    document = json.loads(command("payments", "--json")[1])
    assert [(one["what"], one["batch"], one["reason"]) for one in document["held_out"]] == [
        ("batch 3", 3, "amounts look like cents"),
        ("batch 14", 14, "amounts look like cents"),
        ("2026-04-01 00:00..2026-04-08 00:00", None, "[distance] is missing"),
    ]
    assert len(held(settings)) == 3


def test_batches_are_released_by_a_person_for_a_reason_and_status_says_so(settings, command):
    code, said, _ = command("payments", "--batch", "14", "--batch", "3", "--reason", "they are right", "--by", "ada")

    assert code == 0
    assert said.splitlines() == [
        "Released by person: ada: batch 14 of payments, learnt from again from the next training on.",
        "Released by person: ada: batch 3 of payments, learnt from again from the next training on.",
        "Still held out: 2026-04-01 00:00..2026-04-08 00:00. Next: contender retrain payments, or wait until one is due.",
    ]
    assert held(settings) == ["2026-04-01 00:00..2026-04-08 00:00"]
    (row,) = [one for one in json.loads(command("--json", name="status")[1])["use_cases"] if one["name"] == "payments"]
    assert [one["what"] for one in row["held_out"]] == held(settings)
    assert [(one["what"], one["by"], one["reason"]) for one in row["released"]] == [
        ("batch 14", "person: ada", "they are right"),
        ("batch 3", "person: ada", "they are right"),
    ]
    shown = " ".join(command(name="status")[1].split())
    assert "Held out of training: 2026-04-01 00:00..2026-04-08 00:00 ([distance] is missing)" in shown
    assert "released: batch 3 by person: ada, they are right" in shown


def test_a_window_is_released_by_its_bounds(settings, command):
    bounds = ("--from", "2026-04-01", "--to", "2026-04-08T00:00")
    code, said, _ = command("payments", *bounds, "--reason", "a holiday", "--by", "ada", "--json")

    document = json.loads(said)
    assert code == 0
    assert [(one["what"], one["by"]) for one in document["released"]] == [
        ("2026-04-01 00:00..2026-04-08 00:00", "person: ada")
    ]
    assert [one["what"] for one in document["held_out"]] == held(settings) == ["batch 3", "batch 14"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch", "3"], "Say why it may be learnt from again with --reason"),
        (["--batch", "3", "--reason", " "], "A reason is needed"),
        (["--reason", "why"], "Say what to release"),
        (["--from", "2026-04-01", "--reason", "why"], "give both"),
        (["--batch", "3", "--from", "2026-04-01", "--to", "2026-04-08", "--reason", "why"], "Release either"),
        (["--batch", "5", "--reason", "why"], "batch 5 is not held out; held out are batch 3, batch 14, 2026-04-01"),
        (["--from", "2026-04-01", "--to", "2026-04-02", "--reason", "why"], "is not held out"),
    ],
)
def test_what_cannot_be_released_is_wrong_use_and_changes_nothing(settings, command, arguments, said):
    code, out, told = command("payments", *arguments, "--by", "ada")

    assert (code, out) == (2, "")
    assert said in told
    assert len(held(settings)) == 3


def test_nothing_held_out_is_said_so(settings, command):
    assert command("flights")[:2] == (0, "Nothing of flights is held out of training and judging.\n")
