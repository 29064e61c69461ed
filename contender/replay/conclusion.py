"""What a replay found, in words that its figures bear: which policy did best, whether beyond luck, and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape

from contender.markup import number
from contender.replay.replay_results import OURS, Course, Period, Replay
from contender.values import Interval


@dataclass(frozen=True)
class Words:
    """Values of one replay as HTML."""

    replay: Replay

    def money(self, value: float, sign: str = "") -> str:
        return f"{amount(value, sign)} {escape(self.replay.currency)}".strip()

    def moneys(self, interval: Interval | None) -> str:
        """An interval of money, in brackets; empty where it is not known."""
        return "" if interval is None else f" ({_level(interval)}{amount(interval.low)} to {amount(interval.high)})"

    def quality(self, course: Course | Period) -> str:
        if course.quality is None:
            return "not known"
        ends = course.interval
        told = f" ({_level(ends)}{number(ends.low)} to {number(ends.high)})" if ends else ""
        return f"{number(course.quality)}{told}"

    @property
    def better(self) -> str:
        return "lower is better" if self.replay.lower_is_better else "higher is better"


def amount(value: float, sign: str = "") -> str:
    """Money without its currency; what is small with its hundredths."""
    whole = abs(value) >= 100 or abs(value - round(value)) < 0.005
    return number(value, f"{sign if abs(value) >= 0.005 else ''},.0f" if whole else f"{sign},.2f")


def named(course: Course) -> str:
    """A policy's name as HTML."""
    return f"<code>{escape(course.policy)}</code>"


def ours_of(replay: Replay) -> Course | None:
    """The course of `contender`; None where it was not played."""
    return next((course for course in replay.courses if course.policy == OURS), None)


def has_costs(replay: Replay) -> bool:
    """Whether every policy's cost is known, so that they can be ranked by it."""
    return bool(replay.courses) and all(course.cost is not None for course in replay.courses)


def answer_of(replay: Replay) -> list[str]:
    """The answer as HTML sentences, the shortest and most important one first."""
    words = Words(replay)
    if not replay.courses:
        return ["No policy was played."]
    if len(replay.courses) == 1:
        return [_alone(words, replay.courses[0])]
    if has_costs(replay):
        return [*_by_cost(words), *_by_quality(words)[:1]]
    return _by_quality(words)


def beyond_luck(interval: Interval | None) -> bool | None:
    """Whether zero lies outside; None where that is not known."""
    return None if interval is None else bool(interval.low > 0 or interval.high < 0)


def _alone(words: Words, course: Course) -> str:
    cost = "" if course.cost is None else f", and cost {words.money(course.cost)} in all"
    return (
        f"Only {named(course)} was played, so that there is nothing to compare it with. Its "
        f"{escape(words.replay.metric)} was {words.quality(course)}{cost}."
    )


def _by_cost(words: Words) -> list[str]:
    replay, ours = words.replay, ours_of(words.replay)
    ranked = sorted(replay.courses, key=lambda course: (course.cost or 0.0, course.policy != OURS))
    best, second = ranked[:2]
    price = words.money(best.cost or 0.0)
    if ours is None:
        apart = words.money((second.cost or 0.0) - (best.cost or 0.0))
        return [
            f"{named(best)} was the cheapest policy with {price}, {apart} less than {named(second)}. "
            f"<code>{OURS}</code> was not played, so that it is not known whether that is more than luck."
        ]
    if best is ours:
        return [_won(words, ours, second, price), *_why(words, ours, second), *_others(words, best, second)]
    return [_lost(words, ours, best, price), *_why(words, ours, best), *_others(words, best, best)]


def _won(words: Words, ours: Course, second: Course, price: str) -> str:
    lead = (second.cost or 0.0) - (ours.cost or 0.0) if second.saved is None else second.saved
    told = f"{words.money(lead)}{words.moneys(second.saved_interval)}"
    if lead == 0:
        return f"No policy was cheaper than {named(ours)}, but {named(second)} cost the same: {price}."
    match beyond_luck(second.saved_interval):
        case True:
            return f"{named(ours)} was the cheapest policy with {price}: {told} less than the next, {named(second)}."
        case False:
            return (
                f"{named(ours)} came out cheapest with {price}, but no difference beyond luck was found between it "
                f"and {named(second)}, which cost {told} more."
            )
    return (
        f"{named(ours)} came out cheapest with {price}, {told} less than the next, {named(second)}; whether that is "
        "more than luck is not known."
    )


