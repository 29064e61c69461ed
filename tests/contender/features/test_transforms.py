import math
import random
from datetime import datetime, timedelta

import pytest

from contender.features import transforms
from contender.ingestion.file_order import natural, with_natural

pytestmark = pytest.mark.slow

START = datetime(2026, 1, 1)  # noqa: DTZ001
HOUR = timedelta(hours=1)
TAKES = {
    "amount_avg": ("avg", "amount"),
    "amount_sum": ("sum", "amount"),
    "amount_count": ("count", "amount"),
    "express_share": ("share", "express"),
    "colour_last": ("last", "colour"),
    "amount_since": ("time since", "amount"),
    "orders_count": ("count", None),
    "orders_since": ("time since", None),
    "returned_share": ("share", "outcome"),
    "returned_count": ("count", "outcome"),
    "returned_last": ("last", "outcome"),
    "returned_since": ("time since", "outcome"),
    "refund_avg": ("avg", "outcome.refund"),
    "refund_sum": ("sum", "outcome.refund"),
    "refund_last": ("last", "outcome.refund"),
}
ENTITIES = {"shop": (("shop",), 50 * HOUR), "both": (("shop", "colour"), 60 * HOUR), "long": (("shop",), 90 * HOUR)}
HISTORY = "[history]\n" + "".join(
    f'{by}_{name} = {{ take = "{take}", by = {list(columns)}, over = "{over // HOUR} hours"'
    + (f', of = "{of}"' if of else "")
    + " }\n"
    for by, (columns, over) in ENTITIES.items()
    for name, (take, of) in TAKES.items()
)
WANTED = [(by, name) for by in ENTITIES for name in TAKES]
RECORD_SCHEMA = (
    "_key string, _time timestamp, _batch bigint, _file string, _row bigint, _received_at timestamp, order_id string, "
    "ordered_at timestamp, shop string, colour string, amount double, items bigint, express boolean"
)
OUTCOME_SCHEMA = (
    "_key string, _target double, _file string, _row bigint, _batch bigint, _received_at timestamp, order_id string, "
    "returned boolean, refund double"
)


def random_events(seed: int = 7) -> tuple[list[dict], list[dict]]:
    """60 orders in six days at whole hours, so that many share theirs; half received in bulk, half live."""
    draw = random.Random(seed)
    records, outcomes = [], []
    for number in range(60):
        at, key = START + draw.randrange(144) // 2 * 2 * HOUR, f"k{number:02}"
        bulk = draw.random() < 0.5
        records.append(
            {
                "_key": key,
                "_time": at,
                "_batch": 1,
                "_file": "orders",
                "_row": number,
                "_received_at": START + 400 * HOUR if bulk else at + HOUR / 2,
                "order_id": key,
                "ordered_at": at,
                "shop": draw.choice("ab"),
                "colour": draw.choice(["red", "blue", None]),
                "amount": draw.choice([None, round(draw.uniform(-5, 50), 2)]),
                "items": 1,
                "express": draw.choice([True, False, None]),
            }
        )
        for version in range(draw.choice([0, 1, 1, 2])):
            returned = draw.random() < 0.4
            outcomes.append(
                {
                    "_key": key,
                    "_target": float(returned),
                    "_file": "returns",
                    "_row": number,
                    "_batch": 1 + version,
                    "_received_at": at + (12 + draw.randrange(60) + 20 * version) * HOUR,
                    "order_id": key,
                    "returned": returned,
                    "refund": draw.choice([None, round(draw.uniform(0, 9), 2)]),
                }
            )
    return records, outcomes


def known_by_hand(records: list[dict], outcomes: list[dict]) -> list[dict]:
    newest = {}
    for outcome in sorted(outcomes, key=lambda o: (o["_received_at"], o["_batch"], o["_file"], o["_row"])):
        newest[outcome["_key"]] = outcome
    known = []
    for record in records:
        if outcome := newest.get(record["_key"]):
            stated = record["_time"] + 48 * HOUR
            live = record["_received_at"] < stated
            known.append(
                record
                | {"outcome": outcome["_target"], "outcome.refund": outcome["refund"]}
                | {"_known_at": outcome["_received_at"] if live else stated}
            )
    return known


