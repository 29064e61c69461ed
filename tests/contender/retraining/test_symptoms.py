"""What one window shows: of all rows, of single batches, and of the rows of one category."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contender.contracts.contract import Contract
from contender.contracts.loop_sections import Drift, Performance, Triage
from contender.contracts.sections import History
from contender.drift.baseline import DAY, Ordinary, Side, Watched, ordinary_scores
from contender.drift.drift_check import Comparison, DriftCheck, conclude
from contender.drift.significance import compare
from contender.retraining.symptoms import Arrived, read_signs, suspect_batches, with_echoes
from contender.retraining.triage import ColumnSigns, Signs, diagnose
from contender.values import BATCH

COLUMNS = (Watched("features", "amount", "number"), Watched("features", "shop", "category"))
ORDINARY = {column.name: Ordinary(0.05, 0.02, 0.01, 0.005, 1000, 20) for column in COLUMNS}
HISTORY = {
    "visits_36h": History(take="count", by=["shop"], over=timedelta(hours=36)),
    "visits_7d": History(take="count", by=["shop"], over=timedelta(days=7)),
}
DATA = Path(__file__).parents[3] / "data"
TODAY, RULES, USUAL = date(2026, 3, 2), Triage(), Arrived(usual_rows=1000)


def rows(number, *, seed=1, batch=1, day=TODAY, factor=1.0, missing=0.02) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "amount": np.exp(random.normal(3, 1, number)) * factor,
            "shop": random.choice(["a", "b"], number).astype(object),
            BATCH: batch,
            DAY: day,
        }
    )
    frame.loc[random.random(number) < missing, "amount"] = np.nan
    return frame


def side(*frames) -> Side:
    frame = pd.concat(frames, ignore_index=True)
    missing = {column.name: int(frame[column.name].isna().sum()) for column in COLUMNS}
    return Side(TODAY, TODAY + timedelta(days=1), frame, len(frame), missing)


def signs_of(*frames, arrived=USUAL, earlier=1, counterpart=None):
    """The signs of a window that had as many alike before it, for the alarm."""
    compared = Comparison("features", COLUMNS, side(*frames), side(rows(4000, seed=9)), ORDINARY)
    rules = Drift()
    check = DriftCheck(
        "orders",
        1,
        TODAY,
        TODAY + timedelta(days=1),
        TODAY,
        TODAY,
        datetime(2026, 3, 3, tzinfo=UTC),
        compare([compared], rules, lambda *_: counterpart),
    )
    before = [
        replace(check, start=TODAY - timedelta(days=back), end=TODAY - timedelta(days=back - 1))
        for back in range(1, earlier + 1)
    ]
    return read_signs(compared, conclude(check, before, rules), arrived, RULES, "roc_auc")


def name_of(signs) -> str:
    return diagnose(signs, RULES, Performance(), floor=None, max_loss=0.02).name


@pytest.mark.parametrize(
    ("back", "echoing"),
    [
        pytest.param(1, {"visits_36h", "visits_7d", "predictions.score"}, id="yesterday"),
        pytest.param(2, {"visits_36h", "visits_7d", "predictions.score"}, id="a day and a half reaches into two"),
        pytest.param(3, {"visits_7d", "predictions.score"}, id="three days ago"),
        pytest.param(7, {"visits_7d", "predictions.score"}, id="the first day that a week reaches"),
        pytest.param(8, set(), id="before all averages"),
        pytest.param(0, set(), id="today, whose own rows are what is broken"),
    ],
)
def test_columns_that_still_count_rows_of_a_broken_day_are_named(back, echoing):
    names = ("amount", "visits_36h", "visits_7d", "predictions.score", "outcomes.target")
    contract = Contract.of("payments", DATA).model_copy(update={"history": HISTORY})
    signs = Signs("roc_auc", rows=1000, columns=tuple(ColumnSigns(name, drifted=True) for name in names))

    found = with_echoes(signs, contract, TODAY, {TODAY - timedelta(days=back)})

    assert {column.name for column in found.columns if column.echoes} == echoing


def test_a_window_like_the_training_shows_nothing():
    signs = signs_of(rows(1000))
    assert (signs.drifted, signs.only_source, signs.by_source, signs.same_season) == (False, "", (), None)
    assert name_of(signs) == "none"


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        pytest.param([rows(1000, factor=100)], "broken feed", id="cents"),
        pytest.param([rows(1000, missing=0.5)], "broken feed", id="values gone"),
        pytest.param([rows(1000, factor=3)], "shift", id="dearer"),
        pytest.param([rows(50)], "broken feed", id="far too few"),
        pytest.param([rows(9000)], "broken feed", id="far too many"),
        pytest.param([rows(0)], "broken feed", id="empty"),
    ],
)
def test_what_a_window_shows_has_a_name(frames, name):
    assert name_of(signs_of(*frames)) == name


def test_an_empty_window_where_nothing_is_known_to_be_usual_is_not_enough_to_tell():
    assert name_of(signs_of(rows(0), arrived=Arrived())) == "not enough to tell"
    assert name_of(signs_of(rows(0), arrived=Arrived(usual_rows=20))) == "not enough to tell"


def test_a_single_row_where_little_is_usual_is_not_enough_to_tell():
    assert name_of(signs_of(rows(1), arrived=Arrived(usual_rows=20))) == "not enough to tell"


def test_one_batch_in_cents_among_good_ones_is_named_and_alone_suspect():
    signs = signs_of(rows(600), rows(200, seed=2, batch=2, factor=100), rows(200, seed=3, batch=3))
    assert {column.source for column in signs.by_source} == {"batch 2"}
    assert suspect_batches(signs, [1, 2, 3]) == [2]
    assert name_of(signs) == "broken feed"


def test_all_batches_are_suspect_where_none_stands_out():
    assert suspect_batches(signs_of(rows(500)), [4, 5]) == [4, 5]


def test_a_move_of_one_batch_is_of_the_feed_only_where_others_of_its_day_did_not_move():
    beside = signs_of(rows(600), rows(400, seed=2, batch=2, factor=6))
    assert beside.only_source == "batch 2"
    assert name_of(beside) == "broken feed"
    a_day_of_its_own = signs_of(rows(600), rows(400, seed=2, batch=2, factor=6, day=TODAY - timedelta(days=1)))
    assert a_day_of_its_own.only_source == ""
    assert name_of(a_day_of_its_own) == "shift"


def test_values_that_one_category_lost_are_found_though_few_are_missing_in_all():
    frame = rows(1000)
    frame.loc[frame.index[:150], "shop"] = "c"
    frame.loc[frame["shop"] == "c", "amount"] = np.nan
    reference = rows(4000, seed=9)
    reference.loc[reference.index[:600], "shop"] = "c"
    compared = Comparison("features", COLUMNS, side(frame), side(reference), ORDINARY)
    check = DriftCheck(
        "orders",
        1,
        TODAY,
        TODAY + timedelta(days=1),
        TODAY,
        TODAY,
        datetime(2026, 3, 3, tzinfo=UTC),
        compare([compared], Drift()),
    )
    signs = read_signs(compared, check, Arrived(), RULES, "roc_auc")
    assert ("amount", "shop 'c'") in {(column.name, column.source) for column in signs.by_source}


def test_luck_in_a_small_window_is_no_loss_of_values():
    for seed in range(30):
        frames = [rows(60, seed=seed + 10 * part, batch=part, missing=0.02) for part in range(2)]
        assert name_of(signs_of(*frames, arrived=Arrived())) == "none"


TRAINED = [TODAY - timedelta(days=back) for back in range(1, 61)]


def of_weather(day, *, gusts, values, seed) -> pd.DataFrame:
    """A day on which a share of the rows has a gust, with values about these."""
    random = np.random.default_rng(seed)
    frame = rows(300, seed=seed, day=day)
    frame["amount"] = np.where(random.random(300) < gusts, np.exp(random.normal(np.log(values), 0.2, 300)), np.nan)
    return frame


def weather_signs(frame, *, varies=True):
    """The signs of a day after 60 days whose weather goes up and down, in steps as the weather does, or does not."""
    random = np.random.default_rng(7)
    gusts = random.uniform(0.02, 0.5, len(TRAINED)) if varies else np.full(len(TRAINED), 0.25)
    values = np.exp(random.normal(3, 1.2, len(TRAINED))) if varies else np.full(len(TRAINED), 20.0)
    days = [of_weather(day, gusts=gusts[at], values=values[at], seed=at) for at, day in enumerate(TRAINED)]
    rules = Drift(season=None)
    reference = replace(side(*days), start=TRAINED[-1], end=TODAY)
    windows = [replace(side(day), start=at, end=at + timedelta(days=1)) for at, day in zip(TRAINED, days, strict=True)]
    ordinary = ordinary_scores(windows, reference, COLUMNS, rules, seed=1)
    compared = Comparison("features", COLUMNS, side(frame), reference, ordinary)
    found = DriftCheck(
        "orders",
        1,
        TODAY,
        TODAY + timedelta(days=1),
        TODAY,
        TODAY,
        datetime(2026, 3, 3, tzinfo=UTC),
        compare([compared], rules),
    )
    return read_signs(compared, found, Arrived(usual_rows=300), RULES, "roc_auc")


def test_a_calm_day_has_no_gusts_and_is_no_broken_feed_but_where_gusts_were_steady_it_is():
    calm = of_weather(TODAY, gusts=0.03, values=20.0, seed=99)
    two = [calm.iloc[:150].assign(**{BATCH: 1}), calm.iloc[150:].assign(**{BATCH: 2})]
    for frame in (calm, pd.concat(two, ignore_index=True)):
        assert name_of(weather_signs(frame)) == "none", "whole or in parts, the share of the missing goes up and down"
        broken = weather_signs(frame, varies=False)
        assert name_of(broken) == "broken feed"
        assert "'amount' is missing in 9" in diagnose(broken, RULES, Performance(), floor=None, max_loss=0.02).sentence


def test_a_day_ten_times_as_calm_is_no_other_unit_where_days_differ_as_much():
    faint = of_weather(TODAY, gusts=0.25, values=2.0, seed=99)
    assert name_of(weather_signs(faint)) != "broken feed"
    assert "one 10th of" in " ".join(
        diagnose(weather_signs(faint, varies=False), RULES, Performance(), floor=None, max_loss=0.02).reasons
    )


def test_more_refused_rows_than_usual_are_a_broken_feed():
    assert name_of(signs_of(rows(1000), arrived=Arrived(1000, 0.2, 0.01))) == "broken feed"
    assert name_of(signs_of(rows(1000), arrived=Arrived(1000, 0.2, 0.19))) == "none"


def test_what_the_season_before_showed_is_the_season():
    signs = signs_of(rows(1000, factor=3), counterpart=side(rows(1000, seed=5, factor=3)))
    assert (signs.drifted, signs.same_season) == (True, True)
    assert name_of(signs) == "season"