def _lost(words: Words, ours: Course, best: Course, price: str) -> str:
    more = (ours.cost or 0.0) - (best.cost or 0.0) if best.saved is None else -best.saved
    turned = best.saved_interval and Interval(-best.saved_interval.high, -best.saved_interval.low)
    told = f"{words.money(more)}{words.moneys(turned)}"
    match beyond_luck(turned):
        case True:
            return f"{named(best)} was the cheapest policy with {price}, not {named(ours)}, which cost {told} more."
        case False:
            return (
                f"{named(best)} came out cheapest with {price}, not {named(ours)}, which cost {told} more; this is no "
                "difference beyond luck."
            )
    return (
        f"{named(best)} came out cheapest with {price}, not {named(ours)}, which cost {told} more; whether that is "
        "more than luck is not known."
    )


def _why(words: Words, ours: Course, other: Course) -> list[str]:
    """Where the difference between two costs comes from, as far as the figures show it."""
    if ours.mistakes_cost is None or other.mistakes_cost is None:
        return []
    mistakes, spent = ours.mistakes_cost - other.mistakes_cost, ours.retrain_cost - other.retrain_cost
    found = [
        f"Where it comes from: compared with {named(other)}, the mistakes of {named(ours)} cost "
        f"{_more(words, mistakes)} and its retrains {_more(words, spent)} ({_counts(ours)}, against {_counts(other)})."
    ]
    turns = [one for one in _reigns(ours, other) if one.cost * mistakes > 0]
    if turns and ours.promotions + other.promotions:
        most = max(turns, key=lambda one: abs(one.cost))
        part = "Most" if abs(most.cost) >= abs(mistakes) / 2 else "The largest part"
        found.append(
            f"{part} of it came from {most.first} to {most.last - timedelta(days=1)}: there the mistakes of "
            f"{named(ours)}, with its {_versions([most.version])}, cost {_more(words, most.cost)} than those of "
            f"{named(other)}, with its {_versions(most.others)}{_paid(ours, other, most)}."
        )
    return [" ".join(found)]


def _paid(ours: Course, other: Course, reign: "_Reign") -> str:
    """What the reign says of the promotion it began with: only where the other policy kept the first champion."""
    promoted = {one.retrained.version for one in ours.periods if one.retrained and one.retrained.promoted}
    if reign.version not in promoted or reign.others != (other.periods[0].version,):
        return ""
    what = "paid" if reign.cost < 0 else "cost more than it gained"
    return f", the first champion, so that by these figures this promotion {what}"


def _others(words: Words, best: Course, told: Course) -> list[str]:
    """What ours saved against the policies that the first sentence does not tell of."""
    sure, unsure, worse = list[str](), list[str](), list[str]()
    for course in words.replay.courses:
        if course.policy == OURS or course is told or course.saved is None or course.saved_interval is None:
            continue
        if not beyond_luck(course.saved_interval):
            unsure.append(named(course))
        elif course.saved > 0:
            sure.append(f"{named(course)} by {words.money(course.saved)}")
        else:
            worse.append(f"{named(course)} by {words.money(-course.saved)}")
    parts = [f"was cheaper beyond luck than {_listed(sure)}"] * bool(sure)
    parts += [f"was dearer beyond luck than {_listed(worse)}"] * bool(worse)
    parts += [f"showed no difference beyond luck from {_listed(unsure)}"] * bool(unsure)
    return [f"<code>{OURS}</code> {_listed(parts)}."] if parts else []


