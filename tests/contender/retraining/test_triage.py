from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contender.contracts.loop_sections import Performance, Retraining, Triage
from contender.performance.autocorrelation import MeanDifference
from contender.performance.quality_readings import Reading
from contender.retraining.policy import Due, next_action
from contender.retraining.triage import ColumnSigns, Diagnosis, Signs, diagnose, quality_limits, unit_change
from contender.values import Interval

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def reading(value, error=0.01, *, past=None, rows=1_000, past_rows=1_000, spread=0.0) -> Reading:
    """A quality with a standard error, and the same error in the past."""

    def interval(centre):
        return Interval(centre - 1.645 * error, centre + 1.645 * error)

    past_interval = None if past is None else interval(past)
    return Reading(value, interval(value), rows, past, past_interval, past_rows if past else 0, spread)


CALM = Signs("roc_auc", rows=1_000, usual_rows=1_000, columns=(ColumnSigns("amount"), ColumnSigns("shop")))
MOVED = replace(CALM, drifted=True, columns=(ColumnSigns("amount", drifted=True), ColumnSigns("shop")))
FINE, FALLEN, LOW = reading(0.85, past=0.86), reading(0.75, past=0.86), reading(0.60)


def name_of(signs, **rules) -> Diagnosis:
    limits = {"floor": 0.7, "max_loss": 0.02} | rules
    return diagnose(signs, Triage(), Performance(), **limits)


def with_column(**signs) -> Signs:
    return replace(CALM, columns=(ColumnSigns("amount", **signs), ColumnSigns("shop")))


@pytest.mark.parametrize(
    ("signs", "name", "why"),
    [
        pytest.param(CALM, "none", "", id="nothing moved"),
        pytest.param(replace(CALM, measured=FINE), "none", "holds at 0.85", id="nothing moved, the quality is known"),
        pytest.param(
            replace(CALM, measured=reading(0.85)), "none", "too short a past", id="nothing moved, the quality is new"
        ),
        pytest.param(MOVED, "shift", "not known yet", id="inputs moved, no quality"),
        pytest.param(
            replace(CALM, measured=replace(FALLEN, rows=168)),
            "none",
            "on 168 outcomes, and 200 are needed",
            id="too few outcomes for a verdict are told of",
        ),
        pytest.param(replace(MOVED, estimated=FINE), "shift", "estimated roc_auc holds", id="inputs moved, it holds"),
        pytest.param(replace(MOVED, measured=FINE), "shift", "measured roc_auc holds", id="so does the measured one"),
        pytest.param(replace(CALM, measured=FALLEN), "decay", "a fall of 0.11", id="fallen against its past"),
        pytest.param(
            replace(CALM, measured=replace(FALLEN, loss=MeanDifference(1.0, 3.0))),
            "none",
            "is 0.75 after 0.86, which luck may explain",
            id="fallen, but hardly more mistakes",
        ),
        pytest.param(replace(CALM, measured=LOW), "decay", "beyond the floor of 0.7", id="below the floor"),
        pytest.param(
            replace(MOVED, estimated=FALLEN), "decay", "the estimated roc_auc is 0.75", id="estimated to fall"
        ),
        pytest.param(replace(MOVED, estimated=LOW), "decay", "beyond the floor", id="estimated below the floor"),
        pytest.param(replace(CALM, estimated=FALLEN), "none", "a fall", id="an estimate fell and no input moved"),
        pytest.param(
            replace(MOVED, same_season=True), "season", "the same season", id="moved as in that season before"
        ),
        pytest.param(replace(MOVED, same_season=False), "shift", "", id="another season looked like this"),
        pytest.param(
            replace(MOVED, same_season=True, estimated=FALLEN), "season", "", id="the season explains an estimate"
        ),
        pytest.param(
            replace(MOVED, same_season=True, measured=FALLEN), "decay", "", id="but not a quality that was measured"
        ),
        pytest.param(replace(CALM, drifted=True), "shift", "as a whole", id="moved together, no column alone"),
        pytest.param(
            replace(CALM, once=("age",)), "none", "No alarm yet: 'age' moved", id="moved, in one window of three"
        ),
    ],
)
def test_an_alarm_is_named_after_what_was_seen(signs, name, why):
    diagnosis = name_of(signs)

    assert diagnosis.name == name, diagnosis
    assert why in " ".join((diagnosis.sentence, *diagnosis.reasons))
    assert (diagnosis.retrain, diagnosis.decayed) == (name == "decay", name == "decay")
    assert not diagnosis.hold_out


