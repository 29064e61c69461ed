from datetime import timedelta
from itertools import pairwise

import pandas as pd
import pytest
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.errors import TooFewOutcomes
from contender.features import dataset, feature_tables
from contender.ingestion.row_checks import SPARK_TYPES
from contender.lake import tables
from contender.values import KEY, TARGET, TIME

pytestmark = pytest.mark.slow

ORDERS = 80
"""One order every 12 hours; `order-00` is placed at noon, and what became of it is known 2 days later."""

TICK = timedelta(microseconds=1)


def write(home, spark, batch, received, numbers, *, outcomes=True, prefix="order") -> None:
    """Orders as intake would leave them, without the work of reading files."""
    for table, columns, own in (
        ("records", home.contract.records.columns, f"{TIME} timestamp"),
        ("outcomes", home.contract.outcome.columns, f"{TARGET} double"),
    ):
        if table == "outcomes" and not outcomes:
            continue
        declared = ", ".join(f"{name} {SPARK_TYPES[column.type]}" for name, column in columns.items())
        schema = f"{KEY} string, {own}, _file string, _row bigint, {declared}, _batch bigint, _received_at timestamp"
        rows = []
        for n in numbers:
            key, at = f"{prefix}-{n:02}", home.noon + timedelta(hours=12 * n)
            records = (at, "f", n, key, at, "abc"[n % 3], None if n % 5 == 0 else "red", float(n), n, True)
            outcome = (float(n % 4 == 0), "f", n, key, n % 4 == 0, None)
            rows.append((key, *(records if table == "records" else outcome), batch, received))
        tables.append(
            home.settings, "orders", table, spark.createDataFrame(rows, schema), application="ingest", transaction=batch
        )


@pytest.fixture(scope="module")
def home(make_home, spark):
    """Forty days of orders loaded in bulk, and one of day 10 that came live and whose outcome was late."""
    home = make_home(("min_gain = 0.01", 'min_gain = 0.01\ncluster = "order_id"\nslices = ["shop", "colour"]'))
    write(home, spark, 1, home.noon + timedelta(days=10), [20], outcomes=False, prefix="late")
    write(home, spark, 2, home.noon + timedelta(days=45), range(ORDERS))
    late = tables.read(home.settings, tables.find(home.settings, "orders", "outcomes")).where(f"{KEY} = 'order-20'")
    renamed = late.replace("order-20", "late-20").withColumn("_batch", late["_batch"] + 1)
    tables.append(home.settings, "orders", "outcomes", renamed, application="ingest", transaction=3)
    feature_tables.update_features(home.settings, home.contract)
    return home


def with_rules(contract: Contract, **rules) -> Contract:
    """The contract with other windows: `newest`, `embargo`, `matures_after`, `window`, in days where not text."""
    document = contract.model_dump() | {"folder": contract.folder}
    places = {"newest": "judging", "embargo": "judging", "matures_after": "outcome", "window": "training"}
    for name, value in rules.items():
        document[places[name]][name] = value if isinstance(value, str) else f"{value} days"
    return Contract.model_validate(document, strict=False)


def numbers(home, rows) -> list[int]:
    """Which orders are in the rows, in the order of the frame."""
    return [int(key[-2:]) for key in dataset.load(home.settings, home.contract, rows)[KEY]]


@pytest.mark.parametrize(
    ("rules", "as_of", "training", "judging"),
    [
        pytest.param({}, 50, range(62), range(66, 80), id="62 to 65 were not known yet when judging began"),
        pytest.param({"embargo": 3}, 50, range(60), range(66, 80), id="an embargo between the two"),
        pytest.param({"matures_after": 5}, 50, range(46), range(56, 70), id="immature rows are in neither"),
        pytest.param({"matures_after": 1, "embargo": 3}, 50, range(58), range(64, 78), id="the longer gap counts"),
        pytest.param({"newest": 14}, 50, range(48), range(52, 80), id="a longer window"),
        pytest.param({"newest": "25 %"}, 50, range(56), range(59, 80), id="a share of what is known"),
        pytest.param({"window": 10}, 50, range(46, 62), range(66, 80), id="training on the newest days only"),
        pytest.param({}, 20, range(23), range(27, 37), id="seen from day 20"),
        pytest.param({"newest": 100}, 50, range(0), range(80), id="judging on all there is"),
    ],
)
def test_training_ends_before_judging_begins_and_knows_nothing_of_it(home, rules, as_of, training, judging):
    split = dataset.split(home.settings, with_rules(home.contract, **rules), home.noon + timedelta(days=as_of))

    late = [20] if 20 in judging else []
    assert numbers(home, split.training) == list(training)
    assert numbers(home, split.judging) == sorted([*judging, *late])
    assert split.training.end <= split.judging.start


def test_the_bounds_are_to_the_microsecond(home):
    contract = with_rules(home.contract, embargo=3, matures_after=1)

    split = dataset.split(home.settings, contract, home.noon + timedelta(days=50))

    newest = home.noon.replace(tzinfo=None) + timedelta(days=39.5)
    assert split.judging.end == newest - timedelta(days=1) + TICK
    assert split.judging.start == split.judging.end - timedelta(days=7)
    assert split.training.end == split.judging.start - timedelta(days=3)
    assert split.training.as_of == split.judging.start, "training sees only what was known when judging began"
    assert split.judging.as_of == home.noon.replace(tzinfo=None) + timedelta(days=50)
    assert split.outcomes == ORDERS + 1


