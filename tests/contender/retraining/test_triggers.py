"""Alarms that call for a retrain: each kept once, one start per event and within the contract's limits."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Barrier

import pytest

from contender.events import DEGRADED, DRIFT
from contender.operations import notices
from contender.promotion import database
from contender.retraining import triggers
from contender.retraining.policy import alarm_may_start
from contender.settings import Settings

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def contract(make_home):
    return make_home(extra='[retraining]\ncool_down = "12 hours"\nmax_per_day = 2\nmax_per_month = 3\n').contract


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def keep(settings, event_id, at=NOW, reason="amount drifted"):
    return triggers.keep(settings, "orders", event_id=event_id, at=at, event=DRIFT, reason=reason)


def test_an_event_is_kept_once_with_its_reason(settings):
    assert keep(settings, "e1")
    assert not keep(settings, "e1", reason="told again")
    [found] = triggers.newest(settings, "orders")
    assert (found.event_id, found.reason, found.outcome, found.why, found.at) == (
        "e1",
        "amount drifted",
        "pending",
        "",
        NOW,
    )
    assert triggers.pending(settings, "orders") == [found]


def test_use_cases_and_environments_have_alarms_of_their_own(settings, tmp_path):
    keep(settings, "e1")
    other = Settings(home=tmp_path, environment="prod", ledger_url=settings.ledger)
    assert keep(other, "e1")
    assert triggers.newest(settings, "payments") == []
    assert [one.use_case for one in triggers.newest(other, "orders")] == ["orders-prod"]


def test_the_newest_come_first_and_pending_ones_in_their_order(settings):
    for number in (2, 1, 3):
        keep(settings, f"e{number}", NOW + timedelta(minutes=number))
    assert [one.event_id for one in triggers.newest(settings, "orders", 2)] == ["e3", "e2"]
    assert [one.event_id for one in triggers.pending(settings, "orders")] == ["e1", "e2", "e3"]


def test_what_became_of_an_event_is_written_down_once(settings):
    keep(settings, "e1")
    triggers.settle(settings, "orders", "e1", "pending", why="waits to begin", flow_run="r1")
    triggers.settle(settings, "orders", "e1", "skipped", why="in the cool-down")
    triggers.settle(settings, "orders", "e1", "started", flow_run="r2")
    [found] = triggers.newest(settings, "orders")
    assert (found.outcome, found.why) == ("skipped", "in the cool-down")
    assert triggers.pending(settings, "orders") == []


def test_one_event_starts_one_retrain_and_its_own_run_may_ask_again(settings, contract):
    keep(settings, "e1")
    assert triggers.may_start(settings, contract, "e1", NOW, flow_run="r1").allowed
    assert triggers.may_start(settings, contract, "e1", NOW, flow_run="r1").allowed
    refused = triggers.may_start(settings, contract, "e1", NOW, flow_run="r2")
    assert (refused.allowed, refused.why) == (False, "this event started the retrain r1")
    [found] = triggers.newest(settings, "orders")
    assert (found.outcome, found.flow_run) == ("started", "r1")


def test_without_a_run_the_first_to_ask_is_the_one(settings, contract):
    assert triggers.may_start(settings, contract, "e1", NOW).allowed
    assert not triggers.may_start(settings, contract, "e1", NOW).allowed
    assert not triggers.may_start(settings, contract, "e1", NOW, flow_run="r1").allowed


def test_a_second_event_waits_for_the_cool_down(settings, contract):
    keep(settings, "e1")
    keep(settings, "e2", NOW + timedelta(hours=1))
    assert triggers.may_start(settings, contract, "e1", NOW, flow_run="r1").allowed
    refused = triggers.may_start(settings, contract, "e2", NOW + timedelta(hours=1), flow_run="r2")
    assert refused.why == "in the cool-down until 2026-03-11 00:00 UTC"
    skipped, _ = triggers.newest(settings, "orders")
    assert (skipped.outcome, skipped.why, skipped.flow_run) == ("skipped", refused.why, "r2")
    assert triggers.may_start(settings, contract, "e3", NOW + timedelta(hours=12), flow_run="r3").allowed


@pytest.mark.slow
def test_drift_that_flaps_for_weeks_never_starts_more_than_the_budget(settings, contract):
    asked = [NOW + timedelta(hours=6 * number) for number in range(4 * 40)]
    for number, at in enumerate(asked):
        keep(settings, f"e{number}", at)
    started = [
        at for number, at in enumerate(asked) if triggers.may_start(settings, contract, f"e{number}", at).allowed
    ]

    limits, month = contract.retraining, timedelta(days=30)
    assert all(later - earlier >= limits.cool_down for earlier, later in pairwise(started))
    for at in asked:
        within = [one for one in started if at - month < one <= at]
        assert len(within) <= limits.max_per_month
        assert len([one for one in within if one > at - timedelta(days=1)]) <= limits.max_per_day
    assert len(started) == 2 * limits.max_per_month, "it starts again when there is room again"


def test_a_skipped_retrain_counts_neither_for_the_cool_down_nor_for_the_budget(settings, contract):
    for number in range(5):
        assert not triggers.may_start(settings, contract, f"e{number}", NOW, in_flight="another").allowed
    assert triggers.may_start(settings, contract, "e9", NOW).allowed


def test_the_run_that_was_seen_to_begin_first_still_has_to_keep_the_limits(settings, contract):
    keep(settings, "e1")
    keep(settings, "e2")
    triggers.settle(settings, "orders", "e1", "started", flow_run="r1")
    triggers.settle(settings, "orders", "e2", "started", flow_run="r2")
    assert not triggers.may_start(settings, contract, "e2", NOW, flow_run="r2").allowed
    assert triggers.may_start(settings, contract, "e1", NOW, flow_run="r1").allowed
    assert sorted(one.outcome for one in triggers.newest(settings, "orders")) == ["skipped", "started"]


def test_a_retrain_that_is_faster_than_the_reader_of_events_gets_its_reason_later(settings, contract):
    at = NOW - timedelta(seconds=8)
    assert triggers.may_start(settings, contract, "e1", NOW, flow_run="r1").allowed
    assert not triggers.keep(settings, "orders", event_id="e1", at=at, event=DEGRADED, reason="roc_auc fell")
    [found] = triggers.newest(settings, "orders")
    assert (found.event, found.reason, found.at, found.outcome) == (DEGRADED, "roc_auc fell", at, "started")


def test_of_a_burst_that_asks_at_once_one_starts(settings, contract):
    starts = parallel_starts(settings, contract, [f"e{number}" for number in range(8)])
    assert sum(starts) == 1
    outcomes = sorted(one.outcome for one in triggers.newest(settings, "orders"))
    assert outcomes == ["skipped"] * 7 + ["started"]


def test_of_one_event_that_asks_often_at_once_one_starts(settings, contract):
    assert sum(parallel_starts(settings, contract, ["e1"] * 8)) == 1


@pytest.mark.slow
def test_on_postgresql_too_one_of_a_burst_starts(postgres_url, contract, tmp_path, monkeypatch):
    settings = Settings(home=tmp_path, ledger_url=postgres_url)

    def decide_slowly(*arguments, **more):
        time.sleep(0.2)
        return alarm_may_start(*arguments, **more)

    monkeypatch.setattr(triggers, "alarm_may_start", decide_slowly)
    assert sum(parallel_starts(settings, contract, [f"e{number}" for number in range(8)])) == 1
    assert len(triggers.newest(settings, "orders", 20)) == 8
    assert notices.keep(settings, "drift", "orders", "amount drifted", id="n1")
    assert not notices.keep(settings, "drift", "orders", "amount drifted", id="n1")


def parallel_starts(settings, contract, event_ids) -> list[bool]:
    with database.connected(settings):
        together = Barrier(len(event_ids))

    def ask(number_and_id: tuple[int, str]) -> bool:
        number, event_id = number_and_id
        together.wait()
        return triggers.may_start(settings, contract, event_id, NOW, flow_run=f"r{number}").allowed

    with ThreadPoolExecutor(len(event_ids)) as threads:
        return list(threads.map(ask, enumerate(event_ids)))
