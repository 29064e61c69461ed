"""When each policy of a replay wants a challenger, by what it may look at."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from contender.contracts.contract import Contract
from contender.drift.drift_check import DriftCheck
from contender.errors import UsageError
from contender.performance.quality_readings import Reading, Readings
from contender.replay import policies
from contender.replay.policies import RetrainRequest, Seen, wanted_retrain
from contender.retraining.diagnoses import Kept
from contender.retraining.policy import Due
from contender.retraining.triage import Diagnosis
from contender.values import Interval

PAYMENTS = Contract.of("payments", Path("data"))
START = datetime(2026, 5, 4, tzinfo=UTC)  # a Monday
DAY = date(2026, 5, 5)
NOT_DUE = Due(False, "7 outcomes are new, 1,000 are needed")
NOTHING = Seen(START + timedelta(hours=4), START + timedelta(days=6), NOT_DUE)
CHECK = DriftCheck("payments", 1, date(2026, 5, 4), date(2026, 5, 5), date(2026, 1, 1), date(2026, 3, 1), START, ())


def kept(name, action, *, decayed=False, sentence="it decays"):
    diagnosis = Diagnosis(name, sentence, retrain=action == "retrain", decayed=decayed)
    return Kept(START, date(2026, 5, 4), date(2026, 5, 5), 1, diagnosis, (), action, "why")


def measured(value, past):
    return Readings(
        "average_precision",
        Reading(value, Interval(value - 0.02, value + 0.02), 5000, past, Interval(past - 0.02, past + 0.02), 9000),
        None,
        "",
    )


@pytest.mark.parametrize("policy", policies.POLICIES)
def test_where_nothing_was_seen_and_nothing_is_due_no_policy_wants_a_challenger(policy):
    assert wanted_retrain(policy, PAYMENTS, NOTHING) is None


def test_never_wants_none_whatever_was_seen():
    everything = replace(
        NOTHING,
        due=Due(True, "due"),
        checks=(replace(CHECK, alarming=("amount",)),),
        qualities=((DAY, measured(0.1, 0.6)),),
        kept=(kept("decay", "retrain"),),
    )
    assert wanted_retrain("never", PAYMENTS, everything) is None


@pytest.mark.parametrize(
    ("hours", "wanted"),
    [
        pytest.param((0, 3), False, id="over before the schedule comes round"),
        pytest.param((0, 4), True, id="comes round within"),
        pytest.param((4, 24 * 8), True, id="comes round again in a week"),
        pytest.param((4, 24 * 6), False, id="just missed"),
    ],
)
def test_the_schedule_is_the_contracts_own(hours, wanted):
    seen = replace(NOTHING, start=START + timedelta(hours=hours[0]), end=START + timedelta(hours=hours[1]))
    assert (wanted_retrain("schedule", PAYMENTS, seen) is not None) is wanted


def test_without_a_schedule_of_its_own_each_period_is_one():
    never = PAYMENTS.model_copy(update={"schedule": PAYMENTS.schedule.model_copy(update={"retrain": "never"})})
    assert wanted_retrain("schedule", never, NOTHING) == RetrainRequest("on schedule")


def test_drift_wants_one_for_every_alarm_and_names_the_columns():
    checks = (replace(CHECK, alarming=("amount",)), CHECK, replace(CHECK, alarming=("category", "amount")))
    assert wanted_retrain("drift", PAYMENTS, replace(NOTHING, checks=checks)) == RetrainRequest(
        "drift of amount, category", alarm=True
    )


@pytest.mark.parametrize(
    ("now", "past", "wanted"),
    [
        pytest.param(0.30, 0.60, True, id="half of it is gone"),
        pytest.param(0.57, 0.60, False, id="less than the contract's largest loss"),
        pytest.param(0.70, 0.60, False, id="better than before"),
    ],
)
def test_performance_wants_one_when_the_measured_quality_decays(now, past, wanted):
    found = wanted_retrain("performance", PAYMENTS, replace(NOTHING, qualities=((DAY, measured(now, past)),)))
    assert (found is not None) is wanted
    if found:
        assert found.decayed
        assert found.alarm


def test_performance_wants_one_for_the_first_window_that_decays():
    readings = tuple((DAY + timedelta(days=n), measured(now, 0.6)) for n, now in enumerate((0.6, 0.3, 0.59)))
    found = wanted_retrain("performance", PAYMENTS, replace(NOTHING, qualities=readings))
    assert "is 0.3 " in found.why


def test_performance_does_not_look_at_what_is_only_estimated():
    estimated = measured(0.1, 0.6).measured
    assert (
        wanted_retrain(
            "performance", PAYMENTS, replace(NOTHING, qualities=((DAY, Readings("brier", None, estimated, "")),))
        )
        is None
    )


def test_ours_wants_what_triage_called_for_with_its_reason():
    seen = replace(NOTHING, kept=(kept("shift", "watch"), kept("decay", "retrain", decayed=True)))
    assert wanted_retrain("contender", PAYMENTS, seen) == RetrainRequest("it decays", decayed=True, alarm=True)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(kept("broken feed", "hold out"), id="a broken feed"),
        pytest.param(kept("shift", "watch"), id="a shift"),
        pytest.param(kept("decay", "wait"), id="decay for which the budget has no room"),
        pytest.param(kept("season", "nothing"), id="the season"),
    ],
)
def test_ours_does_not_train_for_what_training_does_not_help(seen):
    assert wanted_retrain("contender", PAYMENTS, replace(NOTHING, kept=(seen,))) is None


def test_ours_trains_when_enough_outcomes_are_new():
    due = Due(True, "2,000 outcomes are new")
    assert wanted_retrain("contender", PAYMENTS, replace(NOTHING, due=due)) == RetrainRequest("2,000 outcomes are new")


def test_policies_are_chosen_once_each_and_all_without_a_name():
    assert policies.chosen(("drift", "never", "drift")) == ("drift", "never")
    assert policies.chosen(()) == tuple(policies.POLICIES)


def test_an_unknown_policy_is_refused_with_the_nearest_one():
    with pytest.raises(UsageError, match=r"no policy 'contendr'; there is never, .*; did you mean 'contender'\?"):
        policies.chosen(("contendr",))
