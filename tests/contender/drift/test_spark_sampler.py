from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from contender.contracts.loop_sections import Drift
from contender.drift import daily_samples, detection, reference_sample, spark_sampler
from contender.drift.baseline import DAY
from contender.features.training_keys import hashes_of
from contender.lake import tables
from contender.values import KEY, ModelVersion

pytestmark = pytest.mark.slow

FIRST, TRAINED, ROWS = date(2026, 1, 1), 28, 300
RULES = "\n[drift]\nday_rows = 120\nmin_rows = 50\n"


def append(home, batch, days, *, rows=ROWS, first=0, factor=1.0) -> None:
    """Rows of `features` as featuring leaves them; the amount of each depends on its key alone."""
    made = pa.concat_tables([made_on(day, np.arange(first, first + rows), factor) for day in days])
    made = made.append_column("_batch", pa.array(np.full(len(made), batch)))
    write_deltalake(tables.path_of(home.settings, "orders", "features"), made, mode="append")


def made_on(day, numbers, factor) -> pa.Table:
    at = [datetime(2026, 1, 1, 6, tzinfo=UTC) + timedelta(days=day, seconds=int(number)) for number in numbers]
    return pa.table(
        {
            "_key": [f"{day:03}-{number:05}" for number in numbers],
            "_time": pa.array(at, pa.timestamp("us", "UTC")),
            "ordered_at": [one.timestamp() for one in at],
            "shop": ["abc"[number % 3] for number in numbers],
            "colour": [None if number % 4 == 0 else "red" for number in numbers],
            "amount": np.random.default_rng(day).normal(50, 10, numbers[-1] + 1)[numbers] * factor,
            "items": np.full(len(numbers), 2.0),
            "express": np.full(len(numbers), 1.0),
        }
    )


def sample(home, days) -> list[str]:
    frame = daily_samples.read_sample(
        home.settings, home.contract, "features", [FIRST + timedelta(days=day) for day in days]
    )
    return sorted(frame[KEY])


@pytest.fixture
def home(make_home):
    return make_home(extra=RULES)


def test_a_sample_is_bounded_by_day_and_counts_are_exact(home, spark):
    append(home, 1, [0, 1], rows=600)
    append(home, 2, [2], rows=30)
    spark_sampler.update_samples(home.settings, home.contract)
    found = daily_samples.side_of(
        home.settings, home.contract, "features", FIRST, FIRST + timedelta(days=3), most=10_000
    )
    assert found.rows == 1230
    assert found.missing["colour"] == 150 + 150 + 8
    taken = found.frame.groupby(DAY).size()
    assert taken[FIRST] == pytest.approx(120, abs=45)
    # All days at one rate: a small one is not blown up beside the large ones.
    assert taken[FIRST + timedelta(days=2)] < 20
    assert daily_samples.newest_day(home.settings, home.contract) == FIRST + timedelta(days=2)


def test_the_sample_is_the_same_in_one_batch_or_in_several_and_reads_only_what_is_new(home, make_home, spark):
    other = make_home(extra=RULES)
    append(home, 1, [0, 1], rows=200)
    append(home, 2, [0], rows=100, first=200)
    spark_sampler.update_samples(home.settings, home.contract)
    append(other, 1, [0, 1], rows=200)
    spark_sampler.update_samples(other.settings, other.contract)
    append(other, 2, [0], rows=100, first=200)
    assert spark_sampler.update_samples(other.settings, other.contract) == 1
    assert spark_sampler.update_samples(other.settings, other.contract) == 0
    sides = [
        daily_samples.side_of(each.settings, each.contract, "features", FIRST, FIRST + timedelta(days=2), most=10_000)
        for each in (home, other)
    ]
    assert list(sides[0].frame[KEY]) == list(sides[1].frame[KEY])
    assert (sides[0].rows, sides[0].missing) == (sides[1].rows, sides[1].missing) == (500, sides[0].missing)


