"""Eight processes fight for one title while some of them are killed: the history stays one line, and shows true."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PROGRAM = Path(__file__).parents[2] / "benchmarks" / "title.py"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_one_linear_history_and_aliases_equal_to_its_head(database, request):
    """A fifth of what the program does by itself, which is 1,000 operations and 20 kills."""
    options = ["--operations", "200", "--kills", "6", "--json"]
    if database == "postgresql":
        options += ["--ledger-url", request.getfixturevalue("postgres_url")]
    done = subprocess.run([sys.executable, PROGRAM, *options], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name for name, value in found.items() if value is False} == set(), found
    assert (found["operations"] >= 200, found["kills"], found["processes_failed"]) == (True, 6, 0)
    assert found["entries"] > 20
    assert set(found["outcomes"]) <= {
        "changed the title", "came too late, or held it already", "nothing to go back to",
    }  # fmt: skip
