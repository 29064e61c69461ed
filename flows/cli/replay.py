"""`contender replay`: what is to be played, how far it is, and what came of it."""

import os
import shutil
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contender.contracts.contract import Contract
from contender.contracts.terms import parse_duration
from contender.errors import UsageError
from contender.lake import java, tables
from contender.lake.locks import hold_file
from contender.settings import Settings
from flows.cli.options import as_json, command, landing_option, use_case_argument
from flows.prefect_api import prefect_server
from flows.runtime.output import print_json

if TYPE_CHECKING:
    from contender.replay.history import LakeHistory
    from contender.replay.replay_results import Course, Replay
    from contender.values import Interval

_PERIODS = 12
_SIMULATED_DAYS, _SIMULATED = 180, 200_000


@dataclass(frozen=True)
class Asked:
    """What the command was given; None where it was left out."""

    landing: Path | None
    first: date | None
    last: date | None
    policies: tuple[str, ...]
    every: timedelta | None
    to: Path | None


@command()
@use_case_argument
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First day; else the history's.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Day after the last; else the history's end.")
@click.option(
    "--policy",
    "chosen",
    metavar="P",
    multiple=True,
    help="When to retrain: never, schedule, drift, performance, contender. Several may be given; else all.",
)
@click.option(
    "--inject",
    "injected",
    metavar="SCENARIO",
    multiple=True,
    help="What goes wrong in simulated payments: "
    "new-fraud-scheme, price-inflation, unit-bug, lost-column, campaign-weekend, late-outcomes, none. For "
    "each a replay of its own.",
)
@click.option("--every", metavar="LENGTH", help="Length of a period; else about a dozen in all, in whole weeks.")
@click.option("--seed", type=click.IntRange(min=0), help="Of all that is drawn; else CONTENDER_SEED.")
@landing_option
@click.option("--to-file", "page", type=click.Path(path_type=Path, dir_okay=False), help="File of the page.")
@click.option("--keep", is_flag=True, help="Keep the tables, ledgers and registries of the replay.")
@as_json
def replay(
    use_case: str,
    first: datetime | None,
    last: datetime | None,
    chosen: tuple[str, ...],
    injected: tuple[str, ...],
    every: str | None,
    seed: int | None,
    landing: Path | None,
    page: Path | None,
    keep: bool,
    json_: bool,
) -> None:
    """Play a history again, and compare policies of when to retrain.

    The real steps run in scratch homes by a simulated clock; a page tells how
    well each policy did, what it cost, and why.

    \b
    Example: contender replay payments --inject unit-bug
             contender replay flights --policy schedule --policy contender
    """
    from contender.replay import policies, scenarios
    from contender.replay.history import SIMULATED

    given = Settings()
    settings = given if seed is None else given.model_copy(update={"seed": seed})
    contract = Contract.of(use_case, settings.use_cases)
    asked = Asked(
        landing,
        first.date() if first else None,
        last.date() if last else None,
        policies.chosen(chosen),
        length_of(every),
        page,
    )
    if asked.first and asked.last and asked.first >= asked.last:
        raise UsageError(f"--to {asked.last} is not after --from {asked.first}; swap them.")
    for scenario in injected:
        scenarios.must_be_known(scenario)
    if set(injected) - {"none"} and (use_case != SIMULATED or asked.landing is not None):
        raise UsageError(f"Scenarios are injected into simulated {SIMULATED} only; leave out --inject, or --landing.")
    java.require_java()
    for name, value in prefect_server.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    documents = []
    for scenario in injected or ("none",):
        began = time.perf_counter()
        with _scratch(settings, use_case, keep) as folder:
            played = _play(settings, contract, asked, scenario, folder, _teller(began))
        written = _write_page(settings, asked, played)
        seconds = time.perf_counter() - began
        documents.append(played.document() | {"page": str(written), "seconds": seconds})
        if not json_:
            click.echo("\n".join([*lines_of(played), "", f"Page: {written}", f"{seconds:.0f} s in all."]))
            click.echo(f"Worlds: {folder}\n" if keep else "")
    if json_:
        print_json(documents if len(documents) > 1 else documents[0])


@contextmanager
def _scratch(settings: Settings, use_case: str, keep: bool) -> Iterator[Path]:
    """A folder for one replay at a time; what a killed one left in it goes first."""
    folder = settings.state / "replays" / use_case
    with hold_file(settings, use_case, "replay"):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def _teller(began: float) -> Callable[[str], None]:
    def tell(line: str) -> None:
        text = f"{time.perf_counter() - began:6.1f} s  {line}"
        click.echo(textwrap.fill(text, 80, subsequent_indent=" " * 10, break_on_hyphens=False), err=True)

    return tell


