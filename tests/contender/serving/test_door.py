"""What is wrong with a request is told whole: every field, every row, what was found by type and what is allowed."""

import gzip
import json

import pytest

from contender.serving.door import Door
from contender.serving.refusals import Refusal
from tests.contender.serving.conftest import RECORD, ask, post, record, send

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]
SECRET = "4111 1111 1111 1111"


def faults(answer) -> dict[str, tuple[list[int], str, str]]:
    assert answer.status_code == 400, answer.text
    return {one["field"]: (one["rows"], one["found"], one["needed"]) for one in answer.json()["faults"]}


@pytest.mark.parametrize(
    ("field", "literal"),
    [
        ("amount", "3"),
        ("amount", "3.0"),
        ("amount", "-0.0"),
        ("amount", "1e-320"),
        ("items", "3.0"),
        ("items", "30e-1"),
        ("items", "-0"),
        ("items", "9007199254740992"),
        ("items", "9007199254740992.0"),
        ("colour", '""'),
        ("express", "null"),
        ("ordered_at", '"2026-01-05T10:30:00.123456+05:30"'),
        ("ordered_at", '"2026-1-5"'),
    ],
)
def test_what_a_column_means_is_taken_in_every_spelling_of_json(app, field, literal):
    body = json.dumps({"data": [record(**{field: "HERE"})]}).replace('"HERE"', literal)

    answer = post(app, body)

    assert answer.status_code == 200, answer.text


ORDERED = 'ordered_at = { type = "timestamp", required = true'
MOMENT = 1_767_609_000.0
"""2026-01-05T10:30:00Z."""


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("epoch s", 1_767_609_000),
        ("epoch ms", 1_767_609_000_000),
        ("epoch us", 1_767_609_000_000_000),
        ("epoch ns", 1_767_609_000_000_000_000),
        ("Excel days", 46_027.4375),
    ],
)
def test_times_that_are_numbers_in_files_are_numbers_in_requests(make_home, form, value):
    door = Door(make_home((ORDERED, f'{ORDERED}, format = "{form}"')).contract)

    for given in (value, str(value)):
        assert door.check_records([record(ordered_at=given)]).values["ordered_at"] == [MOMENT]


@pytest.mark.parametrize("form", [None, "yyyy-MM-dd", "RFC 2822"])
def test_a_number_is_no_time_where_files_write_texts(make_home, form):
    home = make_home((ORDERED, f'{ORDERED}, format = "{form}"')) if form else make_home()

    with pytest.raises(Refusal, match="'ordered_at' in row 0: found a whole number"):
        Door(home.contract).check_records([record(ordered_at=1_767_609_000)])


@pytest.mark.parametrize(
    ("field", "literal", "found"),
    [
        ("amount", '"1"', "a text"),
        ("amount", "true", "true or false"),
        ("amount", "[1]", "a list"),
        ("amount", "{}", "an object"),
        ("amount", "NaN", "NaN"),
        ("amount", "-Infinity", "-Infinity"),
        ("amount", "1e400", "a number beyond the range of floating point"),
        ("amount", "9007199254740993", "a whole number beyond 2^53"),
        ("amount", "1" + "0" * 400, "a whole number beyond 2^53"),
        ("amount", "-0.01", "a number below 0"),
        ("amount", "1000.01", "a number above 1000"),
        ("amount", "null", "nothing"),
        ("items", "1.5", "a number with a fraction"),
        ("items", '"1"', "a text"),
        ("items", "false", "true or false"),
        ("items", "9007199254740993", "a whole number beyond 2^53"),
        ("items", "-9007199254740993", "a whole number beyond 2^53"),
        ("items", "1e300", "a whole number"),
        ("express", "1", "a whole number"),
        ("express", '"true"', "a text"),
        ("colour", "7", "a whole number"),
        ("shop", '"d"', "none of the 3 known values"),
        ("shop", '"A"', "none of the 3 known values"),
        ("shop", '"NA"', "nothing"),
        ("ordered_at", '"05.01.2026"', "a text that is not one"),
        ("ordered_at", '"2026-02-30"', "a text that is not one"),
        ("ordered_at", "1767609000", "a whole number"),
        ("ordered_at", '"2099-01-01"', "a time in the future"),
        ("order_id", "null", "nothing"),
    ],
)
def test_a_wrong_value_is_told_by_its_type(app, field, literal, found):
    body = json.dumps({"data": [RECORD, record(**{field: "HERE"})]}).replace('"HERE"', literal)

    told = faults(post(app, body))

    assert list(told) == [field]
    assert told[field][:2] == ([1], found)


