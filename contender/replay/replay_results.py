"""What a replay gives: for each policy, period by period, who scored, how well, what it cost and what was done."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from contender.values import Interval

OURS = "contender"

POLICIES: Mapping[str, str] = {
    "never": "never, so that the first champion stays",
    "schedule": "whenever the contract's schedule comes round",
    "drift": "whenever a column raises an alarm of drift, whatever the quality",
    "performance": "whenever the measured quality decays",
    OURS: "when enough outcomes are new or decay is named, and learns nothing from broken rows",
}
"""When a challenger is trained, by the name of the policy. Whether it takes the title, the judge says under all."""


@dataclass(frozen=True)
class Alarm:
    """What the monitor said of one window; `day` is the window's last. `action` is what its policy made of it."""

    day: date
    name: str
    sentence: str
    action: str


@dataclass(frozen=True)
class Retrained:
    """One challenger: why it was trained, and what the judge said. `version` is None where none could be trained."""

    at: datetime
    why: str
    decision: str
    reason: str
    version: int | None = None
    gain: float | None = None
    interval: Interval | None = None

    @property
    def promoted(self) -> bool:
        return self.decision == "PROMOTE"


@dataclass(frozen=True)
class Period:
    """The records of `[start, end)` under one policy.

    `version` scored them, by `quality` with a 90 % interval, measured on the `outcomes` that were known in the end.
    `estimated` is what was expected at the period's end. `cost` is that of the mistakes, in the contract's currency.
    `held_out` says what was held out of training, and `refused` why what landed was refused as a whole, whatever the
    policy.
    """

    start: date
    end: date
    rows: int
    outcomes: int
    version: int | None
    quality: float | None = None
    interval: Interval | None = None
    estimated: float | None = None
    cost: float | None = None
    alarms: tuple[Alarm, ...] = ()
    retrained: Retrained | None = None
    held_out: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Course:
    """One policy over the whole history. Quality and costs are of the periods after the first champion.

    `saved` is what `contender` cost less than this policy, retrains included, with a 90 % interval; None for itself, or
    without costs.
    """

    policy: str
    periods: tuple[Period, ...]
    quality: float | None
    interval: Interval | None
    mistakes_cost: float | None
    retrain_cost: float
    seconds: float
    saved: float | None = None
    saved_interval: Interval | None = None

    @property
    def retrains(self) -> int:
        return sum(period.retrained is not None for period in self.periods)

    @property
    def promotions(self) -> int:
        return sum(period.retrained is not None and period.retrained.promoted for period in self.periods)

    @property
    def alarms(self) -> int:
        return sum(len(period.alarms) for period in self.periods)

    @property
    def cost(self) -> float | None:
        return None if self.mistakes_cost is None else self.mistakes_cost + self.retrain_cost


@dataclass(frozen=True)
class Replay:
    """A history played again under several policies, from the same first champion.

    `first` and `last` are the days of the history, the last one excluded; the champion of all was crowned on
    `begun`. `scenario` was injected from `injected` on.
    """

    use_case: str
    question: str
    metric: str
    lower_is_better: bool
    currency: str
    first: date
    last: date
    begun: date
    every_days: int
    courses: tuple[Course, ...]
    seed: int
    made_at: datetime
    scenario: str = "none"
    injected: date | None = None
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """All of it for programs."""
        found = asdict(self)
        for course, mine in zip(found["courses"], self.courses, strict=True):
            course |= {"retrains": mine.retrains, "promotions": mine.promotions, "alarms": mine.alarms}
            course["cost"] = mine.cost
        return found
