"""The same record has the same score in every form, and that of a batch."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest

from contender.registry import model_files
from contender.serving import title_copy
from tests.contender.serving.conftest import RECORD, ask, post, record

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

RECORDS = [
    RECORD,
    record(order_id="o2", colour=None, items=..., express=None),
    record(order_id="o3", shop="c", colour="never seen", amount=1000, items=2.0, express=False),
    record(order_id="o4", colour=" red ", amount=0, ordered_at="2026-01-05 12:30:00.250000+02:00"),
    record(order_id="o5", colour="NA", ordered_at="2025-12-31"),
]
WHOLE = [{name: one.get(name) for name in RECORD} for one in RECORDS]
NAMES = list(RECORD)
ROWS = [list(one.values()) for one in WHOLE]
DATATYPES = {
    "order_id": "BYTES",
    "ordered_at": "BYTES",
    "shop": "BYTES",
    "colour": "BYTES",
    "amount": "FP64",
    "items": "INT64",
    "express": "BOOL",
}


def as_csv() -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(NAMES)
    writer.writerows([["" if cell is None else str(cell) for cell in row] for row in ROWS])
    return text.getvalue()


FORMS = {
    "data": ({"data": RECORDS}, "application/json"),
    "dataframe_records": ({"dataframe_records": RECORDS}, "application/json; charset=utf-8"),
    "dataframe_split": ({"dataframe_split": {"columns": NAMES, "index": [0], "data": ROWS}}, "application/json"),
    "columns in another order": (
        {"dataframe_split": {"columns": NAMES[::-1], "data": [row[::-1] for row in ROWS]}},
        "application/json",
    ),
    "instances": ({"instances": RECORDS}, "application/json"),
    "instances as a tensor": ({"instances": ROWS}, "application/json"),
    "inputs": ({"inputs": {name: [one[name] for one in WHOLE] for name in NAMES}}, "application/json"),
    "inputs of shape (rows, 1)": (
        {"inputs": {name: [[one[name]] for one in WHOLE] for name in NAMES}},
        "application/json",
    ),
    "Azure's split": ({"input_data": {"columns": NAMES, "index": [0, 1], "data": ROWS}}, "application/json"),
    "Azure's tensor": ({"input_data": ROWS}, "application/json"),
    "Azure's named tensors": (
        {"input_data": {name: [one[name] for one in WHOLE] for name in NAMES}},
        "application/json",
    ),
    "CSV": (as_csv(), "text/csv"),
    "JSON lines": ("\n".join(json.dumps(one) for one in RECORDS), "application/x-ndjson"),
    "JSON with escapes": (json.dumps({"data": RECORDS}).replace("red", "\\u0072ed"), "application/json"),
}


def expected(champion) -> list[float]:
    """Scores of the model itself, under MLflow's signature, from the features that a batch would have."""
    digest = champion.versions[0].digest
    opened = model_files.load_folder(title_copy.model_of(champion.settings, "orders", digest), digest)
    frame = pd.DataFrame(
        {
            "ordered_at": [
                pd.Timestamp(text).timestamp()
                for text in (
                    "2026-01-05T10:30:00Z",
                    "2026-01-05T10:30:00Z",
                    "2026-01-05T10:30:00Z",
                    "2026-01-05T10:30:00.250Z",
                    "2025-12-31T00:00:00Z",
                )
            ],
            "shop": ["a", "a", "c", "a", "a"],
            "colour": np.array(["red", None, "never seen", "red", None], dtype=object),
            "amount": [12.5, 12.5, 1000.0, 0.0, 12.5],
            "items": [3.0, np.nan, 2.0, 3.0, 3.0],
            "express": [1.0, np.nan, 0.0, 1.0, 1.0],
        }
    )
    return opened.answer(frame)[:, 1].tolist()