def test_every_wrong_field_and_row_is_named_at_once_and_no_value_is_told(app):
    rows = [
        record(amount=SECRET, shop=SECRET, order_id=..., colour=[SECRET]),
        RECORD,
        record(amount=SECRET, amont=1, ordered_at=SECRET),
    ]

    answer = post(app, {"data": rows})

    told = faults(answer)
    assert told["amount"] == ([0, 2], "a text", "a finite number from 0 to 1000")
    assert told["shop"] == ([0], "none of the 3 known values", "one of 'a', 'b', 'c'")
    assert told["order_id"][:2] == ([0], "nothing")
    assert told["colour"][:2] == ([0], "a list")
    assert told["amont"] == ([2], "a field that is not known", "'amount', which is the nearest name")
    assert told["ordered_at"][:2] == ([2], "a text that is not one")
    assert SECRET not in answer.text


def test_no_verdict_depends_on_the_other_rows(app):
    good = record(items=None)

    beside_fractions = faults(post(app, {"data": [good, record(items=1.5)]}))
    beside_texts = faults(post(app, {"data": [record(items="x"), good, record(items=1.0)]}))

    assert beside_fractions["items"][0] == [1]
    assert beside_texts["items"][0] == [0]


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("returned", "none: it is the outcome, which is not known when a score is wanted"),
        ("Amount", "'amount', which is the nearest name"),
    ],
)
def test_a_field_that_no_record_has_is_told_the_way_out(app, name, needed):
    assert faults(post(app, {"data": [record(**{name: 1})]}))[name][2] == needed


@pytest.mark.parametrize(
    "text",
    [
        '{"data": [{"amount": 1, "amount": 2, REST}]}',
        '{"data": [{"amount": 1, REST, "amou\\u006et": 1}]}',
    ],
)
def test_a_name_given_twice_is_refused_also_with_the_same_value(app, text):
    rest = json.dumps(record(amount=...))[1:-1]

    assert faults(post(app, text.replace("REST", rest)))["amount"][1] == "the field twice"


def test_a_column_given_twice_is_refused_in_every_form(app):
    names, values = [*RECORD, "amount"], [*RECORD.values(), 5]
    tensors = [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [1]}] * 2

    split = post(app, {"dataframe_split": {"columns": names, "data": [values]}})
    comma = post(app, ",".join(names) + "\n" + ",".join(map(str, values)), headers={"content-type": "text/csv"})
    tensor = post(app, {"inputs": tensors}, "/v2/models/orders/infer")

    for answer in (split, comma, tensor):
        assert faults(answer)["amount"][1] == "the field twice"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, 2",
        b'{"data": [{}],}',
        b'\xef\xbb\xbf{"data": []}',
        b'{"data": ["\xff"]}',
        b'{"data": ["\\ud800"]}',
        b'{"data": [{"shop": "a\nb"}]}',
        b"{'data': []}",
        b"1" * 5000,
        b"null",
        b"[]",
        b"{}",
        b'{"date": []}',
        b'{"data": [], "params": {}}',
        b'{"data": {}}',
        b'{"data": [1]}',
        b'{"dataframe_split": {"columns": ["shop"]}}',
        b'{"dataframe_split": {"columns": ["shop"], "data": [["a", "b"]]}}',
        b'{"inputs": {"shop": ["a"], "amount": [1, 2]}}',
        b'{"inputs": {}}',
        b'{"instances": [["a"]]}',
    ],
)
def test_what_is_no_form_is_refused_in_a_sentence(app, body):
    answer = post(app, body)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize(
    "tensor",
    [
        {"name": "amount", "shape": [2], "datatype": "FP64", "data": [1]},
        {"name": "amount", "shape": [1], "datatype": "BYTES", "data": [1]},
        {"name": "amount", "shape": [1], "datatype": "FLOAT", "data": [1]},
        {"name": "amount", "shape": [1], "data": [1]},
        {"name": "amount", "shape": [True], "datatype": "FP64", "data": [1]},
        {"name": "amount", "shape": [1], "datatype": "FP64", "data": 1},
        {"name": 1, "shape": [1], "datatype": "FP64", "data": [1]},
    ],
)
def test_tensors_that_do_not_hold_together_are_refused(app, tensor):
    assert post(app, {"inputs": [tensor]}, "/v2/models/orders/infer").status_code == 400


