"""Whether a binary model treats groups of people alike: limits on how far their rates lie apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.loop_sections import Fairness
from contender.evaluation.bootstrap import DRAWS, Gains, sigmas
from contender.evaluation.exhibits import Apart, ColumnFairness, FairnessLimit, GroupRates
from contender.evaluation.group_rates import MIN_OUTCOMES, RATES, measure_fairness
from contender.evaluation.guardrails import MIN_ENTITIES, MIN_ENTITIES_PER_CLASS, RULED_OUT, SIGNIFICANT, Checked
from contender.evaluation.metrics import slices_of
from contender.evaluation.ranking_metrics import Floats
from contender.evaluation.weighted_metrics import decisions
from contender.values import Guardrail

ROUNDING = 1e-9
"""Room left below the limit, so that one that is met exactly is not missed by floating point."""


def check_fairness(
    y: NDArray[Any],
    scores: Floats,
    threshold: float,
    groups: Mapping[str, NDArray[Any]],
    rules: Fairness,
    rng_seed: int,
    *,
    clusters: NDArray[Any] | None = None,
) -> tuple[list[Checked], list[str]]:
    """What each limit means for the verdict, per protected column, and notes on the groups that cannot be told.

    A limit is refuted when two groups surely lie further apart than it allows; as any two may, the error is shared by
    all pairs, in both directions. It holds when the rates measured lie within it, and either no pair further apart can
    be hidden by luck (which needs no correction, see `guardrails.check_losses`) or no two rates differ significantly.
    Everything else is unsettled, and so is a limit that fewer than two groups are large enough for; the value of that
    one is None.

    Args:
        y: shape (rows,), 0 or 1.
        scores: shape (rows,); from `threshold` on they say "1", which selects.
        groups: protected columns, each of shape (rows,).
        clusters: shape (rows,), the entity of each row, where rows of one entity depend on each other.
    """
    rates = measure_fairness(y, scores, threshold, groups, rules)
    rows = dict(slices_of({column: groups[column] for column in rules.columns}))
    truth, decided = np.asarray(y, dtype=np.int64), decisions("binary", scores, threshold)
    samples: dict[tuple[str, str], list[_Sample]] = {}
    checks: list[Checked] = []
    for column in rules.columns:
        for limit_name, limit in rules.limits.items():
            rate, gap = limit_name.partition("_")[2].rsplit("_", 1)
            samples[column, rate] = [
                _Sample.of(one, rate, rows[one.name], truth, decided, rules.min_rows, clusters)
                for one in rates
                if one.column == column
            ]
            name = f"fairness {column}: {rate.replace('_', ' ')} {gap}"
            checks.append(_check(name, samples[column, rate], _Rule(gap, limit), np.random.default_rng(rng_seed)))
    return checks, _notes(rates, samples, rules.min_rows)


def by_column(rates: Sequence[GroupRates], checked: Sequence[Checked]) -> tuple[ColumnFairness, ...]:
    """Per protected column its groups' rates, how far apart they lie, and its limits."""
    found = []
    for column in dict.fromkeys(one.column for one in rates):
        own = tuple(one for one in rates if one.column == column)
        limits = tuple(
            FairnessLimit(**vars(check.guardrail), refuted=check.refuted, reason=check.reason)
            for check in checked
            if check.guardrail.name.startswith(f"fairness {column}: ")
        )
        apart = {rate: _apart([getattr(one, rate) for one in own]) for rate in RATES}
        found.append(ColumnFairness(column, own, apart, limits))
    return tuple(found)


@dataclass(frozen=True)
class _Rule:
    """A limit on the difference of two rates, or on the ratio of the lower to the higher."""

    gap: str
    limit: float

    def value(self, rates: Floats) -> float:
        """How far the highest and the lowest rate lie apart; where all are zero, all are treated alike."""
        high, low = float(rates.max()), float(rates.min())
        if self.gap == "difference":
            return high - low
        return low / high if high > 0 else 1.0

    def room(self, higher: Floats | float, lower: Floats | float) -> Any:
        """How much further apart two rates may lie; a ratio as a line, so that nothing is divided by zero."""
        room = self.limit - (higher - lower) if self.gap == "difference" else lower - self.limit * higher
        return room + ROUNDING

    @property
    def side(self) -> str:
        return "at most" if self.gap == "difference" else "at least"