def test_spark_and_this_process_take_the_same_sample(home, make_home, spark, monkeypatch):
    other = make_home(extra=RULES)
    found = []
    for each, few in ((home, 10**9), (other, 0)):
        append(each, 1, [0, 1])
        monkeypatch.setattr(spark_sampler, "_FEW_VALUES", few)
        spark_sampler.update_samples(each.settings, each.contract)
        found.append(
            daily_samples.side_of(
                each.settings, each.contract, "features", FIRST, FIRST + timedelta(days=2), most=10_000
            )
        )
    assert found[0].frame.equals(found[1].frame)
    assert (found[0].rows, found[0].missing) == (found[1].rows, found[1].missing)


def test_a_sampling_that_was_killed_before_it_counted_is_repeated_without_doubles(home, spark, monkeypatch):
    append(home, 1, [0], rows=100)
    with monkeypatch.context() as patch:
        patch.setattr(spark_sampler, "_write_counts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            spark_sampler.update_samples(home.settings, home.contract)
    spark_sampler.update_samples(home.settings, home.contract)
    assert len(sample(home, [0])) == len(set(sample(home, [0]))) == 100
    assert (
        daily_samples.side_of(home.settings, home.contract, "features", FIRST, FIRST + timedelta(days=1), most=999).rows
        == 100
    )


@pytest.fixture(scope="module")
def watched(make_home, spark):
    """Four weeks of training, five usual days, and two on which all amounts were a hundred times as large."""
    home = make_home(extra=RULES)
    append(home, 1, range(TRAINED + 14))
    append(home, 2, [TRAINED + 14, TRAINED + 15], factor=100.0)
    spark_sampler.update_samples(home.settings, home.contract)
    until = datetime(2026, 1, 28, 23)  # noqa: DTZ001 - naive UTC, as in the registry
    keys = hashes_of(f"{day:03}-{number:05}" for day in range(TRAINED) for number in range(ROWS))
    trained = reference_sample.TrainedChampion(
        ModelVersion("orders", 1, "", "", "", until), FIRST, keys, lambda frame: frame["amount"].to_numpy() / 100
    )
    return home, trained


def check(watched, day):
    home, trained = watched
    end = FIRST + timedelta(days=day)
    reference = reference_sample.make_reference(home.settings, home.contract, trained, end - timedelta(days=1))
    at = datetime(end.year, end.month, end.day, 5, tzinfo=UTC)
    found, compared = detection.check_drift(home.settings, home.contract, reference, 1, at)
    detection.keep_check(home.settings, found)
    return found, compared


def test_a_check_tells_drift_keeps_it_and_alarms_the_second_time(watched):
    usual, _ = check(watched, TRAINED + 14)
    assert usual.drifted == ()
    assert not usual.alarm
    first, _ = check(watched, TRAINED + 15)
    assert [str(column) for column in first.drifted] == ["amount"]
    assert not first.alarm
    second, _ = check(watched, TRAINED + 16)
    assert second.alarming == ("amount",)
    home, _ = watched
    assert detection.past_checks(home.settings, "orders") == [usual, first, second]


def test_what_is_not_there_is_not_told(watched):
    found, _ = check(watched, TRAINED + 30)
    assert found.tested == 0
    assert "the window has 0 rows, needed are 50" in found.sentence
    outcome = next(column for column in found.columns if column.table == "outcomes")
    assert outcome.drifted is None


def test_a_kept_reference_is_found_as_it_was_made_and_not_under_other_rules(watched):
    home, trained = watched
    made = reference_sample.make_reference(home.settings, home.contract, trained, FIRST + timedelta(days=40))
    found = reference_sample.find_reference(home.settings, home.contract, 1)
    assert found is not None
    told = {source: {name: one for name, one in all_.items() if one.windows} for source, all_ in made.ordinary.items()}
    assert found.ordinary == told
    kept, drawn = (one.sides["features"].frame for one in (found, made))
    pd.testing.assert_frame_equal(kept, drawn[list(kept)])
    assert KEY not in kept, "who was trained on is nobody's business here"
    other = home.contract.model_copy(update={"drift": Drift(min_rows=60)})
    assert reference_sample.find_reference(home.settings, other, 1) is None
