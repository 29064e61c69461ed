"""How long the watcher waits for what: one value, so that all waits can be shortened together."""

from dataclasses import dataclass
from datetime import timedelta

from contender.ingestion.settling import SETTLE_SECONDS


@dataclass(frozen=True)
class Pace:
    """The waits of the watcher.

    Attributes:
        settle_seconds: a file that looks the same for so long is whole.
        busy_seconds: from one look at Prefect's events to the next, while something goes on.
        idle_seconds: the same, while nothing does.
        explained: how long an automation may take to create a run, before its absence is explained by the
            contract's limits.
        unexplained: the same, where nothing explains it.
    """

    settle_seconds: float = SETTLE_SECONDS
    busy_seconds: float = 2.0
    idle_seconds: float = 5.0
    explained: timedelta = timedelta(seconds=20)
    unexplained: timedelta = timedelta(seconds=60)


USUAL = Pace()
