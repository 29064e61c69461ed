"""What quarantine holds, and that it goes through again once: after the contract was mended, after a file has grown."""

import gzip
from datetime import timedelta

import pytest

from contender.errors import BatchRefused, UsageError
from contender.ingestion import batches, intake, preview, retries, validation
from flows.cli import show

pytestmark = pytest.mark.slow

HEADER = "order_id,ordered_at,shop,colour,amount,items,express"
MENDED = ("max = 1000", "max = 9000")
LESS = "order_id,ordered_at,shop,colour,items,express"
"""A header without a column that the contract asks for."""


def order(key, amount="10", shop="a", at="2026-01-10T08:00:00") -> str:
    return ",".join((key, at, shop, "red", amount, "1", "true"))


@pytest.fixture(autouse=True)
def no_expectations(monkeypatch):
    monkeypatch.setattr(validation, "expect", lambda *_, **__: [])


@pytest.fixture
def lenient(spark, make_home):
    """A home in which nothing is refused as a whole."""
    return make_home(("max_bad_share = 0.2", "max_bad_share = 1.0"))


def held(home) -> list[tuple[str, int, bool]]:
    return [(one.file.name, one.rows, one.whole) for one in retries.held_files(home.settings, "orders")]


def reasons(home) -> dict[str, int]:
    files = retries.held_files(home.settings, "orders")
    return {one.reason: one.rows for one in retries.held_reasons(home.settings, "orders", files)}


def retry(home, minutes=60):
    at = home.noon + timedelta(minutes=minutes)
    assert retries.plan_again(home.settings, home.contract, at) is not None
    return home.take_in(at)[0]


def test_rows_and_files_that_are_held_go_through_again_once(lenient):
    home = lenient
    home.land("orders-1.csv", order("a"), order("b", "5000"), order("c", "6000"), "ragged", order("d", "x"))
    home.land("orders-2.csv", "e,2026-01-10T08:00:00,a,red,1,true", header=LESS)
    home.take_in()
    assert sorted(held(home)) == [("orders-1.csv", 4, False), ("orders-2.csv", 0, True)]
    assert reasons(home) == {"amount: above 1000": 2, "amount: not a finite number": 1, "found 1 fields, needed 7": 1}
    first = retries.held_reasons(home.settings, "orders", retries.held_files(home.settings, "orders"))[0]
    assert [(sample.file, sample.row, sample.value) for sample in first.samples] == [
        ("orders-1.csv", 2, "5000"),
        ("orders-1.csv", 3, "6000"),
    ]

    mended = home.changed(MENDED)
    again = retry(mended)

    assert (again.received, again.accepted, again.quarantined, len(again.unread)) == (4, 2, 2, 1)
    assert mended.keys("records") == ["a", "b", "c"]
    assert sorted(held(mended)) == [("orders-1.csv", 2, False), ("orders-2.csv", 0, True)]
    assert reasons(mended) == {"amount: not a finite number": 1, "found 1 fields, needed 7": 1}
    # They came when their file did, and what was said of the first batch stays said of it.
    assert len({row["_received_at"] for row in mended.rows("records")}) == 1
    assert mended.counts()[1] == {"records": 1, "quarantine": 5}
    assert retry(mended, minutes=90).accepted == 0
    assert mended.keys("records") == ["a", "b", "c"]


def test_a_row_of_a_file_that_is_gone_goes_through_from_what_quarantine_kept(lenient):
    home = lenient
    path = home.land("orders-1.csv", order("a"), order("b", "5000"), "ragged")
    home.take_in()
    path.unlink()

    again = retry(home.changed(MENDED))

    assert (again.received, again.accepted) == (2, 1)
    # Of three rows that quarantine has by now one is held.
    assert show.status_of(home.settings, "orders")["quarantined"] == 1
    (row,) = [row for row in home.rows("records") if row["_key"] == "b"]
    assert (row["_file"], row["_row"], row["amount"], row["express"]) == ("orders-1.csv", 2, 5000.0, True)
    assert held(home) == [("orders-1.csv", 1, False)]


