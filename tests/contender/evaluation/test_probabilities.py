"""A sure mistake costs the same wherever it is measured."""

import numpy as np
import pytest

from contender.evaluation.metrics import metrics
from contender.evaluation.probabilities import SMALLEST, inside, log_odds
from contender.performance.score_counts import FIELDS, Tally
from contender.training.search import Task


@pytest.mark.parametrize("sure", [0.0, 1e-300, 1e-16, 1e-12, 1e-8, 1e-5])
def test_search_judge_and_estimate_lose_the_same_on_a_sure_mistake(sure):
    y, scores = np.array([1, 0, 1]), np.array([sure, 1 - sure, 0.5])
    searched = Task("binary", (), None, "log_loss", 1, 1).measure(
        y, np.column_stack([1 - scores, scores]), np.array([0, 1])
    )
    judged = metrics("binary", y, scores, 0.5)["log_loss"]
    points = [
        dict.fromkeys(FIELDS, 0) | {"score": score, "predictions": 1, "mature": 1, "hits": hit}
        for score, hit in zip(scores, y, strict=True)
    ]
    tally = Tally.of("binary", points, None, None)

    expected = -(2 * np.log(max(sure, SMALLEST)) + np.log(0.5)) / 3
    assert [searched, judged, tally.measure()["log_loss"], tally.loss] == pytest.approx([expected] * 4, rel=1e-9)


def test_several_classes_are_bounded_alike():
    y, table = np.array([0, 1]), np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    searched = Task("multiclass", (), None, "log_loss", 1, 1).measure(y, table, np.array([0, 1, 2]))
    assert (
        searched == metrics("multiclass", y, table, 0.5)["log_loss"] == pytest.approx(-np.log(SMALLEST) / 2, rel=1e-6)
    )


def test_no_probability_is_without_log_odds():
    assert inside(np.array([0.0, 0.3, 1.0])).tolist() == [SMALLEST, 0.3, 1 - SMALLEST]
    assert np.isfinite(log_odds(np.array([0.0, 1.0]))).all()
