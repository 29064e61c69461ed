import os
from datetime import timedelta

import pytest

from contender.errors import DataError
from contender.ingestion import batches
from contender.ingestion.batches import FileResult


@pytest.fixture
def home(make_home):
    return make_home(
        extra='[lookups.shops]\nfile = "orders-shops.csv"\nkey = { shop = "shop" }\n'
        'columns = { shop = { type = "text" }, size = { type = "number" } }\n'
    )


def names(plan) -> list[str]:
    return [file.name for file in plan.files]


def closed(home, at=None, status="done", reasons=None) -> batches.BatchPlan:
    """The next batch, as if it had been taken in with ten rows per file."""
    batch = home.plan(at or home.noon)
    results = {file.digest: FileResult(10, 10, (reasons or {}).get(file.digest)) for file in batch.files}
    batches.close(home.settings, home.contract, batch, status, results)
    return batch


def test_a_batch_is_all_that_is_new_by_kind_and_name(home):
    for name in ("orders-2.csv", "orders-1.csv", "returns-1.csv", "notes.txt", ".orders-3.csv", "orders-shops.csv"):
        home.land(name, name)
    batch = home.plan()
    assert (batch.batch, batch.at, batch.usual_rows_per_file) == (1, home.noon, None)
    assert [(file.name, file.source) for file in batch.files] == [
        ("orders-1.csv", "records"),
        ("orders-2.csv", "records"),
        ("returns-1.csv", "outcomes"),
    ]


def test_nothing_new_is_no_batch(home):
    assert home.plan() is None
    home.land("orders-1.csv", "a")
    closed(home)
    assert home.plan() is None


def test_a_file_is_known_by_its_content_and_not_by_its_name(home):
    first = home.land("orders-1.csv", "a")
    home.land("orders-2.csv", "a")
    assert names(closed(home)) == ["orders-1.csv"]
    home.land("orders-3.csv", "a")
    assert home.plan() is None
    first.rename(home.landing / "orders-4.csv")
    assert home.plan() is None
    home.land("orders-4.csv", "b")
    assert names(closed(home)) == ["orders-4.csv"]


def test_a_batch_cut_off_comes_back_as_it_was(home):
    home.land("orders-1.csv", "a")
    planned = home.plan()
    home.land("orders-2.csv", "b")
    assert home.plan(home.noon + timedelta(days=1)) == planned
    closed(home)
    after = home.plan()
    assert (after.batch, names(after), after.usual_rows_per_file) == (2, ["orders-2.csv"], 10.0)


@pytest.mark.parametrize("status", ["done", "refused"])
def test_what_was_refused_is_looked_at_again_once_the_contract_has_changed(home, status):
    home.land("orders-1.csv", "a")
    home.land("orders-2.csv", "b")
    batch = home.plan()
    refused = {file.digest: "why" for file in batch.files if file.name == "orders-1.csv"}
    closed(home, status=status, reasons=refused)
    assert home.plan() is None
    again = home.changed(("max = 1000", "max = 2000")).plan()
    assert again.batch == 2
    assert names(again) == (["orders-1.csv"] if status == "done" else ["orders-1.csv", "orders-2.csv"])


KIND = 'express = { type = "boolean" }'


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("max = 1000 }", "max = 1000 } # euros"), id="a comment"),
        pytest.param((f"{KIND}\n", ""), id="order"),
        pytest.param(('question = "Will', 'owner = "ada"\nquestion = "How often will'), id="what it is about"),
        pytest.param(("min_gain = 0.01", "min_gain = 0.02"), id="how challengers are judged"),
        pytest.param((KIND, 'express = { type = "boolean", unit = "yes or no" }'), id="a unit"),
        pytest.param((KIND, 'express = { type = "boolean", exclude = "known late" }'), id="what models see"),
        pytest.param(('known_after = "2 days"', 'known_after = "3 days"'), id="when outcomes are known"),
    ],
)
def test_a_change_of_the_contract_that_asks_nothing_else_of_files_opens_none_again(home, change):
    home.land("orders-1.csv", "a")
    closed(home, status="refused", reasons={})
    home.land("orders-2.csv", "b")
    cut_off = home.plan()
    changes = [change]
    if change[0] == f"{KIND}\n":
        changes.append(("[records.columns]\n", f"[records.columns]\n{KIND}\n"))

    changed = home.changed(*changes)

    assert changed.plan() == cut_off
    assert names(closed(changed)) == ["orders-2.csv"]
    assert changed.plan() is None


@pytest.mark.parametrize(
    "change",
    [
        ("max = 1000", "max = 2000"),
        ('"a", "b", "c"', '"a", "b", "c", "d"'),
        ('missing = ["", "NA"]', 'missing = ["", "NA", "-"]'),
        ("max_bad_share = 0.2", "max_bad_share = 0.3"),
        ('target = "returned"', 'target = "refund > 0"'),
        ("size = { type", "size = { required = true, type"),
    ],
)
def test_what_the_contract_asks_of_files_opens_refused_ones_again(home, change):
    home.land("orders-1.csv", "a")
    closed(home, status="refused", reasons={})
    assert home.plan() is None
    assert names(home.changed(change).plan()) == ["orders-1.csv"]


def test_a_batch_planned_under_another_contract_is_abandoned(home):
    home.land("orders-1.csv", "a")
    home.plan()
    changed = home.changed(("max = 1000", "max = 2000"))
    again = changed.plan()
    assert (again.batch, names(again)) == (2, ["orders-1.csv"])
    assert home.log(1) == ["abandoned", "planned"]
    assert {row["reason"] for row in home.rows("files") if row["status"] == "abandoned"} == {
        "the contract was changed before the batch was done"
    }
    assert changed.plan() == again


def test_without_the_landing_folder_one_sentence_says_what_to_do(home):
    home.landing.rmdir()
    with pytest.raises(DataError, match="is not there; create it, correct records.landing"):
        home.plan()


def test_a_file_that_may_still_be_written_is_left_for_the_next_batch(home):
    home.land("orders-1.csv", "whole")
    home.land("orders-2.csv", "half")
    folder = home.landing
    os.utime(folder / "orders-1.csv", (home.noon.timestamp() - 10,) * 2)
    os.utime(folder / "orders-2.csv", (home.noon.timestamp() - 1,) * 2)
    waiting = batches.plan(home.settings, home.contract, folder, home.noon, settled_seconds=2)
    assert names(waiting) == ["orders-1.csv"]
    batches.close(
        home.settings, home.contract, waiting, "done", {file.digest: FileResult(10) for file in waiting.files}
    )
    later = batches.plan(home.settings, home.contract, folder, home.noon + timedelta(seconds=5), settled_seconds=2)
    assert names(later) == ["orders-2.csv"]
