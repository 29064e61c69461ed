"""Who may ask what: every route has its decision, and keys open what their role says, until they end."""

import json
import stat
from datetime import UTC, datetime, timedelta

import pytest

from contender.errors import UsageError
from contender.serving import api_keys, routes, workers
from contender.serving.api_keys import ApiKey, Keys, Rates
from tests.contender.serving.conftest import RECORD, ask, post

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

ACCESS = {
    "POST /score": "score",
    "POST /invocations": "score",
    "POST /{use_case}/score": "score",
    "POST /{use_case}/invocations": "score",
    "POST /v2/models/{use_case}/infer": "score",
    "POST /v2/models/{use_case}/versions/{version}/infer": "score",
    "GET /v2/models/{use_case}/ready": "anyone",
    "GET /v2/models/{use_case}/versions/{version}/ready": "anyone",
    "GET /v2/models/{use_case}": "score",
    "GET /v2/models/{use_case}/versions/{version}": "score",
    "GET /v2": "anyone",
    "GET /v2/health/live": "anyone",
    "GET /v2/health/ready": "anyone",
    "GET /health/live": "anyone",
    "GET /health/ready": "anyone",
    "GET /ping": "anyone",
    "GET /version": "anyone",
    "GET /openapi.json": "score",
    "GET /metrics": "operate",
}
"""Decided here too, so that a route that is added, or opened, is looked at twice."""


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def locked(place):
    """A home with a champion and a key of each role."""
    place.crown(place.versions[0])
    place.keep()
    place.keys = {role: api_keys.add(place.settings, role, role, None, 0) for role in ("score", "operate")}
    return place


def test_every_route_has_an_access_that_was_decided():
    assert {f"{route.method} {route.path}": route.access for route in routes.ROUTES} == ACCESS


@pytest.mark.parametrize("route", routes.ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_a_route_answers_by_its_decision(locked, route):
    app = locked.open()
    path = route.path.format(use_case="orders", version="1")
    body = {"data": [RECORD]} if route.method == "POST" else None

    def status(**options) -> int:
        return ask(app, route.method, path, body, **options).status_code

    open_to_all = route.access == "anyone"
    # An empty request of tensors is wrong, and nobody is told so who may not ask.
    assert (status() in (200, 400)) == open_to_all
    assert (status() == 401) == (not open_to_all)
    assert (status(headers=bearer("ck_00000000_" + "a" * 43)) == 401) == (not open_to_all)
    assert (status(headers=bearer(locked.keys["score"])) == 403) == (route.access == "operate")
    assert status(headers=bearer(locked.keys["operate"])) in (200, 400)


def test_without_keys_this_machine_may_ask(app):
    assert ask(app, "GET", "/metrics").status_code == 200


def test_a_key_is_kept_as_a_hash_in_a_file_of_the_owner(locked):
    file = api_keys.path_of(locked.settings)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for key in locked.keys.values():
        assert key.split("_", 2)[2] not in file.read_text()


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer ck_x",
        "Bearer é",
        "{key}",
        "Bearer {key}x",
        "Bearer {swapped}",
    ],
)
def test_what_is_no_key_opens_nothing(locked, given):
    key, other = locked.keys["score"], locked.keys["operate"]
    # The id of one key with the secret of another.
    swapped = key[:12] + other[12:]
    text = given.format(key=key, swapped=swapped)

    answer = post(locked.open(), {"data": [RECORD]}, headers={"authorization": text.encode()})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_keys_come_go_and_end_while_it_runs(locked):
    now = datetime.now(UTC)
    keys = Keys(locked.settings)
    ending = api_keys.add(locked.settings, "ending", "score", timedelta(days=1), 0)
    keys.look()
    opened = keys.key_of(b"Bearer " + ending.encode())
    api_keys.revoke(locked.settings, "score")
    keys.look()

    assert opened.stands(now)
    assert not opened.stands(now + timedelta(days=2))
    assert keys.key_of(b"Bearer " + locked.keys["score"].encode()) is None
    assert keys.key_of(b"bearer " + locked.keys["operate"].encode()).name == "operate"


def test_after_the_last_key_nobody_comes_in(locked):
    keys = Keys(locked.settings)
    for name in ("score", "operate"):
        api_keys.revoke(locked.settings, name)
    keys.look()
    revoked = keys.needed
    api_keys.path_of(locked.settings).unlink()
    keys.look()

    assert revoked
    assert keys.needed


def test_a_file_of_keys_that_cannot_be_read_lets_nobody_in(locked):
    api_keys.path_of(locked.settings).write_text("{")

    assert post(locked.open(), {"data": [RECORD]}, headers=bearer(locked.keys["score"])).status_code == 401


def test_a_name_is_given_once_and_what_is_not_there_is_not_revoked(locked):
    with pytest.raises(UsageError, match="already"):
        api_keys.add(locked.settings, "score", "score", None, 0)
    with pytest.raises(UsageError, match="no key 'nobody'"):
        api_keys.revoke(locked.settings, "nobody")
    api_keys.revoke(locked.settings, "score")
    assert api_keys.add(locked.settings, "score", "score", None, 0)


def test_a_key_may_ask_as_often_as_it_says_and_is_told_when_again(locked):
    key = api_keys.add(locked.settings, "slow", "score", None, 2)
    app = locked.open()

    found = [post(app, {"data": [RECORD]}, headers=bearer(key)) for _ in range(3)]

    assert [one.status_code for one in found] == [200, 200, 429]
    assert 1 <= int(found[2].headers["retry-after"]) <= 30
    assert post(app, {"data": [RECORD]}, headers=bearer(locked.keys["score"])).status_code == 200


def test_a_bucket_fills_again_with_time():
    key, rates = ApiKey("0a", "one", "score", "", "", per_minute=60), Rates()

    spent = [rates.wait_seconds(key, 1000.0) for _ in range(61)]

    assert spent[:60] == [0.0] * 60
    assert spent[60] == pytest.approx(1.0)
    assert rates.wait_seconds(key, 1000.5) == pytest.approx(0.5)
    assert rates.wait_seconds(key, 1001.5) == 0.0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_are_let_in_only_with_keys_and_tls(place, host, tmp_path):
    pem = tmp_path / "pem"
    open_, tls = workers.Listening(host=host), workers.Listening(host=host, certificate=pem, private_key=pem)
    proxied = workers.Listening(host=host, behind_proxy=True)
    for where in (open_, tls, proxied):
        with pytest.raises(UsageError, match="no API keys"):
            workers.check(place.settings, where)

    api_keys.add(place.settings, "shop", "score", None, 0)

    with pytest.raises(UsageError, match="in the open"):
        workers.check(place.settings, open_)
    workers.check(place.settings, tls)
    workers.check(place.settings, proxied)
    workers.check(place.settings, workers.Listening())


def test_a_key_alone_is_no_tls(place, tmp_path):
    with pytest.raises(UsageError, match="--certificate and --private-key"):
        workers.check(place.settings, workers.Listening(certificate=tmp_path))


def test_the_document_says_that_a_key_is_needed(locked):
    found = ask(locked.open(), "GET", "/openapi.json", headers=bearer(locked.keys["score"])).json()

    assert found["paths"]["/metrics"]["get"]["security"] == [{"key": []}]
    assert "security" not in found["paths"]["/health/live"]["get"]
    assert json.dumps(found).count(locked.keys["score"]) == 0
