"""The place in time of records that have none: drawn, the same for the same rows, the same classes all along."""

from datetime import timedelta

import pytest

from contender.features import dataset, feature_tables
from contender.values import KEY

pytestmark = pytest.mark.slow

TIMELESS = [
    ('time = "ordered_at"\n', ""),
    ('newest = "7 days"', 'newest = "20 %"'),
    ('files = "returns-*"\n', ""),
    ('known_after = "2 days"\n', ""),
    ('order_id = { type = "text", required = true }\nreturned', "returned"),
    ('returned = { type = "boolean", required = true }', 'returned = { type = "boolean" }'),
]
KEYLESS = ('key = "order_id"\n', "")
HEADER = "order_id,ordered_at,shop,colour,amount,items,express,returned,refund"


def lines(numbers, prefix="o") -> list[str]:
    """Orders of which every fifth was sent back."""
    return [f"{prefix}{n:03},2026-01-01,a,red,{n},1,true,{'yes' if n % 5 == 0 else 'no'}," for n in numbers]


def order_of(home) -> list[str]:
    """The orders in drawn order, by the number that each has as its amount."""
    return [f"{row['amount']:.0f}" for row in sorted(home.rows("records"), key=lambda row: row["_time"])]


def split_of(home):
    feature_tables.update_features(home.settings, home.contract)
    split = dataset.split(home.settings, home.contract, home.noon + timedelta(days=99))
    return [dataset.load(home.settings, home.contract, rows) for rows in (split.training, split.judging)]


@pytest.mark.parametrize("keyed", [True, False])
def test_how_a_file_is_sorted_changes_nothing(make_home, spark, keyed):
    found = []
    for key in (lambda line: line, lambda line: line.split(",")[7], lambda line: hash(line[:4])):
        home = make_home(*TIMELESS, *([] if keyed else [KEYLESS]))
        home.land("orders-1.csv", *sorted(lines(range(100)), key=key), header=HEADER)
        home.take_in()
        found.append(order_of(home))

    assert found[0] == found[1] == found[2] != sorted(found[0], key=int)
    assert sorted(found[0], key=int) == [str(n) for n in range(100)]


def test_any_part_of_a_delivery_holds_each_class_as_the_whole_does(make_home, spark):
    home = make_home(*TIMELESS)
    home.land("orders-1.csv", *sorted(lines(range(100)), key=lambda line: line.split(",")[7]), header=HEADER)
    home.take_in()
    sent_back = [int(n) % 5 == 0 for n in order_of(home)]

    assert [sum(sent_back[start : start + 20]) for start in range(0, 100, 20)] == [4] * 5
    training, judging = split_of(home)
    assert (len(training), len(judging)) == (79, 21)
    assert judging["_target"].sum() in (4, 5)


def test_an_outcome_that_has_no_value_is_none(make_home, spark):
    home = make_home(*TIMELESS)
    open_still = [line.replace(",yes,", ",,7").replace(",no,", ",,7") for line in lines(range(50, 60))]
    home.land("orders-1.csv", *lines(range(50)), *open_still, header=HEADER)
    taken, _ = home.take_in()

    assert (taken.records, taken.outcomes) == (60, 50)


def test_a_later_delivery_judges_as_a_whole_before_it_is_learnt_from(make_home, spark):
    home = make_home(*TIMELESS)
    for number, start in enumerate((0, 100, 180)):
        home.land(f"orders-{number}.csv", *lines(range(start, (100, 180, 240)[number])), header=HEADER)
        home.take_in(home.noon + timedelta(hours=number))
    training, judging = split_of(home)

    assert {key[1:] for key in judging[KEY]} == {f"{n:03}" for n in range(180, 240)}
    assert len(training) == 180
    home.land("orders-9.csv", *lines(range(900), prefix="p"), header=HEADER)
    home.take_in(home.noon + timedelta(hours=9))
    training, judging = split_of(home)
    assert all(key.startswith("p") for key in judging[KEY]), "so large a delivery is judged on in part"
    assert len(judging) == pytest.approx(0.2 * 1140, abs=1)
    assert judging["_target"].mean() == pytest.approx(0.2, abs=0.01)


def test_outcomes_that_come_in_files_of_their_own_are_known_when_they_arrive(make_home, spark):
    home = make_home(*TIMELESS[:2], TIMELESS[3])
    orders = [line.rsplit(",", 2)[0] for line in lines(range(100))]
    home.land("orders-1.csv", *orders)
    home.land("returns-1.csv", *[f"o{n:03},{'yes' if n % 5 == 0 else 'no'}," for n in range(60)])
    home.take_in()
    sent_back = [int(n) % 5 == 0 and int(n) < 60 for n in order_of(home)]
    assert [sum(sent_back[start : start + 25]) for start in range(0, 100, 25)] == [3] * 4
    home.land("returns-2.csv", *[f"o{n:03},{'yes' if n % 5 == 0 else 'no'}," for n in range(60, 100)])
    home.take_in(home.noon + timedelta(days=1))
    feature_tables.update_features(home.settings, home.contract)

    for days, known in ((0.5, 60), (2, 100)):
        split = dataset.split(home.settings, home.contract, home.noon + timedelta(days=days))
        rows = [dataset.load(home.settings, home.contract, part) for part in (split.training, split.judging)]
        assert sum(map(len, rows)) == known
        assert len(rows[1]) == pytest.approx(0.2 * known, abs=1)
