import gzip
import json
from datetime import UTC, datetime, timedelta

import pytest

from contender.contracts.sections import BatchRules
from contender.errors import BatchRefused, ContractError, DataError
from contender.features import dataset
from contender.ingestion import batches, intake, validation
from contender.ingestion.expectations import BatchFacts, expect
from contender.lake import tables as lake_tables

pytestmark = pytest.mark.slow


def order(key, at="2026-01-10T08:00:00", shop="a", colour="red", amount="10", items="1", express="true") -> str:
    return ",".join((key, at, shop, colour, amount, items, express))


KNOWN = order("known")
FAULTS = [
    pytest.param(order("nan", amount="NaN"), ["amount: not a finite number"], id="NaN"),
    pytest.param(order("inf", amount="-Infinity"), ["amount: not a finite number"], id="infinity"),
    pytest.param(order("word", amount="ten"), ["amount: not a finite number"], id="text for a number"),
    pytest.param(
        order("half", items="1.5"), ["items: not a whole number of 64 bits"], id="a fraction for a whole number"
    ),
    pytest.param(order("bool", express="maybe"), ["express: neither true nor false"], id="text for yes or no"),
    pytest.param(order("when", at="yesterday"), ["ordered_at: not a time"], id="text for a time"),
    pytest.param(order("shop", shop="z"), ["shop: none of the 3 known values"], id="unseen category"),
    pytest.param(order("low", amount="-0.01"), ["amount: below 0"], id="below the minimum"),
    pytest.param(order("high", amount="1000.5"), ["amount: above 1000"], id="above the maximum"),
    pytest.param(order("none", amount=""), ["amount: missing"], id="missing value"),
    pytest.param(order("na", shop="NA"), ["shop: missing"], id="a word that means missing"),
    pytest.param(order(""), ["order_id: missing"], id="missing key"),
    pytest.param(order(" ", amount="11"), ["order_id: missing"], id="another missing key is not the same key"),
    pytest.param(order("late", at="2026-01-10T13:00:01"), ["ordered_at: in the future"], id="time in the future"),
    pytest.param(
        order("two", shop="z", amount="x"),
        ["shop: none of the 3 known values", "amount: not a finite number"],
        id="two faults have two reasons",
    ),
    pytest.param(order("first", amount="99"), ["order_id: came before with other values"], id="same key in the batch"),
    pytest.param(
        order("known", amount="99"), ["order_id: came before with other values"], id="same key in an earlier batch"
    ),
    pytest.param(
        order("known", amount="-1"),
        ["amount: below 0", "order_id: came before with other values"],
        id="a bad row with a key that is known",
    ),
    pytest.param("short,2026-01-10T08:00:00,a", ["found 3 fields, needed 7"], id="too few fields"),
    pytest.param(order("long") + ",more", ["found 8 fields, needed 7"], id="too many fields"),
    pytest.param(order("nul\0"), ["found a NUL byte"], id="NUL byte"),
    pytest.param(order("caf\udce9"), ["found bytes that are not utf-8"], id="bytes of another encoding"),
]
REPEATED = [order("first"), KNOWN, f" {KNOWN}"]
"""Rows that came before, in the batch or in an earlier one; blanks do not make another key."""

GOOD = [
    order("first"),
    order("odd", colour="mauve"),
    order("edge", amount="0", at="2026-01-10T13:00:00"),
    order("top", amount="1000", items="", express=""),
    order("accent", colour="grün"),
]
HEADER = "order_id,ordered_at,shop,colour,amount,items,express"
REFUSED = {
    "orders-cut.csv.gz": (gzip.compress("\n".join([HEADER, *GOOD]).encode())[:-20], "is a gzip file that breaks off"),
    "orders-empty.csv": (b"", "is empty; needed a header and rows"),
    "orders-header.csv": (HEADER.encode() + b"\n", "holds a header and no rows"),
    "orders-hash.csv": ("\n".join([HEADER, *GOOD]).replace(",", "#").encode(), "no delimiter"),
    "orders-less.csv": (
        b"order_id,ordered_at,shop,colour,items,express\n1,2026-01-10,a,red,1,1\n",
        "has no column 'amount', which the contract declares",
    ),
    "orders-named.csv": (f"{HEADER}\n{order('r')}\n".replace("amount", "amounts").encode(), "renamed to 'amounts'?"),
    "orders-nul.csv": (b"\0" * 500, "needed CSV, JSON lines or Parquet"),
}