@pytest.mark.parametrize(
    ("signs", "why"),
    [
        pytest.param(with_column(missing=0.4, usual_missing=0.1), "missing in 40.0%", id="values went missing"),
        pytest.param(replace(CALM, quarantined=0.2, usual_quarantined=0.01), "refused", id="types or ranges broke"),
        pytest.param(with_column(ratios=(101.0, 99.0, 100.0)), "100 times", id="cents for euros"),
        pytest.param(with_column(ratios=(0.001, 0.00102)), "one 1000th of", id="metres for kilometres"),
        pytest.param(with_column(ratios=(60.0, 59.0)), "60 times", id="seconds for minutes"),
        pytest.param(replace(CALM, rows=200), "where 1,000 are usual", id="rows stayed away"),
        pytest.param(replace(CALM, rows=0), "no rows came where 1,000 are usual", id="no row at all"),
        pytest.param(replace(CALM, rows=9_000), "9 times as many", id="rows came twice and more"),
        pytest.param(
            replace(CALM, by_source=(ColumnSigns("amount", source="terminal 7", ratios=(100.0, 98.0)),)),
            "in terminal 7 are about 100 times",
            id="another unit in one terminal",
        ),
        pytest.param(
            replace(CALM, by_source=(ColumnSigns("amount", source="file b.csv", missing=1.0),)),
            "missing in 100.0% of the rows in file b.csv",
            id="one file lost a column",
        ),
        pytest.param(replace(MOVED, only_source="shop b"), "moved in shop b alone", id="one source only"),
    ],
)
def test_a_broken_feed_is_told_from_a_world_that_changed(signs, why):
    for seen in (signs, replace(signs, drifted=True, measured=LOW, estimated=LOW, same_season=True)):
        diagnosis = name_of(seen)

        assert diagnosis.name == "broken feed", "it comes before everything, whatever else was seen"
        assert why in " ".join(diagnosis.reasons)
        assert diagnosis.hold_out == bool(seen.rows), "without rows there is nothing to hold out"
        assert ("held out" in diagnosis.sentence) == diagnosis.hold_out
        assert not diagnosis.retrain


@pytest.mark.parametrize(
    "signs",
    [
        pytest.param(with_column(missing=0.2, usual_missing=0.1), id="as many missing as the limit allows"),
        pytest.param(with_column(missing=0.0, usual_missing=0.5), id="fewer missing than usual"),
        pytest.param(with_column(ratios=(1.3, 1.3, 1.3)), id="prices rose"),
        pytest.param(with_column(ratios=(100.0,)), id="one quantile alone"),
        pytest.param(with_column(ratios=(2.0, 30.0, 100.0)), id="the shape changed"),
        pytest.param(replace(CALM, rows=3_000), id="a campaign weekend"),
        pytest.param(replace(CALM, usual_rows=None, rows=1_000_000), id="what is usual is not known"),
        pytest.param(replace(CALM, quarantined=0.05, usual_quarantined=0.0), id="as many refused as the limit allows"),
        pytest.param(replace(CALM, only_source="shop b"), id="a source stands out, and nothing moved"),
    ],
)
def test_a_feed_that_is_not_broken_is_not_called_so(signs):
    assert name_of(signs).name == "none"


