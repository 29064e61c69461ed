"""Eight processes fight for one title while some of them are killed: the history stays one line, and shows true."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PROGRAM = Path(__file__).parents[2] / "benchmarks" / "title.py"


@pytest.mark.parametrize(
    ("database", "operations", "kills"),
    [
        ("sqlite", 40, 3),
        pytest.param("sqlite", 200, 6, marks=pytest.mark.soak),
        pytest.param("postgresql", 200, 6, marks=pytest.mark.soak),
    ],
)
def test_one_linear_history_and_aliases_equal_to_its_head(database, operations, kills, request):
    """A part of what the program does by itself, which is 1,000 operations and 20 kills."""
    options = ["--operations", str(operations), "--kills", str(kills), "--json"]
    if database == "postgresql":
        options += ["--ledger-url", request.getfixturevalue("postgres_url")]
    done = subprocess.run([sys.executable, PROGRAM, *options], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name for name, value in found.items() if value is False} == set(), found
    assert (found["operations"] >= operations, found["kills"], found["processes_failed"]) == (True, kills, 0)
    assert found["entries"] > operations / 10
    assert set(found["outcomes"]) <= {
        "changed the title",
        "came too late, or held it already",
        "nothing to go back to",
    }
