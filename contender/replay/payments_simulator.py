"""Card payments made here: seeded, day by day, with fraud by known schemes and outcomes that arrive late.

A day depends only on the seed, the size, the knobs and the days before it, so that a longer simulation begins with
the very files of a shorter one.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from contender.errors import UsageError
from contender.replay.fraud_world import DAY, FraudWorld, random_of

DRIFTS = ("new_scheme", "price_inflation", "new_category")
PAYMENT_COLUMNS = (
    "payment_id",
    "paid_at",
    "customer_id",
    "merchant_id",
    "terminal_id",
    "category",
    "entry_mode",
    "amount",
    "distance_from_home",
    "seconds_since_last",
)
OUTCOME_COLUMNS = ("payment_id", "charged_back", "reported_at")
Row = tuple[str, ...]
CLEARED_AFTER_DAYS, REFERENCE_DAYS = 10, 120
DIRTY_KINDS = (
    "negative amount",
    "amount is text",
    "amount is not finite",
    "missing customer",
    "unknown entry mode",
    "time in 2099",
    "duplicate",
    "same key, another amount",
    "ragged",
)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What to simulate.

    `payments` is the exact number over the first 120 days, whatever `days` is, so that adding days changes none;
    `drift` names of `DRIFTS`, acting from day `drift_from` (0 is the first); `outcome_delay` stretches every wait for
    an outcome by that factor; `dirty_share` is the share of rows made dirty, from 0 to 1.

    Raises:
        UsageError: a value no simulation can be made of.
    """

    seed: int
    payments: int = 200_000
    days: int = REFERENCE_DAYS
    start: date = date(2026, 1, 1)
    drift: tuple[str, ...] = ()
    drift_from: int = 0
    outcome_delay: float = 1.0
    dirty_share: float = 0.0

    def __post_init__(self) -> None:
        _must(self.seed >= 0, "seed", self.seed, "0 or more")
        _must(self.payments >= REFERENCE_DAYS, "payments", self.payments, "120 or more, one a day")
        _must(self.days >= 1, "days", self.days, "1 or more")
        _must(self.drift_from >= 0, "drift_from", self.drift_from, "0 or more, counted in days")
        _must(0 < self.outcome_delay <= 100, "outcome_delay", self.outcome_delay, "above 0 and at most 100")
        _must(0 <= self.dirty_share <= 1, "dirty_share", self.dirty_share, "a share from 0 to 1")
        for name in self.drift:
            near = get_close_matches(name, DRIFTS, n=1, cutoff=0.5)
            needed = f"one of {', '.join(DRIFTS)}{f' (perhaps {near[0]!r})' if near else ''}"
            _must(name in DRIFTS, "drift", name, needed)

    def date_of(self, day: int) -> date:
        return self.start + timedelta(days=day)


@dataclass(frozen=True)
class Day:
    """One simulated day.

    `payments` has the columns of a payments file plus `charged_back`, `reported_at` and `scheme` ("" when genuine),
    sorted by time; `outcomes` those of an outcomes file, all that is reported on this day whenever it was paid.
    """

    index: int
    date: date
    payments: pd.DataFrame
    outcomes: pd.DataFrame


@dataclass(frozen=True)
class Written:
    """What now stands in `folder` for the days asked for.

    `payments` counts payments and `frauds` those among them that are or will be charged back; `dirty` counts dirty
    rows by kind. The files hold `payments` rows plus one for each dirty "duplicate" and "same key, another amount".
    `unchanged` of the `files` were there before with the same bytes and were left alone.
    """

    payments: int
    outcomes: int
    frauds: int
    files: int
    unchanged: int
    folder: Path
    dirty: Mapping[str, int] = field(default_factory=dict)


def simulated_days(simulation: Simulation) -> Iterator[Day]:
    """Every day in order, with the truth behind each payment; holds one day and the outcomes still pending."""
    return days_of(simulation, payments_by_day(simulation))


def payments_by_day(simulation: Simulation) -> Iterator[pd.DataFrame]:
    """The payments of every day in order, as in `Day`."""
    world = FraudWorld(simulation.seed, size=simulation.payments)
    midnight = np.datetime64(simulation.start.isoformat(), "s")
    for day in range(simulation.days):
        count = (day + 1) * simulation.payments // REFERENCE_DAYS - day * simulation.payments // REFERENCE_DAYS
        drift = frozenset(simulation.drift)
        frame = world.live(day, count, drift=drift, drift_from=simulation.drift_from)
        prefix = simulation.date_of(day).isoformat()
        fraud = (frame["scheme"] != "").to_numpy()
        chargeback = random_of(simulation.seed, 4, day).uniform(1 * DAY, 9 * DAY, count)
        wait = np.where(fraud, chargeback, CLEARED_AFTER_DAYS * DAY) * simulation.outcome_delay
        reported = frame["second"].to_numpy() + wait.astype(int)
        yield frame.assign(
            payment_id=[f"{prefix}-{number:06d}" for number in range(count)],
            paid_at=midnight + frame["second"].to_numpy().astype("timedelta64[s]"),
            charged_back=fraud,
            reported_at=midnight + reported.astype("timedelta64[s]"),
        )[[*PAYMENT_COLUMNS, "charged_back", "reported_at", "scheme"]]


def days_of(simulation: Simulation, payments: Iterable[pd.DataFrame]) -> Iterator[Day]:
    """The days of these payments, one frame a day from day 0 on; each outcome on the day on which it is reported."""
    midnight = np.datetime64(simulation.start.isoformat(), "s")
    pending: dict[int, list[pd.DataFrame]] = {}
    for day, frame in enumerate(payments):
        outcome = frame[list(OUTCOME_COLUMNS)]
        on_day = (frame["reported_at"].to_numpy() - midnight) // np.timedelta64(1, "D")
        for later in np.unique(on_day).tolist():
            pending.setdefault(later, []).append(outcome[on_day == later])
        known = pending.pop(day, [outcome[:0]])
        outcomes = pd.concat(known).sort_values(["reported_at", "payment_id"], ignore_index=True)
        yield Day(day, simulation.date_of(day), frame, outcomes)


