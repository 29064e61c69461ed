"""Verdicts to look at and to reach, in a few words."""

from dataclasses import fields, replace
from datetime import UTC, datetime

from contender.evaluation.judge import JudgedRows, Occasion, judge
from contender.promotion.verdict_document import VerdictDocument
from contender.values import Decision, Interval

PLAIN = VerdictDocument(
    decision=Decision.PROMOTE,
    metric="average_precision",
    champion_score=0.71,
    challenger_score=0.753,
    gain=0.043,
    interval=Interval(0.021, 0.066),
    rows=1200,
    reasons=("better",),
    at=datetime(2026, 5, 1, 12, tzinfo=UTC),
    challenger=2,
    champion=1,
    run_id="r",
    model_digest="ab12",
    window="2026-04-01 00:00..2026-04-28 00:00",
    as_of=datetime.fromisoformat("2026-05-01"),
    versions={"records": 3},
    git_revision="5b57fe6",
    outcomes=4000,
    mode="usual",
    min_gain=0.01,
    allowed_loss=None,
    looks=1,
    metrics={},
    slices={},
    latency_ms={"p95": 8.77},
    calibration={},
    flips=None,
    fairness=(),
    leaks_allowed={},
)


def verdict_document(**changes: object) -> VerdictDocument:
    """A challenger that won, but for what is changed."""
    return replace(PLAIN, **changes)  # type: ignore[arg-type]


def judged(*, rules, **given):
    """The judge's verdict, on what belongs to the rows, to the occasion and to itself in one go."""
    parts = [
        {one.name: given.pop(one.name) for one in fields(of) if one.name in given} for of in (JudgedRows, Occasion)
    ]
    return judge(JudgedRows(**parts[0]), rules, Occasion(**parts[1]), **given)
