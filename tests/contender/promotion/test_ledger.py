"""The ledger: a title has one holder and a history that shows every change to it."""

import json
import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest

from contender.errors import TitleError, Unavailable, UsageError
from contender.home_version import check_home
from contender.promotion import ledger
from contender.settings import Settings
from contender.values import Decision, ModelVersion
from tests.contender.verdicts import verdict_document


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def model(version: int) -> ModelVersion:
    return ModelVersion(
        "payments",
        version,
        f"run{version}",
        f"m-{version}",
        f"digest{version}",
        trained_until=datetime.fromisoformat("2026-01-01"),
    )


def take(settings: Settings, version: int, after: ledger.LedgerEntry | None, by: str = "judge") -> ledger.LedgerEntry:
    return ledger.take_title(
        settings,
        "payments",
        version=model(version),
        after=after,
        action="promoted" if after else "crowned",
        reason="better by 0.02",
        by=by,
        evidence={"git": "abc", "data": ["payments.records@v3"]},
    )


def take_after_nothing(home: Path, version: int) -> bool:
    try:
        take(Settings(home=home), version, None)
    except TitleError:
        return False
    return True


def change(settings: Settings, statement: str) -> None:
    with closing(sqlite3.connect(settings.home / "ledger.db")) as database, database:
        database.execute(statement)


def test_no_champion_yet_is_an_answer(settings: Settings) -> None:
    assert ledger.head(settings, "payments") is None
    assert ledger.history(settings, "payments") == []
    assert ledger.last_verdict(settings, "payments") is None
    assert ledger.approved_digest(settings, "payments", 1) is None
    assert ledger.verify(settings, "payments") == 0


def test_each_entry_follows_the_one_before_it(settings: Settings) -> None:
    first = take(settings, 1, None)
    second = take(settings, 2, first)
    assert [entry.seq for entry in (first, second)] == [1, 2]
    assert (second.follows, second.previous_version, first.previous_version) == (1, 1, None)
    assert ledger.head(settings, "payments") == second
    assert ledger.history(settings, "payments") == [first, second]
    assert json.loads(second.evidence)["git"] == "abc"
    assert datetime.fromisoformat(second.at).utcoffset() == timedelta(0)
    assert datetime.now(UTC) - datetime.fromisoformat(second.at) < timedelta(minutes=1)


def test_use_cases_have_their_own_title(settings: Settings) -> None:
    take(settings, 1, None)
    assert ledger.head(settings, "flights") is None


def test_who_decided_on_an_older_champion_comes_too_late(settings: Settings) -> None:
    first = take(settings, 1, None)
    take(settings, 2, first, by="ada")
    with pytest.raises(TitleError, match=r"ends with entry 2 \(version 2 promoted by ada .*expected was entry 1"):
        take(settings, 3, first)
    with pytest.raises(TitleError, match="expected was no entry"):
        take(settings, 3, None)
    assert len(ledger.history(settings, "payments")) == 2


def test_of_many_threads_after_the_same_entry_one_wins(settings: Settings) -> None:
    first = take(settings, 1, None)
    start = Barrier(6)

    def compete(version: int) -> bool:
        start.wait()
        try:
            take(settings, version, first)
        except TitleError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(compete, range(2, 8)))
    assert sum(won) == 1
    assert ledger.verify(settings, "payments") == 2


def test_of_many_processes_on_a_new_database_one_wins(settings: Settings) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        won = pool.starmap(take_after_nothing, [(settings.home, version) for version in range(1, 7)], chunksize=1)
    assert sum(won) == 1
    assert ledger.verify(settings, "payments") == 1


@pytest.mark.parametrize(
    "tampering",
    [
        pytest.param("UPDATE title SET version = 9 WHERE seq = 2", id="another champion"),
        pytest.param("UPDATE title SET reason = 'nicer' WHERE seq = 1", id="another reason"),
        pytest.param("UPDATE title SET model_digest = 'evil' WHERE seq = 3", id="other files"),
        pytest.param("UPDATE title SET at = '2020-01-01' WHERE seq = 3", id="another time"),
        pytest.param("DELETE FROM title WHERE seq = 2", id="one entry gone"),
        pytest.param("DELETE FROM title WHERE seq = 1", id="the beginning gone"),
    ],
)
def test_a_changed_history_shows(settings: Settings, tampering: str) -> None:
    entry = take(settings, 1, None)
    for version in (2, 3):
        entry = take(settings, version, entry)
    assert ledger.verify(settings, "payments") == 3
    change(settings, tampering)
    with pytest.raises(TitleError, match="was changed"):
        ledger.verify(settings, "payments")


def test_the_approved_digest_is_that_of_the_last_time(settings: Settings) -> None:
    first = take(settings, 1, None)
    take(settings, 2, first)
    assert ledger.approved_digest(settings, "payments", 1) == "digest1"
    assert ledger.approved_digest(settings, "payments", 2) == "digest2"
    assert ledger.approved_digest(settings, "payments", 3) is None


def test_the_last_verdict_comes_back_as_recorded(settings: Settings) -> None:
    for challenger, decision in ((2, Decision.KEEP), (3, Decision.PROMOTE)):
        document = verdict_document(decision=decision, challenger=challenger, reasons=("größer",))
        ledger.record_verdict(settings, "payments", document)
    assert ledger.last_verdict(settings, "payments") == document


def test_comparisons_on_one_window_add_up(settings: Settings) -> None:
    assert ledger.count_comparison(settings, "payments", "2026-04") == 1
    assert ledger.count_comparison(settings, "payments", "2026-04", looks=50) == 51
    assert ledger.count_comparison(settings, "payments", "2026-05") == 1
    with ThreadPoolExecutor(4) as pool:
        totals = pool.map(lambda _: ledger.count_comparison(settings, "payments", "2026-05"), range(8))
    assert sorted(totals) == list(range(2, 10))


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(Unavailable, match="cannot be opened"):
        ledger.head(Settings(home=tmp_path / "file" / "home"), "payments")


def test_a_file_that_is_no_database_is_unavailable(settings: Settings) -> None:
    check_home(settings)
    (settings.home / "ledger.db").write_text("this is not SQLite, however often it is asked " * 20)
    with pytest.raises(Unavailable, match="does not answer"):
        ledger.head(settings, "payments")


def test_an_address_without_driver_or_server_is_unavailable_and_hides_its_password(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, ledger_url="postgresql://contender:secret@127.0.0.1:9/ledger")
    with pytest.raises(Unavailable) as caught:
        ledger.head(settings, "payments")
    assert "secret" not in str(caught.value)


def test_an_address_that_is_none_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="CONTENDER_LEDGER_URL"):
        ledger.head(Settings(home=tmp_path, ledger_url="the one on my desk"), "payments")


def test_a_ledger_that_was_deleted_starts_anew(settings: Settings) -> None:
    take(settings, 1, None)
    for path in settings.home.glob("ledger.db*"):
        path.unlink()
    assert ledger.head(settings, "payments") is None
