"""A replay's charts: quality and cost over time, a line for each policy.

Lines that lie on one another stay apart by their widths: the first is the widest, and that of `contender`, the last
one drawn, is the thinnest.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from html import escape
from itertools import groupby, pairwise

from markupsafe import Markup

from contender.replay.replay_results import OURS, Course, Period, Replay
from contender.reports.day_charts import Days, framed, grid, scale_around
from contender.svg import Scale, key, mark


def kind_of(replay: Replay, course: Course) -> str:
    """The class of a policy's colour; ours is always the same."""
    if course.policy == OURS:
        return "of-0"
    others = [one.policy for one in replay.courses if one.policy != OURS]
    return f"of-{1 + others.index(course.policy) % 5}"


def legend(replay: Replay, *, whiskers: bool = True) -> list[str]:
    """Samples of all lines; of policies whose line is another's all along, that it is so."""
    found = []
    for course, width in _layers(replay):
        drawn = f'<path class="line" style="--wide: {width}px" d="M1 7H30"/>'
        drawn = f'<g class="{kind_of(replay, course)}">{drawn}</g>'
        twin = next((one for one in _twins(replay, course)), None) if whiskers else None
        same = f" (the same as {twin} all along)" if twin else ""
        found.append(
            f'<li><svg class="curves" viewBox="0 0 30 14" aria-hidden="true">{drawn}</svg>'
            f"{escape(course.policy + same)}</li>"
        )
    if whiskers and any(course.promotions for course in replay.courses):
        found.append(f"<li>{key('promote')} a promotion, in its policy's colour</li>")
    found += injected_key(replay)
    return ['<ul class="legend">', *found, "</ul>"]


def quality(replay: Replay) -> Markup:
    """Quality by period, a line for each policy, with intervals as whiskers; empty where none is known."""
    known = [one for course in replay.courses for one in course.periods if one.quality is not None]
    if not known:
        return Markup("")
    across = axis_of(replay)
    up = scale_around(
        [one.quality for one in known],
        [end for one in known if one.interval for end in (one.interval.low, one.interval.high)],
    )
    layers = _layers(replay)
    lines, whiskers, marks = list[str](), list[str](), list[str]()
    for place, (course, width) in enumerate(layers):
        kind = kind_of(replay, course)
        aside = place - (len(layers) - 1) / 2
        spots = [_spot(one, across, aside) for one in course.periods]
        lines.append(_line(kind, width, spots, [one.quality for one in course.periods], up))
        for one, spot in zip(course.periods, spots, strict=True):
            whiskers += _whisker(one, spot, up, kind)
        marks += _promotions(course, spots, up, kind)
    better = "lower is better" if replay.lower_is_better else "higher is better"
    told = [f"{course.policy}: {_ends_told(course)}" for course in replay.courses]
    said = f"{replay.metric} by period, {better}. {'. '.join(told)}"
    parts = [grid(up), *injected_at(replay, across, "injected"), *_curves(lines), *whiskers, *marks]
    return framed([*parts, *_readers(replay, across)], up, across, said, "17rem")


def costs_over_time(replay: Replay, base: Course | None) -> dict[str, dict[date, float]]:
    """Mistakes and retrains of each policy added up to the end of each period, from nothing on the first day.

    Args:
        base: whose costs are taken off; its own line is zero all along.

    A period whose cost is not known yet, here or in `base`, has no value, and adds nothing to later ones.
    """
    theirs = {one.end: _spent(base, one) for one in base.periods} if base else {}
    found: dict[str, dict[date, float]] = {}
    for course in replay.courses:
        total, curve = 0.0, {one.start: 0.0 for one in course.periods[:1]}
        for one in course.periods:
            mine, other = _spent(course, one), theirs.get(one.end) if base else 0.0
            if mine is not None and other is not None:
                total += mine - other
                curve[one.end] = total
        found[course.policy] = curve
    return found


