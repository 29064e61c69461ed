from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from contender.errors import UsageError
from contender.replay.payments_simulator import (
    DIRTY_KINDS,
    OUTCOME_COLUMNS,
    PAYMENT_COLUMNS,
    Simulation,
    simulated_days,
    write,
)

MONTH = Simulation(seed=7, payments=24_000, days=30)


def payments_of(simulation: Simulation) -> pd.DataFrame:
    return pd.concat([day.payments for day in simulated_days(simulation)], ignore_index=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def month() -> pd.DataFrame:
    return payments_of(MONTH)


@pytest.fixture(scope="module")
def season() -> pd.DataFrame:
    return payments_of(Simulation(seed=7, payments=40_000))


@pytest.mark.parametrize(
    "knobs",
    [
        pytest.param({}, id="clean"),
        pytest.param({"drift": ("new_scheme", "new_category"), "drift_from": 2, "dirty_share": 0.2}, id="drifting"),
        pytest.param({"outcome_delay": 3.0}, id="late outcomes"),
    ],
)
def test_one_more_day_leaves_every_earlier_file_as_it_was(tmp_path, knobs):
    shorter = Simulation(seed=7, payments=6_000, days=14, **knobs)
    write(shorter, tmp_path / "shorter")
    write(replace(shorter, days=15), tmp_path / "longer")
    written = write(replace(shorter, days=15), tmp_path / "last", first_day=14)

    before, after, last = (contents(tmp_path / name) for name in ("shorter", "longer", "last"))
    assert before.items() < after.items()
    assert {name: after[name] for name in after.keys() - before.keys()} == last
    assert written.files == len(last)


def test_the_seed_decides_everything(tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        write(Simulation(seed=seed, payments=1_200, days=3), tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "same") != contents(tmp_path / "other")


def test_a_file_that_is_there_already_is_left_alone(tmp_path):
    simulation = Simulation(seed=7, payments=1_200, days=3)
    write(simulation, tmp_path)
    (tmp_path / "payments-2026-01-02.csv").write_text("cut sho")
    untouched = (tmp_path / "payments-2026-01-01.csv").stat().st_mtime_ns

    again = write(simulation, tmp_path)

    assert again.unchanged == again.files - 1
    assert (tmp_path / "payments-2026-01-01.csv").stat().st_mtime_ns == untouched
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("payments", [120, 1_000, 12_001])
def test_any_size_gives_exactly_the_payments_asked_for(payments):
    frame = payments_of(Simulation(seed=7, payments=payments))
    assert len(frame) == payments
    assert frame["payment_id"].is_unique


def test_a_file_reads_as_the_contract_says(tmp_path):
    written = write(replace(MONTH, days=12), tmp_path)
    frame = pd.read_csv(tmp_path / "payments-2026-01-05.csv", parse_dates=["paid_at"])
    outcomes = pd.read_csv(tmp_path / "outcomes-2026-01-12.csv", parse_dates=["reported_at"])

    assert tuple(frame) == PAYMENT_COLUMNS
    assert tuple(outcomes) == OUTCOME_COLUMNS
    assert frame["paid_at"].is_monotonic_increasing
    assert set(frame["paid_at"].dt.day) == {5}
    assert outcomes["reported_at"].is_monotonic_increasing
    assert set(outcomes["reported_at"].dt.day) == {12}
    assert frame["amount"].between(0.01, 50_000).all()
    assert frame["distance_from_home"].between(0, 20_000).all()
    assert frame["customer_id"].str.fullmatch(r"C\d{6}").all()
    assert frame["terminal_id"].str.fullmatch(r"T\d{5}").all()
    assert written.payments == 200 * 12


def test_seconds_since_last_counts_from_the_customers_last_payment(month):
    expected = month.groupby("customer_id")["paid_at"].diff().dt.total_seconds()
    pd.testing.assert_series_equal(month["seconds_since_last"], expected, check_names=False)


def test_fraud_is_rare_and_comes_by_every_scheme(season):
    assert 0.008 < season["charged_back"].mean() < 0.02
    assert set(season["scheme"]) == {"", "terminal", "stolen", "large", "friendly"}
    assert (season["charged_back"] == (season["scheme"] != "")).all()


def test_no_column_alone_gives_fraud_away(season):
    fraud = season["charged_back"].to_numpy()
    for column in ("amount", "distance_from_home", "seconds_since_last"):
        auc = roc_auc_score(fraud, season[column].fillna(0))
        assert max(auc, 1 - auc) < 0.85, column
    for column in ("customer_id", "merchant_id", "terminal_id", "category", "entry_mode"):
        groups = season.groupby(column)["charged_back"].agg(["mean", "size"])
        assert groups.loc[groups["size"] >= 30, "mean"].max() < 0.9, column
    number = season["payment_id"].str[-6:].astype(int)
    assert 0.3 < roc_auc_score(fraud, number) < 0.7


@pytest.mark.parametrize("delay", [1.0, 3.0])
def test_a_chargeback_takes_one_to_nine_days_and_a_clearing_exactly_ten(delay):
    frame = payments_of(replace(MONTH, outcome_delay=delay))
    days = (frame["reported_at"] - frame["paid_at"]) / pd.Timedelta(days=1) / delay
    assert days[frame["charged_back"]].between(0.999, 9).all()
    assert np.allclose(days[~frame["charged_back"]], 10)


def test_an_outcome_stands_in_the_file_of_the_day_it_was_reported():
    days = list(simulated_days(MONTH))
    paid = pd.concat([day.payments for day in days])
    told = pd.concat([day.outcomes for day in days])
    end = pd.Timestamp("2026-01-31")
    assert set(told["payment_id"]) == set(paid.loc[paid["reported_at"] < end, "payment_id"])
    assert all((day.outcomes["reported_at"].dt.date == day.date).all() for day in days)


def test_drift_changes_nothing_before_its_day(month):
    drifting = payments_of(replace(MONTH, drift=("new_scheme", "price_inflation", "new_category"), drift_from=10))
    before = month["paid_at"] < "2026-01-11"
    pd.testing.assert_frame_equal(month[before], drifting[before])


def test_prices_rise_by_forty_percent_and_nothing_else_changes(month):
    dearer = payments_of(replace(MONTH, drift=("price_inflation",)))
    rise = (dearer["amount"] / month["amount"])[month["amount"] > 5].groupby(month["paid_at"].dt.day).median()
    assert rise.is_monotonic_increasing
    assert rise.iloc[0] == pytest.approx(1 + 0.4 / 30, abs=0.01)
    assert rise.iloc[-1] == pytest.approx(1.4, abs=0.01)
    pd.testing.assert_frame_equal(dearer.drop(columns="amount"), month.drop(columns="amount"))


def test_a_new_scheme_tries_cards_with_tiny_online_payments():
    frame = payments_of(replace(MONTH, drift=("new_scheme",)))
    testing = frame[frame["scheme"] == "testing"]
    assert 0.003 < len(testing) / len(frame) < 0.01
    assert set(testing["entry_mode"]) == {"online"}
    assert testing["amount"].median() < 5
    assert frame["charged_back"].mean() < 0.03


def test_a_new_category_appears(month):
    frame = payments_of(replace(MONTH, drift=("new_category",)))
    assert "crypto" not in set(month["category"])
    assert 0.02 < (frame["category"] == "crypto").mean() < 0.06


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_dirty_rows_are_counted_by_kind(tmp_path, share):
    written = write(replace(MONTH, days=5, dirty_share=share), tmp_path)
    rows = [line for path in tmp_path.glob("payments-*") for line in path.read_text().splitlines()[1:]]
    ragged = sum(line.count(",") != len(PAYMENT_COLUMNS) - 1 for line in rows)
    keys = pd.Series([line.split(",")[0] for line in rows])

    assert sum(written.dirty.values()) == pytest.approx(share * written.payments, abs=60)
    assert set(written.dirty) == (set(DIRTY_KINDS) if share else set())
    assert ragged == written.dirty.get("ragged", 0)
    extra = written.dirty.get("duplicate", 0) + written.dirty.get("same key, another amount", 0)
    assert keys.duplicated().sum() == extra == len(rows) - written.payments
    for text, kind in ((",abc,", "amount is text"), (",2099-", "time in 2099"), (",telepathy,", "unknown entry mode")):
        assert sum(text in line for line in rows) == written.dirty.get(kind, 0)


def test_progress_is_told_day_by_day(tmp_path):
    told: list[tuple[int, int]] = []
    write(Simulation(seed=7, payments=120, days=3), tmp_path, first_day=1, progress=lambda *at: told.append(at))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("payments", 119),
        ("days", 0),
        ("drift_from", -1),
        ("outcome_delay", 0.0),
        ("outcome_delay", float("nan")),
        ("dirty_share", 1.1),
        ("drift", ("price_inflaton",)),
    ],
)
def test_an_impossible_knob_is_refused_with_what_is_needed(name, value):
    with pytest.raises(UsageError, match=f"simulation's {name} is .*; needed is "):
        Simulation(**{"seed": 7, name: value})


@pytest.mark.parametrize("first_day", [-1, 3])
def test_a_day_outside_the_simulation_is_refused(tmp_path, first_day):
    with pytest.raises(UsageError, match="a day from 0 to 2"):
        write(Simulation(seed=7, days=3), tmp_path, first_day=first_day)
