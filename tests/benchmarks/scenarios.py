"""How often triage names each scenario rightly, in seeded runs of the real steps on simulated payments.

    .venv/bin/python tests/benchmarks/scenarios.py [--seeds 10] [--at-once 1] [--scenario NAME …] [--kept FILE] [--json]

For each seed a first champion is trained once; each scenario then lives through four weeks of its own from there, with
a check for every day. A new fraud scheme has eight weeks: it is seen by outcomes, which come late, and few at first.
What is right is in `contender.replay.scenarios.EXPECTED`:

- a scenario with an expected name is named rightly when that name comes up while it acts, and no diagnosis in its
  weeks leads to an action that the expected name does not call for;
- without one (nothing was injected, or outcomes are late) when no diagnosis leads to an action at all.

Every window with an alarm, watched shifts included, counts for the rate of alarms when nothing is injected.

Ten seeds take two hours on two cores. With `--kept` runs go into a file as they end, of one seed each of its scenarios,
and what is there already is not played again.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from contender.contracts.contract import Contract
from contender.features import dataset
from contender.replay import history, sandboxes, scenarios
from contender.replay.history import SimulatedHistory
from contender.replay.payments_simulator import Simulation
from contender.replay.policies import RetrainRequest
from contender.settings import Settings
from contender.values import TIME
from flows import replay
from tasks.run_log import rehearsing

FIRST, DAYS, PAYMENTS = date(2026, 1, 1), 28, 200_000
LONGER = {"new-fraud-scheme": 56}
ACTIONS = {"broken feed": "hold out", "decay": "retrain"}
NEVER_LEARNT = ("unit-bug", "lost-column")


def play(seed: int, wanted: list[str], folder: Path) -> Iterator[dict[str, object]]:
    """One seed: what each scenario was named, as it ends."""
    settings = Settings(home=folder / "home", use_cases=Path("data").absolute(), seed=seed)
    contract = Contract.of("payments", settings.use_cases)
    begins = history.earliest_champion(contract, FIRST, FIRST + timedelta(days=365))
    simulation = Simulation(seed=seed, payments=PAYMENTS, days=_days_before(begins) + DAYS, start=FIRST)
    ordinary = SimulatedHistory.make(contract, simulation, "none", begins, folder / "days-none")
    base = sandboxes.create(settings, contract, folder / "base")
    replay.start_spark(base.settings)
    with rehearsing(lambda _: None):
        plan = replay.ReplayPlan(settings, ordinary, ("contender",), timedelta(days=DAYS), begins, folder)
        replay.arrive(plan, base, FIRST, begins)
        crowned = replay.challenge(base, RetrainRequest("the first champion"), replay.midnight(begins))
        if not crowned.promoted:
            yield {"seed": seed, "scenario": "first champion", "found": {}, "right": None, "why": crowned.reason}
            return
        replay.catch_up(base, replay.midnight(begins))
        for scenario in wanted:
            yield _one(plan, base, simulation, scenario)


def _days_before(begins: date) -> int:
    return (begins - FIRST).days


def _one(plan: replay.ReplayPlan, base: sandboxes.Sandbox, simulation: Simulation, scenario: str) -> dict[str, object]:
    began, begins, days = time.perf_counter(), plan.begins, LONGER.get(scenario, DAYS)
    first_day = _days_before(begins)
    simulation = replace(simulation, days=first_day + days)
    played = SimulatedHistory.make(base.contract, simulation, scenario, begins, plan.folder / f"days-{scenario}")
    world = sandboxes.branch(base, plan.folder / scenario, shared=False)
    mine = replace(plan, history=played)
    life = replay.Life("contender", world)
    acts = scenarios.acting(simulation, scenario, first_day)
    end = begins + timedelta(days=days)
    refused = replay.arrive(mine, world, begins, end)
    period, seen = replay.live(life, begins, end, train=False)
    alarms = list(period.alarms)
    during = {begins + timedelta(days=day - first_day) for day in acts}
    learnable = _learnable(world, during, end) if scenario in NEVER_LEARNT else None
    expected = scenarios.EXPECTED[scenario]
    rightly = [alarm.day for alarm in alarms if alarm.name in expected and alarm.day >= min(during)]
    allowed = {ACTIONS[name] for name in expected if name in ACTIONS}
    acted = {alarm.action for alarm in alarms if alarm.action in ("hold out", "retrain")}
    right = acted <= allowed and (not expected or bool(rightly))
    return {
        "seed": simulation.seed,
        "scenario": scenario,
        "right": right,
        "found": dict(Counter(alarm.name for alarm in alarms)),
        "windows": len(seen.checks),
        "alarms": len(alarms),
        "named_after_days": (min(rightly) - min(during)).days + 1 if rightly else None,
        "acted": sorted(acted),
        "learnable": learnable,
        "refused": refused,
        "seconds": time.perf_counter() - began,
    }


def _learnable(world: sandboxes.Sandbox, broken: set[date], end: date) -> int:
    """Rows of the broken days, whose outcomes are all mature, that training or judging would still use."""
    assert end - max(broken) > world.contract.outcome.matures_after
    split = dataset.split(world.settings, world.contract, replay.midnight(end))
    frames = [dataset.load(world.settings, world.contract, rows) for rows in (split.training, split.judging)]
    return sum(int(frame[TIME].dt.date.isin(broken).sum()) for frame in frames)


class Kept:
    """The runs of the seeds that were played before, in a file if there is one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.runs: list[dict[str, object]] = json.loads(path.read_text()) if path and path.is_file() else []

    def missing(self, seed: int, wanted: list[str]) -> list[str]:
        """The scenarios that were not played with this seed; none where no first champion took the title."""
        there = {one["scenario"] for one in self.runs if one["seed"] == seed}
        return [] if "first champion" in there else [name for name in wanted if name not in there]

    def add(self, runs: list[dict[str, object]]) -> None:
        self.runs = sorted([*self.runs, *runs], key=lambda one: int(str(one["seed"])))
        if self._path:
            self._path.write_text("[\n" + ",\n".join(json.dumps(one) for one in self.runs) + "\n]\n")