def costs(replay: Replay, curves: Mapping[str, Mapping[date, float]], said: str) -> Markup:
    """Money over time, a line for each policy, as `costs_over_time` gives it; `said` is what it shows, in words."""
    across = axis_of(replay)
    up = Scale.around([0.0, *(value for curve in curves.values() for value in curve.values())])
    lines = []
    for course, width in _layers(replay):
        curve = curves.get(course.policy, {})
        spots = [across.left(day) for day in curve]
        lines.append(_line(kind_of(replay, course), width, spots, [*curve.values()], up))
    zero = f'<line class="zero" x1="0" x2="100%" y1="{_high(0.0, up)}" y2="{_high(0.0, up)}"/>'
    parts = [grid(up), zero, *injected_at(replay, across, "injected"), *_curves(lines)]
    days = sorted({day for curve in curves.values() for day in curve})
    for before, day in pairwise(days):
        told = [f"{name}: {curve[day]:+,.0f}" for name, curve in curves.items() if day in curve]
        parts.append(
            reader(
                across,
                before,
                day,
                f"by {day}: {'; '.join(told)}",
                "data-costs",
                {name: curve[day] for name, curve in curves.items() if day in curve},
            )
        )
    return framed(parts, up, across, said, "15rem")


def axis_of(replay: Replay) -> Days:
    """The days of the periods that were played."""
    periods = [one for course in replay.courses for one in course.periods]
    first = min((one.start for one in periods), default=replay.first)
    last = max((one.end for one in periods), default=replay.last)
    return Days(first, last - timedelta(days=1))


def _layers(replay: Replay) -> list[tuple[Course, float]]:
    """Courses in the order in which they are drawn, each with the width of its line in pixels."""
    ordered = sorted(replay.courses, key=lambda course: course.policy == OURS)
    return [(course, round(1.7 + 1.4 * (len(ordered) - 1 - place), 1)) for place, course in enumerate(ordered)]


def _twins(replay: Replay, course: Course) -> Iterable[str]:
    """Policies before this one with the very same quality in every period."""
    for other in replay.courses:
        if other is course:
            return
        if [(one.start, one.quality) for one in other.periods] == [(one.start, one.quality) for one in course.periods]:
            yield other.policy


def _spot(one: Period, across: Days, aside: float) -> float:
    """Where a period's value stands: so many steps aside of its middle that no policy hides another."""
    left, right = across.left(one.start), across.left(one.end)
    return (left + right) / 2 + aside * min(0.12 * (right - left), 0.008)


def _spent(course: Course, one: Period) -> float | None:
    """What a period cost; every retrain costs the same."""
    if one.cost is None:
        return None
    return one.cost + (course.retrain_cost / course.retrains if one.retrained else 0.0)


def _high(value: float, up: Scale) -> str:
    return f"{100 * (1 - up.share(value)):.2f}%"


def _line(kind: str, width: float, spots: Sequence[float], values: Sequence[float | None], up: Scale) -> str:
    """A line with a hole wherever a value is not known."""
    path = ""
    for known, run in groupby(zip(spots, values, strict=True), key=lambda one: one[1] is not None):
        points = [f"{1000 * spot:.1f} {1000 * (1 - up.share(value)):.1f}" for spot, value in run if value is not None]
        if known:
            # With round ends, a line of no length is a dot.
            path += f"M{'L'.join(points)}" if len(points) > 1 else f"M{points[0]}h0.01"
    return f'<g class="{kind}" style="--wide: {width}px"><path class="line" d="{path}"/></g>' if path else ""


def _curves(lines: Iterable[str]) -> list[str]:
    opened = '<svg class="curves" viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%">'
    return [opened, *lines, "</svg>"]


def _whisker(one: Period, spot: float, up: Scale, kind: str) -> list[str]:
    if one.quality is None:
        return []
    x, found = f"{100 * spot:.3f}%", list[str]()
    if one.interval:
        low, high = _high(one.interval.low, up), _high(one.interval.high, up)
        found.append(f'<line class="whisker {kind}" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>')
    return [*found, f'<circle class="point {kind}" cx="{x}" cy="{_high(one.quality, up)}" r="2.6"/>']


