"""`contender init --again` as a person runs it."""

import random
import sys
import tomllib

import pytest
from click.testing import CliRunner

from flows.cli.main import main

pytestmark = pytest.mark.slow


def rows(first, last):
    drawn = random.Random(first)
    lines = (
        f"k{n},{drawn.randrange(18, 70)},{drawn.choice(['a', 'b'])},{drawn.choice(['yes', 'no'])}"
        for n in range(first, last)
    )
    return "id,age,shop,left\n" + "\n".join(lines) + "\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTENDER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTENDER_USE_CASES", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.runtime.exits.leave", sys.exit)
    return lambda *arguments: CliRunner().invoke(main, ["init", *arguments])


def test_a_second_draft_looks_at_what_landed_since_and_keeps_what_was_changed(run, tmp_path):
    (tmp_path / "sales-1.csv").write_text(rows(0, 150))
    assert run("sales-1.csv", "--name", "sales", "--target", "left", "--key", "id").exit_code == 0
    path = tmp_path / "data" / "sales" / "contract.toml"
    path.write_text(path.read_text().replace('owner = ""', 'owner = "me"'))
    (tmp_path / "sales-2.csv").write_text(rows(150, 300))

    done = run("--again", "--name", "sales")

    assert done.exit_code == 0, done.output
    assert 'owner = "me"  (the draft has "")' in done.output
    assert "Checked all 300 rows against the draft" in done.output
    assert tomllib.loads(path.read_text())["owner"] == "me"


def test_what_is_needed_is_said(run):
    assert "Missing argument 'FILE...'" in run("--name", "sales", "--target", "y").output
    assert "leave --again out" in run("--again", "--name", "sales").output
