"""How long and how much memory the main job takes, and how good the models of the real data sets are.

    uv run python tests/benchmarks/main_job.py [--json] [--payments 200000] [--skip-real]

Every command is the installed `contender`, run as a person runs it: a process of its own, in an empty working folder
with an empty home. Seconds are wall time of that process, from its start to its end; memory is the sum over it and
all its descendants, sampled five times a second.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from contender.contracts.contract import Contract

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("CONTENDER_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
CONTENDER = Path(sys.executable).with_name("contender")
SAMPLE_SECONDS, HELP_RUNS, DAYS = 0.2, 5, 120
SIMULATED_BY_RUN = 200_000

ENDS = {
    "simulate, start Spark and Prefect": "batch ",
    "ingest": "is taken in",
    "features": "a challenger is ",
    "train": "challenger: ",
    "judge": "verdict: ",
    "score": " predictions by ",
}
"""The parts of a cold run, each with what the line that ends it says."""


@dataclass
class Ran:
    """One finished command: its wall time, its peak memory, the lines it told (seconds, text), and what it printed."""

    seconds: float = 0.0
    peak_bytes: int = 0
    told: list[tuple[float, str]] = field(default_factory=list)
    printed: str = ""

    @property
    def document(self) -> Any:
        return json.loads(self.printed)


class Memory:
    """The summed memory of a process and all its descendants, also of those whose parent has ended."""

    def __init__(self, root: int) -> None:
        self._known = {root: psutil.Process(root)}
        self.unit = "PSS" if hasattr(psutil.Process().memory_full_info(), "pss") else "RSS"

    def sample(self) -> int:
        for process in list(self._known.values()):
            try:
                self._known |= {child.pid: child for child in process.children(recursive=True)}
            except psutil.Error:
                del self._known[process.pid]
        return sum(map(self._bytes, self._known.values()))

    def _bytes(self, process: psutil.Process) -> int:
        """PSS counts shared pages once; RSS, where there is no PSS, counts them in every process."""
        try:
            return int(process.memory_full_info().pss if self.unit == "PSS" else process.memory_info().rss)
        except psutil.Error:
            return 0


def run(folder: Path, *arguments: str, **variables: str) -> Ran:
    """Run `contender` in a folder that is its whole world, pass on what it tells, and measure it."""
    foreign = ("CONTENDER_", "MLFLOW_", "PREFECT_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ours = {"CONTENDER_USE_CASES": str(REPOSITORY / "data"), "CONTENDER_HOME": str(folder / ".contender")}
    folder.mkdir(parents=True, exist_ok=True)
    ran, began = Ran(), time.perf_counter()
    process = subprocess.Popen(
        [CONTENDER, *arguments],
        cwd=folder,
        env=clean | ours | variables,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    memory = Memory(process.pid)

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            say("  " + line.rstrip())
            if line.startswith(" " * 10) and ran.told:
                line = f"{ran.told.pop()[1]} {line.strip()}"
            ran.told.append((time.perf_counter() - began, line.strip()))

    def read() -> None:
        assert process.stdout is not None
        ran.printed = process.stdout.read()

    threads = [threading.Thread(target=listen), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    while process.poll() is None:
        ran.peak_bytes = max(ran.peak_bytes, memory.sample())
        try:
            process.wait(SAMPLE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    ran.seconds = time.perf_counter() - began
    for thread in threads:
        thread.join()
    if process.returncode:
        raise SystemExit(f"contender {' '.join(arguments)} ended with {process.returncode}: {ran.told[-1:]}")
    return ran


def parts_of(ran: Ran) -> dict[str, float]:
    """Seconds of a run by what they went to, cut where the run told that a part had ended."""
    parts, before = {}, 0.0
    for name, mark in ENDS.items():
        ended = next((at for at, line in ran.told if mark in line and at >= before), None)
        if ended is not None:
            parts[name], before = ended - before, ended
    return parts | {"end": ran.seconds - before}


def measure_payments(folder: Path, payments: int) -> dict[str, Any]:
    """The built-in use case from nothing, then again with one new day."""
    say(f"Cold run: {payments:,} payments, from nothing to scored")
    simulated = 0.0
    if payments != SIMULATED_BY_RUN:
        simulated = run(folder, "simulate", "--payments", str(payments), "--days", str(DAYS)).seconds
    cold = run(folder, "run", "payments", "--json")
    say("One new day")
    run(folder, "simulate", "--payments", str(payments), "--days", str(DAYS + 1))
    day = run(folder, "run", "payments", "--json")
    parts, peak = parts_of(cold), max(cold.peak_bytes, day.peak_bytes)
    return {
        "payments": payments,
        "cold_seconds": cold.seconds + simulated,
        "day_seconds": day.seconds,
        "peak_gib": peak / 2**30,
        "peak_gib_of": {"cold": cold.peak_bytes / 2**30, "day": day.peak_bytes / 2**30},
        "peak_gib_is": f"{Memory(os.getpid()).unit}, summed over all processes every {SAMPLE_SECONDS} s",
        "overhead_seconds": cold.document["overhead_seconds"],
        "overhead": cold.document["overhead"],
        "day_overhead_seconds": day.document["overhead_seconds"],
        "cold_parts": parts,
        "day_parts": parts_of(day),
        "scoring_rows_per_second": cold.document["scored"] / parts["score"] if "score" in parts else None,
        "new_rows": {"cold": cold.document["scored"], "day": day.document["scored"]},
        "payments_judged": judged("payments", cold.document["verdict"]),
    }


def measure_real(folder: Path, name: str) -> tuple[float, str]:
    """The champion's score on the newest rows of a real data set, and on which rows that is."""
    say(f"Real data: {name}")
    verdict = run(folder, "run", name, "--landing", str(REAL / name), "--json").document["verdict"]
    return verdict["challenger_score"], judged(name, verdict)


