"""Counting cores where the machine hides them."""

import subprocess
import sys

SCRIPT = """
import joblib
from contender.cores import count_cores

assert count_cores() == joblib.cpu_count(only_physical_cores=True) >= 1
"""


def test_where_nothing_tells_the_cores_nobody_hears_of_it(tmp_path):
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (answer.stdout, answer.stderr) == ("", "")
