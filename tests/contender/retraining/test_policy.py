from datetime import UTC, datetime, timedelta, timezone

import pytest

from contender.contracts.loop_sections import Retraining
from contender.retraining.policy import Allowed, alarm_may_start, retraining_due

RULES = Retraining(min_new_outcomes=1000, min_new_share=0.1)


@pytest.mark.parametrize(
    ("outcomes", "seen", "due"),
    [
        pytest.param(0, None, True, id="nothing was ever judged, even without outcomes"),
        pytest.param(5, None, True, id="nothing was ever judged"),
        pytest.param(5999, 5000, False, id="one short of the least number"),
        pytest.param(6000, 5000, True, id="exactly the least number"),
        pytest.param(10_999, 10_000, False, id="one short where number and share meet"),
        pytest.param(11_000, 10_000, True, id="exactly where number and share meet"),
        pytest.param(101_000, 100_000, False, id="enough by number, not by share"),
        pytest.param(109_999, 100_000, False, id="one short of the share"),
        pytest.param(110_000, 100_000, True, id="exactly the share"),
        pytest.param(1000, 0, True, id="the last one was judged without any"),
        pytest.param(5000, 5000, False, id="nothing new"),
        pytest.param(4000, 5000, False, id="outcomes were taken back"),
    ],
)
def test_a_challenger_is_due_when_enough_outcomes_are_new(outcomes, seen, due):
    assert retraining_due(RULES, outcomes=outcomes, seen=seen).now is due


@pytest.mark.parametrize(
    ("share", "seen", "needed"),
    [
        pytest.param(0.1, 10_001, 1001, id="a share is rounded up"),
        pytest.param(0.0, 1_000_000, 1000, id="no share"),
        pytest.param(1.0, 5000, 5000, id="as many again"),
    ],
)
def test_the_larger_of_number_and_share_is_needed(share, seen, needed):
    rules = Retraining(min_new_outcomes=1000, min_new_share=share)

    assert not retraining_due(rules, outcomes=seen + needed - 1, seen=seen).now
    assert retraining_due(rules, outcomes=seen + needed, seen=seen).now


@pytest.mark.parametrize(
    ("seen", "needed"),
    [
        pytest.param(100, 100, id="a small table has to double"),
        pytest.param(5000, 1000, id="a thousand suffice"),
        pytest.param(50_000, 5000, id="a tenth of a large one"),
        pytest.param(0, 1, id="the last one was judged without any"),
    ],
)
def test_what_is_needed_follows_from_what_there_was(seen, needed):
    assert not retraining_due(Retraining(), outcomes=seen + needed - 1, seen=seen).now
    assert retraining_due(Retraining(), outcomes=seen + needed, seen=seen).now


def test_the_reason_tells_found_and_needed():
    assert retraining_due(RULES, outcomes=7000, seen=5000).reason == (
        "2,000 outcomes are new since the last challenger, 1,000 suffice"
    )
    assert retraining_due(RULES, outcomes=12_345, seen=12_300).reason == (
        "45 outcomes are new since the last challenger, 1,230 are needed"
    )
    assert "no challenger" in retraining_due(RULES, outcomes=0, seen=None).reason


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
LIMITS = Retraining(cool_down=timedelta(hours=12), max_per_day=2, max_per_month=4)


def ago(*hours: float) -> list[datetime]:
    return [NOW - timedelta(hours=one) for one in hours]


@pytest.mark.parametrize(
    ("started", "allowed"),
    [
        pytest.param([], True, id="none so far"),
        pytest.param(ago(0), False, id="one at the same moment"),
        pytest.param(ago(11.999), False, id="just inside the cool-down"),
        pytest.param(ago(12), True, id="exactly the cool-down"),
        pytest.param(ago(12, 23.999), False, id="as many as a day may have"),
        pytest.param(ago(12, 24), True, id="one of them just a day ago"),
        pytest.param(ago(30, 54, 78), True, id="one short of the month"),
        pytest.param(ago(30, 54, 78, 102), False, id="as many as a month may have"),
        pytest.param(ago(30, 54, 78, 720), True, id="one of them just 30 days ago"),
        pytest.param(ago(30, 54, 78, 719.999), False, id="one of them just under 30 days ago"),
        pytest.param(ago(-1), False, id="one after it, by a clock that is ahead"),
    ],
)
def test_alarms_start_retrains_within_their_limits(started, allowed):
    assert alarm_may_start(LIMITS, started=started, in_flight=None, now=NOW).allowed is allowed
    assert alarm_may_start(LIMITS, started=reversed(started), in_flight=None, now=NOW).allowed is allowed


def test_one_retrain_at_a_time():
    found = alarm_may_start(LIMITS, started=[], in_flight="retrain payments: drift", now=NOW)
    assert found == Allowed(False, "another retrain was in flight (retrain payments: drift)")
    assert alarm_may_start(LIMITS, started=[], in_flight="", now=NOW).why == "another retrain was in flight"


@pytest.mark.parametrize(
    ("started", "cool_down", "why"),
    [
        (ago(10), 12, "in the cool-down until 14:00 UTC"),
        (ago(1), 12, "in the cool-down until 23:00 UTC"),
        (ago(-1), 12, "in the cool-down until 2026-03-11 01:00 UTC"),
        (ago(2, 14), 0, "alarms started 2 retrains within 24 hours, 2 are allowed; next from 22:00 UTC"),
        (ago(2, 2, 14), 0, "alarms started 3 retrains within 24 hours, 2 are allowed; next from 2026-03-11 10:00 UTC"),
        (
            ago(30, 31, 32, 36),
            0,
            "alarms started 4 retrains within 30 days, 4 are allowed; next from 2026-04-08 00:00 UTC",
        ),
    ],
)
def test_a_refusal_says_until_when(started, cool_down, why):
    rules = LIMITS.model_copy(update={"cool_down": timedelta(hours=cool_down)})
    assert alarm_may_start(rules, started=started, in_flight=None, now=NOW).why == why


def test_moments_of_other_time_zones_count_as_the_same_moments():
    berlin = [moment.astimezone(timezone(timedelta(hours=1))) for moment in ago(10)]
    assert alarm_may_start(LIMITS, started=berlin, in_flight=None, now=NOW).why == "in the cool-down until 14:00 UTC"


@pytest.mark.parametrize(
    ("kept", "needed"),
    [
        pytest.param(False, 1000, id="the last one won, or it was not to be told"),
        pytest.param(True, 2000, id="the last one was no better"),
    ],
)
def test_after_a_challenger_that_was_no_better_the_next_one_needs_twice_as_many_outcomes(kept, needed):
    rules = Retraining(min_new_outcomes=1000, min_new_share=0.0)
    assert not retraining_due(rules, outcomes=5000 + needed - 1, seen=5000, kept=kept).now
    assert retraining_due(rules, outcomes=5000 + needed, seen=5000, kept=kept).now
