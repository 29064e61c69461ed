"""What the server does when it is asked twice, too much, or breaks; and what it tells of itself."""

import asyncio
import json
import re

import httpx
import numpy as np
import pytest

from contender.errors import ModelError
from contender.serving.answers import Answers, Kept
from contender.serving.application import Limits, json_lines
from contender.serving.champions import Champion
from contender.values import ModelColumn
from tests.contender.serving.conftest import RECORD, ask, post, record

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


def counted(app) -> dict[str, float]:
    text = ask(app, "GET", "/metrics").text
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}


def test_a_request_that_comes_again_is_answered_as_it_was_and_not_scored_twice(champion):
    app = champion.open()
    scored = []
    app.served["orders"].champion.score = _noting(app.served["orders"].champion.score, scored)
    options = {"headers": {"x-request-id": "order-7"}}

    first = post(app, {"data": [RECORD]}, **options)
    again = post(app, {"data": [RECORD]}, **options)
    other = post(app, {"data": [record(amount=1)]}, **options)

    assert first.content == again.content
    assert (first.headers["x-request-id"], again.headers["x-contender-repeated"]) == ("order-7", "true")
    assert len(scored) == 1
    assert other.status_code == 409


def _noting(score, scored):
    def noted(checked, door):
        scored.append(checked.rows)
        return score(checked, door)

    return noted


def test_what_was_refused_may_be_mended_under_the_same_id(champion):
    app = champion.open()
    options = {"headers": {"x-request-id": "order-8"}}

    assert post(app, {"data": [record(amount=-1)]}, **options).status_code == 400
    assert post(app, {"data": [RECORD]}, **options).status_code == 200


def test_workers_share_what_was_answered_and_forget_the_oldest(tmp_path):
    one, other = Answers(tmp_path / "answers.db"), Answers(tmp_path / "answers.db")
    for number in range(21_000):
        one.put(str(number), Kept(b"asked", 1, b"body"))
    one.put("long", Kept(b"asked", 1, b"x" * (1 << 19)))

    assert other.get("20999") == Kept(b"asked", 1, b"body")
    assert other.get("0") is None
    assert other.get("long") is None


def test_more_than_can_wait_is_turned_away_and_told_when_to_come_again(champion):
    app = champion.open(limits=Limits(waiting=3))

    async def ask_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await asyncio.gather(*[client.post("/score", json={"data": [RECORD]}) for _ in range(12)])

    found = asyncio.run(ask_at_once())

    statuses = sorted(one.status_code for one in found)
    assert statuses == [200] * 3 + [503] * 9
    assert all(one.headers["retry-after"] == "1" for one in found if one.status_code == 503)
    assert counted(app)["contender_requests_dropped_total"] == 9
    assert counted(app)["contender_requests_waiting"] == 0
    assert post(app, {"data": [RECORD]}).status_code == 200


def test_where_each_takes_long_fewer_may_wait(champion):
    app = champion.open(limits=Limits(wait_seconds=0.5))
    app._each_seconds = 0.1

    async def ask_at_once() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            found = await asyncio.gather(*[client.post("/score", json={"data": [RECORD]}) for _ in range(12)])
        return sorted(one.status_code for one in found)

    assert asyncio.run(ask_at_once()) == [200] * 6 + [503] * 6


def test_many_records_are_scored_beside_single_ones(champion):
    app = champion.open(limits=Limits(bulk_bytes=1000))

    many = post(app, {"data": [RECORD] * 50})
    one = post(app, {"data": [RECORD]})

    assert [p["score"] for p in many.json()["predictions"]] == pytest.approx(
        [one.json()["predictions"][0]["score"]] * 50, abs=1e-12
    )


@pytest.mark.parametrize("wrong", [RuntimeError("/var/secret 4111"), None])
def test_a_fault_of_its_own_is_told_by_an_id_and_nothing_else(champion, wrong):
    app = champion.open()

    def broken(values):
        if wrong:
            raise wrong
        return np.array([[np.nan, np.nan]])

    app.served["orders"].champion.scorer.answer_record = broken
    answer = post(app, {"data": [RECORD]})

    assert answer.status_code == 500
    assert set(answer.json()) == {"error", "request_id"}
    assert "secret" not in answer.text
    assert "File" not in answer.text
    told = next(one for one in champion.said[::-1] if one["event"] == "fault")
    assert told["request_id"] == answer.json()["request_id"]
    assert "4111" not in json.dumps(told)