@pytest.mark.parametrize("text", ['order_id,shop\n"o1,a', "", "order_id,shop\no1\n", b"order_id\n\xff"])
def test_what_is_no_csv_is_refused(app, text):
    assert post(app, text, headers={"content-type": "text/csv"}).status_code == 400


def test_cells_are_read_as_the_files_are(app):
    line = "o1,2026-01-05,a,red,12.5,3,ja"
    header = ",".join(RECORD)

    good = post(app, f"{header}\r\n{line}\r\n", headers={"content-type": "text/csv"})
    bad = post(
        app,
        f"{header}\n{line}\n{line.replace('12.5', '12,5x').replace(',5x', 'x')}\n",
        headers={"content-type": "text/csv"},
    )

    assert good.json()["predictions"][0]["missing"] == []
    assert faults(bad)["amount"] == ([1], "a text that is not one", "a finite number from 0 to 1000")


def test_bodies_beyond_the_limits_are_refused_before_they_are_read_whole(app):
    piece = {"body": b" " * (1 << 20), "more_body": True}
    kind = {"content-type": "application/json"}

    told = send(app, "/score", [piece] * 20, kind | {"content-length": str(20 << 20)})
    untold = send(app, "/score", [piece] * 20, kind)
    bomb = gzip.compress(b" " * (64 << 20))
    packed = send(app, "/score", [{"body": bomb, "more_body": False}], kind | {"content-encoding": "gzip"})

    assert [one.status for one in (told, untold, packed)] == [413, 413, 413]
    assert (told.read, untold.read) == (0, 17)


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{}] * 10_001},
        {"instances": [[]] * 10_001},
        {"dataframe_split": {"columns": [], "data": [[]] * 10_001}},
        {"inputs": {"amount": [1] * 10_001}},
        '{"data": ' + "[" * 40 + "]" * 40 + "}",
        '{"data": ' + "[" * 100_000,
        {"data": [{"colour": "[" * 20, "amount": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}]},
    ],
    ids=["records", "rows", "split", "columns", "deep", "deeper", "deep beside text"],
)
def test_more_rows_or_levels_than_are_taken_are_too_many(app, body):
    assert post(app, body).status_code == 413


def test_brackets_in_texts_are_no_levels(app):
    assert post(app, {"data": [record(colour="[{" * 100 + '"')]}).status_code == 200


def test_csv_and_lines_of_too_many_rows_are_too_many(app):
    lines = post(app, "{}\n" * 10_001, headers={"content-type": "application/jsonl"})
    rows = post(app, "shop\n" + "a\n" * 10_001, headers={"content-type": "text/csv"})

    assert (lines.status_code, rows.status_code) == (413, 413)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": ""}, 415),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({"content-encoding": "br"}, 415),
        ({"content-encoding": "gzip"}, 400),
        ({"x-request-id": "a b"}, 400),
        ({"x-request-id": "a" * 129}, 400),
    ],
)
def test_other_types_codings_and_ids_are_refused(app, headers, status):
    assert post(app, {"data": [RECORD]}, headers=headers).status_code == status


def test_a_body_may_be_packed(app):
    body = gzip.compress(json.dumps({"data": [RECORD]}).encode())

    whole = post(app, body, headers={"content-encoding": "gzip"})
    cut = post(app, body[:-3], headers={"content-encoding": "gzip"})

    assert (whole.status_code, cut.status_code) == (200, 400)


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/nothing", 404, None),
        ("POST", "/others/score", 404, None),
        ("GET", "/v2/models/orders/versions/9", 404, None),
        ("GET", "/score", 405, "POST"),
        ("DELETE", "/v2/models/orders", 405, "GET, HEAD"),
        ("POST", "/health/live", 405, "GET, HEAD"),
    ],
)
def test_unknown_routes_versions_and_methods(app, method, path, status, allowed):
    answer = ask(app, method, path)

    assert (answer.status_code, answer.headers.get("allow")) == (status, allowed)


def test_no_record_is_no_fault(app):
    assert post(app, {"data": []}).json()["predictions"] == []
