"""The bar that a gain must clear, and a second opinion on whether it did."""

import math
from dataclasses import dataclass
from typing import Self

from contender.contracts.sections import Judging
from contender.evaluation.bootstrap import Gains, sigmas
from contender.evaluation.significance_tests import CrossCheck

ALPHA = 0.05
"""One-sided error of the bounds that are reported, before the looks share it."""

LUCK = 0.005
"""Probability that any of a year's challengers, were they all equal to their champions, takes the title by luck: half
of the one in a hundred that is promised, because bounds so far out in the tails are themselves approximate."""

POWER = 0.80
"""Probability of settling with which more outcomes are asked for."""


@dataclass(frozen=True)
class Bar:
    """What a gain must show, in units of the metric.

    A true gain of `floor` or less must be ruled out with errors `alpha` and `luck` (both one-sided), and the gain
    measured must be at least `worthwhile`.
    """

    floor: float
    worthwhile: float
    alpha: float
    luck: float

    @classmethod
    def of(cls, rules: Judging, *, first: bool, allowed_loss: float | None, looks: int, looks_in_year: int) -> Self:
        """The bar for a first model (any gain over the dummy), for a decaying champion, or for all others."""
        alpha = ALPHA / looks
        if first:
            # Nobody is replaced by luck where nobody is: what is better than the dummy for sure is a beginning.
            return cls(0.0, 0.0, alpha, alpha)
        if allowed_loss is not None:
            return cls(-allowed_loss, -math.inf, alpha, alpha)
        return cls(0.0, rules.min_gain, alpha, LUCK / max(looks, looks_in_year, rules.looks_per_year))

    def cleared_by(self, gains: Gains) -> bool:
        return gains.low(min(self.alpha, self.luck)) > self.floor and gains.point >= self.worthwhile

    def missed_by(self, gains: Gains) -> bool:
        """Whether the gain is too small for sure."""
        high = gains.high(self.alpha)
        return high < self.worthwhile or high <= self.floor

    def rows_factor(self, gains: Gains) -> float:
        """About how many times the rows would clear or miss it, if the gain stays what it is."""
        winning = gains.point >= self.worthwhile and gains.point > self.floor
        distance = gains.point - self.floor if winning else max(self.worthwhile, self.floor) - gains.point
        needed = sigmas(self.luck if winning else self.alpha) + sigmas(1 - POWER)
        return (needed * gains.error / distance) ** 2 if distance > 0 else math.inf

    def sentence(self, gains: Gains, against: str) -> str:
        """How the gain stands to the bar."""
        over = f"gain over the {against}"
        level = f"{100 * (1 - 2 * self.alpha):.6g} % interval"
        low, high = gains.low(self.alpha), gains.high(self.alpha)
        told = f"{over} {gains.point:+.3g} ({level} {low:+.3g} to {high:+.3g})"
        zero = "zero" if self.floor == 0 else f"the allowed loss {self.floor:.3g}"
        worthwhile = f"the smallest worthwhile gain {self.worthwhile:g}"
        if self.missed_by(gains):
            return f"{told} stays below {worthwhile}" if self.worthwhile > 0 else f"{told} is not above {zero}"
        if low <= self.floor:
            return f"{told} is not surely above {zero}"
        if gains.point < self.worthwhile:
            return f"{told} is above {zero}, but less than {worthwhile}"
        if not self.cleared_by(gains):
            return f"{told} is above {zero}, but luck alone may give as much more often than in {1 / self.luck:,.0f}"
        enough = f" and at least {worthwhile}" if self.worthwhile > 0 else ""
        return f"{told} is above {zero}{enough}"


@dataclass(frozen=True)
class Opinion:
    """A cross-check against the bar; it binds only where its assumptions hold."""

    check: CrossCheck
    alpha: float
    binding: bool

    @property
    def agrees(self) -> bool:
        return self.check.p_value < self.alpha

    @property
    def contradicts(self) -> bool:
        """Whether it forbids a promotion."""
        return self.binding and not self.agrees

    @property
    def rows_factor(self) -> float:
        """About how many times the rows would make it agree, if the gain stays what it is."""
        if self.check.p_value >= 0.5:
            return math.inf
        return ((sigmas(self.alpha) + sigmas(1 - POWER)) / sigmas(max(self.check.p_value, 1e-300))) ** 2

    @property
    def sentence(self) -> str:
        aside = "" if self.binding else ", which takes rows to be independent and is only told,"
        sees = "sees a gain too" if self.agrees else "does not see a gain for sure"
        return f"{self.check.method}'s test{aside} {sees} (one-sided p = {self.check.p_value:.2g})"
