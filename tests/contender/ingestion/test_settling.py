import pytest

from contender.ingestion import batches
from contender.ingestion.settling import PATIENCE_SECONDS, Look, Waiting, is_unfinished, settle, wants

SMALL, LARGE = Look(10, 1), Look(20, 2)


def steps(*looks: dict[str, Look], every: float = 1.0) -> list[tuple[str, ...]]:
    """What is settled at each look, one second apart or as told."""
    waiting: dict[str, Waiting] = {}
    found = []
    for number, look in enumerate(looks):
        # As the watcher does it: what was announced is not looked at again.
        gone = {path for settled in found for path in settled}
        waiting, settled = settle(
            waiting, {path: one for path, one in look.items() if path not in gone}, number * every
        )
        found.append(settled)
    return found


def test_a_file_is_settled_when_it_looks_the_same_for_two_seconds():
    assert steps({"a": SMALL}, {"a": SMALL}, {"a": SMALL}) == [(), (), ("a",)]


@pytest.mark.parametrize("look", [Look(20, 1), Look(10, 2), Look(5, 1)], ids=["grows", "is touched", "shrinks"])
def test_a_file_that_changes_waits_anew(look):
    assert steps({"a": SMALL}, {"a": SMALL}, {"a": look}, {"a": look}, {"a": look}) == [(), (), (), (), ("a",)]


def test_files_that_come_together_are_announced_together():
    many = {f"f{number:02}": SMALL for number in range(50)}
    first = dict(list(many.items())[:20])
    assert steps(first, many, many, many) == [(), (), (), tuple(sorted(many))]


def test_what_is_deleted_again_is_forgotten_and_holds_nobody_up():
    both = {"a": SMALL, "b": SMALL}
    assert steps(both, both, {"b": SMALL}) == [(), (), ("b",)]
    assert steps({"a": SMALL}, {}, {}, {}) == [(), (), (), ()]
    assert steps({"a": SMALL}, {}, {"a": SMALL}, {"a": SMALL}, {"a": SMALL}) == [(), (), (), (), ("a",)]


def test_a_file_renamed_into_place_settles_under_its_new_name_only():
    assert steps({"a": SMALL}, {"b": SMALL}, {"b": SMALL}, {"b": SMALL}) == [(), (), (), ("b",)]


def test_nobody_waits_for_ever_for_a_file_that_is_still_written():
    rounds = int(PATIENCE_SECONDS) + 1
    looks = [{"small": SMALL, "long": Look(number, number)} for number in range(rounds)]
    found = steps(*looks)
    assert found[:-1] == [()] * (rounds - 1)
    assert found[-1] == ("small",)


def test_the_caller_may_settle_sooner():
    waiting, settled = settle({}, {"a": SMALL}, 5.0, settle_seconds=0)
    assert (waiting, settled) == ({}, ("a",))


@pytest.mark.parametrize(
    "name",
    [".orders-1.csv", "orders-1.csv.part", "orders-1.csv.TMP", "orders-1.csv~", "~orders-1.csv", "orders-1.crdownload"],
)
def test_names_of_files_that_are_still_written_are_nobodys(name, make_home):
    home = make_home()
    assert is_unfinished(name)
    assert not wants(home.contract, name)
    home.land_bytes(name, b"order_id\n1\n")
    assert batches.unseen(home.settings, home.contract, home.landing) == ()
    assert home.plan() is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("orders-1.csv", True),
        ("returns-1.csv", True),
        ("shops.csv", True),
        ("notes.txt", False),
        ("orders.partial.csv", False),
    ],
)
def test_records_outcomes_and_look_ups_are_wanted_and_nothing_else(name, wanted, make_home):
    home = make_home(
        extra='[lookups.shops]\nfile = "shops.csv"\nkey = { shop = "shop" }\n'
        'columns = { shop = { type = "text" }, size = { type = "number" } }\n'
    )
    assert wants(home.contract, name) is wanted


def test_unseen_is_what_a_plan_would_take_and_plans_nothing(make_home):
    home = make_home()
    home.land("orders-1.csv", "a")
    home.land("returns-1.csv", "b")
    home.land("notes.txt", "c")
    found = batches.unseen(home.settings, home.contract, home.landing)
    assert [file.name for file in found] == ["orders-1.csv", "returns-1.csv"]
    assert home.rows("files") == []
    planned = home.plan()
    assert planned.files == found


def test_what_was_planned_and_cut_off_is_unseen_until_it_is_done(make_home):
    home = make_home()
    home.land("orders-1.csv", "a")
    batch = home.plan()
    assert batches.unseen(home.settings, home.contract, home.landing) == batch.files
    batches.close(home.settings, home.contract, batch, "done", {})
    assert batches.unseen(home.settings, home.contract, home.landing) == ()
    home.land("orders-2.csv", "a")
    assert batches.unseen(home.settings, home.contract, home.landing) == (), "the same content under another name"
    home.land("orders-2.csv", "b")
    assert [file.name for file in batches.unseen(home.settings, home.contract, home.landing)] == ["orders-2.csv"]
