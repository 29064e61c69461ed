"""A record that is asked for live is to the model what the same record is in a batch."""

import math

import pytest

from contender.features import feature_tables
from contender.serving import lookups, request_forms
from contender.serving.door import Door
from tests.conftest import ORDERS

pytestmark = pytest.mark.slow

CHANGES = (
    ("amount = { type", 'amount = { missing = ["-999"], decimal = ",", type'),
    ("required = true, min = 0", "min = 0"),
    ("ordered_at = { type", 'ordered_at = { missing = ["1900-01-01"], type'),
    (
        'express = { type = "boolean" }',
        'express = { type = "boolean" }\n'
        'paid = { type = "timestamp", format = "dd.MM.yyyy H:mm", from = "day || \' \' || clock" }\n'
        'due = { type = "timestamp", format = ["d/M/yy", "epoch s"] }\n'
        'wait = { type = "number", format = "duration" }',
    ),
)
LOOK_UPS = """
[lookups.shops]
file = "shops.csv"
key = { shop = "shop" }

[lookups.shops.columns]
shop = { type = "text" }
size = { type = "integer" }
opened = { type = "timestamp" }
kind = { type = "category" }

[lookups.hours]
file = "hours.csv"
key = { day = "day(ordered_at - INTERVAL 1 HOUR)", hour = "hour(ordered_at - INTERVAL 1 HOUR)" }

[lookups.hours.columns]
day = { type = "integer" }
hour = { type = "number" }
rain = { type = "number", unit = "mm" }

[lookups.owners]
file = "owners.csv"
key = { kind = "shops_kind" }

[lookups.owners.columns]
kind = { type = "category" }
owner = { type = "category" }
"""
FILES = {
    "shops.csv": "shop,size,opened,kind\na,7,2001-02-03T04:05:06,small\nb,,1999-12-31,\na,8,2002-01-01,large\n",
    "hours.csv": "day,hour,rain\n5,9,0.1\n5,0,2.5\n31,23,\n30,23,7\n4,23,3\n",
    "owners.csv": "kind,owner\nsmall,Ada\nlarge,Bob\n",
}
HEADER = f"{ORDERS},day,clock,due,wait"
LINES = [
    'o1,2026-01-05T10:30:00Z,a,red,"12,5",3,true,05.01.2026,9:15,5/1/26,1:02:03',
    'o2,2026-01-05 10:30,b, blue ,"0,1",3.0,Ja,06.01.2026,23:59,1767609000,PT5M',
    "o3,2026-01-05T10:30:00.123456+05:30,c,NA,-999,,no,,,,",
    "o4,2025-12-31,a,grün,1000,-7,,31.12.2025,0:00,31/12/99,1:30",
    'o5,2026-1-5,b,gru\u0308n,"1e2",9007199254740991,0,05.01.2026,10:30,1.5,-0:05',
    "o6,2026-01-05T1:2:3,c,never seen,5,+2,1,05.01.2026,10:30,0,2h",
]
TYPED = [
    {"order_id": "o1", "ordered_at": "2026-01-05T10:30:00Z", "shop": "a", "colour": "red", "amount": 12.5, "items": 3}
    | {"express": True, "day": "05.01.2026", "clock": "9:15", "due": "5/1/26", "wait": 3723},
    {"order_id": "o2", "ordered_at": "2026-01-05T10:30:00", "shop": "b", "colour": "blue", "amount": 0.1, "items": 3.0}
    | {"express": True, "day": "06.01.2026", "clock": "23:59", "due": 1767609000, "wait": 300},
    {"order_id": "o3", "ordered_at": "2026-01-05T10:30:00.123456+05:30", "shop": "c", "amount": -999, "express": False},
]


@pytest.fixture(scope="module")
def batch(spark, make_home):
    """The contract, and the features of each order as a batch has them."""
    home = make_home(*CHANGES, extra=LOOK_UPS)
    for name, text in FILES.items():
        (home.landing / name).write_text(text)
    home.land("orders-1.csv", *LINES, header=HEADER)
    ingested, _ = home.take_in()
    assert (ingested.accepted, ingested.quarantined) == (len(LINES), 0), home.reasons()
    feature_tables.update_lookups(home.settings, home.contract, home.landing)
    feature_tables.update_features(home.settings, home.contract)
    return home.settings, home.contract, {row["_key"]: row for row in home.rows("features")}


def assert_same(batch, door, checked) -> None:
    settings, contract, features = batch
    looked_up = lookups.read(settings, contract)
    values = looked_up.look_up(checked.values, checked.rows, door.texts)
    assert {"shops_size", "hours_rain", "owners_owner"} <= looked_up.columns
    for row in range(checked.rows):
        of_batch = features[checked.values["order_id"][row]]
        for column in contract.model_columns:
            expected, found = of_batch[contract.stored_names[column.name]], values[column.name][row]
            if expected is None or (isinstance(expected, float) and math.isnan(expected)):
                assert found is None, (row, column.name)
            else:
                assert found == expected, (row, column.name)


def test_cells_are_to_the_model_what_they_are_in_a_file(batch):
    door = Door(batch[1])

    checked = request_forms.read(door, request_forms.CSV, "\n".join([HEADER, *LINES]).encode())

    assert checked.rows == len(LINES)
    assert_same(batch, door, checked)


def test_typed_values_are_to_the_model_what_their_cells_are(batch):
    door = Door(batch[1])

    checked = door.check_records(TYPED)

    assert checked.rows == len(TYPED)
    assert_same(batch, door, checked)


def test_a_look_up_that_was_never_written_is_left_out_and_those_that_need_it(batch):
    settings, contract, _ = batch
    nowhere = settings.model_copy(update={"home": settings.home / "none"})

    assert lookups.read(nowhere, contract).columns == frozenset()
