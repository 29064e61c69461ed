"""Requests that wait for a person: kept in a real ledger on SQLite and on PostgreSQL, where nothing else is needed."""

import multiprocessing
import os
from datetime import UTC, datetime, timedelta

import pytest

from contender.errors import TitleError, UsageError
from contender.promotion import approval_requests, ledger
from contender.promotion.approval_request import APPROVED, REJECTED, document_of, refusal, what_became_of
from contender.settings import Settings
from contender.values import ModelVersion

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(params=["SQLite", pytest.param("PostgreSQL", marks=pytest.mark.slow)])
def settings(request, tmp_path):
    if request.param == "SQLite":
        return Settings(home=tmp_path)
    import psycopg

    url = request.getfixturevalue("postgres_url")
    schema = f"approvals_{os.urandom(4).hex()}"
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return Settings(home=tmp_path, ledger_url=f"{url}?options=-csearch_path%3D{schema}")


def ask(settings, version, *, follows=0, at=NOON, use_case="payments"):
    return approval_requests.ask(
        settings, use_case, version=version, follows=follows, evidence="{}", expires_after=3 * DAY, at=at
    )


def take(settings, version, after=None):
    model = ModelVersion("payments", version, "", "", f"digest{version}", datetime.fromisoformat("2026-01-01"))
    return ledger.take_title(
        settings, "payments", version=model, after=after, action="promoted", reason="r", by="test", evidence={}
    )


def answer(settings, request, state=APPROVED, at=NOON + DAY, by="person: ada"):
    return approval_requests.decide(settings, "payments", request, state, reason="looks well", by=by, at=at)


def test_nobody_was_asked(settings):
    assert approval_requests.waiting(settings, "payments") is None
    assert document_of("payments", None) is None
    with pytest.raises(UsageError, match="A version of payments was never put to a person"):
        raise refusal("payments", None)


def test_a_request_waits_until_it_is_answered_once(settings):
    request, replaced = ask(settings, 7)

    assert replaced == []
    assert approval_requests.waiting(settings, "payments", NOON + DAY) == request
    assert what_became_of("payments", request) == (
        "Version 7 of payments waits for approval until 2026-03-04 12:00 UTC: contender approve payments --reason …"
    )

    answered = answer(settings, request)

    assert (answered.state, answered.decided_by, answered.reason) == (APPROVED, "person: ada", "looks well")
    assert approval_requests.waiting(settings, "payments", NOON + DAY) is None
    assert approval_requests.find(settings, "payments", 7, NOON + DAY) == answered


@pytest.mark.parametrize("first", [APPROVED, REJECTED])
@pytest.mark.parametrize("second", [APPROVED, REJECTED])
def test_a_second_answer_hears_the_first_and_changes_nothing(settings, first, second):
    request, _ = ask(settings, 7)
    kept = answer(settings, request, first)

    with pytest.raises(TitleError, match=f"Version 7 of payments was {first} by person: ada at 2026-03-02 12:00 UTC"):
        answer(settings, request, second, by="person: bob")

    assert approval_requests.find(settings, "payments", 7, NOON + DAY) == kept


@pytest.mark.parametrize(
    ("seconds", "waits"),
    [
        pytest.param(-1, True, id="a second before its end"),
        pytest.param(0, False, id="at its end"),
        pytest.param(1, False, id="after its end"),
    ],
)
def test_a_request_ends_on_time_wherever_it_is_read(settings, seconds, waits):
    request, _ = ask(settings, 7)
    at = NOON + 3 * DAY + timedelta(seconds=seconds)

    if waits:
        assert answer(settings, request, at=at).state == APPROVED
        return
    with pytest.raises(TitleError, match="expired at 2026-03-04 12:00 UTC; the champion stays; 'contender retrain"):
        answer(settings, request, at=at)
    assert approval_requests.waiting(settings, "payments", NOON) is None, "once expired, it does not come back"


def test_what_nobody_answered_is_expired_once_and_what_was_answered_is_not(settings):
    ask(settings, 7)
    ask(settings, 3, use_case="flights", at=NOON + DAY)
    answer(settings, ask(settings, 5, use_case="sales")[0])

    assert approval_requests.expire(settings, NOON + 2 * DAY) == []
    first = approval_requests.expire(settings, NOON + 3.5 * DAY)
    second = approval_requests.expire(settings, NOON + 4 * DAY)
    third = approval_requests.expire(settings, NOON + 4 * DAY)

    assert [request.use_case for request in first] == ["payments"]
    assert [request.use_case for request in second] == ["flights"]
    assert third == []


def test_the_next_winner_takes_the_place_of_one_that_waits(settings):
    older, _ = ask(settings, 7)
    newer, replaced = ask(settings, 8, at=NOON + DAY)

    assert [(one.version, one.state) for one in replaced] == [(7, "superseded")]
    assert approval_requests.waiting(settings, "payments", NOON + DAY) == newer
    with pytest.raises(TitleError, match="version 7 of payments is void since .*: version 8 was asked about; "):
        answer(settings, older, at=NOON + DAY)


def test_who_asks_again_about_a_version_gets_the_same_request(settings):
    request, _ = ask(settings, 7)
    assert ask(settings, 7, at=NOON + DAY) == (request, [])

    answered = answer(settings, request)
    assert ask(settings, 7, at=NOON + 2 * DAY) == (answered, []), "a version is asked about once"


def test_a_title_that_changed_after_the_verdict_voids_the_request(settings):
    first = take(settings, 1)
    request, _ = ask(settings, 7, follows=first.seq)
    assert approval_requests.waiting(settings, "payments", NOON) == request

    take(settings, 2, after=first)

    assert approval_requests.waiting(settings, "payments", NOON) is None
    assert what_became_of("payments", approval_requests.find(settings, "payments", 7, NOON)) == (
        "The request to approve version 7 of payments is void since 2026-03-01 12:00 UTC: entry 2 of the title came "
        "after the verdict."
    )


def test_environments_that_share_a_ledger_do_not_answer_for_each_other(settings, tmp_path):
    prod = Settings(home=tmp_path, environment="prod", ledger_url=settings.ledger)
    ask(settings, 7)

    assert approval_requests.waiting(prod, "payments", NOON) is None
    request, replaced = ask(prod, 9)
    assert replaced == []
    assert (request.use_case, approval_requests.link(prod, request, "run").flow_run) == ("payments-prod", "run")
    assert approval_requests.waiting(settings, "payments", NOON).version == 7


def compete(ledger_url, state, by, together, won):
    settings = Settings(ledger_url=ledger_url)
    request = approval_requests.find(settings, "payments", 7, NOON)
    together.wait()
    try:
        answer(settings, request, state, by=by)
    except TitleError:
        return
    won.put(by)


@pytest.mark.slow
def test_of_several_people_at_once_one_decides(settings):
    ask(settings, 7)
    context = multiprocessing.get_context("spawn")
    together, won = context.Barrier(4), context.Queue()
    people = [
        context.Process(target=compete, args=(settings.ledger, state, f"person: {number}", together, won))
        for number, state in enumerate([APPROVED, REJECTED, APPROVED, REJECTED])
    ]
    for person in people:
        person.start()
    for person in people:
        person.join(120)

    assert approval_requests.find(settings, "payments", 7, NOON).decided_by == won.get(timeout=10)
    assert won.empty()
