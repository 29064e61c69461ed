"""What is usual of a feed: rows of a window, and waits between arrivals."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from contender.drift import daily_samples
from contender.drift.baseline import DAY
from contender.ingestion.batches import _log_schema
from contender.lake import tables
from contender.retraining import feed_health
from contender.values import BATCH, TIME

MONDAY = datetime(2026, 3, 2, 6, tzinfo=UTC)
HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)


def daily(days, *, without=()) -> list[datetime]:
    return [MONDAY + A_DAY * day for day in range(days) if day not in without]


WORKDAYS = daily(33, without=[day for day in range(40) if day % 7 in (5, 6)])
BURSTS = [at + timedelta(minutes=minute) for at in daily(20) for minute in range(40)]
BY_DAYLIGHT = [MONDAY + A_DAY * day + HOUR * hour for day in range(20) for hour in range(12)]
JITTER = np.random.default_rng(3).uniform(-3, 3, 40)


@pytest.mark.parametrize(
    ("arrivals", "wait", "is_overdue"),
    [
        pytest.param(daily(20), A_DAY, False, id="on time"),
        pytest.param(daily(20), 1.9 * A_DAY, False, id="late, but not by a whole wait"),
        pytest.param(daily(20), 2.1 * A_DAY, True, id="a day was left out"),
        pytest.param(
            [at + HOUR * late for at, late in zip(daily(40), JITTER, strict=True)],
            1.8 * A_DAY,
            False,
            id="some hours late every other day",
        ),
        pytest.param(WORKDAYS, 4 * A_DAY, False, id="a weekend, and the Monday after it is a feast"),
        pytest.param(WORKDAYS, 7 * A_DAY, True, id="a week without any, of a feed of workdays"),
        pytest.param(BURSTS, A_DAY, False, id="many files at once, then none for a day"),
        pytest.param(BURSTS, 3 * A_DAY, True, id="many files at once, and none of the next days"),
        pytest.param(BY_DAYLIGHT, 13 * HOUR, False, id="nothing comes by night"),
        pytest.param(BY_DAYLIGHT, 30 * HOUR, True, id="nothing comes by day either"),
        pytest.param(daily(30, without=range(10, 20)), 3 * A_DAY, True, id="an earlier stop is no excuse"),
        pytest.param(daily(4), 60 * A_DAY, False, id="too few days to know"),
        pytest.param(
            [MONDAY + timedelta(seconds=number) for number in range(500)], 60 * A_DAY, False, id="loaded in bulk"
        ),
        pytest.param([MONDAY], 60 * A_DAY, False, id="it came once"),
    ],
)
def test_a_feed_is_overdue_when_nothing_came_for_twice_its_longest_usual_wait(arrivals, wait, is_overdue):
    assert (feed_health.overdue_wait(arrivals, arrivals[-1] + wait) is not None) is is_overdue


def write_arrivals(home, ages) -> None:
    """One batch a day, whose newest record was so old when it came."""
    schema = pa.schema([(TIME, pa.timestamp("us", "UTC")), (BATCH, pa.int64())])
    for batch, age in enumerate(ages, start=1):
        at = MONDAY + A_DAY * (batch - 1)
        tables.append_small(home.settings, "orders", "records", [{TIME: at - age, BATCH: batch}], schema)
        file = {"_batch": batch, "source": "records", "status": "done", "rows": 1, "at": at}
        tables.append_small(home.settings, "orders", "files", [file], _log_schema())


def test_only_what_was_new_when_it_came_tells_when_more_is_due(make_home):
    live, bulk, nothing = make_home(), make_home(), make_home()
    write_arrivals(live, [HOUR] * 8)
    write_arrivals(bulk, [400 * A_DAY] * 8)
    last = MONDAY + 7 * A_DAY
    assert feed_health.stopped_feed(live.settings, live.contract, last + A_DAY) is None
    found = feed_health.stopped_feed(live.settings, live.contract, last + 3 * A_DAY)
    assert found.since == last
    assert found.why == (
        "nothing has come for 72 hours, since 2026-03-09 06:00 UTC, where 24 hours are the longest wait"
    )
    for home in (bulk, nothing):
        assert feed_health.stopped_feed(home.settings, home.contract, last + 300 * A_DAY) is None


@pytest.mark.parametrize(
    ("rows", "usual"),
    [
        pytest.param(dict.fromkeys(range(56), 100), 100, id="every day alike"),
        pytest.param({day: 100 for day in range(56) if day % 7}, None, id="none ever came on this weekday"),
        pytest.param({day: 100 for day in range(56) if day != 49}, 100, id="one such day before was empty"),
        pytest.param({day: 100 for day in range(56) if day not in (35, 42, 49)}, None, id="three of them were"),
        pytest.param({}, None, id="nothing is known"),
    ],
)
def test_rows_are_usual_on_days_that_had_them(make_home, monkeypatch, rows, usual):
    """The window is the day after the 56th, of the weekday of the first."""
    first = date(2026, 1, 5)
    counts = [{DAY: first + timedelta(days=day), "rows": count} for day, count in rows.items()]
    monkeypatch.setattr(daily_samples, "_counts", lambda *_: counts)
    home, start = make_home(), first + timedelta(days=56)
    assert feed_health.feed_of_window(home.settings, home.contract, start, start + A_DAY, []).usual_rows == usual
