"""What the dashboard shows of a use case, as plain values: small, whatever the tables behind them hold."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Self

from contender.performance.quality_windows import QualityWindow
from contender.promotion.verdict_document import VerdictDocument

DAYS = 366
"""Days that are shown, up to the newest that anything is known of."""

MOST_CHECKS, MOST_BATCHES, MOST_VERDICTS, MOST_HAPPENINGS = 60, 12, 6, 8


@dataclass(frozen=True)
class QualityDay:
    """A row of `performance`; see `daily.schema`. `mature_share` is of the outcomes that are in."""

    day: date
    model_version: int
    in_training: bool | None
    predictions: int
    mature: int
    mature_share: float | None
    metric: str
    quality: float | None
    quality_low: float | None
    quality_high: float | None
    estimated_quality: float | None
    estimated_low: float | None
    estimated_high: float | None
    estimate: str
    p95_latency_ms: float | None

    @property
    def is_mature(self) -> bool:
        """Whether the quality is final: no outcome of the day is in that does not count yet."""
        return self.quality is not None and self.mature_share is not None and self.mature_share >= 1

    @property
    def is_known(self) -> bool:
        """Whether the model was trained on rows of this day, so that its quality there says little."""
        return bool(self.in_training)


@dataclass(frozen=True)
class Cell:
    """A column in one check, or the worst of several. `day` is the last of the checked window."""

    day: date
    score: float | None
    threshold: float | None
    drifted: bool | None
    season: bool
    alarm: bool
    why: str = ""

    @property
    def ratio(self) -> float | None:
        """The score in units of its threshold: from 1 on it counts."""
        if self.score is None or not self.threshold:
            return None
        return self.score / self.threshold

    @property
    def gravity(self) -> tuple[int, float]:
        """Orders cells from harmless to grave; what could not be told comes before what was told to be well."""
        rank = 0 if self.drifted is None else 4 if self.alarm else 3 if self.drifted else 2 if self.season else 1
        return rank, self.ratio or 0.0


@dataclass(frozen=True)
class Heat:
    """Columns by checks, the oldest check first: `cells[column][check]`, None where it was not looked at.

    `days` are the last of each check's window, or of several windows that stand in one cell. `newest` is the last
    check, column by column, with its reasons.
    """

    days: tuple[tuple[date, date], ...]
    cells: Mapping[str, tuple[Cell | None, ...]]
    newest: Mapping[str, Cell]

    @classmethod
    def of(cls, found: Mapping[str, Mapping[date, Cell]], most: int = MOST_CHECKS) -> Self:
        """From cells by column and day; neighbouring checks share a cell where there are more than `most`.

        Columns that drifted come first, those that did so lately before others.
        """
        every = sorted({day for cells in found.values() for day in cells})
        size = max(1, -(-len(every) // most))
        # From the newest back, so that the oldest group is the one that is not full.
        groups = [every[max(0, end - size) : end] for end in range(len(every), 0, -size)][::-1]
        cells = {
            name: tuple(
                max((days[day] for day in group if day in days), key=lambda one: one.gravity, default=None)
                for group in groups
            )
            for name, days in found.items()
        }
        newest = {name: days[every[-1]] for name, days in found.items() if every[-1] in days}
        order = sorted(cells, key=lambda name: (-_lately(cells[name]), name))
        return cls(
            tuple((group[0], group[-1]) for group in groups),
            {name: cells[name] for name in order},
            {name: newest[name] for name in order if name in newest},
        )

    @property
    def drifted(self) -> list[str]:
        """Columns that drifted in the newest check."""
        return [name for name, cell in self.newest.items() if cell.drifted]

    @property
    def alarming(self) -> list[str]:
        return [name for name, cell in self.newest.items() if cell.alarm]

    @property
    def tested(self) -> int:
        """Columns of which the newest check could tell anything."""
        return sum(cell.drifted is not None for cell in self.newest.values())


@dataclass(frozen=True)
class Batch:
    """What was quarantined of one batch: rows (an unreadable file is one), and each reason with how often."""

    number: int
    rows: int
    received: datetime | None
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Champion:
    """Who holds the title, as the ledger's last entry has it; `link` leads to MLflow's page, where it has any."""

    version: int
    since: datetime
    action: str
    reason: str
    by: str
    reigns: int
    link: str = ""


@dataclass(frozen=True)
class Happening:
    """A notice, or an event that called for a retrain and what became of it."""

    at: datetime
    kind: str
    sentence: str


@dataclass(frozen=True)
class UseCase:
    """All that is shown of one use case.

    `predictions` and `alerts` count rows by the day of the record, in the days that are shown; `…_in_all` all rows.
    `waiting` says what a person is asked to approve, `failing` which flows failed last, when, how often and why.
    `point` says what a window of `windows` is.
    `troubles` are short sentences on what cannot be shown, fit for a page; `causes` tell more, for a log.
    """

    name: str
    question: str = ""
    champion: Champion | None = None
    verdicts: Sequence[VerdictDocument] = ()
    waiting: str = ""
    failing: Sequence[str] = ()
    quality: Sequence[QualityDay] = ()
    windows: Sequence[QualityWindow] = ()
    point: str = ""
    heat: Heat | None = None
    predictions: Mapping[date, int] = field(default_factory=dict)
    predictions_in_all: int = 0
    alerts: Mapping[date, int] = field(default_factory=dict)
    alerts_in_all: int = 0
    batches: Sequence[Batch] = ()
    quarantined_in_all: int = 0
    notices: Sequence[Happening] = ()
    triggers: Sequence[Happening] = ()
    report: str = ""
    troubles: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[date, date] | None:
        """First and last day of the curves; None where nothing happened yet."""
        days = {*self.predictions, *self.alerts, *(one.day for one in self.quality)}
        return (min(days), max(days)) if days else None

    @property
    def is_blank(self) -> bool:
        """Whether nothing was ever done."""
        done = (
            self.champion,
            self.verdicts,
            self.ends,
            self.heat,
            self.batches,
            self.failing,
            self.notices,
            self.triggers,
        )
        return not self.troubles and not any(done)

    @property
    def metric(self) -> str:
        return self.quality[-1].metric if self.quality else ""

    @property
    def measured(self) -> QualityWindow | None:
        """The newest window whose quality is final, and that the model was not trained on."""
        return next((one for one in reversed(self.windows) if one.is_final and not one.in_training), None)

    @property
    def estimated(self) -> QualityDay | None:
        return next((one for one in reversed(self.quality) if one.estimated_quality is not None), None)

    @property
    def latencies(self) -> dict[date, float]:
        return {one.day: one.p95_latency_ms for one in self.quality if one.p95_latency_ms is not None}

    @property
    def judged_latency(self) -> float | None:
        """The champion's 95th percentile in milliseconds, as the judge saw it."""
        mine = (one for one in self.verdicts if self.champion and one.challenger == self.champion.version)
        return next((one.latency_ms.get("p95") for one in mine), None)

    @property
    def calls(self) -> list[str]:
        """What a person should see to, in sentences."""
        found = [self.waiting] if self.waiting else []
        if self.heat and self.heat.alarming:
            names = self.heat.alarming
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            found.append(f"Drift alarm on {self.heat.days[-1][1]}: {', '.join(names[:4])}{more}.")
        return found