@pytest.mark.parametrize("path", ["/score", "/invocations", "/orders/score"])
@pytest.mark.parametrize("form", FORMS)
def test_a_record_has_the_score_of_a_batch_in_every_form(app, champion, form, path):
    body, kind = FORMS[form]

    answer = post(app, body, path, headers={"content-type": kind})

    assert answer.status_code == 200, answer.text
    found = answer.json()["predictions"]
    assert [one["score"] for one in found] == pytest.approx(expected(champion), abs=1e-12)
    assert [one["missing"] for one in found] == [[], ["colour", "items", "express"], [], [], ["colour"]]


def test_one_record_alone_has_the_score_that_it_has_among_others(app):
    together = [one["score"] for one in post(app, {"data": RECORDS}).json()["predictions"]]

    alone = [post(app, {"data": [one]}).json()["predictions"][0]["score"] for one in RECORDS]

    assert alone == pytest.approx(together, abs=1e-12)


def test_tensors_of_the_open_inference_protocol_have_the_same_scores(app, champion):
    inputs = [
        {"name": name, "shape": [5, 1], "datatype": DATATYPES[name], "data": [[row[name]] for row in WHOLE]}
        for name in NAMES
    ]

    answer = post(app, {"id": "7", "inputs": inputs}, "/v2/models/orders/infer").json()

    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("orders", "1", "7")
    found = {one["name"]: one for one in answer["outputs"]}
    assert found["score"]["data"] == pytest.approx(expected(champion), abs=1e-12)
    assert (found["score"]["shape"], found["prediction"]["datatype"]) == ([5], "INT32")
    assert found["band"]["data"] == [
        "CRITICAL" if score >= 0.5 else "WARNING" if score >= 0.1 else "NORMAL" for score in found["score"]["data"]
    ]


def test_the_outputs_that_are_asked_for_are_given_and_no_others(app):
    inputs = [{"name": n, "shape": [1], "datatype": DATATYPES[n], "data": [RECORD[n]]} for n in NAMES]
    body = {"inputs": inputs, "outputs": [{"name": "score"}]}

    answer = post(app, body, "/v2/models/orders/versions/1/infer")
    unknown = post(app, body | {"outputs": [{"name": "label"}]}, "/v2/models/orders/infer")

    assert [one["name"] for one in answer.json()["outputs"]] == ["score"]
    assert unknown.status_code == 400


def test_an_answer_says_who_gave_it(app):
    answer = post(app, {"data": [RECORD]}, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})

    found = answer.json()
    assert (found["model_version"], found["arm"], found["use_case"]) == (1, "champion", "orders")
    assert found["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-contender-model-version"] == "1"
    assert answer.headers["traceparent"].startswith(f"00-{'a' * 32}-")
    assert answer.headers["traceparent"].split("-")[2] != "b" * 16
    one = found["predictions"][0]
    assert one["prediction"] == int(one["score"] >= 0.5)


def test_what_a_model_takes_and_gives_is_told(app):
    model = ask(app, "GET", "/v2/models/orders").json()

    assert {one["name"]: one["datatype"] for one in model["inputs"]} == DATATYPES
    assert ask(app, "GET", "/v2/models/orders/versions/1/ready").json()["ready"] is True
    assert ask(app, "GET", "/v2/models/orders/versions/2/ready").status_code == 404


def test_openapi_describes_the_contracts_own_columns(app):
    found = ask(app, "GET", "/openapi.json").json()

    record = found["components"]["schemas"]["orders_record"]
    assert record["properties"]["amount"] | {"description": ""} == {
        "type": "number",
        "minimum": 0,
        "maximum": 1000,
        "description": "",
    }
    assert record["properties"]["shop"]["enum"] == ["a", "b", "c"]
    assert record["properties"]["items"]["type"] == ["integer", "null"]
    assert set(record["required"]) == {"order_id", "ordered_at", "shop", "amount"}
    assert "/orders/score" in found["paths"]
    assert "/v2/models/orders/infer" in found["paths"]
