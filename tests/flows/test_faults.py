"""What goes wrong around the loop, and that nothing is lost by it."""

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from contender.errors import Busy
from contender.promotion.locks import at_work
from contender.settings import Settings
from flows.prefect_api import prefect_server
from flows.runtime.flow_runs import WORKER_SECONDS, patience_seconds
from tests.flows.prefect_server import eventually, served

HOLD = """
import sys, time
from contender.promotion.locks import at_work
from contender.settings import Settings
with at_work(Settings(), "payments", sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextlib.contextmanager
def held_by_another(monkeypatch, home, work, seconds):
    monkeypatch.setenv("CONTENDER_HOME", str(home))
    other = subprocess.Popen([sys.executable, "-c", HOLD, work, str(seconds)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_of_two_flows_on_one_use_case_the_second_waits_for_the_first(tmp_path, monkeypatch):
    with held_by_another(monkeypatch, tmp_path, "data", 2):
        with pytest.raises(Busy), at_work(Settings(), "payments"):
            pass
        with at_work(Settings(), "payments", wait_seconds=60):
            pass


def test_taking_in_does_not_wait_for_a_training(tmp_path, monkeypatch):
    with held_by_another(monkeypatch, tmp_path, "training", 60):
        with at_work(Settings(), "payments"):
            pass
        with pytest.raises(Busy), at_work(Settings(), "payments", "training"):
            pass


def test_who_is_killed_lets_the_next_one_in(tmp_path, monkeypatch):
    with held_by_another(monkeypatch, tmp_path, "data", 600):
        pass
    with at_work(Settings(), "payments"):
        pass


def test_a_person_hears_at_once_and_a_worker_waits(monkeypatch):
    assert patience_seconds() == 0
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "some")
    assert patience_seconds() == WORKER_SECONDS


def test_workers_look_for_runs_every_second_or_two():
    assert float(prefect_server.WORKER_ENVIRONMENT["PREFECT_WORKER_QUERY_SECONDS"]) <= 2


@pytest.mark.slow
def test_events_sent_while_prefects_database_is_locked_all_arrive(tmp_path):
    with served(tmp_path) as server:
        database = tmp_path / "prefect" / "prefect.db"
        locked, done = threading.Event(), threading.Event()

        def hold() -> None:
            with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                locked.set()
                done.wait(60)
                connection.execute("ROLLBACK")

        holder = threading.Thread(target=hold)
        holder.start()
        try:
            assert locked.wait(60)
            sent = {server.emit("contender.batch.landed", f"contender.use-case.u{number}") for number in range(300)}
            # Prefect waits 60 s for a lock of SQLite; in these three, events should have been written six times.
            time.sleep(3)
        finally:
            done.set()
            holder.join()
        assert len(sent) == 300

        def kept() -> set[str]:
            question = {"filter": {"event": {"name": ["contender.batch.landed"]}}, "limit": 50}
            found = server.ask("/events/filter", question)
            ids = {event["id"] for event in found["events"]}
            while found["next_page"]:
                found = server.ask("/events/filter/next?" + found["next_page"].partition("?")[2])
                ids |= {event["id"] for event in found["events"]}
            return ids

        eventually(lambda: kept() >= sent, "all events are kept", 120)
