"""How often triage names each scenario rightly, in seeded runs of the real steps on simulated payments.

    .venv/bin/python tests/benchmarks/scenarios.py [--seeds 10] [--first 1] [--scenario NAME …] [--json]

For each seed a first champion is trained once; each scenario then lives through four weeks of its own from there, with
a check for every day. What is right is in `contender.scenarios.EXPECTED`:

- a scenario with an expected name is named rightly when that name comes up while it acts, and no diagnosis in the four
  weeks leads to an action that the expected name does not call for;
- without one (nothing was injected, or outcomes are late) when no diagnosis leads to an action at all.

Every window with an alarm, watched shifts included, counts for the rate of alarms when nothing is injected.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from contender import history, lake, scenarios, worlds
from contender.contract import Contract
from contender.history import SimulatedHistory
from contender.policies import Wish
from contender.settings import Settings
from contender.simulator import Simulation
from flows import replay
from tasks.telling import rehearsing

FIRST, DAYS, PAYMENTS = date(2026, 1, 1), 28, 200_000
ACTIONS = {"broken feed": "hold out", "decay": "retrain"}
NEVER_LEARNT = ("unit-bug", "lost-column")
AFTER_DAYS = 14
"""What happened is still to be seen so long after: outcomes come, and windows of several days reach back."""


def play(seed: int, wanted: list[str], folder: Path) -> list[dict[str, object]]:
    """One seed: what each scenario was named."""
    settings = Settings(home=folder / "home", use_cases=Path("data").absolute(), seed=seed)
    contract = Contract.of("payments", settings.use_cases)
    begins = history.earliest_champion(contract, FIRST, FIRST + timedelta(days=365))
    simulation = Simulation(seed=seed, payments=PAYMENTS, days=(begins - FIRST).days + DAYS, start=FIRST)
    ordinary = SimulatedHistory.make(contract, simulation, "none", begins, folder / "days-none")
    base = worlds.found(settings, contract, folder / "base")
    lake.start(base.settings, small=True)
    with rehearsing(lambda _: None):
        plan = replay.Plan(settings, ordinary, ("contender",), timedelta(days=DAYS), begins, folder)
        replay.arrive(plan, base, FIRST, begins)
        crowned = replay.challenge(base, Wish("the first champion"), replay.midnight(begins))
        if not crowned.promoted:
            return [{"seed": seed, "scenario": "first champion", "found": {}, "right": None, "why": crowned.reason}]
        return [_one(plan, base, simulation, scenario) for scenario in wanted]


def _one(plan: replay.Plan, base: worlds.World, simulation: Simulation, scenario: str) -> dict[str, object]:
    began, begins = time.perf_counter(), plan.begins
    first_day = (begins - FIRST).days
    played = SimulatedHistory.make(base.contract, simulation, scenario, begins, plan.folder / f"days-{scenario}")
    world = worlds.branch(base, plan.folder / scenario, shared=False)
    mine = replace(plan, history=played)
    life = replay.Life("contender", world)
    acts = scenarios.acting(simulation, scenario, first_day)
    end, alarms, learnt = begins + timedelta(days=DAYS), [], None
    refused = replay.arrive(mine, world, begins, end)
    period, seen = replay.live(life, begins, end, train=False)
    alarms = list(period.alarms)
    if scenario in NEVER_LEARNT:
        trained = replay.challenge(world, Wish("to see what it learns"), replay.midnight(end))
        learnt = trained.promoted and not period.held_out
    during = {begins + timedelta(days=day - first_day) for day in acts}
    named = {alarm.name for alarm in alarms if alarm.day in during or min(during, default=end) <= alarm.day}
    expected = scenarios.EXPECTED[scenario]
    allowed = {ACTIONS[name] for name in expected if name in ACTIONS}
    acted = {alarm.action for alarm in alarms if alarm.action in ("hold out", "retrain")}
    right = acted <= allowed and (not expected or bool(named & expected))
    return {
        "seed": simulation.seed, "scenario": scenario, "right": right,
        "found": dict(Counter(alarm.name for alarm in alarms)), "windows": len(seen.checks), "alarms": len(alarms),
        "acted": sorted(acted), "learnt": learnt, "refused": refused, "seconds": time.perf_counter() - began,
    }  # fmt: skip


def summary(found: list[dict[str, object]], wanted: list[str]) -> dict[str, object]:
    """Runs named rightly by scenario, and alarms when nothing was injected."""
    rows = {scenario: [one for one in found if one["scenario"] == scenario] for scenario in wanted}
    quiet = rows.get("none", [])
    windows = sum(int(str(one["windows"])) for one in quiet)
    alarms = sum(int(str(one["alarms"])) for one in quiet)
    return {
        "named_rightly": {scenario: f"{sum(bool(one['right']) for one in mine)} of {len(mine)}"
                          for scenario, mine in rows.items()},
        "alarms_in_30_windows_without_injection": 30 * alarms / windows if windows else None,
        "windows_without_injection": windows,
        "promoted_on_broken_rows": sum(bool(one.get("learnt")) for one in found),
        "no_first_champion": sum(one["scenario"] == "first champion" for one in found),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how scenarios are named.")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1, help="first seed")
    parser.add_argument("--scenario", action="append", choices=list(scenarios.SCENARIOS))
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    names = given.scenario or list(scenarios.SCENARIOS)
    rows = []
    for number in range(given.first, given.first + given.seeds):
        with tempfile.TemporaryDirectory(prefix="contender-benchmark-") as scratch:
            for row in play(number, names, Path(scratch)):
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
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