def test_requests_are_counted_by_status_and_timed_by_version(champion):
    app = champion.open()
    post(app, {"data": [RECORD, RECORD]})
    post(app, {"data": [record(amount=-1)]})
    ask(app, "GET", "/nothing")

    found = counted(app)

    assert found['contender_requests_total{route="/score",status="200",use_case="orders"}'] == 1
    assert found['contender_requests_total{route="/score",status="400",use_case="orders"}'] == 1
    assert found['contender_requests_total{route="",status="404",use_case=""}'] == 1
    assert found['contender_records_scored_total{arm="champion",use_case="orders",version="1"}'] == 2
    assert found['contender_score_seconds_count{arm="champion",use_case="orders",version="1"}'] == 1


def test_a_request_is_one_line_of_json_without_anything_that_was_given(champion):
    written = []
    say, flush = json_lines(written.append)
    say("request", request_id="r", status=200, version=None)
    flush()
    post(champion.open(), {"data": [record(order_id="4111")]}, "/score?key=4111")

    line = json.loads(written[0])
    assert (line["event"], line["request_id"], line["status"]) == ("request", "r", 200)
    assert "version" not in line
    told = champion.said[-1]
    assert (told["route"], told["status"], told["rows"]) == ("/score", 200, 1)
    assert "4111" not in json.dumps(told)


def test_what_programs_ask_before_they_ask_for_scores(app):
    assert ask(app, "GET", "/ping").status_code == 200
    assert re.fullmatch(r"\d+\.\d+.*", ask(app, "GET", "/version").text)
    assert ask(app, "GET", "/v2").json()["models"] == ["orders"]
    assert ask(app, "HEAD", "/health/live").content == b""


def test_several_use_cases_are_asked_by_their_names(champion):
    returns = champion.contract.model_copy(update={"name": "returns"})
    app = champion.open(returns)

    unnamed = post(app, {"data": [RECORD]})
    named = post(app, {"data": [RECORD]}, "/orders/score")
    without = post(app, {"data": [RECORD]}, "/returns/score")

    assert (unnamed.status_code, named.status_code, without.status_code) == (404, 200, 503)
    assert ask(app, "GET", "/health/ready").status_code == 503


def test_a_body_that_stops_coming_is_not_waited_for(champion):
    app = champion.open(limits=Limits(body_seconds=0.01))

    async def asked() -> int:
        sent = []

        async def receive():
            await asyncio.sleep(30)

        async def send(message):
            sent.append(message)

        headers = [(b"content-type", b"application/json")]
        await app({"type": "http", "method": "POST", "path": "/score", "headers": headers}, receive, send)
        return sent[0]["status"]

    assert asyncio.run(asked()) == 408


def test_what_is_not_looked_up_yet_is_missing_and_every_answer_says_so(champion):
    app = champion.open()
    served = app.served["orders"]
    asked = []

    class Asking:
        columns = (ModelColumn("amount", "number"), ModelColumn("orders_7d", "number"))
        classes = np.array([0, 1])
        why_plain = None

        def answer_record(self, values):
            asked.append(values)
            return np.array([[0.75, 0.25]])

    served.champion = Champion(champion.contract, Asking(), served.title)
    answer = post(app, {"data": [RECORD]})

    assert asked == [[12.5, None]]
    assert answer.json()["predictions"][0]["missing"] == ["orders_7d"]
    assert answer.headers["x-contender-not-looked-up"] == "orders_7d"
    assert ask(app, "GET", "/health/ready").json()["use_cases"]["orders"]["not_looked_up"] == ["orders_7d"]


def test_a_number_that_a_forest_cannot_compare_is_told_by_field_and_row(champion):
    app = champion.open()
    served = app.served["orders"]

    class Refusing:
        columns = (ModelColumn("items", "number"),)
        classes, why_plain = np.array([0, 1]), None

        def answer(self, frame):
            raise ModelError("too large")

    served.champion = Champion(champion.contract, Refusing(), served.title)
    app.served["orders"].door._read["items"] = float

    answer = post(app, {"data": [RECORD, record(items=1e300)]})

    assert answer.status_code == 400
    assert answer.json()["faults"][0] | {"needed": ""} == {
        "field": "items",
        "rows": [1],
        "found": "a number beyond 3.4e38",
        "needed": "",
    }