def test_a_refused_batch_goes_through_again_whole(spark, make_home):
    home = make_home()
    path = home.land("orders-1.csv", *[order(f"k{n}", "5000" if n < 3 else "10") for n in range(9)], "ragged")
    with pytest.raises(BatchRefused):
        home.take_in()
    assert held(home) == [("orders-1.csv", 10, False)]
    assert "of its 10 records fail" in retries.held_files(home.settings, "orders")[0].refusal
    path.unlink()

    mended = home.changed(MENDED)
    assert mended.plan() is None
    again = retry(mended)

    assert (again.accepted, mended.keys("records")) == (9, [f"k{n}" for n in range(9)])
    assert held(mended) == [("orders-1.csv", 1, False)]


def test_a_file_that_could_not_be_read_is_kept_for_a_retry(spark, make_home):
    home = make_home()
    path = home.land("orders-1.csv", "a,2026-01-10T08:00:00,a,red,1,true", header=LESS)
    home.take_in()
    path.unlink()
    mended = home.changed(('amount = { type = "number", required = true', 'amount = { type = "number"'))

    assert retry(mended).accepted == 1
    assert [(row["_key"], row["_file"], row["items"]) for row in mended.rows("records")] == [("a", "orders-1.csv", 1)]
    assert held(mended) == []
    assert retries.plan_again(mended.settings, mended.contract, mended.noon) is None


@pytest.mark.parametrize("after", ["quarantine", "records"])
def test_a_retry_cut_off_is_finished_once(lenient, monkeypatch, after):
    home = lenient
    home.land("orders-1.csv", order("a"), order("b", "5000"), order("c", "x"))
    home.take_in()
    mended = home.changed(MENDED)
    retries.plan_again(mended.settings, mended.contract, mended.noon)
    append = intake.tables.append

    def cut(*arguments, **options):
        append(*arguments, **options)
        if arguments[2] == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(intake.tables, "append", cut)
        with pytest.raises(KeyboardInterrupt):
            mended.take_in()
    assert held(mended) == [("orders-1.csv", 2, False)]
    with pytest.raises(UsageError, match="Batch 2 of orders is not done yet; run 'contender ingest orders' first"):
        retries.plan_again(mended.settings, mended.contract, mended.noon)

    assert mended.take_in()[0].batch == 2
    assert (mended.keys("records"), held(mended)) == (["a", "b"], [("orders-1.csv", 1, False)])
    assert mended.plan() is None


@pytest.mark.parametrize(
    ("first", "whole", "keys", "repeated"),
    [
        pytest.param(f"{order('a')}\n{order('b')[:-20]}", None, ["a", "b", "c"], 0, id="cut in the middle of a line"),
        pytest.param(f"{order('a')}\n{order('b')}\n", None, ["a", "b", "c"], 0, id="cut between lines"),
        pytest.param(f"{order('a')}\n{order('b')}", None, ["a", "b", "c"], 1, id="cut before the line's end"),
        pytest.param(f"{order('a')}\n", f"{order('x')}\n{order('a')}\n", ["a", "x"], 1, id="written anew"),
    ],
)
def test_of_a_file_that_has_grown_the_rest_is_taken_in(lenient, first, whole, keys, repeated):
    home = lenient
    home.land_bytes("orders-1.csv", f"{HEADER}\n{first}".encode())
    home.take_in()
    grown = whole or "\n".join(map(order, "abc"))
    home.land_bytes("orders-1.csv", f"{HEADER}\n{grown}".encode())

    ingested, _ = home.take_in(home.noon + timedelta(minutes=1))

    assert (home.keys("records"), ingested.quarantined, ingested.repeated) == (keys, 0, repeated)
    assert held(home) == []


def test_without_a_key_a_file_that_has_grown_doubles_nothing(spark, make_home):
    home = make_home(
        ('key = "order_id"\n', ""),
        ('files = "returns-*"\n', ""),
        ('order_id = { type = "text", required = true }\nreturned', "returned"),
        ('returned = { type = "boolean", required = true }', 'returned = { type = "boolean" }'),
    )
    header = f"{HEADER},returned,refund"
    lines = [f"{order('a')},,", f"{order('b')},true,1", f"{order('c')},false,"]
    home.land("orders-1.csv", *lines[:2], header=header)
    home.take_in()
    home.land("orders-1.csv", *lines, header=header)

    assert home.take_in(home.noon + timedelta(minutes=1))[0].received == 1
    assert sorted(row["order_id"] for row in home.rows("records")) == ["a", "b", "c"]