def write(
    simulation: Simulation,
    folder: Path,
    *,
    first_day: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write the files of the days from `first_day` to the last, each appearing in `folder` whole or not at all.

    Args:
        simulation: what to write; earlier days are lived through, not written.
        folder: made when missing; a file of the same name and other content is replaced.
        first_day: index of the first day to write.
        progress: called after each written day with the days done and the days to do.

    Raises:
        UsageError: `first_day` is not a day of the simulation.
    """
    _must(0 <= first_day < simulation.days, "first_day", first_day, f"a day from 0 to {simulation.days - 1}")
    folder.mkdir(parents=True, exist_ok=True)
    payments = outcomes = frauds = files = unchanged = 0
    dirty: Counter[str] = Counter()
    for day in simulated_days(simulation):
        if day.index < first_day:
            continue
        random = random_of(simulation.seed, 5, day.index)
        rows, soiled = _soil(_payment_rows(day.payments), simulation.dirty_share, random)
        placed = _place_files(day, rows, folder)
        files, unchanged = files + len(placed), unchanged + placed.count(False)
        payments, outcomes = payments + len(day.payments), outcomes + len(day.outcomes)
        frauds += int(day.payments["charged_back"].sum())
        dirty.update(soiled)
        if progress is not None:
            progress(day.index - first_day + 1, simulation.days - first_day)
    return Written(payments, outcomes, frauds, files, unchanged, folder, dict(dirty))


def write_day(day: Day, folder: Path) -> None:
    """Write the files of one day into a folder that is there, without dirty rows."""
    _place_files(day, _payment_rows(day.payments), folder)


def _place_files(day: Day, rows: list[Row], folder: Path) -> list[bool]:
    """Whether each of the day's files had to be written."""
    texts = {f"payments-{day.date}.csv": _csv(PAYMENT_COLUMNS, rows)}
    if len(day.outcomes):
        texts[f"outcomes-{day.date}.csv"] = _csv(OUTCOME_COLUMNS, _outcome_rows(day.outcomes))
    return [_place(folder / name, content) for name, content in texts.items()]


def _payment_rows(frame: pd.DataFrame) -> list[Row]:
    paid_at = np.datetime_as_string(frame["paid_at"].to_numpy(), unit="s").tolist()
    texts = [
        frame["payment_id"],
        paid_at,
        frame["customer_id"],
        frame["merchant_id"],
        frame["terminal_id"],
        frame["category"],
        frame["entry_mode"],
        [f"{euros:.2f}" for euros in frame["amount"].tolist()],
        ["" if km != km else f"{km:.1f}" for km in frame["distance_from_home"].tolist()],
        ["" if seconds != seconds else f"{seconds:.0f}" for seconds in frame["seconds_since_last"].tolist()],
    ]
    return list(zip(*texts, strict=True))


def _outcome_rows(frame: pd.DataFrame) -> list[Row]:
    charged_back = ["true" if fraud else "false" for fraud in frame["charged_back"].tolist()]
    reported_at = np.datetime_as_string(frame["reported_at"].to_numpy(), unit="s")
    return list(zip(frame["payment_id"], charged_back, reported_at.tolist(), strict=True))


def _soil(rows: list[Row], share: float, random: np.random.Generator) -> tuple[list[Row], Counter[str]]:
    """Spoil a share of payment rows, each in one way; a duplicate and a second amount follow the good row."""
    amount, customer, mode = (PAYMENT_COLUMNS.index(name) for name in ("amount", "customer_id", "entry_mode"))
    chosen, kinds = random.random(len(rows)) < share, random.integers(len(DIRTY_KINDS), size=len(rows))
    even = random.random(len(rows)) < 0.5
    soiled: list[Row] = []
    for row, dirty, kind, heads in zip(rows, chosen, kinds, even, strict=True):
        if not dirty:
            soiled.append(row)
            continue
        bad = list(row)
        match DIRTY_KINDS[kind]:
            case "negative amount":
                bad[amount] = f"-{row[amount]}"
            case "amount is text":
                bad[amount] = "abc"
            case "amount is not finite":
                bad[amount] = "NaN" if heads else "inf"
            case "missing customer":
                bad[customer] = ""
            case "unknown entry mode":
                bad[mode] = "telepathy"
            case "time in 2099":
                bad[1] = f"2099{row[1][4:]}"
            case "duplicate":
                soiled.append(row)
            case "same key, another amount":
                soiled.append(row)
                bad[amount] = f"{float(row[amount]) + 1:.2f}"
            case "ragged":
                bad = [*row, "surplus"] if heads else bad[:-1]
        soiled.append(tuple(bad))
    return soiled, Counter(DIRTY_KINDS[kind] for kind in kinds[chosen])


def _csv(columns: tuple[str, ...], rows: list[Row]) -> bytes:
    """No field of ours holds a comma or a quote, so that joining is all there is to it."""
    return ("\n".join([",".join(columns), *map(",".join, rows)]) + "\n").encode()


def _place(path: Path, content: bytes) -> bool:
    """Whether the file had to be written; a watcher of the folder never sees half of it."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    hidden = path.with_name(f".{path.name}.{os.getpid()}.part")
    hidden.write_bytes(content)
    hidden.replace(path)
    return True


def _must(holds: bool, name: str, found: object, needed: str) -> None:
    if not holds:
        raise UsageError(f"The simulation's {name} is {found!r}; needed is {needed}. Change {name}.")