def within_a_year(shown: UseCase) -> UseCase:
    """The use case without days more than a year before its newest one: tables may end at different times."""
    if shown.ends is None:
        return shown
    since = shown.ends[1] - timedelta(days=DAYS - 1)
    return replace(
        shown,
        quality=[one for one in shown.quality if one.day >= since],
        windows=[one for one in shown.windows if one.last >= since],
        predictions={day: rows for day, rows in shown.predictions.items() if day >= since},
        alerts={day: rows for day, rows in shown.alerts.items() if day >= since},
    )


def leading(rows: Iterable[Mapping[str, Any]]) -> list[QualityDay]:
    """For each day the model version that made most of its predictions, oldest first; of equals the newest version."""
    best: dict[date, QualityDay] = {}
    for row in rows:
        one = QualityDay(**row)
        before = best.get(one.day)
        if before is None or (one.predictions, one.model_version) > (before.predictions, before.model_version):
            best[one.day] = one
    return [best[day] for day in sorted(best)]


def batches_of(counts: Mapping[int, Counter[str]], rows: Counter[int], received: Mapping[int, datetime]) -> list[Batch]:
    """The newest batches that have anything in quarantine, newest first."""
    newest = sorted(rows, reverse=True)[:MOST_BATCHES]
    return [Batch(one, rows[one], received.get(one), tuple(counts[one].most_common())) for one in newest]


def _lately(cells: Sequence[Cell | None]) -> float:
    """How much a column drifted, each check counting a tenth more than the one before."""
    return sum(1.1**place for place, cell in enumerate(cells) if cell is not None and cell.drifted)
