"""The promise whole: started once, the loop takes in, trains, crowns, scores, retrains and recovers by itself."""

import contextlib
import signal
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
from deltalake import DeltaTable

from tests.loop import Loop, wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500)]

PAYMENTS = ("--payments", "40000")
PATIENCE_SECONDS = 600


@pytest.fixture
def loop(tmp_path):
    made = Loop(tmp_path)
    yield made
    made.clean_up()


def everything_is_scored(loop: Loop, records: int) -> bool:
    return loop.rows("records") == loop.rows("predictions") == records


def predicted_keys(loop: Loop) -> list[str]:
    table = DeltaTable(str(loop.home / "lake" / "payments" / "predictions"))
    return table.to_pyarrow_table(columns=["_key"]).column("_key").to_pylist()


def send(loop: Loop, event: str, times: int, sentence: str) -> None:
    """Announce it as an outside system does."""
    loop.ask(
        "events",
        [
            {
                "id": str(uuid.uuid4()),
                "occurred": datetime.now(UTC).isoformat(),
                "event": event,
                "resource": {"prefect.resource.id": "contender.use-case.payments"},
                "payload": {"sentence": sentence},
            }
            for _ in range(times)
        ],
    )


def drifts(loop: Loop) -> list[dict[str, Any]]:
    """The drift events of which is known what became of them."""
    known = [one for one in loop.status()["triggers"] if one["outcome"] != "pending"]
    return [one for one in known if one["event"] == "contender.drift.detected"]


def in_the_middle_of_a_run(loop: Loop) -> list[psutil.Process]:
    """The worker and the run it has started, as soon as there is one."""
    workers = [
        process for process in loop.processes() if "worker" in process.cmdline() and "start" in process.cmdline()
    ]
    return [*workers, *(child for worker in workers for child in worker.children(recursive=True))]


def test_the_loop_runs_itself(loop, tmp_path):
    loop.up()

    first = loop.simulate(*PAYMENTS, "--days", "120", into=tmp_path / "simulated")
    loop.drop(first)
    wait_until(lambda: everything_is_scored(loop, 40_000), "a champion has scored all that landed", PATIENCE_SECONDS, 1)
    status = loop.status()
    assert status["champion"]["version"] == 1
    assert status["outcomes"] > 10_000
    assert status["quarantined"] == 0

    new = [file for file in loop.simulate(*PAYMENTS, "--days", "121", into=tmp_path / "simulated") if file not in first]
    loop.drop(new)
    wait_until(lambda: loop.rows("records") > 40_000, "the new day is taken in", PATIENCE_SECONDS)
    day = loop.rows("records")
    wait_until(lambda: everything_is_scored(loop, day), "the new day is scored", PATIENCE_SECONDS)

    before = len(loop.flow_runs("retrain", "Completed"))
    send(loop, "contender.drift.detected", 20, "the amounts have moved")
    wait_until(
        lambda: len(loop.flow_runs("retrain", "Completed")) > before, "drift has led to a retrain", PATIENCE_SECONDS
    )
    wait_until(lambda: len(drifts(loop)) == 20, "every event is in the ledger, with what became of it", 120, 1)
    triggers = drifts(loop)
    assert sum(trigger["outcome"] == "started" for trigger in triggers) == 1
    assert all(trigger["why"] for trigger in triggers if trigger["outcome"] == "skipped")
    assert len(loop.flow_runs("retrain", "Completed")) == before + 1
    assert not loop.flow_runs("retrain", "Running")

    crashed_before = len(loop.flow_runs("ingest", "Crashed"))
    seen = [*first, *new]
    loop.drop([f for f in loop.simulate(*PAYMENTS, "--days", "122", into=tmp_path / "simulated") if f not in seen])
    wait_until(lambda: loop.flow_runs("ingest", "Running"), "the next day is being taken in", 120)
    for process in in_the_middle_of_a_run(loop):
        with contextlib.suppress(psutil.Error):
            process.kill()
    killed = time.monotonic()
    wait_until(lambda: len(loop.flow_runs("ingest", "Crashed")) > crashed_before, "the run is marked as crashed", 95)
    print(f"marked as crashed {time.monotonic() - killed:.0f} s after the kill")
    loop.run("ingest", "payments", "--queue")
    wait_until(lambda: loop.rows("records") > day, "the day is taken in after all", PATIENCE_SECONDS)
    wait_until(lambda: everything_is_scored(loop, loop.rows("records")), "and scored", PATIENCE_SECONDS)
    keys = predicted_keys(loop)
    assert len(keys) == len(set(keys))

    assert loop.end(signal.SIGTERM) < 10
    left = [process.cmdline() for process in loop.processes()]
    assert left == []
