"""Whatever comes in, it is scored or refused in a sentence, and never breaks anything or is told again."""

import csv
import io
import json
import random

import pytest

from contender.contracts.contract import Contract
from contender.serving import request_forms
from contender.serving.door import Door
from contender.serving.refusals import Refusal
from tests.conftest import CONTRACT
from tests.contender.serving.conftest import RECORD

CANARY = "4111-1111"
VALUES = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        10**30,
        2**53,
        2**53 + 1,
        -0.0,
        1e308,
        5e-324,
        "",
        " ",
        "NA",
        "\u0000",
        "é",
        "e\u0301",
    ),
    *(CANARY, "9999-12-31", "0000-01-01", "0001-01-01T00:00:00+17:59", "2026-02-30", "2026-01-05T24:00", "99999-1-1"),
    *([], {}, [[]], [CANARY], {"a": CANARY}, ["a", 1], "a" * 5000, "\U0001f600", "null", "nan", "1e999", "٣"),
]
NAMES = [*RECORD, "amont", "", "\u0000", "returned", "_key", "a" * 500, "\U0001f600", "customer%20id"]
DATATYPES = ["FP64", "BYTES", "INT64", "BOOL", "FP99", "", None, 7]


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    path = tmp_path_factory.mktemp("door") / "orders" / "contract.toml"
    path.parent.mkdir()
    path.write_text(CONTRACT)
    return Door(Contract.read(path))


def a_record(draw: random.Random) -> object:
    if draw.random() < 0.05:
        return draw.choice(VALUES)
    kept = {name: value for name, value in RECORD.items() if draw.random() < 0.95}
    for _ in range(draw.choice([0, 0, 1, 2])):
        kept[draw.choice(NAMES)] = draw.choice(VALUES)
    return kept


def a_document(draw: random.Random) -> object:
    records = [a_record(draw) for _ in range(draw.randrange(4))]
    rows = [list(one.values()) if isinstance(one, dict) else one for one in records]
    names = [draw.choice(NAMES) if draw.random() < 0.1 else name for name in RECORD]
    columns = {draw.choice(NAMES): draw.choice([rows, [draw.choice(VALUES)], draw.choice(VALUES)]) for _ in range(3)}
    form = draw.choice([*request_forms._FORMS, "params", ""])
    given = draw.choice([records, rows, {"columns": names, "data": rows}, columns, draw.choice(VALUES)])
    return {form: given} | ({"params": {}} if draw.random() < 0.03 else {})


def a_tensor(draw: random.Random) -> object:
    name = draw.choice(NAMES)
    data = [RECORD.get(name, draw.choice(VALUES)), *([draw.choice(VALUES)] if draw.random() < 0.3 else [])]
    shape = draw.choice([[len(data)], [len(data), 1], [1.0], ["1"], [], None, len(data)])
    found = {"name": name, "shape": shape, "datatype": draw.choice(DATATYPES), "data": data}
    if draw.random() < 0.1:
        found[draw.choice(list(found))] = draw.choice(VALUES)
    return found


def mangled(draw: random.Random, body: bytes) -> bytes:
    """The body with some of its bytes changed, most times not at all."""
    if draw.random() < 0.7 or not body:
        return body
    at = draw.randrange(len(body))
    junk = draw.choice([b"", b"\x00", b"\xff", b"{", b"]", b'"', b",", b"\\", b"NaN", b"\\ud800", b":", b"1" * 400])
    return body[:at] + junk + body[at + draw.randrange(3) :]


def as_csv(draw: random.Random) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=draw.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    writer.writerow([draw.choice(NAMES) if draw.random() < 0.1 else name for name in RECORD])
    for _ in range(draw.randrange(3)):
        cells = [draw.choice(VALUES) if draw.random() < 0.2 else value for value in RECORD.values()]
        writer.writerow(cells[: draw.choice([len(cells)] * 9 + [2])])
    return text.getvalue().encode(errors="surrogatepass")


def asked(door: Door, draw: random.Random) -> Refusal | None:
    """How a request is refused; None where it may be scored."""
    kind = draw.choice(["document", "document", "document", "tensors", "lines", "csv"])
    try:
        if kind == "tensors":
            body = {"inputs": [a_tensor(draw) for _ in range(draw.randrange(4))], "outputs": draw.choice([[], [{}], 1])}
            request_forms.read_tensors(door, mangled(draw, json.dumps(body).encode()))
        elif kind == "csv":
            request_forms.read(door, request_forms.CSV, mangled(draw, as_csv(draw)))
        elif kind == "lines":
            lines = b"\n".join(json.dumps(a_record(draw)).encode() for _ in range(3))
            request_forms.read(door, request_forms.JSON_LINES[0], mangled(draw, lines))
        else:
            body = json.dumps(a_document(draw), ensure_ascii=draw.random() < 0.5).encode()
            request_forms.read(door, request_forms.JSON, mangled(draw, body))
    except Refusal as refusal:
        return refusal
    return None


def test_whatever_comes_is_taken_or_refused(door):
    draw = random.Random(20260101)

    found = [asked(door, draw) for _ in range(1_000)]

    refused = [one for one in found if one is not None]
    assert 50 < len(refused) < 950
    assert {one.status for one in refused} <= {400, 413}
    assert all(one.sentence.endswith(".") for one in refused)
    # The name of a field that is not known is told again, as it must be; a value never is.
    told = [f"{fault.found} {fault.needed}" for one in refused for fault in one.faults]
    assert not [one for one in told if CANARY in one]


def test_what_is_taken_quickly_is_what_a_closer_look_takes(door):
    draw = random.Random(7)
    quick = 0
    for _ in range(1_500):
        record = a_record(draw)
        found = door._quickly(record)
        if found is not None:
            quick += 1
            closer = door.check_records([record, record]).values
            assert {name: value[0] for name, value in found.values.items()} == {
                name: value[0] for name, value in closer.items()
            }

    assert quick > 300