@pytest.fixture(scope="module")
def dirty(spark, make_home):
    """Two batches: a clean one, then one with every fault."""
    home = make_home(("max_bad_share = 0.2", "max_bad_share = 1.0"))
    home.land("orders-1.csv", KNOWN, order("clean"))
    home.take_in(at=home.noon - timedelta(hours=1))
    lines = [HEADER, *GOOD, *[fault.values[0] for fault in FAULTS], *REPEATED]
    home.land_bytes("orders-2.csv", ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))
    for name, (content, _) in REFUSED.items():
        home.land_bytes(name, content)
    home.land("returns-2.csv", "first,true,5", "odd,perhaps,1", ",true,1", "top,false")
    ingested, findings = home.take_in()
    return home, ingested, findings


@pytest.mark.parametrize(("line", "reasons"), FAULTS)
def test_a_bad_row_ends_in_quarantine_with_every_reason(dirty, line, reasons):
    home, *_ = dirty
    place = len(GOOD) + 1 + [fault.values[0] for fault in FAULTS].index(line)
    row = next(r for r in home.rows("quarantine") if (r["_file"], r["_row"]) == ("orders-2.csv", place))
    assert row["reasons"] == reasons
    assert (row["kind"], row["source"], row["_batch"]) == ("line" if "found" in reasons[0] else "row", "records", 2)
    if "found" in reasons[0]:
        assert row["raw"] == line.replace("\0", "\\x00").replace("\udce9", "\\xe9")
    else:
        # The row as it landed, nothing trimmed and nothing guessed.
        assert list(json.loads(row["raw"]).values()) == line.split(",")


def test_the_good_rows_go_on(dirty):
    home, *_ = dirty
    assert home.keys("records") == ["accent", "clean", "edge", "first", "known", "odd", "top"]
    stored = {row["_key"]: row for row in home.rows("records")}
    assert (stored["odd"]["colour"], stored["accent"]["colour"]) == ("mauve", "gr\u00fcn"), "in composed form"
    assert (stored["top"]["amount"], stored["top"]["items"], stored["top"]["express"]) == (1000.0, None, None)
    assert home.keys("outcomes") == ["first"]


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_cannot_be_read_is_refused_and_kept(dirty, name):
    home, *_ = dirty
    (row,) = [r for r in home.rows("quarantine") if r["_file"] == name]
    content, says = REFUSED[name]
    assert (row["kind"], row["_row"], len(row["reasons"])) == ("file", None, 1)
    assert says in row["reasons"][0]
    with open(row["raw"], "rb") as kept:  # noqa: PTH123
        assert kept.read() == content


def test_a_bad_outcome_has_its_reasons_too(dirty):
    home, *_ = dirty
    reasons = {row: found for (file, row), found in home.reasons(2).items() if file == "returns-2.csv"}
    assert reasons == {
        2: ["returned: neither true nor false"],
        3: ["order_id: missing"],
        4: ["found 2 fields, needed 3"],
    }


def test_accepted_quarantined_and_repeated_add_up_to_received(dirty):
    home, ingested, _ = dirty
    received = len(GOOD) + len(FAULTS) + len(REPEATED) + 4
    assert (ingested.received, ingested.files) == (received, 2 + len(REFUSED))
    assert ingested.unread.keys() == REFUSED.keys(), "a file is no row"
    assert ingested.repeated == len(REPEATED)
    assert ingested.received == ingested.accepted + ingested.quarantined + ingested.repeated
    assert (ingested.records, ingested.outcomes) == (len(GOOD), 1)
    counts = home.counts()[2]
    assert counts.total() == received + len(REFUSED) - len(REPEATED)
    assert counts["quarantine"] == ingested.quarantined + len(REFUSED)
    assert sum(row["rows"] or 0 for row in home.rows("files") if row["status"] != "planned" and row["_batch"] == 2) == (
        received
    )


def test_a_reason_is_counted_over_all_files(dirty):
    home, ingested, _ = dirty
    counted = {}
    for (_, row), reasons in home.reasons(2).items():
        for reason in reasons if row is not None else ():
            counted[reason] = counted.get(reason, 0) + 1
    assert ingested.reasons == counted
    assert counted["order_id: missing"] == 3


