"""A use case's history played again, period by period, under several policies: the same steps, without Prefect's runs.

The clock is the history's: whatever a step asks for the time is told the end of the period. What arrives is taken in
once; each policy then lives in a world of its own, all from the same first champion.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from contender.contracts.contract import Contract
from contender.contracts.sections import LOWER_IS_BETTER
from contender.drift.drift_check import DriftCheck
from contender.errors import BatchRefused, LeakFound, TooFewOutcomes
from contender.events import DEGRADED, DRIFT
from contender.lake import spark_session
from contender.performance import performance_table
from contender.performance.score_counts import metric_of
from contender.promotion.ledger import LedgerEntry
from contender.replay import policies, policy_outcomes, sandboxes
from contender.replay.history import History
from contender.replay.policies import RetrainRequest, Seen
from contender.replay.replay_results import OURS, Alarm, Period, Replay, Retrained
from contender.replay.sandboxes import Sandbox
from contender.retraining import next_action, triggers
from contender.settings import Settings
from contender.values import ModelVersion
from tasks import ingestion, monitoring, promotion, scoring, training
from tasks.run_log import rehearsing

Tell = Callable[[str], None]
_QUIET = ("none", "not enough to tell")


@dataclass(frozen=True)
class ReplayPlan:
    """What to play again: under which policies, in periods of how many days, from the first champion on `begins`.

    `folder` is for the worlds; who keeps it can look at their tables, ledgers and registries afterwards.
    """

    settings: Settings
    history: History
    policies: tuple[str, ...]
    every: timedelta
    begins: date
    folder: Path
    scenario: str = "none"
    injected: date | None = None

    @property
    def periods(self) -> Iterator[tuple[date, date]]:
        start = self.begins
        while start < self.history.last:
            end = min(start + self.every, self.history.last)
            yield start, end
            start = end


@dataclass
class Life:
    """One policy, its world, and what has become of it so far."""

    policy: str
    world: Sandbox
    periods: list[Period] = field(default_factory=list)
    seconds: float = 0.0


def replay(plan: ReplayPlan, tell: Tell) -> Replay:
    """Play the history, and measure how each policy did by the outcomes that were known in the end.

    Raises:
        TooFewOutcomes: no first champion could be trained in the whole history.
    """
    base = sandboxes.create(plan.settings, plan.history.contract, plan.folder / "base")
    start_spark(base.settings)
    lives: list[Life] = []
    begun, why = plan.begins, "there is no history"
    with rehearsing(lambda _: None):
        plan.history.prepare(base.settings)
        arrive(plan, base, plan.history.first, plan.begins)
        for number, (start, end) in enumerate(plan.periods, start=1):
            if not lives:
                first = challenge(base, RetrainRequest("the first champion"), midnight(start))
                why = first.reason
                tell(f"{start}: the first champion: {first.decision}; {first.reason}")
                if first.promoted:
                    catch_up(base, midnight(start))
                    lives, begun = _branches(plan, base), start
            refused = arrive(plan, base, start, end)
            for life in lives:
                began = time.perf_counter()
                life.periods.append(replace(live(life, start, end)[0], refused=refused))
                life.seconds += time.perf_counter() - began
                tell(f"{start} to {end} ({number}), {life.policy}: {_line(life.periods[-1])}")
        if not lives:
            raise TooFewOutcomes(f"No first champion took the title in the history that is there: {why}")
        measured = _settle(plan, base, lives)
    contract = base.contract
    return Replay(
        use_case=contract.name,
        question=contract.question,
        metric=metric_of(contract.kind, contract.judging.metric),
        lower_is_better=contract.judging.metric in LOWER_IS_BETTER,
        currency=contract.costs.currency,
        first=plan.history.first,
        last=plan.history.last,
        begun=begun,
        every_days=plan.every.days,
        courses=policy_outcomes.compare(measured, plan.settings.seed),
        seed=plan.settings.seed,
        made_at=datetime.now(UTC),
        scenario=plan.scenario,
        injected=plan.injected,
    )


def start_spark(settings: Settings) -> None:
    """A Spark of this process's own, made for the many small queries of a history."""
    spark_session.start(settings, small=True, java_options=spark_session.MANY_SMALL)


