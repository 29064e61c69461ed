"""What may go wrong, or change, in a simulated history of payments from a given day on, to see what is made of it.

Each scenario is injected into the payments as they would have been, by the simulation's seed, so that the days before
it keep their very files, and a longer history begins with those of a shorter one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from contender.errors import UsageError
from contender.replay.fraud_world import DAY, random_of
from contender.replay.payments_simulator import CLEARED_AFTER_DAYS, Day, Simulation, days_of, payments_by_day, write_day
from contender.retraining.triage import Name

SCENARIOS: Mapping[str, str] = {
    "none": "The history as it is.",
    "new-fraud-scheme": "Stolen card numbers are tried out by tiny online payments, which no champion has learnt.",
    "price-inflation": "Prices rise by 40 % within 30 days, and fraud stays what it was.",
    "unit-bug": "For 14 days the feed tells amounts in cents instead of euros.",
    "lost-column": "For 14 days the distance from home is empty.",
    "campaign-weekend": "On one Saturday and Sunday shops of three categories sell much: 2.5 times as many payments.",
    "late-outcomes": "Outcomes of payments take three times as long.",
}
"""One sentence of what happens, by name."""

EXPECTED: Mapping[str, frozenset[Name]] = {
    "none": frozenset(),
    "new-fraud-scheme": frozenset({"decay"}),
    "price-inflation": frozenset({"shift"}),
    "unit-bug": frozenset({"broken feed"}),
    "lost-column": frozenset({"broken feed"}),
    "campaign-weekend": frozenset({"shift"}),
    "late-outcomes": frozenset(),
}
"""The diagnoses that are right while a scenario acts, by its name; where there is none, every alarm is false."""

BROKEN_DAYS, CENTS, TIMES_AS_LATE, TIMES_AS_MANY = 14, 100, 3, 2.5
CAMPAIGN = ("electronics", "fashion", "online")
_DRIFTS = {"new-fraud-scheme": "new_scheme", "price-inflation": "price_inflation"}
_SATURDAY, _STREAM = 5, 6
_PAST_DAYS, _PREFERENCE, _OPENS, _BASKETS = 14, 12, 8 * 3600, (1.1, 1.6)


def scenario_days(simulation: Simulation, scenario: str, first_day: int) -> Iterator[Day]:
    """Every day in order, with `scenario` injected from day `first_day` on.

    Raises:
        UsageError: there is no such scenario, or in this simulation it would change nothing.
    """
    acts = acting(simulation, scenario, first_day)
    if scenario in _DRIFTS:
        simulation = replace(simulation, drift=(_DRIFTS[scenario],), drift_from=first_day)
    payments = payments_by_day(simulation)
    if scenario == "campaign-weekend":
        payments = _with_campaign(simulation, payments, acts)
    elif scenario in _CHANGES:
        payments = (_CHANGES[scenario](frame) if day in acts else frame for day, frame in enumerate(payments))
    return days_of(simulation, payments)


def write(days: Iterable[Day], folder: Path) -> None:
    """Write the files of these days as the simulator writes its own, but without dirty rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for day in days:
        write_day(day, folder)


def must_be_known(scenario: str) -> None:
    """Raises UsageError where there is no scenario of that name."""
    if scenario not in SCENARIOS:
        near = get_close_matches(scenario, SCENARIOS, n=1, cutoff=0.5)
        perhaps = f" (perhaps {near[0]!r})" if near else ""
        raise UsageError(f"There is no scenario {scenario!r}; needed is one of {', '.join(SCENARIOS)}{perhaps}.")