@pytest.mark.parametrize(
    ("expectation", "column", "failing", "sample"),
    [
        ("column values to be null", "amount: not a finite number", 4, "ten"),
        ("column values to be null", "items: not a whole number of 64 bits", 1, "1.5"),
        ("column values to be in set", "shop", 2, "z"),
        ("column values to not be null", "shop", 1, None),
        ("column values to be between", "ordered_at", 1, "2026-01-10 13:00:01"),
        ("column values to be null", "order_id: came before with other values", 3, "known"),
    ],
)
def test_great_expectations_counts_what_fails_and_shows_it(dirty, expectation, column, failing, sample):
    *_, findings = dirty
    (finding,) = [f for f in findings if (f.expectation, f.column) == (expectation, column)][:1]
    assert not finding.holds
    assert not finding.whole_batch
    assert finding.failing == failing
    assert sample is None or any(one.startswith(sample) for one in finding.samples)


def test_the_data_docs_can_be_opened(dirty):
    _, ingested, _ = dirty
    with open(ingested.report) as page:  # noqa: PTH123
        assert "<html" in page.read().lower()


def test_a_key_that_is_a_whole_number_is_known_by_its_value(spark, make_home, no_expectations):
    number = (
        'order_id = { type = "text", required = true }\nordered_at',
        'order_id = { type = "integer", required = true }\nordered_at',
    )
    home = make_home(number, ("max_bad_share = 0.2", "max_bad_share = 1.0"))
    home.land("orders-1.csv", order("7"), order("12"), order("2305843009213693953"), order("x1"))
    home.land("returns-1.csv", "007,true,5", "12.0,true,5")
    home.take_in()
    assert home.keys("records") == ["12", "2305843009213693953", "7"]
    assert home.keys("outcomes") == ["12", "7"]

    home.land("orders-2.csv", order("7.0"), order("8.0"))
    assert home.take_in()[0].accepted == 1
    assert home.keys("records") == ["12", "2305843009213693953", "7", "8"]


def test_a_batch_is_refused_whole_and_looked_at_again_under_another_contract(spark, make_home, no_expectations):
    home = make_home()
    rows = [order(f"k{n}", amount="5000" if n < 3 else "10") for n in range(10)]
    home.land("orders-1.csv", *rows, "ragged")
    home.land("returns-1.csv", "k9,true,1")
    with pytest.raises(BatchRefused) as refused:
        home.take_in()
    # A fault in one kind of file does not hold back the other.
    assert "Its outcomes are taken in all the same" in str(refused.value)
    assert (home.keys("outcomes"), home.counts()[1]["quarantine"]) == (["k9"], 11)
    said = str(refused.value)
    assert "36.4% of its 11 records fail, the contract allows 20.0%; most often: amount: above 1000" in said
    assert "\n" not in said
    assert home.rows("records") == []
    reasons = home.reasons(1)
    assert len(reasons) == 11
    assert all(found[-1] == "the whole batch was refused" for found in reasons.values())
    assert reasons["orders-1.csv", 1][0] == "amount: above 1000"
    assert home.log(1) == ["done", "planned", "planned", "refused"]
    assert home.plan() is None

    mended = home.changed(("max = 1000", "max = 9000"))
    ingested, _ = mended.take_in()
    assert (ingested.batch, ingested.received, ingested.accepted) == (2, 11, 10)
    assert mended.plan() is None
    # What was said of batch 1 stays said of batch 1; each batch adds up by itself.
    assert {batch: dict(tables) for batch, tables in mended.counts().items()} == {
        1: {"outcomes": 1, "quarantine": 11},
        2: {"records": 10, "quarantine": 1},
    }


@pytest.fixture(scope="module")
def usual(spark, make_home):
    """One file of two rows, and rules about volume and freshness."""
    home = make_home(("max_bad_share = 0.2", 'max_volume = 20.0\nmin_volume = 0.5\nfreshness = "1 day"'))
    home.land("orders-1.csv", order("u1"), order("u2"))
    home.take_in()
    return home


@pytest.mark.parametrize(
    ("lines", "at", "says"),
    [
        pytest.param(
            [order(f"many{n}") for n in range(41)],
            0,
            "it holds 41 rows of records, and by the batches before 1 to 40 are usual",
            id="20×",
        ),
        pytest.param([order("old"), order("old2")], 3, "the newest ordered_at of its records is 2026-01", id="stale"),
    ],
)
def test_a_batch_unlike_those_before_is_refused(usual, lines, at, says):
    usual.land(f"orders-{len(lines)}-{at}.csv", *lines)
    with pytest.raises(BatchRefused, match="The batch is refused: ") as refused:
        usual.take_in(at=usual.noon + timedelta(days=at))
    assert " ".join(says.split()) in " ".join(str(refused.value).split())
    assert usual.keys("records") == ["u1", "u2"]