def by_hand(record, records, known, by, name):
    """One feature of one record, told the long way."""
    (entity, over), (take, of) = ENTITIES[by], TAKES[name]
    of_outcome = of is not None and of.startswith("outcome")
    now, events = record["_time"], []
    if any(record[name] is None for name in entity):
        return None
    for other in known if of_outcome else records:
        at = other["_known_at"] if of_outcome else other["_time"]
        value = 1.0 if of is None else other[of]
        too_late = of_outcome and at - other["_time"] > over
        if now - over <= at < now and value is not None and not too_late and all(other[e] == record[e] for e in entity):
            events.append((at, other["_key"], value))
    values = [float(value) if take != "last" else value for *_, value in events]
    match take:
        case "count":
            return float(len(values))
        case "sum":
            return math.fsum(values)
        case "avg" | "share":
            return math.fsum(values) / len(values) if values else None
        case "last":
            return max(events)[2] if events else None
        case "time since":
            return (now - max(events)[0]).total_seconds() if events else None


def made(spark, home, records, outcomes, wanted=None) -> dict[str, dict]:
    every = spark.createDataFrame([tuple(r.values()) for r in records], RECORD_SCHEMA)
    received = spark.createDataFrame([tuple(o.values()) for o in outcomes], OUTCOME_SCHEMA)
    known = transforms.known_outcomes(every, received, home.contract)
    asked = every if wanted is None else every.where(every["_key"].isin(wanted))
    rows = transforms.with_history(asked, every, known, home.contract).toPandas()
    return {row["_key"]: row for row in rows.astype(object).where(rows.notna(), None).to_dict("records")}


def rounded(values: dict) -> dict:
    """Sums may add up in another order."""
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in values.items()}


@pytest.fixture(scope="module")
def home(make_home):
    return make_home(extra=HISTORY)


@pytest.fixture(scope="module")
def computed(spark, home):
    records, outcomes = random_events()
    return records, known_by_hand(records, outcomes), made(spark, home, records, outcomes)


@pytest.mark.parametrize(("by", "name"), WANTED)
def test_a_history_feature_is_what_was_known_at_the_time(computed, by, name):
    records, known, found = computed
    expected = {record["_key"]: by_hand(record, records, known, by, name) for record in records}
    got = {key: row[f"{by}_{name}"] for key, row in found.items()}
    assert len({value for value in expected.values() if value is not None}) > 1, "the example tells nothing apart"
    assert rounded(got) == rounded(expected)


def test_every_record_has_its_features_once(computed):
    records, _, found = computed
    assert len(found) == len(records)


def test_nothing_at_or_after_a_moment_changes_a_feature_of_that_moment(spark, home, computed):
    records, outcomes = random_events()
    moment = sorted(record["_time"] for record in records)[35]
    known_at = {known["_key"]: known["_known_at"] for known in known_by_hand(records, outcomes)}
    changed = [record | {"amount": 1e6, "express": True} if record["_time"] >= moment else record for record in records]
    intruders = [
        record | {"_key": f"new{record['_key']}", "_time": moment + n * HOUR, "ordered_at": moment + n * HOUR}
        for n, record in enumerate(records[:12])
    ]
    told = [
        outcome | {"_target": 1.0 - outcome["_target"], "refund": 1e6}
        if known_at[outcome["_key"]] >= moment
        else outcome
        for outcome in outcomes
    ]
    assert told != outcomes
    before = [record["_key"] for record in records if record["_time"] <= moment]
    again = made(spark, home, changed + intruders, told, wanted=before)
    *_, found = computed
    names = [f"{by}_{name}" for by, name in WANTED]
    for key in before:
        assert rounded({n: again[key][n] for n in names}) == rounded({n: found[key][n] for n in names}), key


def test_an_outcome_is_known_when_received_or_for_bulk_as_the_contract_says(spark, make_home):
    at = START
    record = random_events()[0][0] | {"_time": at, "ordered_at": at}
    live, bulk = record | {"_received_at": at + HOUR}, record | {"_received_at": at + 999 * HOUR}
    records = [live | {"_key": "live"}, bulk | {"_key": "bulk"}, bulk | {"_key": "corrected"}, live | {"_key": "none"}]
    outcome = {
        "_target": 1.0,
        "_file": "r",
        "_row": 1,
        "_batch": 1,
        "_received_at": at + 5 * HOUR,
        "order_id": "x",
        "returned": True,
        "refund": 3.0,
    }
    outcomes = [{"_key": key, **outcome} for key in ("live", "bulk", "corrected", "nobody")]
    outcomes += [
        {"_key": "corrected", **outcome, "_target": 0.0, "refund": 6.0, "_batch": 2},
        {"_key": "corrected", **outcome, "_file": "a", "_row": 9, "refund": 7.0},
    ]
    every = spark.createDataFrame([tuple(r.values()) for r in records], RECORD_SCHEMA)
    received = spark.createDataFrame([tuple(o.values()) for o in outcomes], OUTCOME_SCHEMA)

    def known(contract):
        rows = (
            transforms.known_outcomes(every, received, contract).selectExpr("_key", "_target", "_known_at").toPandas()
        )
        return {key: (target, (known_at - at) / HOUR) for key, target, known_at in rows.itertuples(index=False)}

    assert known(make_home().contract) == {"live": (1.0, 5.0), "bulk": (1.0, 48.0), "corrected": (0.0, 48.0)}
    stated = make_home(('known_after = "2 days"', 'known_at = "ordered_at + refund * INTERVAL 1 HOUR"'))
    assert known(stated.contract) == {"live": (1.0, 5.0), "bulk": (1.0, 3.0), "corrected": (1.0, 7.0)}
    # Without a time of its own nothing tells but the arrival.
    timeless = make_home(('time = "ordered_at"\n', ""), ('newest = "7 days"', 'newest = "20 %"'))
    arrived = {received["_key"]: received["_received_at"] for received in outcomes}
    assert {key: hours for key, (_, hours) in known(timeless.contract).items()} == {
        key: (arrived[key] - at) / HOUR for key in ("live", "bulk", "corrected")
    }