def test_an_outcome_that_came_late_is_not_learnt_although_its_record_is_old(home):
    split = dataset.split(home.settings, home.contract, home.noon + timedelta(days=50))
    before = dataset.split(home.settings, with_rules(home.contract, newest=100), home.noon + timedelta(days=44))
    after = dataset.split(home.settings, with_rules(home.contract, newest=100), home.noon + timedelta(days=45))
    keys = [set(dataset.load(home.settings, home.contract, rows)[KEY]) for rows in (split.training, before.judging)]

    assert all("order-20" in found and "late-20" not in found for found in keys)
    assert "late-20" in set(dataset.load(home.settings, home.contract, after.judging)[KEY])


def test_no_key_is_in_both_parts(home):
    split = dataset.split(home.settings, with_rules(home.contract, newest="50 %"), home.noon + timedelta(days=50))
    training, judging = (dataset.load(home.settings, home.contract, rows) for rows in (split.training, split.judging))

    assert not set(training[KEY]) & set(judging[KEY])
    assert training[TIME].max() < judging[TIME].min()
    assert not training[KEY].duplicated().any()


def test_rows_come_in_time_order_and_the_same_each_time(home):
    rows = dataset.split(home.settings, with_rules(home.contract, newest=100), home.noon + timedelta(days=50)).judging

    first = dataset.load(home.settings, home.contract, rows)
    dataset._load.cache_clear()
    again = dataset.load(home.settings, home.contract, rows)

    pd.testing.assert_frame_equal(first, again)
    order = list(zip(first[TIME], first[KEY], strict=True))
    assert all(one < other for one, other in pairwise(order)), "ties in time are broken by the key"


@pytest.mark.parametrize(("newest", "kept"), [(5, range(75, 80)), (1, range(79, 80))])
def test_a_limit_keeps_the_newest(home, newest, kept):
    rows = dataset.split(home.settings, home.contract, home.noon + timedelta(days=50)).judging
    frame = dataset.load(home.settings, home.contract, rows, newest=newest)

    assert [int(key[-2:]) for key in frame[KEY]] == list(kept)


def test_a_frame_has_the_models_columns_the_outcome_and_the_slices(home):
    rows = dataset.split(home.settings, home.contract, home.noon + timedelta(days=50)).judging
    frame = dataset.load(home.settings, home.contract, rows)

    model = [column.name for column in home.contract.model_columns]
    assert set(frame) == {KEY, TIME, TARGET, *model, "by:shop", "by:colour", "by:order_id"}
    assert [int(value) for value in frame[TARGET]] == [int(n % 4 == 0) for n in range(66, 80)]
    assert [value is None for value in frame["colour"]] == [n % 5 == 0 for n in range(66, 80)]
    assert frame["amount"].tolist() == [float(n) for n in range(66, 80)]


def test_the_contract_that_is_given_counts_and_not_the_one_in_the_file(home):
    rows = dataset.split(home.settings, home.contract, home.noon + timedelta(days=50)).judging
    judging = home.contract.judging.model_copy(update={"slices": ("express",), "cluster": None})
    changed = home.contract.model_copy(update={"judging": judging, "folder": home.contract.folder / "nowhere"})

    frame = dataset.load(home.settings, changed, rows)

    assert [name for name in frame if name.startswith("by:")] == ["by:express"]


def test_rows_stay_what_they_were_when_more_has_come(home, spark):
    rows = dataset.split(home.settings, home.contract, home.noon + timedelta(days=50)).judging
    before = dataset.load(home.settings, home.contract, rows)
    write(home, spark, 4, home.noon + timedelta(days=46), range(66, 69), prefix="later")
    feature_tables.update_features(home.settings, home.contract)
    dataset._load.cache_clear()

    pd.testing.assert_frame_equal(dataset.load(home.settings, home.contract, rows), before)
    now = dataset.split(home.settings, home.contract, home.noon + timedelta(days=50)).judging
    assert len(dataset.load(home.settings, home.contract, now)) == len(before) + 3


def test_without_outcomes_there_is_nothing_to_split(make_home, spark):
    home = make_home()
    with pytest.raises(TooFewOutcomes, match="no records with known outcomes yet.*contender ingest orders"):
        dataset.split(home.settings, home.contract, home.noon)
    write(home, spark, 1, home.noon, range(3), outcomes=False)

    with pytest.raises(TooFewOutcomes, match="no records with known outcomes yet"):
        dataset.split(home.settings, home.contract, home.noon)


def test_outcomes_of_other_keys_are_named_beside_the_records(make_home, spark):
    home = make_home()
    write(home, spark, 1, home.noon, range(3), outcomes=False)
    outcomes = [("7", 1.0), ("8", 0.0)]
    frame = spark.createDataFrame(outcomes, f"{KEY} string, {TARGET} double")
    declared = {name: SPARK_TYPES[column.type] for name, column in home.contract.outcome.columns.items()}
    for name, kind in (declared | {"_file": "string", "_row": "bigint", "_batch": "bigint"}).items():
        frame = frame.withColumn(name, F.lit(None).cast(kind))
    frame = frame.withColumn("_received_at", F.lit(home.noon))
    tables.append(home.settings, "orders", "outcomes", frame, application="ingest", transaction=2)
    feature_tables.update_features(home.settings, home.contract)
    rows = dataset.split(home.settings, home.contract, home.noon + timedelta(days=9)).judging

    with pytest.raises(TooFewOutcomes, match="None of the 2 outcomes names a record: they name '7', '8'.*'order-00'"):
        dataset.refuse_strangers(home.settings, home.contract, rows)