@pytest.mark.parametrize(
    ("quality", "decays"),
    [
        pytest.param(reading(0.84, past=0.86, error=0.001), True, id="exactly what may be lost, and no luck"),
        pytest.param(reading(0.845, past=0.86, error=0.001), False, id="less than what may be lost"),
        pytest.param(reading(0.80, past=0.86, error=0.03), False, id="more, but it may be luck"),
        pytest.param(reading(0.80, past=0.86, spread=0.05), False, id="the past went up and down as much"),
        pytest.param(
            replace(reading(0.80, past=0.86), loss=MeanDifference(2.9, 3.0)), False, id="the loss rose by luck"
        ),
        pytest.param(
            replace(reading(0.80, past=0.86, spread=0.05), loss=MeanDifference(3.0, 3.0)), True, id="the loss rose too"
        ),
        pytest.param(
            replace(reading(0.845, past=0.86), loss=MeanDifference(9.0, 3.0)), False, id="a loss nobody minds"
        ),
        pytest.param(reading(0.80, past=0.86, rows=199), False, id="too few outcomes"),
        pytest.param(reading(0.80, past=0.86, past_rows=199), False, id="too few outcomes in the past"),
        pytest.param(reading(0.80), False, id="no past"),
        pytest.param(reading(0.69, error=0.02), False, id="below the floor, but it may be luck"),
        pytest.param(reading(0.69, error=0.001), True, id="below the floor"),
        pytest.param(replace(reading(0.5, past=0.9), interval=None), False, id="without an interval nothing is told"),
        pytest.param(reading(0.99, past=0.86), False, id="better than it was"),
    ],
)
def test_decay_is_a_fall_beyond_luck_and_beyond_what_may_be_lost(quality, decays):
    assert (name_of(replace(CALM, measured=quality)).name == "decay") is decays


@pytest.mark.parametrize(
    ("quality", "decays"), [(reading(3.0, past=2.0), True), (reading(2.0, past=3.0), False), (reading(6.0), True)]
)
def test_where_lower_is_better_decay_is_a_rise(quality, decays):
    signs = replace(CALM, metric="rmse", measured=quality)

    assert (name_of(signs, floor=5.0).name == "decay") is decays
    assert (name_of(signs, floor=None).name == "decay") is (decays and quality.past is not None)


@pytest.mark.parametrize(
    ("signs", "why"),
    [
        pytest.param(Signs("roc_auc", rows=0), "0 rows", id="an empty window"),
        pytest.param(Signs("roc_auc", rows=1), "1 row is too few", id="a single row"),
        pytest.param(replace(MOVED, rows=99, usual_rows=99), "100 are needed", id="too few, though they moved"),
        pytest.param(replace(CALM, rows=99, usual_rows=90), "too few", id="as few as ever"),
        pytest.param(Signs("roc_auc", rows=1_000), "No column was compared", id="nothing was looked at"),
        pytest.param(
            Signs("roc_auc", rows=1_000, measured=reading(0.9, rows=10)), "no quality is known", id="hardly an outcome"
        ),
    ],
)
def test_where_little_is_seen_it_is_said_and_nothing_passes(signs, why):
    diagnosis = name_of(signs)

    assert diagnosis.name == "not enough to tell"
    assert why in diagnosis.sentence
    assert (diagnosis.retrain, diagnosis.hold_out) == (False, False)


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        pytest.param((ColumnSigns("average", drifted=True, echoes=True),), "shift", id="an average of broken rows"),
        pytest.param(
            (ColumnSigns("average", drifted=True, echoes=True), ColumnSigns("shop", drifted=True)),
            "decay",
            id="something else moved too",
        ),
        pytest.param(
            (ColumnSigns("average", echoes=True), ColumnSigns("shop", drifted=True)), "decay", id="only else moved"
        ),
    ],
)
def test_what_a_broken_feed_left_behind_is_no_decay_until_it_is_measured(columns, name):
    signs = replace(MOVED, columns=columns, estimated=LOW)

    assert name_of(signs).name == name
    assert ("still counts rows of a feed that was broken" in name_of(signs).sentence) is (name == "shift")
    assert name_of(replace(signs, measured=FALLEN)).name == "decay"


def test_decay_that_was_measured_is_told_although_the_window_is_empty():
    assert name_of(Signs("roc_auc", rows=3, measured=FALLEN)).name == "decay"


@pytest.mark.parametrize("ratios", [(0.0, 100.0), (float("nan"), 100.0), (float("inf"),) * 2, (-100.0, -100.0), ()])
def test_ratios_without_a_meaning_are_no_unit(ratios):
    assert unit_change(ratios, 0.15) is None