def catch_up(base: Sandbox, at: datetime) -> None:
    """Do once, with the first champion, what each policy would otherwise do again for all that came before."""
    held = promotion.find_champion.fn(base.settings, base.contract)
    assert held is not None, "its title was just given"
    scoring.score_records.fn(base.settings, base.contract, held[1], at)
    monitoring.bring_samples.fn(base.settings, base.contract)
    monitoring.measure_performance.fn(base.settings, base.contract, held[1], at)


def _branches(plan: ReplayPlan, base: Sandbox) -> list[Life]:
    return [Life(policy, sandboxes.branch(base, plan.folder / policy)) for policy in plan.policies]


def arrive(plan: ReplayPlan, base: Sandbox, start: date, end: date) -> str:
    """Take in what came in a period; what was refused as a whole, in words."""
    plan.history.land(base.landing, start, end)
    return _take_in(base, midnight(end))


def _take_in(base: Sandbox, at: datetime) -> str:
    refused = ""
    batch = ingestion.find_batch.fn(base.settings, base.contract, base.landing, at)
    if batch is not None:
        try:
            ingestion.take_in.fn(base.settings, base.contract, batch)
        except BatchRefused as error:
            refused = str(error)
    ingestion.refresh_features.fn(base.settings, base.contract, base.landing)
    for file in base.landing.iterdir():
        file.unlink()
    return refused


def live(life: Life, start: date, end: date, *, train: bool = True) -> tuple[Period, Seen]:
    """Score what came, look at it as the policy does, and train a challenger where it wants one.

    Args:
        train: whether a challenger that is wanted is trained.

    Returns:
        The period, not measured yet, and all that the policy saw of it.
    """
    settings, contract, at = life.world.settings, life.world.contract, midnight(end)
    held = promotion.find_champion.fn(settings, contract)
    assert held is not None, "all worlds begin with a champion"
    entry, champion = held
    scoring.score_records.fn(settings, contract, champion, at)
    seen = Seen(midnight(start), at, next_action.due(settings, contract))
    if policies.checks_inputs(life.policy):
        monitoring.bring_samples.fn(settings, contract)
    if policies.checks_quality(life.policy):
        monitoring.measure_performance.fn(settings, contract, champion, at)
    for window_end in window_ends(contract, start, end):
        seen = _look(life, entry, champion, window_end, seen)
    wanted = policies.wanted_retrain(life.policy, contract, seen)
    retrained = None
    if train and wanted and (life.policy != OURS or _admitted(life.world, wanted, at)):
        retrained = challenge(life.world, wanted, at)
    estimated = seen.qualities[-1][1].estimated if seen.qualities else None
    return Period(
        start,
        end,
        0,
        0,
        champion.version,
        estimated=estimated.value if estimated else None,
        alarms=tuple(_alarms(life.policy, contract, seen)),
        retrained=retrained,
        held_out=" ".join(one.why for one in seen.kept if one.action == "hold out"),
    ), seen


def _look(life: Life, entry: LedgerEntry, champion: ModelVersion, end: date, seen: Seen) -> Seen:
    """What a policy sees of the window that ends with `end`, with what was known then, added to what it saw."""
    settings, contract, at = life.world.settings, life.world.contract, midnight(end)
    quality = None
    if policies.checks_quality(life.policy):
        quality = monitoring.quality_of(settings, contract, champion, end=end)
        seen = replace(seen, qualities=(*seen.qualities, (end, quality)))
    if not policies.checks_inputs(life.policy):
        return seen
    looked = monitoring.look_at_window.fn(settings, contract, entry, champion, at, report=False)
    seen = replace(seen, checks=(*seen.checks, looked.check))
    if quality is None:
        return seen
    diagnosis = monitoring.diagnose(contract, looked, quality)
    kept = monitoring.act.fn(settings, contract, champion, looked, diagnosis, quality, at, seen.end)
    return replace(seen, kept=(*seen.kept, kept))