def test_a_file_that_was_cut_off_and_comes_whole_is_held_no_more(lenient):
    content = gzip.compress("\n".join([HEADER, *[order(f"k{n}") for n in range(300)]]).encode())
    lenient.land_bytes("orders-1.csv.gz", content[:-20])
    lenient.take_in()
    assert held(lenient) == [("orders-1.csv.gz", 0, True)]
    lenient.land_bytes("orders-1.csv.gz", content)

    assert lenient.take_in()[0].accepted == 300
    assert held(lenient) == []


def test_what_is_held_can_be_written_to_a_file(lenient, tmp_path):
    lenient.land("orders-1.csv", order("a"), order("b", "5000", shop="z"), "ragged")
    lenient.take_in()
    found = retries.held_files(lenient.settings, "orders")

    written = retries.write(lenient.settings, "orders", found, tmp_path / "held.csv")

    assert written.rows == 2
    head, first, second = written.path.read_text().splitlines()
    assert head == "batch,received_at,source,file,row,reasons,raw"
    assert first.startswith(
        "1,2026-01-10 12:00:00,records,orders-1.csv,2,shop: none of the 3 known values; amount: above 1000,"
    )
    assert second == '1,2026-01-10 12:00:00,records,orders-1.csv,3,"found 1 fields, needed 7",ragged'


def looked(home, *files, at=None):
    return preview.preview(home.settings, home.contract, home.landing, files, at or home.noon, lambda _: None)


def test_a_preview_says_what_taking_in_then_does_and_writes_nothing(lenient, tmp_path):
    home = lenient
    home.land("orders-1.csv", order("a"), order("b"))
    home.take_in()
    home.land("orders-2.csv", order("b"), order("c"), order("d", "5000"), "ragged", order("b", "11"))
    home.land("orders-3.csv", "e,2026-01-10T08:00:00,a,red,1,true", header=LESS)
    home.land("orders-4.csv", order("f") + ",1", header=f"{HEADER},tip")
    home.land("returns-1.csv", "a,true,1", "c,perhaps,")
    home.land("orders-5.csv.part", order("g"))
    home.land("notes.txt", "hello")
    before = {path: path.stat().st_mtime_ns for path in home.settings.home.rglob("*") if path.is_file()}

    found = looked(home)

    after = {path: path.stat().st_mtime_ns for path in home.settings.home.rglob("*") if path.is_file()}
    assert after == before
    counts = {
        file.path.rpartition("/")[2]: (file.rows, file.taken, file.quarantined, file.repeated) for file in found.files
    }
    assert counts == {
        "orders-2.csv": (5, 1, 3, 1),
        "orders-3.csv": (0, 0, 0, 0),
        "orders-4.csv": (1, 1, 0, 0),
        "returns-1.csv": (2, 1, 1, 0),
    }
    assert found.notes == ("orders-4.csv: not used are the columns 'tip', which the contract does not declare.",)
    (refusal,) = [file.refusal for file in found.files if file.refusal]
    assert refusal.startswith("orders-3.csv has no column 'amount', which the contract declares")
    named = [[path.rpartition("/")[2] for path in paths] for paths in (found.known, found.unmatched, found.unfinished)]
    assert named == [["orders-1.csv"], ["notes.txt"], ["orders-5.csv.part"]]

    ingested, _ = home.take_in()
    assert (ingested.accepted, ingested.quarantined, ingested.repeated) == (3, 4, 1)
    assert {one.reason: one.rows for one in found.reasons} == reasons(home) == ingested.reasons
    assert (ingested.notes, [*ingested.unread.values()]) == (found.notes, [refusal])


def test_a_preview_tells_of_a_refusal_and_of_files_that_lie_elsewhere(spark, make_home, tmp_path):
    home = make_home()
    path = tmp_path / "orders-9.csv"
    path.write_text("\n".join([HEADER, order("a"), order("b", "5000")]))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")

    found = looked(home, path, tmp_path / "other.csv")

    assert "50.0% of its 2 records fail, the contract allows 20.0%" in found.refusal
    assert [(file.rows, file.taken, file.quarantined) for file in found.files] == [(2, 0, 2)]
    assert found.unmatched == (str(tmp_path / "other.csv"),)
    assert batches.read_log(home.settings, "orders") == []
    with pytest.raises(UsageError, match="gone.csv is not there"):
        looked(home, tmp_path / "gone.csv")
