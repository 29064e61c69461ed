"""A history comes again as it came: each row once, each outcome when it was known and not before."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from contender.contracts.contract import Contract
from contender.errors import DataError, UsageError
from contender.features import transforms
from contender.lake import tables
from contender.replay import history, sandboxes
from contender.replay.history import LakeHistory, SimulatedHistory
from contender.replay.payments_simulator import Simulation
from contender.settings import Settings

DAY = timedelta(days=1)
ORDERS = [f"o{day},2026-01-{day:02}T0{day % 10}:30:00,a,red,{day},1,true" for day in range(1, 11)]
RETURNS = [f"o{day},{'true' if day % 2 else 'false'},{day}" for day in range(1, 10)]


def contract_with(**changes):
    contract = Contract.of("payments", Path("data"))
    parts = {name: getattr(contract, name).model_copy(update=update) for name, update in changes.items()}
    return contract.model_copy(update=parts)


@pytest.mark.parametrize(
    ("newest", "matures", "embargo", "days"),
    [
        pytest.param(timedelta(days=28), timedelta(days=10), timedelta(days=7), 76, id="outcomes take longest"),
        pytest.param(timedelta(days=28), timedelta(days=1), timedelta(days=7), 64, id="the embargo is longer"),
        pytest.param(0.25, timedelta(days=10), timedelta(days=7), 100, id="a share of the history"),
    ],
)
def test_the_first_champion_waits_until_there_is_as_much_to_train_as_to_judge_on(newest, matures, embargo, days):
    contract = contract_with(judging={"newest": newest, "embargo": embargo}, outcome={"matures_after": matures})
    first = date(2026, 1, 1)
    assert history.earliest_champion(contract, first, first + timedelta(days=200)) == first + timedelta(days=days)


def test_a_history_that_ends_before_the_first_champion_is_refused_with_what_it_needs():
    with pytest.raises(UsageError, match=r"has 70 days; 76 are needed before the first champion of payments"):
        history.earliest_champion(contract_with(), date(2026, 1, 1), date(2026, 3, 12))


def test_simulated_days_land_once_each_and_outcomes_on_the_day_they_are_reported(tmp_path):
    contract = contract_with()
    simulation = Simulation(seed=1, payments=1200, days=20)
    (tmp_path / "landing").mkdir()
    played = SimulatedHistory.make(contract, simulation, "none", simulation.start, tmp_path / "days")
    played.land(tmp_path / "landing", played.first, played.first + 5 * DAY)
    names = sorted(file.name for file in (tmp_path / "landing").iterdir())
    assert names == [
        *(f"outcomes-2026-01-0{n}.csv" for n in range(2, 6) if _there(tmp_path, n)),
        *(f"payments-2026-01-0{n}.csv" for n in range(1, 6)),
    ]
    played.land(tmp_path / "landing", played.first + 5 * DAY, played.last)
    at = played.settle(tmp_path / "landing")
    rows = {kind: _lines(tmp_path / "landing", kind) for kind in ("payments", "outcomes")}
    assert len(rows["payments"]) == 200
    assert {row.split(",")[0] for row in rows["payments"]} <= {row.split(",")[0] for row in rows["outcomes"]}
    assert at > datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.slow
def test_records_of_a_lake_land_in_their_period_and_outcomes_when_they_were_known(spark, make_home, tmp_path):
    home = make_home()
    home.land("orders-1.csv", *ORDERS)
    home.land("returns-1.csv", *RETURNS)
    home.take_in(datetime(2026, 1, 20, tzinfo=UTC))
    played = LakeHistory.find(home.settings, home.contract, _scratch(home, tmp_path))
    assert (played.first, played.last) == (date(2026, 1, 1), date(2026, 1, 11))
    records, known = {}, {}
    for number in range(5):
        folder = tmp_path / f"landing-{number}"
        folder.mkdir()
        start = played.first + 2 * number * DAY
        played.land(folder, start, start + 2 * DAY)
        for file in folder.iterdir():
            landed = pq.read_table(file).to_pylist()
            (records if file.name.startswith("records") else known)[number] = {row["order_id"] for row in landed}
    assert records == {number: {f"o{2 * number + 1}", f"o{2 * number + 2}"} for number in range(5)}
    # Known two days after the order: those of the first period come in the second.
    assert known == {number: {f"o{2 * number - 1}", f"o{2 * number}"} for number in range(1, 5)}
    (tmp_path / "rest").mkdir()
    at = played.settle(tmp_path / "rest")
    assert {row["order_id"] for row in pq.read_table(tmp_path / "rest" / "outcomes-settled.parquet").to_pylist()} == {
        "o9"
    }
    assert at > datetime(2026, 1, 11, tzinfo=UTC)


@pytest.mark.slow
def test_what_landed_again_has_the_same_keys_values_and_outcomes(spark, make_home, tmp_path):
    home = make_home()
    home.land("orders-1.csv", *ORDERS, "bad,yesterday,a,red,1,1,true")
    home.land("returns-1.csv", *RETURNS)
    home.take_in()
    played = LakeHistory.find(home.settings, home.contract, _scratch(home, tmp_path))
    world = sandboxes.create(home.settings, played.contract, tmp_path / "world")
    played.land(world.landing, played.first, played.last)
    played.settle(world.landing)
    again = replace(home, settings=world.settings, contract=played.contract, landing=world.landing)
    ingested, _ = again.take_in(datetime(2026, 1, 20, tzinfo=UTC))
    assert (ingested.records, ingested.outcomes, ingested.quarantined) == (10, 9, 0)
    values = ("_key", "shop", "colour", "amount", "items", "express")
    pick = [[tuple(row[name] for name in values) for row in _sorted(one.rows("records"))] for one in (home, again)]
    assert pick[0] == pick[1]
    assert [row["returned"] for row in _sorted(home.rows("outcomes"))] == [
        row["returned"] for row in _sorted(again.rows("outcomes"))
    ]


@pytest.mark.slow
def test_an_outcome_that_was_corrected_comes_twice(spark, make_home, tmp_path):
    home = make_home()
    home.land("orders-1.csv", *ORDERS)
    home.land("returns-1.csv", "o1,true,1")
    home.take_in()
    home.land("returns-2.csv", "o1,false,0")
    home.take_in(datetime(2026, 1, 12, tzinfo=UTC))
    found = (tables.find(home.settings, "orders", name) for name in ("records", "outcomes"))
    every = transforms.every_outcome(*(tables.read(home.settings, table) for table in found), home.contract)
    assert sorted(row["returned"] for row in every.collect()) == [False, True]


@pytest.mark.slow
def test_outcomes_in_the_records_own_files_come_with_them(spark, make_home, tmp_path):
    home = make_home(
        ('files = "returns-*"\n', ""), ('order_id = { type = "text", required = true }\nreturned', "returned")
    )
    home.land(
        "orders-1.csv",
        *(f"{row},true,{number}" for number, row in enumerate(ORDERS)),
        header="order_id,ordered_at,shop,colour,amount,items,express,returned,refund",
    )
    home.take_in()
    played = LakeHistory.find(home.settings, home.contract, _scratch(home, tmp_path))
    (tmp_path / "landing").mkdir()
    played.land(tmp_path / "landing", played.first, played.first + 3 * DAY)
    (file,) = (tmp_path / "landing").iterdir()
    rows = pq.read_table(file).to_pylist()
    assert [row["order_id"] for row in rows] == ["o1", "o2", "o3"]
    assert {row["returned"] for row in rows} == {True}


@pytest.mark.slow
def test_a_history_without_times_or_without_outcomes_is_refused(spark, make_home, tmp_path):
    home = make_home()
    home.land("orders-1.csv", *ORDERS)
    home.take_in()
    with pytest.raises(DataError, match="orders has no outcomes to play again"):
        LakeHistory.find(home.settings, home.contract, _scratch(home, tmp_path))
    timeless = home.contract.model_copy(update={"records": home.contract.records.model_copy(update={"time": None})})
    with pytest.raises(UsageError, match=r"names no time|no records\.time"):
        LakeHistory.find(home.settings, timeless, home.settings)


def _scratch(home, tmp_path) -> Settings:
    return sandboxes.create(home.settings, home.contract, tmp_path / "scratch").settings


def _sorted(rows):
    return sorted(rows, key=lambda row: row["_key"])


def _there(tmp_path, day):
    return (tmp_path / "days" / f"outcomes-2026-01-0{day}.csv").exists()


def _lines(folder, kind):
    return [line for file in folder.glob(f"{kind}-*.csv") for line in file.read_text().splitlines()[1:]]
