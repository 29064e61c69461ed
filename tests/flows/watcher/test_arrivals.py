"""What has landed is announced until it is in the lake; time and the server's answers are the test's own."""

import threading
import time
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from contender.contracts.contract import Contract
from contender.ingestion import batches
from contender.ingestion.settling import Look
from contender.settings import Settings
from flows.prefect_api.client import Away
from flows.watcher import arrivals as watcher_arrivals
from flows.watcher import folders
from flows.watcher.arrivals import AGAIN_SECONDS, SWEEP_SECONDS, Arrivals

CONTRACT = """\
name = "orders"
question = "?"
kind = "regression"
[records]
files = "orders-*"
landing = "LANDING"
columns = { amount = { type = "number" } }
[outcome]
target = "paid"
known_after = "1 day"
columns = { paid = { type = "number" } }
[judging]
metric = "mae"
newest = "20 %"
min_gain = 0.01
[scoring]
warning = 0.1
critical = 0.5
"""


class Post:
    """Takes events as the server does, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.tried: list[str] = []
        self.taken: list[list[str]] = []

    def emit(self, event, *, id):
        self.tried.append(id)
        if self.away:
            raise Away("away")
        self.taken.append(event["payload"]["files"])


class Here:
    """Runs at once, in this process, what would be run aside."""

    def submit(self, call, *arguments):
        done = Future()
        try:
            done.set_result(call(*arguments))
        except Exception as error:  # noqa: BLE001 - it is the caller's
            done.set_exception(error)
        return done


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "data" / "orders"
    folder.mkdir(parents=True)
    (tmp_path / "landing").mkdir()
    (folder / "contract.toml").write_text(CONTRACT.replace("LANDING", str(tmp_path / "landing")))
    settings = Settings(home=tmp_path / "home", use_cases=tmp_path / "data")
    searches = []

    def find_unseen(use_case):
        contract = Contract.of(use_case, settings.use_cases)
        searches.append(use_case)
        return {
            one.path: Look(one.size, one.modified) for one in batches.unseen(settings, contract, tmp_path / "landing")
        }

    monkeypatch.setattr(watcher_arrivals, "find_unseen", find_unseen)
    return settings, tmp_path / "landing", Post(), searches


def arrivals_of(place) -> Arrivals:
    settings, _, post, _ = place
    return Arrivals(settings, Contract.of("orders", settings.use_cases), post, Here())


def land(place, name: str) -> str:
    path: Path = place[1] / name
    path.write_text(f"amount,paid\n1,{name}\n")
    return str(path)


def run(arrivals: Arrivals, since: float, until: float, changed=()) -> None:
    for second in range(int(since), int(until) + 1):
        arrivals.step(changed if second == int(since) else (), float(second))


def test_what_is_not_in_the_lake_is_announced_again_after_a_while_and_not_before(place):
    _, _, post, _ = place
    arrivals = arrivals_of(place)
    run(arrivals, 0, 5, [land(place, "orders-1.csv")])
    assert post.taken == [["orders-1.csv"]]
    run(arrivals, 6, AGAIN_SECONDS)
    assert post.taken == [["orders-1.csv"]]
    run(arrivals, AGAIN_SECONDS + 1, AGAIN_SECONDS + SWEEP_SECONDS + 5)
    assert post.taken == [["orders-1.csv"]] * 2


def test_what_is_in_the_lake_is_not_announced_and_not_looked_up_for_ever(place):
    settings, folder, post, searches = place
    land(place, "orders-1.csv")
    contract = Contract.of("orders", settings.use_cases)
    batch = batches.plan(settings, contract, folder, datetime(2026, 1, 1, tzinfo=UTC))
    batches.close(settings, contract, batch, "done", {})
    arrivals = arrivals_of(place)
    run(arrivals, 0, 5 * SWEEP_SECONDS)
    assert post.taken == []
    assert len(searches) == 1
    missed = land(place, "orders-2.csv")
    run(arrivals, 5 * SWEEP_SECONDS + 1, 7 * SWEEP_SECONDS)
    assert post.taken == [[Path(missed).name]]


def test_what_a_server_did_not_take_is_sent_again_as_the_same_event_and_with_what_came_since(place):
    _, _, post, _ = place
    arrivals = arrivals_of(place)
    post.away = True
    first = land(place, "orders-1.csv")
    arrivals.step([first], 0.0)
    arrivals.step([], 1.0)
    for second in (2.0, 3.0):
        with pytest.raises(Away):
            arrivals.step([], second)
    assert len(post.tried) == 2
    assert len(set(post.tried)) == 1
    second_file = land(place, "orders-2.csv")
    for second in (4.0, 5.0, 6.0):
        with pytest.raises(Away):
            arrivals.step([second_file] if second == 4.0 else [], second)
    post.away = False
    arrivals.step([], 7.0)
    assert post.taken == [["orders-1.csv", "orders-2.csv"]]
    assert post.tried[-1] != post.tried[0]


def test_what_was_deleted_before_the_server_came_back_is_not_announced(place):
    _, _, post, _ = place
    arrivals = arrivals_of(place)
    post.away = True
    path = land(place, "orders-1.csv")
    arrivals.step([path], 0.0)
    with pytest.raises(Away):
        arrivals.step([], 2.0)
    Path(path).unlink()
    post.away = False
    run(arrivals, 3, 10)
    assert post.taken == []


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        pytest.param(
            ('amount = { type = "number" }', 'amount = { type = "number", min = 0 }'),
            [["orders-1.csv"]],
            id="of what it asks of files",
        ),
        pytest.param(("min_gain = 0.01", "min_gain = 0.02"), [], id="of the judge, which refuses no file"),
    ],
)
def test_another_contract_has_everything_looked_at_again(place, change, taken):
    settings, folder, post, searches = place
    land(place, "orders-1.csv")
    contract = Contract.of("orders", settings.use_cases)
    batch = batches.plan(settings, contract, folder, datetime(2026, 1, 1, tzinfo=UTC))
    batches.close(settings, contract, batch, "refused", {batch.files[0].digest: batches.FileResult(refusal="why")})
    arrivals = arrivals_of(place)
    run(arrivals, 0, 2 * SWEEP_SECONDS)
    assert (post.taken, len(searches)) == ([], 1)
    path = contract.folder / "contract.toml"
    path.write_text(path.read_text().replace(*change))
    run(arrivals, 2 * SWEEP_SECONDS + 1, 4 * SWEEP_SECONDS)
    assert post.taken == taken


MOUNTS = [("/", "ext4"), ("/data/share", "KIND"), ("/data/share2", "nfs")]


@pytest.mark.parametrize(
    ("kind", "remote"), [("ext4", False), ("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("fuseblk", False)]
)
def test_a_folder_that_other_machines_share_is_polled(kind, remote, monkeypatch):
    mounts = [SimpleNamespace(mountpoint=at, fstype=fs.replace("KIND", kind)) for at, fs in MOUNTS]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    assert folders.is_remote(Path("/data/share/landing")) is remote
    assert not folders.is_remote(Path("/data/elsewhere"))


@pytest.mark.slow
@pytest.mark.parametrize("polled", [False, True])
def test_the_system_wakes_us_or_the_folder_is_polled(polled, place, monkeypatch):
    monkeypatch.setattr(folders, "is_remote", lambda folder: polled)
    _, _, post, _ = place
    stop, ready = threading.Event(), threading.Event()
    loop = threading.Thread(target=folders.watch_arrivals, args=([arrivals_of(place)], stop, ready))
    loop.start()
    try:
        assert ready.wait(30)
        land(place, "orders-1.csv")
        until = time.monotonic() + 60
        while not post.taken and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        stop.set()
        loop.join()
    assert post.taken == [["orders-1.csv"]]