def play_alone(seed: int, wanted: list[str]) -> list[dict[str, object]]:
    """One seed in a process of its own, which lets go of Spark's memory when it ends."""
    named = [word for scenario in wanted for word in ("--scenario", scenario)]
    command = [sys.executable, __file__, "--seeds", "1", "--first", str(seed), "--json", *named]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: list[dict[str, object]] = json.loads(done.stdout)["runs"]
    for row in found:
        print(json.dumps(row), file=sys.stderr, flush=True)
    return found


def summary(found: list[dict[str, object]], wanted: list[str]) -> dict[str, object]:
    """Runs named rightly by scenario, and alarms when nothing was injected."""
    rows = {scenario: [one for one in found if one["scenario"] == scenario] for scenario in wanted}
    quiet = rows.get("none", [])
    windows = sum(int(str(one["windows"])) for one in quiet)
    alarms = sum(int(str(one["alarms"])) for one in quiet)
    after = {
        scenario: [int(str(one["named_after_days"])) for one in mine if one["named_after_days"] is not None]
        for scenario, mine in rows.items()
    }
    return {
        "named_rightly": {
            scenario: f"{sum(bool(one['right']) for one in mine)} of {len(mine)}" for scenario, mine in rows.items()
        },
        "median_days_until_named": {scenario: statistics.median(days) for scenario, days in after.items() if days},
        "alarms_in_30_windows_without_injection": 30 * alarms / windows if windows else None,
        "windows_without_injection": windows,
        "broken_rows_that_could_be_learnt": sum(int(str(one.get("learnable") or 0)) for one in found),
        "no_first_champion": sum(one["scenario"] == "first champion" for one in found),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how scenarios are named.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--at-once", type=int, default=1, help="seeds that are played at the same time")
    parser.add_argument("--scenario", action="append", choices=list(scenarios.SCENARIOS))
    parser.add_argument("--kept", type=Path, help="a file of runs that need not be played again")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    names = given.scenario or list(scenarios.SCENARIOS)
    seeds = range(given.first, given.first + given.seeds)
    kept = Kept(given.kept)
    left = {seed: missing for seed in seeds if (missing := kept.missing(seed, names))}
    if given.seeds > 1:
        with ThreadPoolExecutor(given.at_once) as pool:
            for runs in pool.map(lambda seed: play_alone(seed, left[seed]), left):
                kept.add(runs)
    elif left:
        with tempfile.TemporaryDirectory(prefix="contender-benchmark-") as scratch:
            for run in play(given.first, left[given.first], Path(scratch)):
                kept.add([run])
    rows = [one for one in kept.runs if one["seed"] in seeds]
    answer = summary(rows, names)
    if given.json:
        print(json.dumps(answer | {"runs": rows}, indent=2))
    else:
        for name, value in answer.items():
            for key, told in value.items() if isinstance(value, dict) else [("", value)]:
                print(f"{name:<40} {key:<18} {told}")
    sys.stdout.flush()
    # Threads of delta-rs may abort a process that ends while they still read.
    os._exit(0)
