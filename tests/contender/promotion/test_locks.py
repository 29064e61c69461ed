"""Two workers on two homes, one lake and one ledger on PostgreSQL: they keep each other out, whatever ends one of them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from contender.contracts.contract import Contract
from contender.errors import Busy, Unavailable
from contender.ingestion import batches
from contender.lake import tables
from contender.promotion import locks
from contender.promotion.locks import at_work, is_at_work
from contender.settings import Settings
from tests.conftest import CONTRACT

pytestmark = pytest.mark.slow

WORK = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from contender.contracts.contract import Contract
from contender.ingestion import batches
from contender.promotion.locks import at_work
from contender.settings import Settings
settings, landing, hangs = Settings(), Path(sys.argv[1]), sys.argv[2] == "hangs"
contract = Contract.of("orders", settings.use_cases)
while True:
    with at_work(settings, "orders", wait_seconds=120):
        batch = batches.plan(settings, contract, landing, datetime.now(UTC))
        if batch is None:
            break
        if hangs:
            print("planned", batch.batch, flush=True)
            time.sleep(600)
        batches.close(settings, contract, batch, "done", {})
"""


@pytest.fixture
def homes(tmp_path, postgres_url):
    """Settings of two homes that share everything else."""
    (tmp_path / "data" / "orders").mkdir(parents=True)
    (tmp_path / "landing").mkdir()
    (tmp_path / "data" / "orders" / "contract.toml").write_text(CONTRACT)
    shared = {"use_cases": tmp_path / "data", "lake": str(tmp_path / "lake"), "ledger_url": postgres_url}
    return [Settings(home=tmp_path / name, **shared) for name in ("one", "two")]


@contextlib.contextmanager
def worker(settings, landing, how):
    environment = os.environ | {
        "CONTENDER_HOME": str(settings.home),
        "CONTENDER_USE_CASES": str(settings.use_cases),
        "CONTENDER_LAKE": settings.lake,
        "CONTENDER_LEDGER_URL": settings.ledger_url,
    }
    command = [sys.executable, "-c", WORK, str(landing), how]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def land(folder, number):
    (folder / f"orders-{number}.csv").write_text(f"order_id\no{number}\n")


def log_of(settings):
    found = tables.read_small(settings, "orders", "files").to_pylist()
    return sorted((row["_batch"], row["status"], row["path"].rpartition("/")[2]) for row in found)


def test_of_two_workers_one_is_killed_and_the_other_goes_on_with_its_batch_and_nothing_is_doubled(homes, tmp_path):
    one, two = homes
    landing = tmp_path / "landing"
    land(landing, 1)
    with worker(one, landing, "hangs") as killed:
        assert killed.stdout.readline() == "planned 1\n"
        land(landing, 2)
        with pytest.raises(Busy) as caught, at_work(two, "orders"):
            pass
        told = f"on orders (process {killed.pid} since {datetime.now(UTC):%Y-%m-%d}"
        assert told in str(caught.value)
        assert f"UTC on {socket.gethostname()}"[:12] in str(caught.value)
        assert is_at_work(two, "orders")
        with worker(two, landing, "works") as other:
            with pytest.raises(subprocess.TimeoutExpired):
                other.wait(timeout=1)
            os.kill(killed.pid, signal.SIGKILL)
            assert other.wait(timeout=60) == 0

    planned = [(1, "done", "orders-1.csv"), (1, "planned", "orders-1.csv")]
    assert log_of(two) == [*planned, (2, "done", "orders-2.csv"), (2, "planned", "orders-2.csv")]
    assert not is_at_work(two, "orders")
    assert batches.plan(one, Contract.of("orders", one.use_cases), landing, datetime.now(UTC)) is None


def test_training_and_other_use_cases_and_environments_do_not_wait(homes):
    one, two = homes
    with at_work(one, "orders"):
        with at_work(two, "orders", "training"), at_work(two, "returns"):
            pass
        with at_work(two.model_copy(update={"environment": "prod"}), "orders"):
            pass
        assert is_at_work(one, "orders")
        assert not is_at_work(two, "orders", "training")
        with pytest.raises(Busy), at_work(two.model_copy(update={"home": two.home / "third"}), "orders"):
            pass


def test_within_one_process_it_may_be_held_again_and_is_free_after_the_last(homes):
    one, two = homes
    taken, done = threading.Event(), threading.Event()

    def hold():
        with at_work(one, "orders"):
            taken.set()
            done.wait(30)

    with at_work(one, "orders"), at_work(one, "orders"):
        other = threading.Thread(target=hold)
        other.start()
        assert taken.wait(30)
    assert is_at_work(two, "orders")
    done.set()
    other.join()
    assert not is_at_work(two, "orders")
    with at_work(two, "orders"):
        pass


def test_a_ledger_that_is_away_lets_nobody_in_and_leaves_the_home_free(homes, postgres_url):
    one, _ = homes
    away = one.model_copy(update={"ledger_url": "postgresql+psycopg://contender@127.0.0.1:9/none"})
    with pytest.raises(Unavailable), at_work(away, "orders"):
        pass
    with at_work(one, "orders"):
        pass


def test_a_session_is_asked_whether_its_machine_is_still_there(homes):
    one, _ = homes
    with locks.session(one) as connection:
        found = [connection.exec_driver_sql(f"SHOW tcp_keepalives_{name}").scalar() for name in ("idle", "interval")]
    assert found == ["60", "10"]
