"""When a new challenger is worth its training."""

import math
from dataclasses import dataclass

from contender.clauses import Retraining


@dataclass(frozen=True)
class Due:
    """Whether to train now, and the reason in one sentence."""

    now: bool
    reason: str


def retraining_due(rules: Retraining, *, outcomes: int, seen: int | None) -> Due:
    """Whether enough outcomes have come in since the last challenger was trained.

    Args:
        outcomes: how many there are now.
        seen: how many there were when the last challenger was judged; None when none ever was.
    """
    if seen is None:
        return Due(True, "no challenger has been judged yet")
    needed = max(rules.min_new_outcomes, math.ceil(rules.min_new_share * seen))
    new = outcomes - seen
    if new >= needed:
        return Due(True, f"{new:,} outcomes are new since the last challenger, {needed:,} suffice")
    return Due(False, f"{new:,} outcomes are new since the last challenger, {needed:,} are needed")
