"""Processes that fight for one title and are killed in between: one linear history, aliases as its head has them.

    .venv/bin/python tests/benchmarks/title.py --json
    .venv/bin/python tests/benchmarks/title.py --ledger-url postgresql+psycopg://user@host/database

Each operation is `title.promote` or `title.rollback` as the commands call them: with a real MLflow registry on SQLite
in a temporary home, its model loaded, checked and asked each time. All processes are forked from one that has loaded
the libraries and has opened nothing.
"""

import argparse
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import time
import warnings
from collections import Counter
from importlib import import_module
from itertools import pairwise
from multiprocessing.context import ForkProcess
from pathlib import Path

from contender.errors import Busy, ContenderError, TitleError, Unavailable, UsageError
from contender.promotion import ledger, title
from contender.registry import model_files, model_versions
from contender.settings import Settings
from contender.values import Decision

USE_CASE = "disputed"
NAMES: dict[type[ContenderError], str] = {
    TitleError: "came too late, or held it already",
    UsageError: "nothing to go back to",
    Unavailable: "a database was busy for too long",
    Busy: "others mirrored for too long",
}
LIBRARIES = (
    "mlflow.sklearn",
    "mlflow.store.db.utils",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "contender.registry.http_limits",
    "contender.registry.trusted_types",
)
fork = multiprocessing.get_context("fork")


def load_libraries() -> None:
    """All that an operation imports, so that a forked process starts at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            import_module(name)
    import_module("sqlalchemy.orm").configure_mappers()


def register(settings: Settings, versions: int) -> None:
    """Small models of ours, each another one, of which the first is champion."""
    import mlflow
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, 0.1, 0.9]})
    with model_versions.connected(settings) as client:
        place = (settings.home / "artifacts").as_uri()
        mlflow.set_experiment(experiment_id=client.create_experiment(USE_CASE, artifact_location=place))
        client.create_registered_model(USE_CASE)
        for number in range(1, versions + 1):
            model = make_pipeline(StandardScaler(), Ridge(alpha=number)).fit(frame, np.array([1.0, 2.0, 4.0]))
            logged = mlflow.sklearn.log_model(
                model, name="model", input_example=frame, serialization_format="skops", pip_requirements=["mlflow"]
            )
            digest = model_files.digest_of(model_versions.fetch(settings, USE_CASE, logged.model_uri))
            tags = {"digest": digest, "trained_until": "2026-04-01", "model_id": logged.model_id}
            tags[model_versions.FORM] = model_versions.FORM_VERSION
            client.create_model_version(USE_CASE, logged.model_uri, tags=tags, model_id=logged.model_id)
    first = model_versions.find(settings, USE_CASE, 1)
    title.crown(settings, USE_CASE, first, after=None, reason="the first", by="contender", evidence={})
    title.follow_verdict(settings, USE_CASE, first, Decision.PROMOTE)


def fight(settings: Settings, log: Path, operations: int, versions: int, seed: str) -> None:
    """Promote and roll back at random, until so many lines stand in the log."""
    choose = random.Random(seed)
    # As every command does at its start: who ran before in this place may have been killed before its aliases were set.
    title.repair(settings, USE_CASE)
    with log.open("a", buffering=1) as told:
        while len(log.read_text().splitlines()) < operations:
            to = choose.randint(1, versions)
            kind = choose.choices(["promote", "rollback", "rollback to"], [5, 3, 2])[0]
            try:
                if kind == "promote":
                    title.promote(settings, USE_CASE, to=to, reason="random", by=f"person: {os.getpid()}")
                else:
                    back = to if kind == "rollback to" else None
                    title.rollback(settings, USE_CASE, to=back, reason="random", by=f"person: {os.getpid()}")
                told.write("changed the title\n")
            except ContenderError as error:
                told.write(NAMES.get(type(error), str(error)) + "\n")


def measure(settings: Settings, processes: int, operations: int, kills: int, versions: int, seed: int) -> dict:
    """Let them fight, kill some, and look at what is left."""
    in_another_process(register, settings, versions)
    choose = random.Random(seed)
    logs = [settings.home / f"process-{slot}.log" for slot in range(processes)]
    quota = -(-operations // processes)

    def start(slot: int) -> ForkProcess:
        arguments = (settings, logs[slot], quota, versions, f"{seed} {slot} {time.monotonic()}")
        process = fork.Process(target=fight, args=arguments)
        process.start()
        return process

    began = time.perf_counter()
    running = {slot: start(slot) for slot in range(processes)}
    killed = failed = 0
    while running:
        time.sleep(0.01)
        done = sum(len(log.read_text().splitlines()) for log in logs if log.exists())
        if killed < kills and done >= (killed + 1) * operations / (kills + 2):
            slot = choose.choice(list(running))
            time.sleep(choose.random() * 0.3)
            if running[slot].is_alive():
                os.kill(running[slot].pid, signal.SIGKILL)
                running[slot].join()
                killed += 1
                running[slot] = start(slot)
        for slot, process in list(running.items()):
            if not process.is_alive():
                process.join()
                failed += process.exitcode != 0
                del running[slot]
    seconds = time.perf_counter() - began
    outcomes = Counter(line for log in logs for line in log.read_text().splitlines())
    return examined(settings, outcomes, killed) | {
        "processes": processes,
        "processes_failed": failed,
        "operations": outcomes.total(),
        "outcomes": dict(outcomes),
        "kills": killed,
        "seconds": round(seconds, 1),
        "database": settings.ledger.partition(":")[0],
    }


def examined(settings: Settings, outcomes: Counter, kills: int) -> dict:
    """What must be true afterwards."""
    history = ledger.history(settings, USE_CASE)
    pairs = pairwise(history)
    verified = ledger.verify(settings, USE_CASE) == len(history)
    head = history[-1]
    aliases = model_versions.aliases(settings, USE_CASE)
    repaired = title.repair(settings, USE_CASE)
    # The first entry is not one of theirs; who is killed may have written one and not lived to tell.
    told = outcomes["changed the title"] + 1
    return {
        "linear": all((b.follows, b.seq, b.previous_version) == (a.seq, a.seq + 1, a.version) for a, b in pairs),
        "verified": verified,
        "entries": len(history),
        "entries_as_told": told <= len(history) <= told + kills,
        "alias_equals_head": (aliases.get("champion"), aliases.get("previous"))
        == (head.version, head.previous_version),
        "nothing_left_to_repair": not repaired,
    }


def in_another_process(function, *arguments) -> None:
    """Run it where what it opens does not stay open in processes that are forked later."""
    process = fork.Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{function.__name__} failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--operations", type=int, default=1_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--versions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger-url", default="", help="else SQLite in the temporary home")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    load_libraries()
    home = Path(tempfile.mkdtemp(prefix="contender-title-"))
    try:
        settings = Settings(home=home, ledger_url=options.ledger_url)
        found = measure(settings, options.processes, options.operations, options.kills, options.versions, options.seed)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(f"{name:22} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
