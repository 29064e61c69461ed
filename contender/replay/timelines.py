"""A replay's strips: under each policy who held the title, what was trained and judged, and what alarms were raised."""

from html import escape
from itertools import groupby

from contender.replay.replay_charts import axis_of, injected_at, injected_key, kind_of, quality_told, reader, until
from contender.replay.replay_results import Alarm, Course, Period, Replay, Retrained
from contender.reports.day_charts import Days
from contender.reports.verdict_sections import SHAPES
from contender.svg import key, mark

ALARMS = {"broken feed": "broken", "decay": "decay", "season": "season", "shift": "shift"}
"""The mark of each name of an alarm; any other name is a dot."""

_QUIET = ("none", "not enough to tell")


def strip(replay: Replay, course: Course) -> list[str]:
    """Who held the title, what was trained and judged, what alarms were raised, and what nothing was learnt from."""
    across, kind = axis_of(replay), kind_of(replay, course)
    retrains = [one.retrained for one in course.periods if one.retrained]
    lanes = {
        "title": (_title(course, across, kind), _title_told(course)),
        "retrains": (
            _retrains(course, across),
            "; ".join(f"{one.at:%Y-%m-%d} {one.decision}" for one in retrains) or "none",
        ),
        "alarms": (_alarms(course, across), "; ".join(f"{one.day} {one.name}" for one in _loud(course)) or "none"),
    }
    if any(one.held_out for other in replay.courses for one in other.periods):
        told = "; ".join(f"{one.start} to {until(one)}" for one in course.periods if one.held_out) or "none"
        lanes["held out"] = (_held(course, across), told)
    readers = "".join(reader(across, one.start, one.end, _happened(one)) for one in course.periods)
    injected = "".join(injected_at(replay, across))
    found = []
    for name, (drawn, told) in lanes.items():
        said = escape(f"{course.policy}, {name}: {told}")
        found += [
            f'<div class="name">{name}</div><svg role="img" data-lane="{name}" aria-label="{said}">',
            f"{injected}{drawn}{readers}</svg>",
        ]
    dates = f"<span>{across.first}</span><span>{across.last}</span>"
    return ['<div class="strip">', *found, f'<div class="dates" aria-hidden="true">{dates}</div></div>']


def keys(replay: Replay) -> list[str]:
    """What the marks of the strips mean, of those that are there."""
    retrains = [one.retrained for course in replay.courses for one in course.periods if one.retrained]
    named = {_shape(one): one.decision if one.decision in SHAPES else "no challenger was judged" for one in retrains}
    refused = any(one.refused for course in replay.courses for one in course.periods)
    named |= {"denied": "a batch that was refused as a whole"} if refused else {}
    alarms = {one.name for course in replay.courses for one in _loud(course)}
    named |= {shape: name for name, shape in ALARMS.items() if name in alarms}
    named |= {"other": "another alarm"} if alarms - set(ALARMS) else {}
    listed = [f"<li>{key(shape)} {escape(text)}</li>" for shape, text in named.items()]
    listed += injected_key(replay)
    return ['<ul class="legend">', *listed, "</ul>"] if listed else []


def _title(course: Course, across: Days, kind: str) -> str:
    found = []
    for place, (version, run) in enumerate(groupby(course.periods, key=lambda one: one.version)):
        inside = [*run]
        left, right = across.left(inside[0].start), across.left(inside[-1].end)
        if version is None:
            continue
        shade = " odd" * (place % 2)
        found.append(
            f'<g class="{kind}{shade}" data-version="{version}"><rect class="reign" x="{100 * left:.3f}%" '
            f'width="{100 * (right - left):.3f}%" y="12%" height="76%" rx="3"/></g>'
        )
        if right - left > 0.03 + 0.025 * len(str(version)):
            x = f"{50 * (left + right):.3f}%"
            found.append(f'<text x="{x}" y="50%" dy="4" text-anchor="middle">v{version}</text>')
    return "".join(found)


def _title_told(course: Course) -> str:
    runs = [(version, [*run]) for version, run in groupby(course.periods, key=lambda one: one.version)]
    return "; ".join(
        f"{'nobody' if version is None else f'version {version}'} from {inside[0].start} to {until(inside[-1])}"
        for version, inside in runs
    )


def _retrains(course: Course, across: Days) -> str:
    found = []
    for one in course.periods:
        if one.retrained:
            found.append(mark(_shape(one.retrained), f"{100 * across.left(one.end):.3f}%", one.retrained.decision))
        if one.refused:
            found.append(mark("denied", f"{100 * across.left(one.end):.3f}%", one.refused))
    return "".join(found)


def _alarms(course: Course, across: Days) -> str:
    return "".join(
        mark(ALARMS.get(one.name, "other"), f"{100 * across.middle(one.day):.3f}%", one.name) for one in _loud(course)
    )


def _held(course: Course, across: Days) -> str:
    return "".join(
        f'<rect class="held" x="{100 * across.left(one.start):.3f}%" '
        f'width="{100 * (across.left(one.end) - across.left(one.start)):.3f}%" y="30%" height="40%"/>'
        for one in course.periods
        if one.held_out
    )


def _loud(course: Course) -> list[Alarm]:
    """Alarms, without the windows in which nothing was found."""
    return [alarm for one in course.periods for alarm in one.alarms if alarm.name not in _QUIET]


def _shape(one: Retrained) -> str:
    return SHAPES.get(one.decision, "back")


def _happened(one: Period) -> str:
    parts = [f"{one.start} to {until(one)}: {quality_told(one)}"]
    parts += [f"{alarm.day} {alarm.name}" for alarm in one.alarms]
    parts += [f"trained, {one.retrained.why}: {one.retrained.decision}"] if one.retrained else []
    parts += [f"held out: {one.held_out}"] if one.held_out else []
    parts += [f"refused: {one.refused}"] if one.refused else []
    return "; ".join(parts)
