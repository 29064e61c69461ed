"""What a challenger must not break, however much it gains."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.sections import Judging
from contender.errors import ModelError, TooFewOutcomes
from contender.evaluation.bootstrap import Contest, Gains, sigmas
from contender.evaluation.metrics import SLICE_OF_A_CLASS, SLICE_ROWS, check_enough, slices_of
from contender.evaluation.multiple_testing import holm_levels
from contender.evaluation.weighted_metrics import decisions
from contender.values import Guardrail

RULED_OUT = 0.01
"""A loss beyond the margin passes as tolerable with this probability at most, where there are outcomes enough."""

SIGNIFICANT = 0.05
"""Probability that any slice of a challenger that loses nowhere is called a loss."""

MIN_ENTITIES = 30
MIN_ENTITIES_PER_CLASS = 10
"""Resampling so few entities understates luck. Source: Cameron, Gelbach & Miller (2008), Bootstrap-Based Improvements
for Inference with Clustered Errors, Review of Economics and Statistics 90(3), where "few" is 5 to 30."""


@dataclass(frozen=True)
class Checked:
    """A guardrail with what it means for the verdict.

    `refuted` says that the limit is shown to be broken, not only not shown to hold. `rows_factor` is about how many
    times the rows it would take to know; 1 where it is known.
    """

    guardrail: Guardrail
    reason: str = ""
    refuted: bool = False
    rows_factor: float = 1.0


def check_thresholds(rules: Judging, measured: Mapping[str, float], rows: int) -> list[Checked]:
    """The contract's absolute limits on the challenger's metrics.

    Raises:
        TooFewOutcomes: a metric with a limit has no meaning on these rows.
    """
    found = []
    for metric, limits in rules.thresholds.items():
        if metric not in measured:
            raise TooFewOutcomes.to_measure(metric, rows=rows)
        value, least = measured[metric], limits.min is not None
        limit = limits.min if limits.min is not None else limits.max
        assert limit is not None  # a threshold has exactly one side
        side = "at least" if least else "at most"
        found.append(_plain(f"{metric} {side}", value, limit, value >= limit if least else value <= limit, side))
    return found


def check_latency(rules: Judging, latency_ms: Mapping[str, float]) -> Checked:
    """The 95th percentile of the milliseconds that the challenger takes for one record.

    Raises:
        ModelError: it was not measured.
    """
    p95 = latency_ms.get("p95", math.nan)
    if not math.isfinite(p95):
        raise ModelError("The challenger's p95 latency was not measured; judging needs it.")
    return _plain("latency_p95_ms", p95, rules.max_latency_ms, p95 <= rules.max_latency_ms, "at most")


def check_flips(contest: Contest, limit: float) -> tuple[Checked, str]:
    """Decisions that the challenger turns from right to wrong, as a share of rows, and the sentence about them."""
    truth = np.asarray(contest.y, dtype=np.int64)
    before = decisions(contest.kind, contest.champion, contest.threshold) == truth
    now = decisions(contest.kind, contest.challenger, contest.threshold) == truth
    to_wrong, to_right = float((before & ~now).mean()), float((~before & now).mean())
    reason = f"{to_wrong:.2%} of the decisions flip from right to wrong, {to_right:.2%} from wrong to right"
    return _plain("flips to wrong", to_wrong, limit, to_wrong <= limit, "at most"), reason


def check_calibration(contest: Contest, rules: Judging, rng: np.random.Generator, draws: int) -> Checked:
    """How far the Brier score rises, of classifiers."""
    gains = contest.gains("brier", rng, draws)
    return check_losses([("calibration (Brier)", gains)], rules.calibration_margin)[0]


@dataclass(frozen=True)
class Slice:
    """What one slice gains of the deciding metric; None where it is too small to tell."""

    name: str
    rows: int
    gains: Gains | None


def gains_of_slices(
    contest: Contest, rules: Judging, columns: Mapping[str, NDArray[Any]], rng: np.random.Generator, draws: int
) -> list[Slice]:
    """Every "column=value" with its gains."""
    found = []
    least = min(rules.min_rows or SLICE_ROWS, SLICE_ROWS)
    for name, rows in slices_of(columns):
        part = contest.within(rows)
        try:
            check_enough(part.kind, part.y, min_rows=least, min_per_class=rules.min_per_class or SLICE_OF_A_CLASS)
            check_entities(part)
            found.append(Slice(name, len(rows), part.gains(rules.metric, rng, draws)))
        except TooFewOutcomes:
            found.append(Slice(name, len(rows), None))
    return found


def check_slices(slices: Sequence[Slice], rules: Judging) -> tuple[list[Checked], list[str]]:
    """Whether what each slice loses stays within the margin, and the slices that are too small to tell."""
    family = [(f"slice {one.name}", one.gains) for one in slices if one.gains is not None]
    too_small = [f"{one.name} ({one.rows:,} rows)" for one in slices if one.gains is None]
    return check_losses(family, rules.slice_margin), too_small


def check_losses(family: Sequence[tuple[str, Gains]], margin: float) -> list[Checked]:
    """Whether each of several losses stays within the margin.

    One holds when a loss beyond the margin is ruled out. Few outcomes rule nothing out; then it holds when no loss is
    significant and the loss measured is within the margin, because else no challenger could ever pass a small slice.
    It is refuted when the loss is significant and the loss measured is beyond the margin. All must hold, so that
    ruling out needs no correction, and a harmful challenger must get past its worst slice; calling a loss significant
    is tried many times, and is corrected by Holm's method.

    Source: Berger (1982), Multiparameter Hypothesis Testing and Acceptance Sampling, Technometrics 24(4), for holding.
    """
    levels = holm_levels([gains.harm_p for _, gains in family], SIGNIFICANT)
    return [_loss(name, gains, level, margin) for (name, gains), level in zip(family, levels, strict=True)]


def check_entities(contest: Contest) -> None:
    """Make sure that clustered rows come from enough entities.

    Raises:
        TooFewOutcomes: they do not.
    """
    if contest.clusters is None:
        return
    if (found := len(np.unique(contest.clusters))) < MIN_ENTITIES:
        raise TooFewOutcomes.to_judge(found=found, needed=MIN_ENTITIES, of="entities with outcomes")
    if contest.kind == "regression":
        return
    spread = sorted(len(np.unique(contest.clusters[contest.y == label])) for label in np.unique(contest.y))
    if spread[-2] < MIN_ENTITIES_PER_CLASS:
        of = "entities with outcomes of the rarer class"
        raise TooFewOutcomes.to_judge(found=spread[-2], needed=MIN_ENTITIES_PER_CLASS, of=of)


def _loss(name: str, gains: Gains, level: float, margin: float) -> Checked:
    loss, significant = -gains.point, gains.harm_p <= level
    ruled_out = gains.low(RULED_OUT) >= -margin
    holds = ruled_out or (not significant and loss <= margin)
    rail = Guardrail(name, loss, margin, holds)
    if holds:
        return Checked(rail)
    if significant and loss > margin:
        return Checked(rail, f"{name} loses {loss:.3g}, more than the {margin:g} allowed", refuted=True)
    apart = margin - loss if loss < margin else loss
    factor = (sigmas(RULED_OUT) * gains.error / apart) ** 2
    reason = f"{name} loses {loss:.3g}; more than the {margin:g} allowed cannot be ruled out"
    return Checked(rail, reason, rows_factor=factor)


def _plain(name: str, value: float, limit: float, holds: bool, side: str) -> Checked:
    subject = name.removesuffix(f" {side}")
    return Checked(
        Guardrail(name, value, limit, holds),
        "" if holds else f"{subject} is {value:.4g}; expected {side} {limit:g}",
        refuted=not holds,
    )
