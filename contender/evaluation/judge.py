"""Whether a challenger takes the title, and why: every decision comes with its numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.sections import Judging, Kind
from contender.evaluation.bootstrap import DRAWS, Contest, Gains
from contender.evaluation.evidence import slice_gain
from contender.evaluation.guardrails import (
    Checked,
    Slice,
    check_calibration,
    check_entities,
    check_flips,
    check_latency,
    check_slices,
    check_thresholds,
    gains_of_slices,
)
from contender.evaluation.metrics import check_enough, check_scores, metrics
from contender.evaluation.promotion_rule import Bar, Opinion
from contender.evaluation.ranking_metrics import Floats
from contender.evaluation.significance_tests import delong, mcnemar, permuted
from contender.evaluation.weighted_metrics import decisions
from contender.values import Decision, Interval, Verdict

MOST_MORE = 100
"""At most so many times the rows are asked for: beyond it, "many more" says the same."""


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """Both models' scores on the same rows, and what came true.

    Args:
        y: shape (rows,); 0 or 1, the class index, or the target itself.
        champion: shape (rows,), multiclass (rows, classes); None where nobody holds the title.
        challenger: likewise.
        dummy: likewise, of a model that knows the base rate only; the opponent where there is no champion.
        threshold: binary scores from here on say "1".
        slices: record columns, each of shape (rows,).
        clusters: shape (rows,), the entity of each row, where the contract names a cluster.
    """

    kind: Kind
    y: NDArray[Any]
    champion: Floats | None
    challenger: Floats
    dummy: Floats
    threshold: float
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    clusters: NDArray[Any] | None = None


@dataclass(frozen=True)
class Occasion:
    """How often was looked before, and whether the champion decays.

    Args:
        looks: comparisons on this window including this one, each candidate that was measured on it counted.
        looks_in_year: comparisons of this use case within a year, likewise.
        non_inferiority: the loss allowed where the champion decays, in units of the metric: ruling out a larger one
            is then enough.
    """

    looks: int = 1
    looks_in_year: int = 1
    non_inferiority: float | None = None


def judge(
    rows: JudgedRows,
    rules: Judging,
    occasion: Occasion,
    *,
    latency_ms: Mapping[str, float],
    seed: int,
    fairness: Sequence[Checked] = (),
    draws: int = DRAWS,
) -> Verdict:
    """The verdict on a challenger.

    All comparisons of a year share one error: each is judged at its part of the number planned in the contract, or of
    those counted where they are more (Bonferroni). So equal models are promoted in at most one year in a hundred, as
    long as the plan is kept; past it the error grows with the logarithm of the looks.

    Args:
        latency_ms: milliseconds per record of the challenger; `p95` is read.
        fairness: what `fairness.check_fairness` found about the challenger.

    Raises:
        TooFewOutcomes: the rows are too few, too alike or from too few entities.
        ModelError: scores that are not one finite number, or row of probabilities, for each outcome.

    Source: Dunn (1961), Multiple Comparisons among Means, JASA 56(293), for dividing the error; Piaggio et al. (2012),
    Reporting of Noninferiority and Equivalence Randomized Trials, JAMA 308(24).
    """
    kind, y, threshold, clusters = rows.kind, rows.y, rows.threshold, rows.clusters
    champion, challenger = rows.champion, rows.challenger
    looks, looks_in_year, non_inferiority = occasion.looks, occasion.looks_in_year, occasion.non_inferiority
    if min(looks, looks_in_year) < 1 or (non_inferiority is not None and not 0 <= non_inferiority < math.inf):
        raise ValueError(
            f"{looks=}, {looks_in_year=}, {non_inferiority=}; expected at least 1 look, and a loss of 0 or more"
        )
    check_enough(kind, y, min_rows=rules.fewest_rows, min_per_class=rules.fewest_of_a_class)
    against, opponent = ("dummy", rows.dummy) if champion is None else ("champion", champion)
    for who, scores in ((against, opponent), ("challenger", challenger)):
        check_scores(kind, y, scores, who=who)
    contest = Contest(kind, y, opponent, challenger, threshold, clusters)
    check_entities(contest)

    bar = Bar.of(rules, first=champion is None, allowed_loss=non_inferiority, looks=looks, looks_in_year=looks_in_year)
    rng = np.random.default_rng(seed)
    gains = contest.gains(rules.metric, rng, draws)
    measured = metrics(kind, y, challenger, threshold)
    checks = [*check_thresholds(rules, measured, len(y)), check_latency(rules, latency_ms), *fairness]
    notes: list[str] = []
    found: list[Slice] = []
    if champion is not None:
        if kind != "regression":
            flipped, note = check_flips(contest, rules.max_flips)
            checks += [flipped, check_calibration(contest, rules, rng, draws)]
            notes.append(note)
        found = gains_of_slices(contest, rules, rows.slices, rng, draws)
        sliced, too_small = check_slices(found, rules)
        checks += sliced
        if too_small:
            notes.append(f"too small to tell: {', '.join(too_small)}")

    if champion is None:
        # A generator of its own: what else is drawn stays as it was.
        dealer = np.random.default_rng([seed, 1])
        check = permuted(kind, rules.metric, y, challenger, threshold, bar.alpha, dealer)
        opinion: Opinion | None = Opinion(check, bar.alpha, binding=clusters is None)
    else:
        opinion = _second_opinion(contest, rules.metric, bar)
    verdict = _verdict(rules.metric, bar, gains, checks, opinion, notes, against, len(y))
    return replace(
        verdict, slice_gains=tuple(slice_gain(one.name, one.rows, one.gains, rules.slice_margin) for one in found)
    )


def _second_opinion(contest: Contest, metric: str, bar: Bar) -> Opinion | None:
    """What DeLong or McNemar say, where one of them knows the metric."""
    binding = contest.clusters is None  # both take rows to be independent
    if metric == "roc_auc" and contest.kind == "binary":
        check = delong(np.asarray(contest.y, dtype=np.int64), contest.champion, contest.challenger, bar.floor)
        return Opinion(check, bar.alpha, binding)
    if metric == "accuracy" and bar.floor == 0:  # exact McNemar knows no margin
        before, now = (
            decisions(contest.kind, scores, contest.threshold) == contest.y
            for scores in (contest.champion, contest.challenger)
        )
        return Opinion(mcnemar(before, now), bar.alpha, binding)
    return None


def _verdict(
    metric: str,
    bar: Bar,
    gains: Gains,
    checks: Sequence[Checked],
    opinion: Opinion | None,
    notes: Sequence[str],
    against: str,
    rows: int,
) -> Verdict:
    cleared = bar.cleared_by(gains)
    unsettled = [check for check in checks if not check.guardrail.holds and not check.refuted]
    contradicted = opinion is not None and opinion.contradicts
    needed = None
    if bar.missed_by(gains) or any(check.refuted for check in checks):
        decision = Decision.KEEP
    elif cleared and not unsettled and not contradicted:
        decision = Decision.PROMOTE
    else:
        decision = Decision.INCONCLUSIVE
        factors = [check.rows_factor for check in unsettled]
        factors += [] if cleared else [bar.rows_factor(gains)]
        factors += [opinion.rows_factor] if opinion is not None and contradicted else []
        needed = max(1, math.ceil(rows * (min(max(factors), 1 + MOST_MORE) - 1)))

    reasons = [bar.sentence(gains, against)]
    if opinion is not None:
        reasons.append(opinion.sentence)
    reasons += [check.reason for check in checks if check.reason]
    if all(check.guardrail.holds for check in checks):
        reasons.append(f"all {len(checks)} thresholds and guardrails hold")
    reasons += notes
    if needed is not None:
        reasons.append(f"about {needed:,} more outcomes would settle it")
    return Verdict(
        decision=decision,
        metric=metric,
        champion_score=gains.champion,
        challenger_score=gains.challenger,
        gain=gains.point,
        interval=Interval(gains.low(bar.alpha), gains.high(bar.alpha), 1 - 2 * bar.alpha),
        rows=rows,
        reasons=tuple(reasons),
        guardrails=tuple(check.guardrail for check in checks),
        against=against,
        outcomes_needed=needed,
    )
