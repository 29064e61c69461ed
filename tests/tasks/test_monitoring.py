"""What the steps of monitoring do with what others found, without a lake of rows."""

from contextlib import nullcontext
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from contender.contracts.contract import Contract
from contender.features import exclusions
from contender.operations import delivery
from contender.retraining import feed_health, symptoms
from contender.settings import Settings
from tasks import monitoring
from tasks.run_log import rehearsing

NOW = datetime(2026, 4, 8, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path, use_cases=Path(__file__).parents[2] / "data")


@pytest.fixture
def contract(settings):
    return Contract.of("payments", settings.use_cases)


def test_nobody_is_told_of_a_stop_in_a_history_that_is_played_again(settings, contract, monkeypatch):
    told = []
    stop = SimpleNamespace(why="nothing came for a day", since=NOW)
    monkeypatch.setattr(feed_health, "stopped_feed", lambda *_: stop)
    monkeypatch.setattr(delivery, "notify", lambda *given, **_: told.append(given[-1]))

    lines = []
    with rehearsing(lines.append):
        sentence = monitoring.look_for_stop.fn(settings, contract)
    assert (told, lines) == ([], ["the feed has stopped: nothing came for a day"])

    monkeypatch.setattr(monitoring, "step_log", lambda: nullcontext(lines.append))
    assert (
        monitoring.look_for_stop.fn(settings, contract) == sentence == "The feed looks broken: nothing came for a day."
    )
    assert told == [sentence]


def test_what_a_person_released_is_not_held_out_again_although_it_looks_broken_still(settings, contract, monkeypatch):
    check = SimpleNamespace(start=date(2026, 4, 1), end=date(2026, 4, 8))
    looked = SimpleNamespace(signs=None, batches=(3, 4, 5), partly=(5,), check=check)
    diagnosis = SimpleNamespace(reasons=("cents",))
    monkeypatch.setattr(symptoms, "suspect_batches", lambda _, batches: batches)

    first = monitoring.hold_out(settings, contract, looked, diagnosis, NOW)
    window = exclusions.held_out(settings, "payments")[-1]
    exclusions.release_batch(settings, "payments", [3], reason="right", by="person: ada", at=NOW)
    second = monitoring.hold_out(settings, contract, looked, diagnosis, NOW)
    exclusions.release_batch(settings, "payments", [4], reason="right", by="person: ada", at=NOW)
    exclusions.release_window(settings, "payments", window.start, window.end, reason="right", by="person: bob", at=NOW)

    assert first == "Held out of training and judging: batch 3, batch 4, 2026-04-01 to 2026-04-07."
    assert second == (
        "Held out of training and judging: batch 4, 2026-04-01 to 2026-04-07. "
        "Released before, and learnt from: batch 3 by person: ada."
    )
    assert monitoring.hold_out(settings, contract, looked, diagnosis, NOW) == (
        "Released before, and learnt from: batch 3 by person: ada, batch 4 by person: ada, "
        "2026-04-01 to 2026-04-07 by person: bob."
    )
    assert exclusions.held_out(settings, "payments") == []
    assert monitoring.hold_out(
        settings, contract, SimpleNamespace(**vars(looked) | {"batches": ()}), diagnosis, NOW
    ) == ("There are no rows to hold out.")


TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "whole"),
    [
        pytest.param([TODAY], True, id="a first day is looked at on the day"),
        pytest.param([YESTERDAY, TODAY], False, id="later a day counts when it is over"),
        pytest.param([YESTERDAY], False, id="the newest whole day"),
    ],
)
def test_the_day_that_is_not_over_is_looked_at_where_there_is_no_other(settings, contract, monkeypatch, days, whole):
    monkeypatch.setattr(
        monitoring.daily_samples,
        "rows_by_day",
        lambda _settings, _contract, first, last: {day: 9 for day in days if first <= day < last},
    )
    at = monitoring.moment_of(settings, contract, None, max(days))

    assert (at == datetime.combine(TODAY + timedelta(days=1), time(), UTC)) is whole
    assert at.date() == (TODAY + timedelta(days=1) if whole else TODAY)
    assert monitoring.moment_of(settings, contract, NOW, max(days)) == NOW