def test_outcomes_in_the_records_own_files_are_split_off(spark, make_home, no_expectations):
    home = make_home(
        ('files = "returns-*"\n', ""),
        (
            'order_id = { type = "text", required = true }\nreturned = { type = "boolean", required = true }',
            'returned = { type = "boolean" }',
        ),
    )
    header = f"{HEADER},returned,refund"
    home.land("orders-1.csv", order("x") + ",true,5", order("y") + ",,", order("z") + ",false,", header=header)
    ingested, _ = home.take_in()
    assert (ingested.received, ingested.accepted, ingested.records, ingested.outcomes) == (3, 3, 3, 2)
    assert home.keys("records") == ["x", "y", "z"]
    assert {row["_key"]: (row["_target"], row["refund"]) for row in home.rows("outcomes")} == {
        "x": (1.0, 5.0),
        "z": (0.0, None),
    }


@pytest.fixture
def no_expectations(monkeypatch):
    """Great Expectations is looked at elsewhere; without it a batch takes half the time."""
    monkeypatch.setattr(validation, "expect", lambda *_, **__: [])


class CutOffError(Exception):
    """The process ended here."""


@pytest.fixture(scope="module")
def cut(spark, make_home):
    return make_home(("max_bad_share = 0.2", "max_bad_share = 0.9"))


@pytest.mark.parametrize("after", ["staging", "quarantine", "outcomes", "records"])
def test_a_batch_cut_off_is_finished_once_under_its_number(cut, no_expectations, monkeypatch, after):
    cut.land(f"orders-{after}.csv", order(f"{after}1"), order(f"{after}2"), order(f"{after}3", amount="no"))
    cut.land(f"returns-{after}.csv", f"{after}1,true,1", f"{after}2,false,")
    number = cut.plan().batch

    def until(name, function):
        def called(*arguments, **options):
            result = function(*arguments, **options)
            # The table is the third argument of an append.
            if after == name or (name == "append" and arguments[2] == after):
                raise CutOffError
            return result

        return called

    with monkeypatch.context() as patch:
        patch.setattr(lake_tables, "append", until("append", lake_tables.append))
        patch.setattr(intake.staging, "stage", until("staging", intake.staging.stage))
        with pytest.raises(CutOffError):
            cut.take_in()
    assert cut.log(number) == ["planned", "planned"]
    cut.land(f"orders-{after}-next.csv", order(f"{after}4"))
    again = cut.plan()
    assert again.batch == number
    assert {file.name for file in again.files} == {f"orders-{after}.csv", f"returns-{after}.csv"}

    ingested, _ = cut.take_in(at=cut.noon + timedelta(minutes=5))
    assert (ingested.batch, ingested.received, ingested.accepted) == (number, 5, 4)
    assert cut.counts()[number] == {"records": 2, "outcomes": 2, "quarantine": 1}
    assert len({row["_received_at"] for row in cut.rows("records") if row["_batch"] == number}) == 1
    assert cut.log(number).count("done") == 2
    follows = cut.plan()
    assert (follows.batch, [file.name for file in follows.files]) == (number + 1, [f"orders-{after}-next.csv"])
    batches.close(cut.settings, cut.contract, follows, "done", {})


def test_a_batch_whose_file_vanished_is_abandoned_and_taken_back(cut, no_expectations, monkeypatch):
    gone = cut.land("orders-gone.csv", order("gone"), order("gone2", amount="no"))
    cut.land("orders-stays.csv", order("stays"))
    number = cut.plan().batch
    with monkeypatch.context() as patch:
        patch.setattr(batches, "close", lambda *_: (_ for _ in ()).throw(CutOffError))
        with pytest.raises(CutOffError):
            cut.take_in()
    assert cut.counts()[number] == {"records": 2, "quarantine": 1}
    gone.unlink()
    batches.staging_of(cut.settings, "orders", number).rename(cut.landing.parent / "elsewhere")
    with pytest.raises(DataError, match=f"orders-gone.csv has gone .* batch {number} is abandoned") as told:
        cut.take_in()
    assert "run again" in str(told.value)
    assert number not in cut.counts()
    assert cut.log(number).count("abandoned") == 2

    ingested, _ = cut.take_in()
    assert (ingested.batch, ingested.records) == (number + 1, 1)
    assert cut.keys("records").count("stays") == 1
    assert cut.plan() is None