def _play(
    settings: Settings, contract: Contract, asked: Asked, scenario: str, folder: Path, tell: Callable[[str], None]
) -> "Replay":
    from contender.replay import history
    from contender.replay.history import SIMULATED, History, SimulatedHistory
    from contender.replay.payments_simulator import Simulation
    from flows.replay import ReplayPlan, replay

    injected = None
    if contract.name == SIMULATED and asked.landing is None:
        first = asked.first or date(2026, 1, 1)
        last = asked.last or first + timedelta(days=_SIMULATED_DAYS)
        begins = history.earliest_champion(contract, first, last)
        every = asked.every or _default_every(begins, last)
        injected = begins + every * max(1, (last - begins) // every // 3)
        tell(f"simulating payments from {first} to {last}; scenario: {scenario}")
        played: History = SimulatedHistory.make(
            contract,
            Simulation(seed=settings.seed, payments=_SIMULATED, days=(last - first).days, start=first),
            scenario,
            injected,
            folder / "days",
        )
    else:
        played = _of_lake(settings, contract, asked, folder, tell)
        begins = history.earliest_champion(contract, played.first, played.last)
        every = asked.every or _default_every(begins, played.last)
    tell(f"{played.first} to {played.last}: a first champion from {begins} on, then periods of {every.days} days")
    return replay(
        ReplayPlan(
            settings,
            played,
            asked.policies,
            every,
            begins,
            folder,
            scenario,
            injected if scenario != "none" else None,
        ),
        tell,
    )


def _of_lake(
    settings: Settings, contract: Contract, asked: Asked, folder: Path, tell: Callable[[str], None]
) -> "LakeHistory":
    """What the use case has taken in; else what lies in its landing folder, taken in for this."""
    from contender.replay import history, sandboxes
    from contender.replay.history import LakeHistory
    from flows.replay import start_spark
    from tasks import ingestion
    from tasks.run_log import rehearsing

    scratch = sandboxes.create(settings, contract, folder / "source")
    source = settings
    start_spark(scratch.settings)
    if asked.landing is not None or tables.find(settings, contract.name, "records") is None:
        landing = (asked.landing or Path(contract.records.landing)).expanduser().absolute()
        tell(f"taking in what lies in {landing}")
        source = scratch.settings
        with rehearsing(tell):
            batch = ingestion.find_batch.fn(source, contract, landing, datetime.now(UTC))
            if batch is not None:
                ingestion.take_in.fn(source, contract, batch)
            history.take_lookups(source, contract, landing)
    found = LakeHistory.find(source, contract, scratch.settings)
    return replace(
        found, first=max(asked.first or found.first, found.first), last=min(asked.last or found.last, found.last)
    )


def _default_every(begins: date, last: date) -> timedelta:
    """Whole weeks, in which the time after the first champion has about a dozen periods."""
    return timedelta(days=7 * max(1, -(-(last - begins).days // (7 * _PERIODS))))


def _write_page(settings: Settings, asked: Asked, played: "Replay") -> Path:
    from contender.replay.replay_page import page_of

    name = "replay.html" if played.scenario == "none" else f"replay-{played.scenario}.html"
    page = (asked.to or settings.state / "reports" / played.use_case / name).expanduser().absolute()
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(page_of(played), encoding="utf-8")
    return page


def lines_of(played: "Replay") -> list[str]:
    """A table of the policies in 80 columns."""
    head = f"{'policy':<12}{played.metric[:10]:>11}{'90 % interval':>20}{'retrains':>10}{'new':>5}{'alarms':>8}"
    rows = [head + f"{'cost ' + played.currency:>14}"]
    for course in played.courses:
        rows.append(
            f"{course.policy:<12}{_number(course.quality):>11}{_interval(course.interval):>20}{course.retrains:>10}"
            f"{course.promotions:>5}{course.alarms:>8}{_money(course.cost):>14}"
        )
    return [*rows, *_saved(played.courses, played.currency)]


def _saved(courses: Sequence["Course"], currency: str) -> list[str]:
    told = [
        f"  {course.policy:<12}{_money(course.saved):>12} {currency}"
        f"  ({_money(course.saved_interval.low)} to {_money(course.saved_interval.high)})"
        for course in courses
        if course.saved is not None and course.saved_interval is not None
    ]
    return ["", "'contender' saved, with a 90 % interval, against", *told] if told else []


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _interval(found: "Interval | None") -> str:
    return f"{found.low:.4g} to {found.high:.4g}" if found else ""


def _money(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def length_of(text: str | None) -> timedelta | None:
    """A period's length in whole days.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--every is '{text}'; {error}.") from None
    if not length or length % timedelta(days=1):
        raise UsageError(f"--every is '{text}'; expected whole days, such as '7 days'.")
    return length
