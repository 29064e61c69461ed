from datetime import timedelta
from shutil import copytree

import pytest

from contender.contracts.contract import Contract
from contender.errors import DataError, UnreadableFile
from contender.features import feature_tables
from contender.ingestion.row_checks import SPARK_TYPES
from contender.lake import tables
from contender.scoring import batch_scoring
from contender.values import KEY, TARGET, TIME, ModelVersion

pytestmark = pytest.mark.slow

HISTORY = """
[history]
orders_2d = { take = "count", by = ["shop"], over = "2 days" }
amount_2d = { take = "avg", of = "amount", by = ["shop", "colour"], over = "2 days" }
returned_4d = { take = "share", of = "outcome", by = ["shop"], over = "4 days" }
"""
LOOKUPS = """
[lookups.shops]
file = "orders-shops.csv"
key = { shop = "shop" }
columns = { shop = { type = "text" }, size = { type = "number" } }

[lookups.weather]
file = "weather.csv"
key = { shop = "shop", hour = "date_trunc('hour', ordered_at)" }

[lookups.weather.columns]
shop = { type = "text" }
hour = { type = "timestamp" }
rain = { type = "number" }
sky = { type = "category" }
"""


def write(home, spark, batch: int, rows, outcomes=(), at=None) -> None:
    """A batch as intake would leave it, without the work of reading files."""
    received = at or home.noon + timedelta(days=batch)
    for table, columns, values in (
        ("records", home.contract.records.columns, rows),
        ("outcomes", home.contract.outcome.columns, outcomes),
    ):
        own = f"{TIME} timestamp" if table == "records" else f"{TARGET} double"
        declared = ", ".join(f"{name} {SPARK_TYPES[column.type]}" for name, column in columns.items())
        schema = f"{KEY} string, {own}, _file string, _row bigint, {declared}, _batch bigint, _received_at timestamp"
        filled = [
            (
                value[0],
                value[1] if table == "records" else float(value[1]),
                "f",
                n,
                *value,
                *[None] * (len(columns) - len(value)),
                batch,
                received,
            )
            for n, value in enumerate(values)
        ]
        frame = spark.createDataFrame(filled, schema)
        tables.append(home.settings, "orders", table, frame, application="ingest", transaction=batch)


def order(home, key, hours, shop="a", colour="red", amount=10.0):
    return (key, home.noon + timedelta(hours=hours), shop, colour, amount)


def made(home) -> dict[str, dict]:
    rows = {row["_key"]: row for row in home.rows("features")}
    assert len(rows) == tables.count(home.settings, "orders", "features")
    return rows


def test_new_records_get_what_a_computation_from_nothing_would_give(spark, make_home):
    home = make_home(extra=HISTORY)
    assert feature_tables.update_features(home.settings, home.contract) is None
    first = [order(home, f"a{n}", 2 * n, shop="ab"[n % 2], amount=float(n)) for n in range(20)]
    write(home, spark, 1, first, [(f"a{n}", n % 3 == 0) for n in range(10)], at=home.noon + timedelta(hours=40))
    before = feature_tables.update_features(home.settings, home.contract)
    assert feature_tables.update_features(home.settings, home.contract) == before
    next_day = [order(home, f"b{n}", 41 + 3 * n, shop="ab"[n % 2], amount=float(n)) for n in range(12)]
    write(home, spark, 2, next_day, [(f"a{n}", n % 3 == 0) for n in range(10, 20)], at=home.noon + timedelta(days=4))
    after = feature_tables.update_features(home.settings, home.contract)
    assert after.version == before.version + 1
    grown = made(home)
    assert len(grown) == 32
    assert grown["b11"]["returned_4d"] is not None
    assert grown["b0"]["orders_2d"] == 10

    # The same lake, from which no features are known yet.
    fresh = make_home(extra=HISTORY)
    for table in ("records", "outcomes"):
        copytree(tables.path_of(home.settings, "orders", table), tables.path_of(fresh.settings, "orders", table))
    feature_tables.update_features(fresh.settings, fresh.contract)
    whole = made(fresh)
    assert {key: row for key, row in whole.items() if key[0] == "b"} == {
        key: row for key, row in grown.items() if key[0] == "b"
    }
    assert whole == grown

    changed = home.changed(('over = "4 days"', 'over = "1 day"'), ('of = "amount"', 'of = "items"'))
    feature_tables.update_features(changed.settings, changed.contract)
    again = made(changed)
    assert set(again) == set(grown)
    assert {row["amount_2d"] for row in again.values()} == {None}
    assert again["a15"]["orders_2d"] == grown["a15"]["orders_2d"]


