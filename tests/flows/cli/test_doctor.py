import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow

CONTENDER = Path(sys.executable).with_name("contender")


@pytest.fixture
def examined(tmp_path):
    """Runs `contender doctor` with a home and variables of its own."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CONTENDER_", "PREFECT_"))}
        ours = {"CONTENDER_HOME": str(tmp_path / "home"), "CONTENDER_USE_CASES": str(ROOT / "data"), "COLUMNS": "80"}
        return subprocess.run(
            [CONTENDER, "doctor", *arguments],
            cwd=tmp_path,
            env=kept | ours | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_a_failure_is_a_word_a_sentence_and_a_command_and_exit_code_1(examined, tmp_path):
    (tmp_path / "home").write_text("")
    done = examined()
    assert done.returncode == 1
    assert done.stderr == ""
    table, _, told = done.stdout.partition("\n\n")
    assert max(len(line) for line in table.splitlines()) <= 80
    assert any(line.split()[:2] == ["home", "FAILED"] for line in table.splitlines())
    assert told.index("FAILED") < told.index("warning")
    assert f"\n  mv {tmp_path}/home {tmp_path}/home.old\n" in told
    assert "\x1b" not in done.stdout


def test_json_is_one_document_that_agrees_with_the_exit_code(examined):
    done = examined("--json")
    document = json.loads(done.stdout)
    ill = [one for one in document["findings"] if one["status"] == "failed"]
    assert document["healthy"] is not bool(ill)
    assert done.returncode == (1 if ill else 0)
    assert set(document["findings"][0]) == {"name", "status", "found", "needed", "mend"}
    assert all(one["mend"] for one in document["findings"] if one["status"] != "ok")


def test_a_setting_that_cannot_be_read_is_told_without_a_traceback(examined):
    done = examined("--json", CONTENDER_ENVIRONMENT="production")
    refused = [one for one in json.loads(done.stdout)["findings"] if one["name"] == "settings"]
    assert done.returncode == 1
    assert refused[0]["mend"] == "unset CONTENDER_ENVIRONMENT"
    assert "'dev', 'staging' or 'prod'" in refused[0]["needed"]
