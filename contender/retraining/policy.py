"""When a new challenger is worth its training, and when an alarm may start one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from contender.contracts.loop_sections import Retraining

if TYPE_CHECKING:
    from contender.retraining.triage import Diagnosis


@dataclass(frozen=True)
class Due:
    """Whether to train now, and the reason in one sentence; `urgent` where nobody can score until then."""

    now: bool
    reason: str
    urgent: bool = False


_AFTER_KEEP = 2
"""So many times as many outcomes are needed after a challenger that was no better."""


_ENOUGH = 1000
"""New outcomes that are worth a training, whatever there was before; a small table has to double."""


def retraining_due(rules: Retraining, *, outcomes: int, seen: int | None, kept: bool = False) -> Due:
    """Whether enough outcomes have come in since the last challenger was trained.

    After a challenger that was no better the next one needs twice as many: where the world stands still, training again
    hardly helps. Not more, because to wait costs more than to try where errors are dear. An alarm does not wait.

    Args:
        outcomes: how many there are now.
        seen: how many there were when the last challenger was judged; None when none ever was.
        kept: whether the last verdict kept the champion.
    """
    if seen is None:
        return Due(True, "no challenger has been judged yet")
    least = min(seen, _ENOUGH) if rules.min_new_outcomes is None else rules.min_new_outcomes
    needed = max(least, math.ceil(rules.min_new_share * seen), 1) * (_AFTER_KEEP if kept else 1)
    new = outcomes - seen
    after = " after a challenger that was no better" if kept else ""
    if new >= needed:
        return Due(True, f"{new:,} outcomes are new since the last challenger, {needed:,} suffice{after}")
    return Due(False, f"{new:,} outcomes are new since the last challenger, {needed:,} are needed{after}")


@dataclass(frozen=True)
class Allowed:
    """Whether an alarm may start a retrain, and why or why not, in one sentence."""

    allowed: bool
    why: str


def alarm_may_start(rules: Retraining, *, started: Iterable[datetime], in_flight: str | None, now: datetime) -> Allowed:
    """Whether another retrain may be started by an alarm; one that a person starts is not limited.

    Args:
        started: the moments of the alarms that started one.
        in_flight: name of the retrain that runs; None when none does.
        now: the moment of the alarm.
    """
    moments = sorted(started)
    if in_flight is not None:
        return Allowed(False, f"another retrain was in flight{f' ({in_flight})' if in_flight else ''}")
    if moments and now < (until := moments[-1] + rules.cool_down):
        return Allowed(False, f"in the cool-down until {_clock(until, now)}")
    for limit, days, name in ((rules.max_per_day, 1, "24 hours"), (rules.max_per_month, 30, "30 days")):
        within = [moment for moment in moments if now - moment < timedelta(days=days)]
        if len(within) >= limit:
            free = _clock(within[-limit] + timedelta(days=days), now)
            return Allowed(
                False, f"alarms started {len(within)} retrains within {name}, {limit} are allowed; next from {free}"
            )
    return Allowed(True, "outside the cool-down and within the budget of retrains")


@dataclass(frozen=True)
class NextAction:
    """What the loop would do now, in one sentence, and everything that was weighed for it."""

    name: Literal["retrain", "hold out", "wait", "nothing"]
    sentence: str
    reasons: tuple[str, ...]
    decayed: bool = False


def next_action(
    rules: Retraining,
    *,
    diagnosis: "Diagnosis | None",
    due: Due,
    new_outcomes: int | None,
    mature: int,
    min_mature: int,
    held_out: int = 0,
    started: Iterable[datetime] = (),
    in_flight: str | None = None,
    now: datetime,
) -> NextAction:
    """What would happen now: by the last diagnosis, and by what `retraining_due` and `alarm_may_start` say.

    Args:
        diagnosis: the newest one; None when nothing was ever looked at.
        new_outcomes: known since the last challenger was judged; None when none ever was.
        mature: outcomes that may be learnt from, those of held-out rows not among them; `min_mature` are needed.
        held_out: batches and windows that nothing is learnt from.
        started: the moments of the alarms that started a retrain.
        in_flight: name of the retrain that runs; None when none does.
    """
    allowed = alarm_may_start(rules, started=started, in_flight=in_flight, now=now)
    weighed = [*([diagnosis.sentence] if diagnosis else ["nothing has been monitored yet"]), due.reason, allowed.why]
    if held_out:
        weighed.append(f"{held_out:,} batches or windows are held out, and nothing is learnt from them")

    def say(name: Literal["retrain", "hold out", "wait", "nothing"], sentence: str) -> NextAction:
        decayed = name == "retrain" and diagnosis is not None and diagnosis.decayed
        return NextAction(name, sentence, tuple(weighed), decayed)

    called = diagnosis is not None and diagnosis.retrain
    if in_flight is not None:
        return say("wait", f"Wait: a retrain is in flight{f' ({in_flight})' if in_flight else ''}.")
    if mature < min_mature and (called or due.now):
        return say("wait", f"Wait: {mature:,} outcomes are mature and not held out, training needs {min_mature:,}.")
    if due.urgent:
        return say("retrain", f"Retrain at once: {due.reason}.")
    if called and diagnosis is not None:
        if new_outcomes == 0:
            return say("wait", "Wait: no outcome is new since the last challenger, which would only be trained again.")
        if not allowed.allowed:
            return say("wait", f"Wait: a new challenger is called for, but {allowed.why}.")
        return say("retrain", f"Retrain because of {diagnosis.name}: {'; '.join(diagnosis.reasons)}.")
    if diagnosis is not None and diagnosis.hold_out:
        return say("hold out", f"Hold the newest rows out and tell people: {'; '.join(diagnosis.reasons)}.")
    if due.now:
        return say("retrain", f"Retrain when the schedule comes round: {due.reason}.")
    return say("nothing", f"Nothing: {due.reason}.")


def _clock(moment: datetime, now: datetime) -> str:
    """Hours and minutes, with the date where it is another day."""
    moment, now = moment.astimezone(UTC), now.astimezone(UTC)
    return f"{moment:%H:%M} UTC" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M} UTC"