def acting(simulation: Simulation, scenario: str, first_day: int) -> range:
    """Indexes of the days whose payments `scenario` changes; none for the scenario `none`.

    A campaign waits for a whole weekend: asked for on a Sunday, it acts on the next.

    Raises:
        UsageError: there is no such scenario, or in this simulation it would change nothing.
    """
    must_be_known(scenario)
    if scenario == "none":
        return range(0)
    if not 0 <= first_day < simulation.days:
        needed = f"a day from 0 to {simulation.days - 1}"
        raise UsageError(f"The scenario's first day is {first_day}; needed is {needed}. Change the day.")
    if scenario in _DRIFTS and simulation.drift:
        found = f"The simulation drifts already, by {', '.join(simulation.drift)}"
        raise UsageError(f"{found}; needed for {scenario!r} is one without drift. Change drift.")
    begins, ends = first_day, simulation.days
    if scenario == "campaign-weekend":
        begins += (_SATURDAY - simulation.date_of(first_day).weekday()) % 7
        ends = begins + 2
    elif scenario in ("unit-bug", "lost-column"):
        ends = begins + BROKEN_DAYS
    if begins >= simulation.days:
        last = simulation.date_of(simulation.days - 1)
        found = f"From {simulation.date_of(first_day)} to the last day, {last}, there is no Saturday"
        raise UsageError(f"{found}; needed for {scenario!r} is one. Change the day, or simulate more days.")
    return range(begins, min(ends, simulation.days))


def _in_cents(payments: pd.DataFrame) -> pd.DataFrame:
    return payments.assign(amount=(payments["amount"] * CENTS).round(2))


def _without_distance(payments: pd.DataFrame) -> pd.DataFrame:
    return payments.assign(distance_from_home=np.nan)


def _told_late(payments: pd.DataFrame) -> pd.DataFrame:
    wait = payments["reported_at"] - payments["paid_at"]
    return payments.assign(reported_at=payments["paid_at"] + TIMES_AS_LATE * wait)


_CHANGES: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "unit-bug": _in_cents,
    "lost-column": _without_distance,
    "late-outcomes": _told_late,
}


def _with_campaign(simulation: Simulation, payments: Iterable[pd.DataFrame], weekend: range) -> Iterator[pd.DataFrame]:
    """The payments with those of a campaign among them, which are then the last ones of who paid them."""
    past: deque[pd.DataFrame] = deque(maxlen=_PAST_DAYS)
    last_paid = pd.Series(dtype="datetime64[s]")
    for day, frame in enumerate(payments):
        past.append(frame)
        if day in weekend:
            added = _of_campaign(simulation, day, past)
            frame = pd.concat([frame, added]).sort_values(["paid_at", "payment_id"], ignore_index=True)
        if day >= weekend.start:
            frame = frame.assign(seconds_since_last=_since_last(frame, last_paid))
        last_paid = frame.groupby("customer_id")["paid_at"].last().combine_first(last_paid)
        yield frame


def _of_campaign(simulation: Simulation, day: int, past: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """What is bought in a campaign on one day, the last of `past`: mostly in its categories, in fuller baskets.

    Each payment follows a genuine one of the past in who paid where and how. At skimmed terminals nothing is added:
    nearly all payments there are disputed, and these are not.
    """
    random, midnight = random_of(simulation.seed, _STREAM, day), np.datetime64(simulation.date_of(day), "s")
    known, own = pd.concat(past), len(past[-1])
    skimmed = known.loc[known["scheme"] == "terminal", "terminal_id"]
    usual = known[(known["scheme"] == "") & ~known["terminal_id"].isin(skimmed)]
    if usual.empty:
        return usual
    many = round((TIMES_AS_MANY - 1) * own)
    weight = np.where(usual["category"].isin(CAMPAIGN), _PREFERENCE, 1.0)
    followed = usual.sample(many, replace=True, weights=weight, random_state=random)
    paid_at = midnight + random.integers(_OPENS, DAY, many).astype("timedelta64[s]")
    wait = np.timedelta64(int(CLEARED_AFTER_DAYS * DAY * simulation.outcome_delay), "s")
    return followed.assign(
        payment_id=[f"{simulation.date_of(day)}-{number:06d}" for number in range(own, own + many)],
        paid_at=paid_at,
        amount=(followed["amount"] * random.uniform(*_BASKETS, many)).round(2),
        reported_at=paid_at + wait,
    )


def _since_last(payments: pd.DataFrame, last_paid: pd.Series) -> pd.Series:
    """Seconds since the customer's payment before, on the same day or earlier; NaN for the first."""
    before = payments.groupby("customer_id")["paid_at"].shift()
    before = before.fillna(payments["customer_id"].map(last_paid))
    return (payments["paid_at"] - before).dt.total_seconds()
