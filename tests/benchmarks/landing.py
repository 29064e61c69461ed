"""How long a day's file takes from landing to predictions, how long `contender up` takes, and what it holds when idle.

    uv run python tests/benchmarks/landing.py [--json] [--rows 2000] [--days 5]

Everything is real: `contender up` on free ports with an empty home, 120 days of payments dropped, the first champion
crowned by the loop itself, then one day's file after another. A day counts from the moment its file has its final
name until the predictions of all its rows are in the Delta table. It is idle when nothing has run for 75 seconds (Spark
lets its Python workers go after a minute); memory is the sum over all processes of the home.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script sees its own folder only

from tests.loop import Loop, wait_until

HISTORY_DAYS, IDLE_SECONDS = 120, 75


def measure(folder: Path, rows: int, days: int) -> dict[str, Any]:
    """The figures, in seconds and GiB; `each` is the seconds of every day."""
    loop = Loop(folder)
    try:
        size = ("--payments", str(rows * HISTORY_DAYS))
        files = loop.simulate(*size, "--days", str(HISTORY_DAYS), into=folder / "simulated")
        first_up = loop.up()
        say(f"up, with an empty home: {first_up:.1f} s")
        began = time.perf_counter()
        loop.drop(files)
        wait_until(lambda: loop.rows("predictions") == loop.rows("records") > 0, "a champion has scored", 900, 1)
        to_champion = time.perf_counter() - began
        say(f"{loop.rows('records'):,} payments landed, a champion crowned and all scored: {to_champion:.1f} s")
        each = [land(loop, folder, size, HISTORY_DAYS + day) for day in range(1, days + 1)]
        wait_until(lambda: not loop.flow_runs("ingest", "Running"), "the loop is idle", 120)
        time.sleep(IDLE_SECONDS)
        idle = loop.gibibytes()
        say(f"idle: {idle:.2f} GiB")
        ended = loop.end()
        again = loop.up()
        loop.end()
        say(f"ended in {ended:.1f} s, up again in {again:.1f} s")
    finally:
        loop.clean_up()
    return {
        "landed_to_scored_seconds": statistics.median(each),
        "up_seconds": max(first_up, again),
        "idle_gib": idle,
        "each": each,
        "first_champion_seconds": to_champion,
        "first_up_seconds": first_up,
        "up_again_seconds": again,
        "down_seconds": ended,
        "rows": rows,
    }


def land(loop: Loop, folder: Path, size: tuple[str, str], day: int) -> float:
    """Seconds from a day's file to its predictions."""
    before, there = loop.rows("predictions"), {path.name for path in loop.landing.iterdir()}
    files = loop.simulate(*size, "--days", str(day), into=folder / "simulated")
    new = [file for file in files if file.name not in there and file.name.startswith("payments-")]
    rows = sum(1 for file in new for _ in file.open()) - len(new)
    began = time.perf_counter()
    loop.drop(new)
    wait_until(lambda: loop.rows("predictions") >= before + rows, f"day {day} is scored", 300, 0.1)
    seconds = time.perf_counter() - began
    say(f"day {day}, {rows:,} rows: scored {seconds:.1f} s after it landed")
    return seconds


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rows", type=int, default=2000, help="payments of a day")
    parser.add_argument("--days", type=int, default=5, help="days to land, one after another")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="contender-landing-") as folder:
        found = measure(Path(folder), arguments.rows, arguments.days)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    each = ", ".join(f"{seconds:.1f}" for seconds in found["each"])
    print(f"landed to scored, {found['rows']:,} rows  {found['landed_to_scored_seconds']:6.1f} s   median of {each}")
    print(f"until up is ready            {found['up_seconds']:6.1f} s   the slower of a first and a second start")
    print(f"memory of the idle system    {found['idle_gib']:6.2f} GiB")


if __name__ == "__main__":
    main()
