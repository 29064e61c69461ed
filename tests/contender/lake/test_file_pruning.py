from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from contender.lake import tables
from contender.lake.file_pruning import DataFile, DataFiles, data_files_of
from contender.settings import Settings
from contender.values import KEY, TIME, TableVersion

FIRST = datetime(2026, 1, 10, 12, tzinfo=UTC)
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Five files, one for each day: keys 0a and 0b on the first, and so on."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    location = tables.path_of(settings, "orders", "records")
    for day in range(5):
        rows = pa.table(
            {KEY: [f"{day}a", f"{day}b"], TIME: pa.array([FIRST + day * DAY] * 2, pa.timestamp("us", tz="UTC"))}
        )
        write_deltalake(location, rows, mode="append")
    return data_files_of(settings, TableVersion("orders", "records", DeltaTable(location).version()))


def held(parts) -> list:
    return sorted(part.keys for part in parts.files)


def made(*times) -> DataFiles:
    """Files that hold records from one time to another; None for one whose log does not tell."""
    files = tuple(DataFile(str(n), None, time) for n, time in enumerate(times))
    return DataFiles(Settings(), TableVersion("orders", "records", 0), "", files)


def test_files_are_skipped_that_hold_no_record_of_the_days(days):
    wanted = [date(2026, 1, 9), date(2026, 1, 11), date(2026, 1, 14)]

    assert held(days.on(wanted)) == [("1a", "1b"), ("4a", "4b")]
    assert held(days.on([])) == []
    assert days.keys == ("0a", "4b")


def test_files_are_skipped_that_hold_no_such_key(days):
    assert held(days.among(("1b", "2"))) == [("1a", "1b")]
    assert held(days.among(("1b", "2a"))) == [("1a", "1b"), ("2a", "2b")]
    assert days.among(None) is days


@pytest.mark.parametrize(
    ("until", "found"),
    [
        pytest.param(FIRST + 9 * DAY, ["4"], id="all are older"),
        pytest.param(FIRST + 2.5 * DAY, ["2"], id="some are younger"),
        pytest.param(FIRST - DAY, [], id="all are younger"),
    ],
)
def test_the_newest_record_is_in_the_files_that_are_left(days, until, found):
    assert [part.keys[0][0] for part in days.newest(until).files] == found


def test_a_file_that_reaches_beyond_the_moment_may_hold_the_newest_record():
    parts = made((FIRST, FIRST + DAY), (FIRST + DAY, FIRST + 9 * DAY), (FIRST - DAY, FIRST))

    assert [part.path for part in parts.newest(FIRST + 2 * DAY).files] == ["0", "1"]


def test_times_that_were_cut_to_milliseconds_lose_no_file():
    until = FIRST + 300 * MICROSECOND
    parts = made((FIRST, FIRST), (FIRST - DAY, FIRST))

    assert len(parts.newest(until).files) == 2, "either may hold a record some microseconds younger than it says"


def test_a_file_whose_log_does_not_tell_is_kept():
    parts = made(None, (FIRST, FIRST))

    for some in (parts.on([date(2020, 1, 1)]), parts.newest(FIRST - DAY), parts.among(("x", "y"))):
        assert "0" in [part.path for part in some.files]
    assert parts.keys is None


@pytest.mark.slow
def test_spark_reads_the_rows_of_the_files_that_are_left(days, spark):
    rows = days.on([date(2026, 1, 12)]).read()

    assert sorted(row[KEY] for row in rows.collect()) == ["2a", "2b"]
    assert rows.schema == days.read().schema
    assert days.on([]).read().count() == 0
