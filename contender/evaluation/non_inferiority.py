"""When a challenger need not win: the champion decays or is too old, and not being worse is enough, for a while."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol

from contender.contracts.sections import Judging
from contender.values import Decision

Mode = Literal["usual", "decay"]


class Judged(Protocol):
    """What is asked of an earlier verdict."""

    @property
    def decision(self) -> Decision: ...
    @property
    def gain(self) -> float: ...
    @property
    def mode(self) -> Mode: ...


@dataclass(frozen=True)
class Leniency:
    """How a challenger is judged: `allowed_loss`, in units of the metric, is None where it has to win."""

    mode: Mode
    allowed_loss: float | None
    reason: str


def leniency(rules: Judging, verdicts: Sequence[Judged], *, decayed: bool, age: timedelta | None) -> Leniency:
    """Whether, and by how much, a challenger may be worse than the champion.

    Each successor that won by not being worse may have lost a little. What they lost, as measured, is added up since
    the last clear win, and the sum never passes the contract's `max_loss`: quality cannot slide step by step.

    Args:
        verdicts: earlier ones, newest first.
        decayed: the monitor has confirmed that the champion decays.
        age: of the champion's newest training row; None where nobody holds the title.
    """
    if age is None:
        return Leniency("usual", None, "")
    too_old = rules.max_age is not None and age > rules.max_age
    if not (decayed or too_old):
        return Leniency("usual", None, "")
    why = "the champion decays" if decayed else f"the champion's training ended {age.days} days ago"
    limit = rules.min_gain if rules.max_loss is None else rules.max_loss
    lost = lost_since_clear_win(verdicts)
    if limit - lost <= 0:
        return Leniency(
            "usual",
            None,
            f"{why}, but its predecessors lost {lost:.3g} since the last clear win and {limit:.3g} are allowed: only a "
            "win counts",
        )
    return Leniency("decay", limit - lost, f"{why}: not being worse by more than {limit - lost:.3g} is enough")


def lost_since_clear_win(verdicts: Sequence[Judged]) -> float:
    """What successors lost, as measured, since one last won outright; in units of the metric.

    Args:
        verdicts: newest first.
    """
    lost = 0.0
    for verdict in verdicts:
        if verdict.decision is not Decision.PROMOTE:
            continue
        if verdict.mode == "usual":
            break
        lost += max(0.0, -verdict.gain)
    return lost
