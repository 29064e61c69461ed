from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from contender.errors import UsageError
from contender.replay import payments_simulator, scenarios
from contender.replay.payments_simulator import Day, Simulation
from contender.replay.scenarios import CAMPAIGN, EXPECTED, SCENARIOS, acting
from contender.retraining.triage import Name

FIRST = 20
SIMULATION = Simulation(seed=7, payments=12_000, days=60, start=date(2026, 1, 1))
"""Day 20 is a Wednesday, and days 23 and 24 are the weekend after it."""

REPAIRED = range(FIRST, FIRST + 14)
OPEN = range(FIRST, 60)


@cache
def days_with(scenario: str) -> list[Day]:
    return list(scenarios.scenario_days(SIMULATION, scenario, FIRST))


def payments_of(days: list[Day]) -> pd.DataFrame:
    return pd.concat([day.payments for day in days], ignore_index=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed_days(scenario: str) -> list[int]:
    pairs = zip(days_with("none"), days_with(scenario), strict=True)
    return [usual.index for usual, now in pairs if not usual.payments.equals(now.payments)]


every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


def test_every_scenario_says_which_diagnoses_are_right():
    assert set(EXPECTED) == set(SCENARIOS)
    assert frozenset().union(*EXPECTED.values()) <= set(get_args(Name))


def test_none_is_the_history_as_it_is():
    for usual, day in zip(payments_simulator.simulated_days(SIMULATION), days_with("none"), strict=True):
        assert (usual.index, usual.date) == (day.index, day.date)
        pd.testing.assert_frame_equal(usual.payments, day.payments)
        pd.testing.assert_frame_equal(usual.outcomes, day.outcomes)


@every_scenario
def test_the_days_before_keep_payments_and_outcomes(scenario):
    for usual, day in zip(days_with("none")[:FIRST], days_with(scenario)[:FIRST], strict=True):
        pd.testing.assert_frame_equal(usual.payments, day.payments)
        pd.testing.assert_frame_equal(usual.outcomes, day.outcomes)


@every_scenario
def test_ids_are_unique_and_every_outcome_is_told_once_on_its_day(scenario):
    days = days_with(scenario)
    paid, told = payments_of(days), pd.concat([day.outcomes for day in days])
    end = pd.Timestamp(SIMULATION.date_of(SIMULATION.days))

    assert paid["payment_id"].is_unique
    assert sorted(told["payment_id"]) == sorted(paid.loc[paid["reported_at"] < end, "payment_id"])
    assert all((day.outcomes["reported_at"].dt.date == day.date).all() for day in days)
    assert all((day.payments["paid_at"].dt.date == day.date).all() for day in days)


@every_scenario
def test_one_more_day_leaves_every_earlier_file_as_it_was(tmp_path, scenario):
    shorter = Simulation(seed=7, payments=2_400, days=14)
    for name, days in (("shorter", 14), ("longer", 24)):
        scenarios.write(scenarios.scenario_days(replace(shorter, days=days), scenario, 6), tmp_path / name)
    before, after = contents(tmp_path / "shorter"), contents(tmp_path / "longer")
    assert before.items() < after.items()
    assert len(before) < 2 * 14 < len(after)


def test_files_are_written_as_the_simulator_writes_its_own(tmp_path):
    simulation = Simulation(seed=7, payments=1_200, days=12)
    payments_simulator.write(simulation, tmp_path / "own")
    scenarios.write(scenarios.scenario_days(simulation, "none", 0), tmp_path / "made" / "here")
    assert contents(tmp_path / "own") == contents(tmp_path / "made" / "here")


@pytest.mark.parametrize(
    ("scenario", "changed"),
    [
        ("none", range(0)),
        ("new-fraud-scheme", OPEN),
        ("price-inflation", OPEN),
        ("unit-bug", REPAIRED),
        ("lost-column", REPAIRED),
        ("campaign-weekend", range(23, 25)),
        ("late-outcomes", OPEN),
    ],
)
def test_a_scenario_acts_from_its_first_to_its_last_day(scenario, changed):
    assert acting(SIMULATION, scenario, FIRST) == changed
    found = changed_days(scenario)
    if scenario == "new-fraud-scheme":  # of 100 payments a day there may be none that tries a card
        assert len(found) > 10
        assert set(found) <= set(changed)
    elif scenario == "campaign-weekend":  # whoever bought in it has paid more recently from then on
        assert found[: len(changed)] == list(changed)
    else:
        assert found == list(changed)


@pytest.mark.parametrize(("scenario", "drift"), scenarios._DRIFTS.items())
def test_a_drift_of_the_simulator_is_injected_as_it_is(scenario, drift):
    drifting = replace(SIMULATION, drift=(drift,), drift_from=FIRST)
    pd.testing.assert_frame_equal(
        payments_of(days_with(scenario)), payments_of(list(payments_simulator.simulated_days(drifting)))
    )


def test_a_new_scheme_adds_frauds_that_nobody_has_learnt():
    paid = payments_of(days_with("new-fraud-scheme"))
    tested = paid["scheme"] == "testing"
    assert tested[paid["paid_at"] < "2026-01-21"].sum() == 0
    assert 0.2 < tested.sum() / paid.loc[paid["paid_at"] >= "2026-01-21", "charged_back"].sum() < 0.6


def test_amounts_are_told_in_cents_and_nothing_else_is_changed():
    usual, now = (payments_of(days_with(name)[FIRST : FIRST + 14]) for name in ("none", "unit-bug"))
    assert now["amount"].tolist() == pytest.approx((usual["amount"] * 100).tolist())
    pd.testing.assert_frame_equal(now.drop(columns="amount"), usual.drop(columns="amount"))


def test_amounts_in_cents_are_mostly_within_the_contract():
    """Were most of them beyond its greatest amount, whole batches would be refused, and there was nothing to find."""
    days = days_with("unit-bug")[FIRST : FIRST + 14]
    beyond = [float((day.payments["amount"] > 50_000).mean()) for day in days]
    assert 0 < max(beyond) < 0.05


def test_a_lost_column_is_an_empty_field(tmp_path):
    usual, now = (payments_of(days_with(name)[FIRST : FIRST + 14]) for name in ("none", "lost-column"))
    assert now["distance_from_home"].isna().all()
    pd.testing.assert_frame_equal(now.drop(columns="distance_from_home"), usual.drop(columns="distance_from_home"))

    scenarios.write(days_with("lost-column")[FIRST - 1 : FIRST + 1], tmp_path)
    place = payments_simulator.PAYMENT_COLUMNS.index("distance_from_home")
    for day, empty in ((20, False), (21, True)):
        rows = (tmp_path / f"payments-2026-01-{day}.csv").read_text().splitlines()[1:]
        assert {row.split(",")[place] == "" for row in rows} == {empty}


def test_outcomes_take_three_times_as_long_for_payments_from_the_day_on():
    usual, now = payments_of(days_with("none")), payments_of(days_with("late-outcomes"))
    stretched = (now["reported_at"] - now["paid_at"]) / (usual["reported_at"] - usual["paid_at"])
    late = now["paid_at"] >= "2026-01-21"
    assert set(stretched[late]) == {3.0}
    assert set(stretched[~late]) == {1.0}
    pd.testing.assert_frame_equal(now.drop(columns="reported_at"), usual.drop(columns="reported_at"))


def campaign() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The usual payments of the weekend, and those that were added."""
    usual, now = (payments_of(days_with(name)[23:25]) for name in ("none", "campaign-weekend"))
    return usual, now[~now["payment_id"].isin(usual["payment_id"])]


def test_a_campaign_adds_genuine_payments_and_keeps_the_usual_ones():
    usual, added = campaign()
    now = payments_of(days_with("campaign-weekend")[23:25]).set_index("payment_id")
    kept = now.loc[usual["payment_id"]].reset_index()[usual.columns]

    assert len(now) == 2.5 * len(usual)
    assert (added["scheme"] == "").all()
    assert not added["charged_back"].any()
    assert ((added["reported_at"] - added["paid_at"]) == pd.Timedelta(days=10)).all()
    pd.testing.assert_frame_equal(kept.drop(columns="seconds_since_last"), usual.drop(columns="seconds_since_last"))


def test_a_campaign_is_another_mix_with_other_amounts():
    usual, added = campaign()
    assert added["category"].isin(CAMPAIGN).mean() > 2 * usual["category"].isin(CAMPAIGN).mean()
    assert added["amount"].median() > 1.2 * usual["amount"].median()
    assert added["amount"].between(0.01, 50_000).all()


def test_a_campaign_is_bought_in_by_known_customers_at_known_terminals():
    _, added = campaign()
    past = payments_of(days_with("none")[:25])
    places = ["merchant_id", "terminal_id", "category"]
    assert set(added["customer_id"]) <= set(past["customer_id"])
    assert set(added[places].itertuples(index=False)) <= set(past[places].itertuples(index=False))


def test_with_a_campaign_too_seconds_count_from_the_customers_last_payment():
    paid = payments_of(days_with("campaign-weekend"))
    expected = paid.groupby("customer_id")["paid_at"].diff().dt.total_seconds()
    assert paid["paid_at"].is_monotonic_increasing
    pd.testing.assert_series_equal(paid["seconds_since_last"], expected, check_names=False)


@pytest.mark.parametrize(
    ("first_day", "weekend"),
    [
        pytest.param(0, [2, 3], id="the day of the start is a Thursday"),
        pytest.param(1, [2, 3], id="a Friday"),
        pytest.param(2, [2, 3], id="the Saturday itself"),
        pytest.param(3, [9, 10], id="a Sunday waits for a whole weekend"),
        pytest.param(9, [9, 10], id="the next Saturday"),
        pytest.param(16, [16], id="the history ends on the Saturday"),
    ],
)
def test_a_campaign_is_on_the_first_whole_weekend(first_day, weekend):
    simulation = Simulation(seed=7, payments=1_200, days=17, start=date(2026, 1, 1))
    days = list(scenarios.scenario_days(simulation, "campaign-weekend", first_day))
    assert list(acting(simulation, "campaign-weekend", first_day)) == weekend
    assert [day.index for day in days if len(day.payments) > 10] == weekend


@pytest.mark.parametrize("seed", range(5))
def test_a_campaign_needs_no_past(seed):
    """Of one payment a day, on the very first day, there may be none to follow."""
    simulation = Simulation(seed=seed, payments=120, days=3, start=date(2026, 1, 3))
    first, *others = [len(day.payments) for day in scenarios.scenario_days(simulation, "campaign-weekend", 0)]
    assert first in (1, 3)
    assert others == [3, 1]


def test_a_campaign_leaves_skimmed_terminals_alone():
    past = days_with("none")[0].payments
    spared = past["terminal_id"].iloc[0]
    past = past.assign(scheme=past["scheme"].where(past["terminal_id"] != spared, "terminal"))
    assert spared not in set(scenarios._of_campaign(SIMULATION, 0, [past])["terminal_id"])
    assert scenarios._of_campaign(SIMULATION, 0, [past.assign(scheme="terminal")]).empty


def test_another_seed_draws_another_campaign():
    one, same, other = (
        list(scenarios.scenario_days(Simulation(seed=seed, payments=1_200, days=3), "campaign-weekend", 2))[2].payments
        for seed in (1, 1, 2)
    )
    assert one.equals(same)
    assert not one.equals(other)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("unit-bgu", "'unit-bgu'; needed is one of none, .*late-outcomes \\(perhaps 'unit-bug'\\)"),
        ("zzz", "'zzz'; needed is one of none, .*late-outcomes\\.$"),
    ],
)
def test_an_unknown_scenario_is_refused_before_the_first_day_is_asked_for(name, told):
    with pytest.raises(UsageError, match=told):
        scenarios.scenario_days(SIMULATION, name, FIRST)
    with pytest.raises(UsageError, match=told):
        scenarios.must_be_known(name)


@pytest.mark.parametrize(
    ("simulation", "scenario", "first_day", "told"),
    [
        (SIMULATION, "unit-bug", -1, "first day is -1; needed is a day from 0 to 59"),
        (SIMULATION, "late-outcomes", 60, "first day is 60; needed is a day from 0 to 59"),
        (
            replace(SIMULATION, days=23),
            "campaign-weekend",
            20,
            "2026-01-21 to the last day, 2026-01-23, there is no Sat",
        ),
        (replace(SIMULATION, drift=("new_category",)), "price-inflation", 20, "drifts already, by new_category"),
    ],
)
def test_a_scenario_that_could_not_act_as_it_says_is_refused(simulation, scenario, first_day, told):
    with pytest.raises(UsageError, match=told):
        scenarios.scenario_days(simulation, scenario, first_day)