def _by_quality(words: Words) -> list[str]:
    replay, ours = words.replay, ours_of(words.replay)
    sign = -1 if replay.lower_is_better else 1
    known = [course for course in replay.courses if course.quality is not None]
    metric = f"{escape(replay.metric)} ({words.better})"
    if not known:
        return [
            f"No {escape(replay.metric)} is known yet, because no outcomes are in: the policies cannot be compared."
        ]
    best = max(known, key=lambda course: (sign * (course.quality or 0.0), course.policy == OURS))
    if ours is None or ours.quality is None or len(known) == 1:
        why = "was not played" if ours is None else "has no quality yet" if ours.quality is None else "stands alone"
        alike = [named(course) for course in known if course is not best and course.quality == best.quality]
        same = f", as was {_listed(alike)}" if alike else ""
        return [f"By {metric}, {named(best)} was the best with {words.quality(best)}{same}; <code>{OURS}</code> {why}."]
    if best is ours:
        rest = [course for course in known if course is not ours]
        second = max(rest, key=lambda course: sign * (course.quality or 0.0))
        found = f"By {metric}, {named(ours)} was the best with {words.quality(ours)}"
        if ours.quality == second.quality:
            return [
                f"By {metric}, no policy was better than {named(ours)}: {named(second)} has the same, "
                f"{words.quality(ours)}."
            ]
        return [f"{found}; the next was {named(second)} with {words.quality(second)}. {_apart(ours, second)}"]
    lead = number(abs((best.quality or 0.0) - ours.quality))
    return [
        f"By {metric}, {named(best)} was the best with {words.quality(best)}, not {named(ours)} with "
        f"{words.quality(ours)}, {lead} worse. {_apart(ours, best)}",
        f"Where it may come from: {named(ours)} had {_counts(ours)}, {named(best)} {_counts(best)}. "
        f"{_periods(ours, best, sign)}",
    ]


def _apart(one: Course, other: Course) -> str:
    if one.interval is None or other.interval is None:
        return "Whether that is more than luck is not known."
    if one.interval.low > other.interval.high or other.interval.low > one.interval.high:
        return "Their intervals do not overlap, so that this is more than luck."
    return "Their intervals overlap, so that this shows no difference beyond luck."


def _periods(ours: Course, best: Course, sign: int) -> str:
    both = [
        sign * (theirs.quality - mine.quality)
        for mine, theirs in _pairs(ours, best)
        if mine.quality is not None and theirs.quality is not None
    ]
    ahead, behind = sum(gap > 0 for gap in both), sum(gap < 0 for gap in both)
    return (
        f"{named(best)} was better in {number(ahead, 'd')} periods, {named(ours)} in {number(behind, 'd')}, and they "
        f"were equal in {number(len(both) - ahead - behind, 'd')}."
    )


@dataclass(frozen=True)
class _Reign:
    """Periods with one version of ours: what its mistakes cost more than those of the other policy."""

    version: int | None
    first: date
    last: date
    others: tuple[int | None, ...]
    cost: float


def _reigns(ours: Course, other: Course) -> list[_Reign]:
    found: list[_Reign] = []
    for mine, theirs in _pairs(ours, other):
        cost = 0.0 if mine.cost is None or theirs.cost is None else mine.cost - theirs.cost
        last = found[-1] if found else None
        if last is not None and last.version == mine.version:
            others = tuple(dict.fromkeys([*last.others, theirs.version]))
            found[-1] = _Reign(mine.version, last.first, mine.end, others, last.cost + cost)
        else:
            found.append(_Reign(mine.version, mine.start, mine.end, (theirs.version,), cost))
    return found


def _pairs(one: Course, other: Course) -> Iterator[tuple[Period, Period]]:
    """The same periods of two policies."""
    theirs = {period.start: period for period in other.periods}
    yield from ((period, theirs[period.start]) for period in one.periods if period.start in theirs)


def _more(words: Words, value: float) -> str:
    if value == 0:
        return "the same"
    return f"{words.money(abs(value))} {'more' if value > 0 else 'less'}"


def _counts(course: Course) -> str:
    def counted(count: int, name: str) -> str:
        return f"{number(count, 'd')} {name}{'s' * (count != 1)}"

    return f"{counted(course.retrains, 'retrain')}, {counted(course.promotions, 'promotion')}"


def _versions(versions: Sequence[int | None]) -> str:
    known = [str(version) for version in versions if version is not None]
    return f"version{'s' * (len(known) > 1)} {_listed(known)}" if known else "no version"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _level(interval: Interval) -> str:
    return f"{100 * interval.level:.4g} % interval "