@dataclass(frozen=True)
class _Sample:
    """One rate of one group, as the share `rate` of `trials` independent decisions.

    `lacks` is how many times the rows it would take to tell the rate; above 1 it is not told. `counted` says what was
    found.
    """

    group: str
    rate: float
    trials: float
    lacks: float
    counted: str

    @classmethod
    def of(
        cls,
        group: GroupRates,
        rate: str,
        rows: NDArray[np.intp],
        y: NDArray[np.int64],
        decided: NDArray[np.int64],
        min_rows: int,
        clusters: NDArray[Any] | None,
    ) -> "_Sample":
        """The decisions on those of the group's `rows` that the rate is a share of."""
        label = RATES[rate]
        tried = rows if label is None else rows[y[rows] == label]
        counted = f"{len(tried):,} {'rows' if label is None else 'positives' if label else 'negatives'}"
        needs, trials = [(min_rows, len(rows)), (MIN_OUTCOMES, len(tried))], float(len(tried))
        if clusters is not None:
            entities = len(np.unique(clusters[tried]))
            counted += f" of {entities:,} entities"
            needs += [(MIN_ENTITIES, len(np.unique(clusters[rows]))), (MIN_ENTITIES_PER_CLASS, entities)]
            trials = _independent(decided[tried], clusters[tried]) if entities > 1 else float(entities)
        lacks = max(needed / found if found else math.inf for needed, found in needs)
        told = getattr(group, rate)
        return cls(group.group, math.nan if told is None else told, trials, lacks, f"{group.name} ({counted})")

    def draws(self, rng: np.random.Generator) -> Floats:
        """Rates that may as well lie behind the one measured, shape (draws,): a parametric bootstrap of each group.

        Drawn from Jeffreys' posterior, because resampled rows of a group of which nobody, or everybody, is selected
        all say the same, as if luck had no part in it.

        Source: Brown, Cai & DasGupta (2001), Interval Estimation for a Binomial Proportion, Statistical Science 16(2).
        """
        hits = self.rate * self.trials
        return rng.beta(hits + 0.5, self.trials - hits + 0.5, DRAWS)


def _independent(decided: NDArray[np.int64], clusters: NDArray[Any]) -> float:
    """How many independent decisions tell as much as these, of which those about one entity are alike.

    Source: Rao & Scott (1992), A Simple Method for the Analysis of Clustered Binary Data, Biometrics 48(2).
    """
    rows, rate = len(decided), float(decided.mean())
    entities, of_row = np.unique(clusters, return_inverse=True)
    if rate in (0, 1):
        return float(len(entities))
    sums = np.bincount(of_row, weights=decided - rate)
    clustered = float(np.square(sums).sum()) * len(entities) / (len(entities) - 1)
    return rows / max(1.0, clustered / (rows * rate * (1 - rate)))


def _check(name: str, samples: Sequence[_Sample], rule: _Rule, rng: np.random.Generator) -> Checked:
    told = [sample for sample in samples if sample.lacks <= 1]
    if len(told) < 2:
        reason = f"{name} cannot be told: large enough are {len(told)} of {len(samples)} groups, and comparing takes 2"
        second = sorted([sample.lacks for sample in samples] + [math.inf])[1]
        return Checked(Guardrail(name, None, rule.limit, False), reason, rows_factor=second)
    highest, lowest = max(told, key=lambda sample: sample.rate), min(told, key=lambda sample: sample.rate)
    value = rule.value(np.array([sample.rate for sample in told]))
    extremes = f"from {highest.rate:.2%} of {highest.group} down to {lowest.rate:.2%} of {lowest.group}"
    reason = f"{name} is {value:.3g}, {extremes}; expected {rule.side} {rule.limit:g}"
    pairs = _pairs(told, rule, rng)
    alpha = SIGNIFICANT / len(pairs)
    if any(pair.high(alpha) < 0 for pair in pairs):
        return Checked(Guardrail(name, value, rule.limit, False), reason, refuted=True)
    if broken := [pair for pair in pairs if pair.point < 0]:
        factor = min((sigmas(alpha) * pair.error / pair.point) ** 2 for pair in broken)
        reason += ", though luck alone may give as much"
    else:
        alike = all(pair.harm_p >= alpha for pair in _pairs(told, _Rule("difference", 0.0), rng))
        in_doubt = [pair for pair in pairs if pair.low(RULED_OUT) < 0]
        if alike or not in_doubt:
            return Checked(Guardrail(name, value, rule.limit, True))
        factor = max((sigmas(RULED_OUT) * pair.error / max(pair.point, ROUNDING)) ** 2 for pair in in_doubt)
        reason += ", which so few rows cannot make sure"
    return Checked(Guardrail(name, value, rule.limit, False), reason, rows_factor=max(1.0, factor))


def _pairs(samples: Sequence[_Sample], rule: _Rule, rng: np.random.Generator) -> list[Gains]:
    """The room that the limit leaves between any two groups, in both directions, as a gain over the limit."""
    draws = [sample.draws(rng) for sample in samples]
    return [
        Gains(
            lower.rate,
            higher.rate,
            point=rule.room(higher.rate, lower.rate),
            draws=rule.room(draws[high], draws[low]),
            freedom=max(1.0, min(higher.trials, lower.trials) - 1),
        )
        for high, higher in enumerate(samples)
        for low, lower in enumerate(samples)
        if high != low
    ]


def _apart(rates: Sequence[float | None]) -> Apart:
    told = np.array([rate for rate in rates if rate is not None])
    return Apart(*(_Rule(gap, 0.0).value(told) if len(told) > 1 else None for gap in ("difference", "ratio")))


def _notes(
    rates: Sequence[GroupRates], samples: Mapping[tuple[str, str], Sequence[_Sample]], min_rows: int
) -> list[str]:
    small = {one.name: f"{one.name} ({one.rows:,} rows)" for one in rates if one.rows < min_rows}
    notes = [f"too small to tell: {', '.join(small.values())}"] if small else []
    for (column, rate), found in samples.items():
        few = [one.counted for one in found if one.lacks > 1 and f"{column}={one.group}" not in small]
        if few:
            notes.append(f"too few outcomes of that kind to tell the {rate.replace('_', ' ')}: {', '.join(few)}")
    return notes