def judged(name: str, verdict: Mapping[str, Any]) -> str:
    """The metric with the data and the split named."""
    contract = Contract.of(name, REPOSITORY / "data")
    start, end = (datetime.fromisoformat(text) for text in verdict["window"].split(".."))
    until = start - max(contract.judging.embargo, contract.outcome.matures_after)
    return (
        f"{verdict['metric']} {verdict['challenger_score']:.4f} on {verdict['rows']:,} records of {name} from "
        f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}, trained until {until:%Y-%m-%d %H:%M}: {verdict['decision']}"
    )


def same_hour_last_week() -> float:
    """RMSE, in hires, of answering for December 2012 with the same hour one week before; hours missing then skipped."""
    files = sorted((REAL / "bikes").glob("bikes-2012-1[12].csv.gz"))
    hires = pd.concat([pd.read_csv(f, parse_dates=["observed_at"], index_col="observed_at")["cnt"] for f in files])
    wanted = hires[hires.index >= "2012-12-01"]
    week_before = hires.reindex(wanted.index - pd.Timedelta(days=7)).to_numpy()
    return float(((wanted - week_before).dropna() ** 2).mean() ** 0.5)


def measure(payments: int, skip_real: bool) -> dict[str, Any]:
    """Every figure, by name; those that could not be had are None, with the reason under `skipped`."""
    figures: dict[str, Any] = {"cpus": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="contender-benchmark-") as scratch:
        folder = Path(scratch)
        say(f"contender --help, {HELP_RUNS} times")
        figures["help_seconds"] = statistics.median(run(folder, "--help").seconds for _ in range(HELP_RUNS))
        figures |= measure_payments(folder / "payments", payments)
        figures |= dict.fromkeys(("flights_roc_auc", "bikes_rmse", "bikes_baseline_rmse"))
        if skip_real or not (REAL / "flights").is_dir() or not (REAL / "bikes").is_dir():
            why = "--skip-real was given" if skip_real else f"{REAL} does not hold flights/ and bikes/"
            return figures | {"skipped": {"flights_roc_auc": why, "bikes_rmse": why, "bikes_baseline_rmse": why}}
        figures["flights_roc_auc"], figures["flights_judged"] = measure_real(folder / "flights", "flights")
        figures["bikes_rmse"], figures["bikes_judged"] = measure_real(folder / "bikes", "bikes")
        figures["bikes_baseline_rmse"] = same_hour_last_week()
        figures["bikes_baseline_judged"] = "December 2012, answered with the same hour one week before"
    return figures | {"skipped": {}}


def tell(figures: Mapping[str, Any]) -> None:
    """The figures for people."""
    flat: list[tuple[str, Any]] = []
    for name, value in figures.items():
        flat += (
            [(f"{name}: {part}", one) for part, one in value.items()] if isinstance(value, dict) else [(name, value)]
        )
    width = max(len(name) for name, _ in flat)
    for name, value in flat:
        print(f"{name:<{width}}  {f'{value:,.3f}' if isinstance(value, float) else value}")


def say(line: str) -> None:
    """Progress, kept apart from the figures."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the main job.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--payments", type=int, default=SIMULATED_BY_RUN, help="payments in the first 120 days")
    parser.add_argument("--skip-real", action="store_true", help="leave out flights and bikes")
    given = parser.parse_args()
    found = measure(given.payments, given.skip_real)
    print(json.dumps(found, indent=2)) if given.json else tell(found)