def test_limits_of_quality_come_from_judging_where_they_are_not_stated(make_home):
    assert quality_limits(make_home().contract) == (None, 0.01)
    home = make_home(("min_gain = 0.01", "min_gain = 0.01\nthresholds = { roc_auc = { min = 0.8 } }"))
    assert quality_limits(home.contract) == (0.8, 0.01)
    stated = make_home(extra="[performance]\nfloor = 0.7\nmax_loss = 0.05\n")
    assert quality_limits(stated.contract) == (0.7, 0.05)


def test_a_gain_in_another_metrics_units_does_not_limit_the_accuracy_that_stands_in_for_it(make_home):
    home = make_home(('kind = "binary"', 'kind = "multiclass"'), ('metric = "roc_auc"', 'metric = "log_loss"'))
    assert quality_limits(home.contract) == (None, 0.02)


DECAY = Diagnosis("decay", "The champion decays.", ("it fell",), retrain=True, decayed=True)
BROKEN = Diagnosis("broken feed", "The feed looks broken.", ("nulls",), hold_out=True)
SHIFT = Diagnosis("shift", "The inputs have moved.", ("moved",))
URGENT = Due(True, "it cannot be asked", urgent=True)
YES, NO = Due(True, "2,000 outcomes are new"), Due(False, "20 outcomes are new, 1,000 are needed")


@pytest.mark.parametrize(
    ("diagnosis", "changes", "name", "why"),
    [
        pytest.param(DECAY, {}, "retrain", "Retrain because of decay: it fell", id="decay calls for a retrain"),
        pytest.param(DECAY, {"due": YES}, "retrain", "decay", id="whether or not it was due"),
        pytest.param(DECAY, {"in_flight": "x"}, "wait", "in flight (x)", id="one at a time"),
        pytest.param(
            DECAY, {"started": [NOW - timedelta(hours=1)]}, "wait", "in the cool-down until 23:00 UTC", id="cool-down"
        ),
        pytest.param(
            DECAY, {"started": [NOW - timedelta(hours=h) for h in (23, 13)]}, "wait", "2 are allowed", id="budget"
        ),
        pytest.param(DECAY, {"new_outcomes": 0}, "wait", "no outcome is new", id="nothing new to learn"),
        pytest.param(DECAY, {"new_outcomes": None}, "retrain", "decay", id="no challenger was ever judged"),
        pytest.param(DECAY, {"mature": 499}, "wait", "training needs 500", id="too few are mature"),
        pytest.param(BROKEN, {}, "hold out", "nulls", id="a broken feed is held out"),
        pytest.param(BROKEN, {"due": YES}, "hold out", "nulls", id="also where a retrain is due"),
        pytest.param(None, {"due": URGENT}, "retrain", "at once: it cannot be asked", id="nobody scores until then"),
        pytest.param(
            DECAY, {"due": URGENT, "started": [NOW], "new_outcomes": 0}, "retrain", "at once", id="nor waits for news"
        ),
        pytest.param(SHIFT, {}, "nothing", "20 outcomes are new", id="a shift is watched"),
        pytest.param(SHIFT, {"due": YES}, "retrain", "when the schedule comes round", id="due by new outcomes"),
        pytest.param(None, {"due": YES, "mature": 0}, "wait", "training needs 500", id="due, but none is mature"),
        pytest.param(None, {}, "nothing", "20 outcomes", id="never monitored"),
    ],
)
def test_what_would_happen_now_and_why(diagnosis, changes, name, why):
    usual = {"due": NO, "new_outcomes": 20, "mature": 500, "min_mature": 500, "now": NOW, "held_out": 3}
    action = next_action(Retraining(), diagnosis=diagnosis, **(usual | changes))

    assert (action.name, action.decayed) == (name, name == "retrain" and diagnosis is DECAY)
    assert why in action.sentence
    assert "3 batches or windows are held out, and nothing is learnt from them" in action.reasons
    assert len(action.reasons) == 4
