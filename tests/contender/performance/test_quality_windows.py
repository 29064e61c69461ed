"""A point of a quality curve stands on enough outcomes, of one version, and equals what scikit-learn says of its rows."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics

from contender.performance import quality_windows
from contender.performance.daily_row import schema
from contender.performance.quality_windows import MOST_WINDOWS, MeasuredDay, measured_days, point_in_words, windows_of
from contender.performance.score_counts import FIELDS, Tally

FIRST = date(2026, 3, 1)


def binary(outcomes, positives):
    """A day on which scores rank most of the positives first; every row is a point of its own."""
    y = np.arange(outcomes) < positives
    scores = np.where(y, 0.6, 0.3) + np.arange(outcomes) % 5 / 10
    ones, nothing = np.ones(outcomes, dtype=np.int64), np.zeros(outcomes)
    tally = Tally("binary", scores, scores >= 0.5, ones, ones, y.astype(np.int64), nothing, nothing, nothing)
    return tally, y.astype(int), scores


def numbers(errors):
    errors = np.asarray(errors, dtype=float)
    ones = np.ones(len(errors), dtype=np.int64)
    powers = (np.abs(errors), errors**2, errors**4)
    return Tally("regression", errors * 0, ones > 1, ones, ones, ones * 0, *powers, outcome_variance=4.0)


def on(number, tally, version=1, *, in_training=False, outcomes=None):
    return MeasuredDay(
        FIRST + timedelta(days=number), version, in_training, tally.known if outcomes is None else outcomes, tally
    )


def spans(days, **changes):
    given = {"metric": "average_precision", "min_outcomes": 200, "seed": 7} | changes
    found = windows_of(days, given.pop("metric"), **given)
    return [((one.first - FIRST).days, (one.last - FIRST).days) for one in found]


def test_a_window_equals_what_scikit_learn_says_of_all_of_its_rows():
    days = [binary(100, 6), binary(80, 9), binary(60, 8)]

    (found,) = windows_of(
        [on(n, tally) for n, (tally, _, _) in enumerate(days)], "average_precision", min_outcomes=200, seed=7
    )

    y, scores = (np.concatenate([one[place] for one in days]) for place in (1, 2))
    assert found.value == pytest.approx(metrics.average_precision_score(y, scores))
    assert (found.first, found.last, found.days, found.outcomes) == (FIRST, FIRST + timedelta(days=2), 3, 240)
    assert found.interval is not None
    assert found.interval.low < found.value < found.interval.high
    assert found.interval.level == 0.9
    assert found.span == "2026-03-01 to 2026-03-03"


def test_the_same_days_give_the_same_interval():
    days = [on(0, binary(300, 40)[0])]

    one, other = (windows_of(days, "average_precision", min_outcomes=200, seed=7) for _ in range(2))

    assert one == other


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        pytest.param([(200, 20)], [(0, 0)], id="just enough"),
        pytest.param([(199, 20)], [], id="an outcome too few"),
        pytest.param([(200, 19)], [], id="a fraud too few"),
        pytest.param([(200, 181)], [], id="the other kind is the rarer one"),
        pytest.param([(400, 10), (5, 5), (5, 5)], [(0, 2)], id="until there are enough of the rarer kind"),
        pytest.param([(150, 15), (150, 15), (150, 15), (150, 15)], [(0, 1), (2, 3)], id="window after window"),
        pytest.param([(150, 15), (150, 15), (150, 15)], [(0, 1)], id="days are left over"),
        pytest.param([(150, 15), (0, 0), (150, 15)], [(0, 2)], id="a day without outcomes is passed over"),
        pytest.param([], [], id="nothing yet"),
    ],
)
def test_a_window_is_the_fewest_days_with_enough_outcomes(days, expected):
    assert spans([on(n, binary(*day)[0]) for n, day in enumerate(days)]) == expected


def test_numbers_need_outcomes_alone():
    days = [on(n, numbers([1.0, -3.0] * 15)) for n in range(4)]

    found = windows_of(days, "mae", min_outcomes=60, seed=7)

    assert [(one.outcomes, one.value) for one in found] == [(60, pytest.approx(2.0))] * 2


def test_versions_and_days_of_the_training_stand_apart():
    half = binary(120, 12)[0]
    days = [on(0, half, in_training=True), on(1, half), on(2, half, 2), on(3, half, 2), on(4, half, 3)]

    assert spans(days) == [(2, 3)]


def test_a_window_with_outcomes_that_do_not_count_yet_is_not_final():
    half = binary(120, 12)[0]

    for outcomes, final in ((120, True), (121, False)):
        (found,) = windows_of(
            [on(0, half), on(1, half, outcomes=outcomes)], "average_precision", min_outcomes=200, seed=7
        )
        assert found.is_final is final


def test_of_a_year_of_many_outcomes_no_more_points_are_made_than_can_be_told_apart():
    rich = binary(300, 40)[0]

    found = spans([on(n, rich) for n in range(366)])

    assert len(found) <= MOST_WINDOWS
    assert {last - first for first, last in found} == {6}


def test_a_metric_that_has_no_meaning_there_makes_no_point():
    same = numbers([1.0] * 60)

    assert windows_of([on(0, same)], "no such metric", min_outcomes=60, seed=7) == []


def test_rows_of_the_table_come_back_as_they_were_counted():
    tally, _, _ = binary(30, 4)
    points = [
        dict(zip(FIELDS, point, strict=True))
        for point in zip(*(getattr(tally, name).tolist() for name in FIELDS), strict=True)
    ]
    common = {"model_version": 1, "metric": "average_precision", "as_of": datetime(2026, 5, 1, tzinfo=UTC)}
    rows = [
        common | {"day": FIRST, "in_training": None, "outcomes": 40, "points": points},
        common | {"day": FIRST + timedelta(days=1), "in_training": True, "outcomes": None, "points": []},
        common | {"day": FIRST + timedelta(days=2), "in_training": False, "outcomes": 30, "points": points[::-1]},
    ]
    table = pa.Table.from_pylist(rows, schema=schema()).select(quality_windows.COLUMNS)

    # As sorted, sliced and chunked as a lake may give it.
    for given in (table, pa.concat_tables([table.slice(0, 1), table.slice(1)]), table.slice(0)):
        first, second, third = measured_days(given, "binary")
        assert (first.day, first.in_training, first.outcomes, first.tally.known) == (FIRST, False, 40, 30)
        assert first.tally.measure() == tally.measure()
        assert (second.in_training, second.outcomes, second.tally.known) == (True, 0, 0)
        assert third.tally.measure() == pytest.approx(tally.measure())
    (alone,) = measured_days(table.slice(2), "binary")
    assert alone.tally.measure() == pytest.approx(tally.measure())


def test_what_a_point_is_is_told():
    assert point_in_words("binary", 1_200) == (
        "the fewest days in a row of one version with 1,200 final outcomes, 20 of the rarer kind among them"
    )
    assert "rarer" not in point_in_words("regression", 200)
