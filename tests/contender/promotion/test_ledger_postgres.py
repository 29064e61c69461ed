"""The ledger on a real PostgreSQL server, which does not lock writers out as SQLite does."""

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from threading import Barrier, Event

import pytest

from contender.errors import TitleError, Unavailable
from contender.promotion import database as promotion_database
from contender.promotion import ledger
from contender.settings import Settings
from contender.values import Decision, ModelVersion
from tests.contender.verdicts import verdict_document

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(postgres_url, tmp_path):
    return Settings(home=tmp_path, ledger_url=postgres_url)


@pytest.fixture
def use_case(request):
    """A use case of this test's own, on the one server of all."""
    return f"case {request.node.name}"


def take(settings, use_case, version, after):
    return ledger.take_title(
        settings,
        use_case,
        version=ModelVersion(use_case, version, "", "", f"digest{version}", datetime.fromisoformat("2026-01-01")),
        after=after,
        action="promoted" if after else "crowned",
        reason="größer als 5 %",
        by="judge",
        evidence={"git": "abc"},
    )


def hold_forever(settings, use_case, told):
    with promotion_database.alone(settings, use_case):
        told.set()
        time.sleep(600)


def test_entries_come_back_as_they_were_written(settings, use_case):
    assert ledger.head(settings, use_case) is None
    first = take(settings, use_case, 1, None)
    second = take(settings, use_case, 2, first)

    assert ledger.history(settings, use_case) == [first, second]
    assert ledger.head(settings, use_case) == second
    assert ledger.verify(settings, use_case) == 2
    assert ledger.approved_digest(settings, use_case, 1) == "digest1"


@pytest.mark.parametrize("begun", [False, True], ids=["the first title", "a later one"])
def test_of_many_at_once_one_wins(settings, use_case, begun):
    after = take(settings, use_case, 1, None) if begun else None
    together = Barrier(8)

    def compete(version):
        together.wait()
        try:
            take(settings, use_case, version, after)
        except TitleError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(compete, range(2, 10)))

    assert sum(won) == 1
    assert ledger.verify(settings, use_case) == 1 + begun


def test_a_changed_history_shows(settings, use_case, postgres_url):
    import psycopg

    take(settings, use_case, 2, take(settings, use_case, 1, None))
    with closing(psycopg.connect(postgres_url.replace("+psycopg", ""))) as database, database:
        database.execute("UPDATE title SET reason = 'nicer' WHERE use_case = %s AND seq = 1", [use_case])

    with pytest.raises(TitleError, match="was changed"):
        ledger.verify(settings, use_case)


def test_looks_at_a_window_add_up(settings, use_case):
    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(lambda _: ledger.count_comparison(settings, use_case, "2026-05"), range(8)))

    assert sorted(totals) == list(range(1, 9))


def test_verdicts_come_back_newest_first(settings, use_case):
    kept, won = (verdict_document(decision=decision) for decision in (Decision.KEEP, Decision.PROMOTE))
    for document in (kept, won):
        ledger.record_verdict(settings, use_case, document)

    assert ledger.last_verdict(settings, use_case) == won
    assert ledger.verdicts(settings, use_case) == [won, kept]


def test_who_mirrors_keeps_out_others_of_the_same_use_case_only_and_nobody_from_writing(
    settings, use_case, monkeypatch
):
    monkeypatch.setattr(promotion_database, "MIRROR_SECONDS", 1)
    with promotion_database.alone(settings, use_case):
        with promotion_database.alone(settings, "another one"):
            pass
        take(settings, use_case, 1, None)
        with pytest.raises(Unavailable, match="lock timeout"), promotion_database.alone(settings, use_case):
            pass
    with promotion_database.alone(settings, use_case):
        pass


def test_who_is_killed_while_mirroring_lets_the_next_one_in(settings, use_case):
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Event()
    process = spawn.Process(target=hold_forever, args=(settings, use_case, told))
    process.start()
    assert told.wait(60)
    entered = Event()

    def enter():
        with promotion_database.alone(settings, use_case):
            entered.set()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(enter)
        assert not entered.wait(0.5)
        os.kill(process.pid, signal.SIGKILL)
        waiting.result(timeout=30)
    process.join()


def test_a_server_that_is_gone_is_unavailable_and_its_password_stays_unsaid(settings, postgres_url):
    port = postgres_url.rpartition(":")[2].partition("/")[0]
    gone = Settings(home=settings.home, ledger_url=f"postgresql+psycopg://contender:hidden@127.0.0.1:{port}/nowhere")

    with pytest.raises(Unavailable, match="nowhere") as caught:
        ledger.head(gone, "payments")

    assert "hidden" not in str(caught.value)