def _promotions(course: Course, spots: Sequence[float], up: Scale, kind: str) -> list[str]:
    """A mark on the line between the period that a promotion ended and the next one."""
    found = list[str]()
    for place, one in enumerate(course.periods):
        if one.retrained is None or not one.retrained.promoted:
            continue
        around = [*zip(spots, course.periods, strict=True)][place : place + 2]
        known = [(spot, period.quality) for spot, period in around if period.quality is not None]
        if known:
            told = f"{course.policy}: promoted at {one.retrained.at:%Y-%m-%d}"
            x = sum(spot for spot, _ in known) / len(known)
            y = sum(1 - up.share(value) for _, value in known) / len(known)
            found.append(mark("promote", f"{100 * x:.3f}%", one.retrained.at, kind, f"{100 * y:.2f}%", told))
    return found


def injected_at(replay: Replay, across: Days, text: str = "") -> list[str]:
    """The line of the day on which the scenario began, with a text beside it; nothing without one."""
    if replay.injected is None or not across.first <= replay.injected <= across.last:
        return []
    share = across.left(replay.injected)
    anchor, side = ("start", 4) if share < 0.6 else ("end", -4)
    at = f"{100 * share:.3f}%"
    line = f'<line class="worth" x1="{at}" x2="{at}" y1="0" y2="100%" data-injected="{replay.injected}"/>'
    return [line, *([f'<text x="{at}" dx="{side}" y="-5" text-anchor="{anchor}">{text}</text>'] if text else [])]


def injected_key(replay: Replay) -> list[str]:
    """What the line of that day means, for a legend; nothing without one."""
    if not injected_at(replay, axis_of(replay)):
        return []
    drawn = '<svg viewBox="0 0 30 14" aria-hidden="true"><line class="worth" x1="15" x2="15" y1="0" y2="14"/></svg>'
    return [f"<li>{drawn}{escape(replay.scenario)} injected from {replay.injected} on</li>"]


def _readers(replay: Replay, across: Days) -> list[str]:
    """For each period what every policy did in it, for whoever points at it and for programs."""
    by_start: dict[date, list[tuple[str, Period]]] = {}
    for course in replay.courses:
        for one in course.periods:
            by_start.setdefault(one.start, []).append((course.policy, one))
    found = []
    for start, inside in sorted(by_start.items()):
        told = "; ".join(f"{policy} {quality_told(one)}" for policy, one in inside)
        figures = [
            [policy, one.version, one.quality, one.interval and [one.interval.low, one.interval.high]]
            for policy, one in inside
        ]
        text = f"{start} to {until(inside[0][1])}: {told}"
        found.append(reader(across, start, inside[0][1].end, text, "data-figures", figures))
    return found


def reader(across: Days, start: date, end: date, text: str, name: str = "", figures: object = None) -> str:
    """A period for whoever points at it, and with its figures under a name for programs."""
    left, wide = across.left(start), across.left(end) - across.left(start)
    data = f' data-day="{start}" {name}="{escape(json.dumps(figures))}"' if name else ""
    return (
        f'<rect class="day" x="{100 * left:.3f}%" width="{100 * wide:.3f}%" height="100%"{data}>'
        f"<title>{escape(text)}</title></rect>"
    )


def until(one: Period) -> date:
    """The last day of a period."""
    return one.end - timedelta(days=1)


def quality_told(one: Period) -> str:
    """Who scored a period and how well, as plain text."""
    version = "nobody" if one.version is None else f"v{one.version}"
    if one.quality is None:
        return f"{version}, not known"
    ends = f" ({one.interval.low:.3g} to {one.interval.high:.3g})" if one.interval else ""
    return f"{version} {one.quality:.3g}{ends}"


def _ends_told(course: Course) -> str:
    known = [one for one in course.periods if one.quality is not None]
    if not known:
        return "not known"
    first, last = known[0], known[-1]
    return f"{first.quality:.3g} in the period from {first.start}, {last.quality:.3g} in that from {last.start}"
