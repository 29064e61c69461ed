"""How long it takes to play twelve months of flights again under one policy, and what each step takes of it.

    .venv/bin/python tests/benchmarks/replay.py --landing DIR [--json]

DIR holds the files of the flights use case. The limit is ten minutes on two cores for one policy.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

LIMIT_SECONDS = 600


def measure(landing: Path, policy: str) -> dict[str, object]:
    """Seconds of one replay in an empty home, by the clock on the wall."""
    with tempfile.TemporaryDirectory(prefix="contender-benchmark-") as home:
        os.environ["CONTENDER_HOME"] = home
        from flows.cli.main import main

        asked = ["replay", "flights", "--landing", str(landing), "--policy", policy, "--json"]
        said = io.StringIO()
        began = time.perf_counter()
        with contextlib.redirect_stdout(said):
            main(asked, standalone_mode=False)
        seconds = time.perf_counter() - began
    played = json.loads(said.getvalue())
    course = played["courses"][0]
    return {
        "policy": policy,
        "days": len(course["periods"]) * played["every_days"],
        "records": sum(period["rows"] for period in course["periods"]),
        "periods": len(course["periods"]),
        "retrains": course["retrains"],
        "seconds": seconds,
        "seconds_of_the_policy": course["seconds"],
        "limit_seconds": LIMIT_SECONDS,
        "within_the_limit": seconds <= LIMIT_SECONDS,
        "peak_mb_of_python": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "quality": course["quality"],
        "load_at_the_end": os.getloadavg()[0],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure a replay of a year.")
    parser.add_argument("--landing", type=Path, required=True, help="folder of the files of flights")
    parser.add_argument("--policy", default="contender")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    found = measure(given.landing.absolute(), given.policy)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:<24}  {f'{value:,.2f}' if isinstance(value, float) else value}")
    sys.stdout.flush()
    # Threads of delta-rs may abort a process that ends while they still read.
    os._exit(0)