def _admitted(world: Sandbox, wanted: RetrainRequest, at: datetime) -> bool:
    """Whether the contract's cool-down and budget have room for an alarm's challenger."""
    if not wanted.alarm:
        return True
    event = DEGRADED if wanted.decayed else DRIFT
    event_id = str(uuid5(NAMESPACE_OID, f"{world.contract.name} {at}"))
    return triggers.may_start(world.settings, world.contract, event_id, at, event=event).allowed


def challenge(world: Sandbox, wanted: RetrainRequest, at: datetime) -> Retrained:
    """A challenger trained on what was known at `at`, and judged."""
    settings, contract = world.settings, world.contract
    try:
        rival = promotion.find_rival.fn(settings, contract)
        rows = training.split_rows.fn(settings, contract, at)
        unseen = promotion.hold_out.fn(settings, contract, rows.judging, rival.version)
        challenger = training.train_challenger.fn(settings, contract, rows)
        scorecard, failures = promotion.evaluate.fn(settings, contract, challenger, unseen)
        verdict = promotion.compare.fn(settings, contract, scorecard, rival, unseen, failures, wanted.decayed)
        if verdict.promotes:
            promotion.crown.fn(settings, contract, challenger, rival.entry, verdict, unseen)
        promotion.follow_verdict.fn(settings, contract, challenger, verdict)
    except (TooFewOutcomes, LeakFound) as error:
        return Retrained(at, wanted.why, "NONE", str(error))
    return Retrained(
        at,
        wanted.why,
        verdict.decision.value,
        verdict.reasons[0] if verdict.reasons else "",
        challenger.version,
        verdict.gain,
        verdict.interval,
    )


def _settle(plan: ReplayPlan, base: Sandbox, lives: Sequence[Life]) -> list[policy_outcomes.Measured]:
    """Take in the outcomes that came late, and measure every day by outcomes that will not change any more."""
    at = plan.history.settle(base.landing)
    _take_in(base, at)
    outcome = base.contract.outcome.model_copy(update={"matures_after": timedelta(0)})
    final = base.contract.model_copy(update={"outcome": outcome})
    measured = []
    for life in lives:
        began = time.perf_counter()
        performance_table.update(life.world.settings, final, at)
        seconds = life.seconds + time.perf_counter() - began
        measured.append(policy_outcomes.measure(life.world.settings, final, life.policy, life.periods, seconds=seconds))
    return measured


def window_ends(contract: Contract, start: date, end: date) -> list[date]:
    """The ends of the contract's windows in a period, the last of which is its own end."""
    count = max(1, (end - start) // contract.drift.window)
    return [end - number * contract.drift.window for number in reversed(range(count))]


def _alarms(policy: str, contract: Contract, seen: Seen) -> Iterator[Alarm]:
    if policy == OURS:
        for one in seen.kept:
            if one.diagnosis.name not in _QUIET:
                yield Alarm(one.end - timedelta(days=1), one.diagnosis.name, one.diagnosis.sentence, one.action)
    elif policy == "drift":
        yield from (_of_check(check) for check in seen.checks if check.alarm)
    else:
        for end, quality in seen.qualities:
            if found := policies.of_quality(contract, quality):
                yield Alarm(end - timedelta(days=1), "decay", found.why, "retrain")


def _of_check(check: DriftCheck) -> Alarm:
    return Alarm(check.end - timedelta(days=1), "drift", check.sentence, "retrain")


def _line(period: Period) -> str:
    """What became of a period, in a few words."""
    named = dict.fromkeys(alarm.name for alarm in period.alarms)
    told = [f"version {period.version}", *named]
    if period.retrained:
        told.append(f"challenger: {period.retrained.decision}")
    if period.refused:
        told.append("the batch was refused")
    return ", ".join(told)


def midnight(day: date) -> datetime:
    """The moment, in UTC, with which a day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
