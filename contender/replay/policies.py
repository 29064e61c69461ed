"""Policies of when to retrain, as a replay compares them. All have the same judge and the same first champion."""

from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches

from contender.contracts.contract import Contract
from contender.drift.drift_check import DriftCheck
from contender.errors import UsageError
from contender.performance.quality_readings import Readings
from contender.replay.replay_results import OURS, POLICIES
from contender.retraining.diagnoses import Kept
from contender.retraining.policy import Due
from contender.retraining.triage import Signs, diagnose, quality_limits


@dataclass(frozen=True)
class Seen:
    """What a policy may look at when the period from `start` to `end` is over; only what it asked for is there.

    `qualities` are readings with the end of the window in which each was made, oldest first.
    """

    start: datetime
    end: datetime
    due: Due
    checks: tuple[DriftCheck, ...] = ()
    qualities: tuple[tuple[date, Readings], ...] = ()
    kept: tuple[Kept, ...] = ()


@dataclass(frozen=True)
class RetrainRequest:
    """A challenger is wanted: why, whether the champion is known to decay, and whether an alarm asks for it."""

    why: str
    decayed: bool = False
    alarm: bool = False


def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """The policies of these names, each once; all where none is named.

    Raises:
        UsageError: there is no such policy.
    """
    for name in names:
        if name not in POLICIES:
            near = get_close_matches(name, POLICIES, n=1, cutoff=0.4)
            advice = f"; did you mean '{near[0]}'?" if near else "."
            raise UsageError(f"There is no policy '{name}'; there is {', '.join(POLICIES)}{advice}")
    return tuple(dict.fromkeys(names)) or tuple(POLICIES)


def checks_inputs(policy: str) -> bool:
    """Whether a policy looks at the inputs."""
    return policy in ("drift", OURS)


def checks_quality(policy: str) -> bool:
    """Whether a policy looks at the quality."""
    return policy in ("performance", OURS)


def wanted_retrain(policy: str, contract: Contract, seen: Seen) -> RetrainRequest | None:
    """The challenger that a policy wants now; None where it wants none."""
    if policy == "schedule":
        return RetrainRequest("on schedule") if _came_round(contract, seen) else None
    if policy == "drift":
        columns = sorted({column for check in seen.checks for column in check.alarming})
        return RetrainRequest(f"drift of {', '.join(columns)}", alarm=True) if columns else None
    if policy == "performance":
        return next((found for _, quality in seen.qualities if (found := of_quality(contract, quality))), None)
    if policy == OURS:
        calls = [one.diagnosis for one in seen.kept if one.action == "retrain"]
        if calls:
            return RetrainRequest(calls[-1].sentence, calls[-1].decayed, alarm=True)
        return RetrainRequest(seen.due.reason) if seen.due.now else None
    return None


def _came_round(contract: Contract, seen: Seen) -> bool:
    if contract.schedule.retrain == "never":
        return True
    from cronsim import CronSim

    return bool(next(CronSim(contract.schedule.retrain, seen.start)) <= seen.end)


def of_quality(contract: Contract, quality: Readings) -> RetrainRequest | None:
    """The challenger that a measured quality alone calls for; None where it holds."""
    rows = quality.measured.rows if quality.measured else 0
    floor, max_loss = quality_limits(contract)
    found = diagnose(
        Signs(quality.metric, rows, measured=quality.measured),
        contract.triage,
        contract.performance,
        floor=floor,
        max_loss=max_loss,
    )
    return RetrainRequest(found.sentence, found.decayed, alarm=True) if found.retrain else None
