"""When not being worse is enough, and for how long."""

from datetime import timedelta

import pytest

from contender.contracts.sections import Judging
from contender.evaluation.non_inferiority import leniency, lost_since_clear_win
from contender.values import Decision
from tests.contender.verdicts import verdict_document


def rules(**changes):
    return Judging(**({"metric": "roc_auc", "newest": timedelta(days=28), "min_gain": 0.01} | changes))


def won(gain, mode="decay"):
    return verdict_document(gain=gain, mode=mode)


KEPT = verdict_document(decision=Decision.KEEP, gain=-0.5, mode="decay")
WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("decayed", "age", "max_age", "mode"),
    [
        pytest.param(False, WEEK, None, "usual", id="all is well"),
        pytest.param(True, WEEK, None, "decay", id="decay was confirmed"),
        pytest.param(False, WEEK, WEEK, "usual", id="just as old as allowed"),
        pytest.param(False, 2 * WEEK, WEEK, "decay", id="older than allowed"),
        pytest.param(True, None, None, "usual", id="nobody holds the title"),
    ],
)
def test_a_decaying_or_old_champion_need_not_be_beaten(decayed, age, max_age, mode):
    found = leniency(rules(max_age=max_age), [], decayed=decayed, age=age)
    assert found.mode == mode
    assert found.allowed_loss == (0.01 if mode == "decay" else None)


@pytest.mark.parametrize(
    ("verdicts", "lost"),
    [
        pytest.param([], 0.0, id="nothing yet"),
        pytest.param([won(-0.004), won(-0.003)], 0.007, id="losses add up"),
        pytest.param([won(-0.004), won(0.02), won(-0.003)], 0.007, id="a lucky gain pays nothing back"),
        pytest.param([won(-0.004), won(0.05, "usual"), won(-0.003)], 0.004, id="a clear win starts anew"),
        pytest.param([KEPT, won(-0.004), KEPT], 0.004, id="who did not win has lost nobody anything"),
    ],
)
def test_losses_are_added_up_since_the_last_clear_win(verdicts, lost):
    assert lost_since_clear_win(verdicts) == pytest.approx(lost)


def test_what_was_lost_is_not_allowed_again():
    found = leniency(rules(max_loss=0.02), [won(-0.015)], decayed=True, age=WEEK)
    assert found.allowed_loss == pytest.approx(0.005)


def test_past_the_limit_only_a_win_counts():
    found = leniency(rules(max_loss=0.02), [won(-0.015), won(-0.006)], decayed=True, age=WEEK)
    assert (found.mode, found.allowed_loss) == ("usual", None)
    assert "only a win counts" in found.reason