def test_a_batch_cut_off_under_another_contract_is_planned_anew(cut, no_expectations, monkeypatch):
    cut.land("orders-edit.csv", order("edit", amount="2000"), order("edit2"))
    number = cut.plan().batch
    with monkeypatch.context() as patch:
        patch.setattr(batches, "close", lambda *_: (_ for _ in ()).throw(CutOffError))
        with pytest.raises(CutOffError):
            cut.take_in()
    edited = cut.changed(("max = 1000", "max = 3000"))
    ingested, _ = edited.take_in()
    assert (ingested.batch, ingested.records, ingested.quarantined) == (number + 1, 2, 0)
    assert number not in edited.counts()


def test_a_column_more_is_told_once_and_not_used_until_it_is_declared(spark, make_home, no_expectations):
    home = make_home(("max_bad_share = 0.2", "max_bad_share = 0.5"))
    home.land("orders-1.csv", order("p"))
    home.take_in()
    home.land("orders-2.csv", order("q") + ",0.5", order("p") + ",0.5", header=f"{HEADER},tip")
    ingested, _ = home.take_in()
    assert (ingested.received, ingested.records, ingested.unread) == (2, 1, {})
    (note,) = ingested.notes
    assert note == "orders-2.csv: not used are the columns 'tip', which the contract does not declare."
    home.land("orders-3.csv", order("r") + ",0.5", header=f"{HEADER},tip")
    assert home.take_in()[0].notes == ()

    mended = home.changed(
        ('express = { type = "boolean" }', 'express = { type = "boolean" }\ntip = { type = "number" }')
    )
    mended.land("orders-4.csv", order("s") + ",0.5", order("q") + ",0.5", header=f"{HEADER},tip")
    ingested, _ = mended.take_in()
    assert (ingested.records, ingested.reasons) == (1, {"order_id: came before with other values": 1})
    assert {row["_key"]: row["tip"] for row in mended.rows("records")} == {"p": None, "q": None, "r": None, "s": 0.5}
    other = mended.changed(('tip = { type = "number" }', 'tip = { type = "category" }'))
    other.land("orders-5.csv", order("t") + ",much", header=f"{HEADER},tip")
    with pytest.raises(ContractError, match="with another type than the table 'records' has .*tip.*; give it back"):
        other.take_in()
    ingested, _ = mended.changed(
        ('tip = { type = "category" }', 'tip = { type = "text", exclude = "x" }'), ("tip =", "tips =")
    ).take_in()
    assert (ingested.records, ingested.quarantined) == (1, 0)
    assert "orders-5.csv: missing are the columns 'tips'; was 'tips' renamed to 'tip'?" in ingested.notes


def test_an_empty_batch_is_no_pass():
    facts = BatchFacts(rows=0, files=1, usual_rows_per_file=None, arrived=datetime(2026, 1, 10, tzinfo=UTC))
    with pytest.raises(DataError, match="holds no rows, so there is nothing to check"):
        expect(None, [], facts, BatchRules(), time=None, clean=True)


def test_rows_that_would_mean_something_else_are_not_mixed_with_those_that_are_there(spark, make_home, no_expectations):
    change = ('target = "returned"', 'target = "refund > 3"')
    home = make_home(("max_bad_share = 0.2", "max_bad_share = 1.0"))
    home.land("orders-1.csv", order("a"), order("b"))
    home.land("returns-1.csv", "a,true,5")
    home.take_in()
    home.land("returns-2.csv", "b,false,")
    other = home.changed(change)

    with pytest.raises(ContractError) as refused:
        other.plan()
    assert "now has target 'refund > 3' instead of 'returned'" in str(refused.value)
    assert "begin a use case of another name" in str(refused.value)
    with pytest.raises(ContractError, match="instead of"):
        dataset.split(other.settings, other.contract, other.noon)

    # Put back, all goes on; and what has no say about the rows may change.
    back = other.changed((change[1], change[0]), ("warning = 0.1", "warning = 0.2"))
    assert back.take_in()[0].outcomes == 1