def test_a_column_declared_later_is_empty_in_the_features_of_older_records(spark, make_home):
    home = make_home()
    write(home, spark, 1, [order(home, "old", 0)])
    feature_tables.update_features(home.settings, home.contract)
    later = home.changed(
        ('express = { type = "boolean" }', 'express = { type = "boolean" }\ntip = { type = "number" }')
    )
    feature_tables.update_features(later.settings, later.contract)
    assert [(key, row["tip"]) for key, row in made(later).items()] == [("old", None)]


@pytest.fixture(scope="module")
def looked_up(spark, make_home):
    home = make_home(extra=LOOKUPS)
    with pytest.raises(DataError, match="has no file orders-shops.csv, which the look-up 'shops'"):
        feature_tables.update_lookups(home.settings, home.contract, home.landing)
    home.land("orders-shops.csv", "a,100", "b,200", "b,999", ",5", header="shop,size")
    weather = ("a,2026-01-10T12:00:00,0.5,grey", "a,2026-01-10T13:00:00,0,blue", "b,2026-01-10T12:00:00,,")
    home.land("weather.csv", *weather, header="shop,hour,rain,sky")
    assert len(feature_tables.update_lookups(home.settings, home.contract, home.landing)) == 2
    rows = [
        order(home, "noon", 0.9),
        order(home, "one", 1),
        order(home, "two", 2),
        order(home, "b", 0, shop="b"),
        order(home, "c", 0, shop="c"),
        order(home, "none", 0, shop=None),
    ]
    write(home, spark, 1, rows)
    feature_tables.update_features(home.settings, home.contract)
    return home


@pytest.mark.parametrize(
    ("key", "size", "rain", "sky"),
    [
        pytest.param("noon", 100, 0.5, "grey", id="the hour is derived from the record's time"),
        pytest.param("one", 100, 0, "blue", id="the next hour"),
        pytest.param("two", 100, None, None, id="an hour of which nothing is known"),
        pytest.param("b", 200, None, None, id="of a repeated key the first row counts"),
        pytest.param("c", None, None, None, id="an unknown key"),
        pytest.param("none", None, None, None, id="a missing key meets no missing key"),
    ],
)
def test_look_ups_are_joined_by_keys_of_the_record(looked_up, key, size, rain, sky):
    row = made(looked_up)[key]
    assert (row["shops_size"], row["weather_rain"], row["weather_sky"]) == (size, rain, sky)


def test_a_look_up_is_read_again_when_its_file_or_its_columns_change(looked_up):
    home = looked_up

    def update(contract: Contract):
        return [str(table) for table in feature_tables.update_lookups(home.settings, contract, home.landing)]

    assert update(home.contract) == []
    home.land("orders-shops.csv", "a,111", header="shop,size")
    assert update(home.contract) == ["orders.lookup_shops@v1"]
    assert home.rows("lookup_shops") == [{"shop": "a", "size": 111.0}]
    # What was joined before stays: the features of a record are made once.
    feature_tables.update_features(home.settings, home.contract)
    assert made(home)["one"]["shops_size"] == 100
    changed = home.changed(('size = { type = "number" }', 'size = { type = "category" }'))
    assert update(changed.contract) == ["orders.lookup_shops@v2"]
    assert home.rows("lookup_shops") == [{"shop": "a", "size": "111"}]
    home.land("orders-shops.csv", "a,111", "b", header="shop,size")
    with pytest.raises(UnreadableFile, match="row 2: found 1 fields, needed 2; a look-up must be readable throughout"):
        update(changed.contract)
    (home.landing / "orders-shops.csv").unlink()
    assert update(changed.contract) == []


def test_a_batch_whose_features_are_missing_is_left_for_a_later_scoring(make_home, spark, tmp_path):
    home = make_home(extra=HISTORY)
    write(home, spark, 1, [order(home, "a", 0)])
    made = feature_tables.update_features(home.settings, home.contract)
    assert made is not None
    scored = spark.sql("SELECT 'a' AS _key, 'NORMAL' AS band, 1L AS _batch")
    tables.append(home.settings, "orders", "predictions", scored, application="score", transaction=1)

    write(home, spark, 2, [order(home, "b", 1)])
    assert feature_tables.newest_batch(home.settings, "orders") == 1
    unused = ModelVersion("orders", 1, "run", "model", "digest", home.noon.replace(tzinfo=None))
    assert batch_scoring.score_pending(home.settings, home.contract, unused, tmp_path, home.noon).predictions == 0
    assert tables.last_transaction(home.settings, "orders", "predictions", "score") == 1

    feature_tables.update_features(home.settings, home.contract)
    assert feature_tables.newest_batch(home.settings, "orders") == 2
