from datetime import timedelta

import pytest

from contender.errors import UsageError
from contender.features import dataset, exclusions, feature_tables
from contender.ingestion.row_checks import SPARK_TYPES
from contender.lake import tables
from contender.values import KEY, TARGET, TIME

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)


def write(home, spark, batch, days) -> None:
    """Ten orders a day, loaded in bulk, with their outcomes."""
    for table, columns, own in (
        ("records", home.contract.records.columns, f"{TIME} timestamp"),
        ("outcomes", home.contract.outcome.columns, f"{TARGET} double"),
    ):
        declared = ", ".join(f"{name} {SPARK_TYPES[column.type]}" for name, column in columns.items())
        schema = f"{KEY} string, {own}, _file string, _row bigint, {declared}, _batch bigint, _received_at timestamp"
        rows = []
        for day in days:
            for n in range(10):
                key, at = f"{day:02}-{n}", home.noon + day * DAY
                record = (at, "f", n, key, at, "a", "red", float(n), n, True)
                outcome = (float(n % 2), "f", n, key, n % 2 == 1, None)
                own_values = record if table == "records" else outcome
                rows.append((key, *own_values, batch, home.noon + 90 * DAY))
        frame = spark.createDataFrame(rows, schema)
        tables.append(home.settings, "orders", table, frame, application="ingest", transaction=batch)


@pytest.fixture
def home(make_home, spark):
    """Thirty days of orders in three batches of ten days."""
    home = make_home()
    for batch in (1, 2, 3):
        write(home, spark, batch, range(10 * (batch - 1), 10 * batch))
    feature_tables.update_features(home.settings, home.contract)
    return home


def days_of(home, rows) -> list[int]:
    return sorted({int(key[:2]) for key in dataset.load(home.settings, home.contract, rows)[KEY]})


def parts_of(home) -> tuple[list[int], list[int]]:
    split = dataset.split(home.settings, home.contract, home.noon + 60 * DAY)
    return days_of(home, split.training), days_of(home, split.judging)


def test_rows_that_are_held_out_are_neither_trained_nor_judged_on_until_they_are_released(home):
    settings, at = home.settings, home.noon + 31 * DAY
    before = dataset.split(settings, home.contract, home.noon + 60 * DAY)
    assert parts_of(home) == (list(range(21)), list(range(23, 30)))

    exclusions.hold_out_batch(settings, "orders", [2], reason="nulls", at=at)
    assert parts_of(home) == ([*range(10), 20], list(range(23, 30)))

    window = (home.noon + 25 * DAY, home.noon + 27 * DAY)
    exclusions.hold_out_window(settings, "orders", *window, reason="cents", at=at)
    assert parts_of(home) == ([*range(10), 20], [23, 24, 27, 28, 29]), "the end of a window is outside of it"
    during = dataset.split(settings, home.contract, home.noon + 60 * DAY)
    assert [table.table for table in during.training.versions] == ["records", "outcomes", "held_out", "features"]

    exclusions.release_batch(settings, "orders", [2], reason="mended", by="person: ada", at=at)
    exclusions.release_window(settings, "orders", *window, reason="mended", by="person: ada", at=at)
    assert parts_of(home) == (list(range(21)), list(range(23, 30)))

    dataset._load.cache_clear()
    assert days_of(home, before.training) == list(range(21))
    assert days_of(home, during.training) == [*range(10), 20], "what was trained on can be read again"
    assert days_of(home, during.judging) == [23, 24, 27, 28, 29]


def test_what_is_held_out_is_told_with_its_reason_and_nothing_twice(make_home):
    home = make_home()
    settings, at = home.settings, home.noon
    assert exclusions.held_out(settings, "orders") == []

    exclusions.hold_out_batch(settings, "orders", [4, 5], reason="nulls", at=at)
    exclusions.hold_out_batch(settings, "orders", [5, 6], reason="again", at=at)
    found = exclusions.held_out(settings, "orders")
    assert [(one.batch, one.reason, str(one)) for one in found] == [
        (4, "nulls", "batch 4"),
        (5, "nulls", "batch 5"),
        (6, "again", "batch 6"),
    ]


def test_what_a_person_released_is_told_and_not_held_out_again(make_home):
    home = make_home()
    settings, at = home.settings, home.noon
    window = (at, at + DAY)
    exclusions.hold_out_batch(settings, "orders", [4, 5], reason="nulls", at=at)
    exclusions.hold_out_window(settings, "orders", *window, reason="cents", at=at)

    exclusions.release_batch(settings, "orders", [5, 5], reason=" they are right ", by="person: ada", at=at + DAY)
    exclusions.release_window(settings, "orders", *window, reason="so are these", by="person: bob", at=at + DAY)
    exclusions.hold_out_batch(settings, "orders", [5], reason="nulls", at=at + 2 * DAY)
    exclusions.hold_out_window(settings, "orders", *window, reason="cents", at=at + 2 * DAY)

    assert [(one.batch, one.by) for one in exclusions.held_out(settings, "orders")] == [(4, exclusions.LOOP)]
    assert [(str(one), one.reason, one.by, one.at) for one in exclusions.released(settings, "orders")] == [
        ("batch 5", "they are right", "person: ada", at + DAY),
        ("2026-01-10 12:00..2026-01-11 12:00", "so are these", "person: bob", at + DAY),
    ]


def test_only_what_is_held_out_can_be_released_and_a_window_has_a_length(make_home):
    home = make_home()
    with pytest.raises(UsageError, match="batch 3 is not held out; nothing is"):
        exclusions.release_batch(home.settings, "orders", [3], reason="mended", by="person: ada", at=home.noon)
    with pytest.raises(UsageError, match=r"2026-01-10 12:00\.\.2026-01-11 12:00 is not held out"):
        exclusions.release_window(
            home.settings, "orders", home.noon, home.noon + DAY, reason="mended", by="person: ada", at=home.noon
        )
    exclusions.hold_out_batch(home.settings, "orders", [4], reason="nulls", at=home.noon)
    with pytest.raises(UsageError, match="batch 3 is not held out; held out are batch 4"):
        exclusions.release_batch(home.settings, "orders", [4, 3], reason="mended", by="person: ada", at=home.noon)
    with pytest.raises(UsageError, match="A reason is needed"):
        exclusions.release_batch(home.settings, "orders", [4], reason=" ", by="person: ada", at=home.noon)
    with pytest.raises(UsageError, match="is empty; its start must come first"):
        exclusions.hold_out_window(home.settings, "orders", home.noon, home.noon, reason="none", at=home.noon)
