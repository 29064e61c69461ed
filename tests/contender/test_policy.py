import pytest

from contender.clauses import Retraining
from contender.policy import retraining_due

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


def test_the_reason_tells_found_and_needed():
    assert retraining_due(RULES, outcomes=7000, seen=5000).reason == (
        "2,000 outcomes are new since the last challenger, 1,000 suffice"
    )
    assert retraining_due(RULES, outcomes=12_345, seen=12_300).reason == (
        "45 outcomes are new since the last challenger, 1,230 are needed"
    )
    assert "no challenger" in retraining_due(RULES, outcomes=0, seen=None).reason