def told(key: str, value: float, file: str, *, batch=1, hours=100, row=1, refund=None) -> tuple:
    return (
        key,
        float(value),
        file,
        row,
        batch,
        START + hours * HOUR,
        key,
        bool(value),
        None if refund is None else float(refund),
    )


def counting(spark, contract, *outcomes: tuple) -> float:
    """The target of the one record that all of these are about."""
    at = START
    record = ("k", at, 1, "orders", 1, START + HOUR, "k", at, "a", None, 1.0, 1, True)
    every = spark.createDataFrame([record], RECORD_SCHEMA)
    (row,) = transforms.known_outcomes(every, spark.createDataFrame([*outcomes], OUTCOME_SCHEMA), contract).collect()
    return row["_target"]


@pytest.mark.parametrize(
    ("outcomes", "counts"),
    [
        pytest.param([told("k", 1, "returns-10.csv"), told("k", 0, "returns-9.csv")], 1, id="10 after 9"),
        pytest.param([told("k", 1, "v2-returns-9.csv"), told("k", 0, "v10-returns-1.csv")], 0, id="first number first"),
        pytest.param([told("k", 1, "2026-01-02.csv"), told("k", 0, "2025-12-31.csv")], 1, id="dates"),
        pytest.param([told("k", 1, "r.csv", row=2), told("k", 0, "r.csv", row=1)], 1, id="rows of one file"),
        pytest.param(
            [told("k", 1, "a.csv", batch=2, hours=101), told("k", 0, "b.csv")], 1, id="arrival before the name"
        ),
        pytest.param(
            [told("k", 1, "b.csv", batch=2, hours=101), told("k", 0, "a.csv", batch=3, hours=100)],
            1,
            id="what quarantine held came when its file did",
        ),
    ],
)
def test_of_several_outcomes_the_last_to_arrive_counts(spark, make_home, outcomes, counts):
    assert counting(spark, make_home().contract, *outcomes) == counts
    assert counting(spark, make_home().contract, *reversed(outcomes)) == counts


@pytest.mark.parametrize(
    ("outcomes", "counts"),
    [
        pytest.param(
            [told("k", 1, "a", refund=9), told("k", 0, "b", batch=2, hours=200, refund=2)], 1, id="older later"
        ),
        pytest.param([told("k", 1, "a", refund=2), told("k", 0, "b", batch=2, hours=200, refund=2)], 0, id="a tie"),
        pytest.param([told("k", 1, "a", refund=2), told("k", 0, "b", batch=2, hours=200)], 1, id="one does not say"),
    ],
)
def test_where_a_column_tells_the_outcome_known_last_counts(spark, make_home, outcomes, counts):
    stated = make_home(('known_after = "2 days"', 'known_at = "ordered_at + refund * INTERVAL 1 HOUR"'))

    assert counting(spark, stated.contract, *outcomes) == counts


@pytest.mark.parametrize(
    "name", ["returns-10.csv", "v007-2.csv", "ä 9 (final) 10.csv", "", "1", "no number", "٣-3.csv"]
)
def test_spark_orders_names_as_python_does(spark, name):
    (row,) = with_natural(spark.createDataFrame([(name,)], "_file string"), "_file", "order").collect()

    assert row["order"] == natural(name)


def test_names_are_ordered_as_people_count():
    names = ["r-10.csv", "r-9.csv", "r-09b.csv", "r-100.csv", "q-11.csv"]

    assert sorted(names, key=natural) == ["q-11.csv", "r-9.csv", "r-09b.csv", "r-10.csv", "r-100.csv"]
