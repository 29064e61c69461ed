"""The dashboard's charts over days: curves with bands, and bars. Inline SVG that stretches while its text does not.

Lines are drawn in a picture of 1000 by 1000 that is pulled to its place; bars, marks and texts stand at percentages.
Each day carries its figures, as text for whoever points at it and as `data-…` for programs.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from itertools import pairwise
from typing import TypeVar

from markupsafe import Markup

from contender.performance.quality_windows import QualityWindow
from contender.reports.dashboard_model import QualityDay
from contender.svg import Scale

Spell = TypeVar("Spell", QualityDay, QualityWindow)

_GAP_DAYS = 7
"""Over longer holes no line is drawn."""


@dataclass(frozen=True)
class Days:
    """The axis of days, both ends included."""

    first: date
    last: date

    @property
    def count(self) -> int:
        return (self.last - self.first).days + 1

    def left(self, day: date) -> float:
        """Where a day begins, from 0 to 1."""
        return (day - self.first).days / self.count

    def middle(self, day: date) -> float:
        return self.left(day) + 0.5 / self.count


def quality(days: Sequence[QualityDay], windows: Sequence[QualityWindow], across: Days, said: str) -> Markup:
    """Quality as measured over windows, each with its interval, and as estimated by day."""
    up = _scale(days, windows)
    parts = [grid(up)]
    changes = [new for old, new in pairwise(days) if old.model_version != new.model_version]
    for one in changes:
        x = f"{100 * across.left(one.day):.3f}%"
        parts.append(f'<line class="change" x1="{x}" x2="{x}" y1="0" y2="100%"/>')
    parts.append('<svg class="curves" viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%">')
    parts += _estimates([one for one in days if not one.is_known], across, up)
    parts += _measured(windows, across, up)
    parts.append("</svg>")
    named, free = [days[0], *changes], -1.0
    for one in named:
        # Names that would stand on one another are left to the text of each day.
        if (at := across.left(one.day)) > free:
            parts.append(f'<text x="{100 * at:.3f}%" dx="3" y="11">v{one.model_version}</text>')
            free = at + 0.08
    parts += [_day(one, across) for one in days if one.estimated_quality is not None]
    parts += [_point(one, across, up) for one in windows]
    return framed(parts, up, across, said, "15rem")


def bars(counts: Mapping[date, float], across: Days, said: str, unit: str, form: str = ",") -> Markup:
    """A bar for each day; days without one have nothing."""
    up = Scale(0.0, max([*counts.values(), 1e-9]) * 1.05)
    wide = 100 / across.count
    parts = [grid(up, 3)]
    for day, value in sorted(counts.items()):
        high = 100 * up.share(value)
        parts.append(
            f'<rect class="bar" x="{100 * across.left(day) + 0.08 * wide:.3f}%" width="{0.84 * wide:.3f}%" '
            f'y="{100 - high:.2f}%" height="{high:.2f}%" data-day="{day}" data-value="{value!r}">'
            f"<title>{day}: {value:{form}} {escape(unit)}</title></rect>"
        )
    return framed(parts, up, across, said, "7rem", 3)


def _scale(days: Sequence[QualityDay], windows: Sequence[QualityWindow]) -> Scale:
    """Around what was measured and estimated; what the model was trained on has no interval that counts."""
    ends = [
        end for one in windows if one.interval and not one.in_training for end in (one.interval.low, one.interval.high)
    ]
    ends += [
        end for one in days if not one.is_known for end in (one.estimated_low, one.estimated_high) if end is not None
    ]
    return scale_around([*(one.value for one in windows), *(one.estimated_quality for one in days)], ends)


def scale_around(values: Iterable[float | None], ends: Iterable[float | None]) -> Scale:
    """Around every value, and around all but the widest intervals, whose `ends` are given; None is passed over."""
    known = sorted(end for end in ends if end is not None)
    cut = len(known) // 50
    return Scale.around([*(one for one in values if one is not None), *known[cut : len(known) - cut]] or [0.0, 1.0])


def _estimates(days: Sequence[QualityDay], across: Days, up: Scale) -> list[str]:
    """A dotted line within its band; a day alone has a band as wide as the day."""
    bands, lines = "", ""
    for run in _runs(
        [one for one in days if one.estimated_quality is not None], lambda one: one.day, lambda one: one.day
    ):
        points = [(across.middle(one.day), one.estimated_quality or 0.0) for one in run]
        lines += _path(points, up)
        ends = [
            (across.middle(one.day), one.estimated_low, one.estimated_high)
            for one in run
            if one.estimated_low is not None and one.estimated_high is not None
        ]
        if ends:
            edge = 0.5 / across.count if len(ends) == 1 else 0.0
            over = [(x + way, high) for x, _, high in ends for way in dict.fromkeys((-edge, edge))]
            under = [(x + way, low) for x, low, _ in reversed(ends) for way in dict.fromkeys((edge, -edge))]
            bands += _path([*over, *under], up) + "Z"
    band = f'<path class="band" d="{bands}"/>' if bands else ""
    return [f'<g class="expected">{band}<path class="line" d="{lines}"/></g>'] if lines else []


def _measured(windows: Sequence[QualityWindow], across: Days, up: Scale) -> list[str]:
    """Lines from point to point: dashed where one is not final, thin where the model was trained on the rows."""
    paths = {"line": "", "young": "", "learnt": ""}
    for run in _runs(windows, lambda one: one.first, lambda one: one.last):
        for one, other in pairwise(run):
            if one.in_training != other.in_training:
                continue
            kind = "learnt" if one.in_training else "line" if one.is_final and other.is_final else "young"
            piece = _path([(_middle(each, across), each.value) for each in (one, other)], up)
            start, _, stop = piece.partition("L")
            # Lines that go on where the last one ended become one, so that dashes run through.
            paths[kind] += f"L{stop}" if paths[kind].endswith(start[1:]) else piece
    drawn = "".join(f'<path class="{kind}" d="{paths[kind]}"/>' for kind in ("line", "young") if paths[kind])
    found = [f'<g class="true">{drawn}</g>'] if drawn else []
    learnt = paths["learnt"]
    return [*found, f'<g class="learnt"><path class="line" d="{learnt}"/></g>'] if learnt else found


def _runs(ordered: Iterable[Spell], first: Callable[[Spell], date], last: Callable[[Spell], date]) -> list[list[Spell]]:
    """What a line may join: of one model version, without a long hole between."""
    found: list[list[Spell]] = []
    for one in ordered:
        before = found[-1][-1] if found else None
        if (
            before is not None
            and before.model_version == one.model_version
            and (first(one) - last(before)).days <= _GAP_DAYS
        ):
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _path(points: Iterable[tuple[float, float]], up: Scale) -> str:
    """A line through points; with round ends, a line of no length is a dot."""
    found = [f"{1000 * x:.1f} {1000 * (1 - up.share(value)):.1f}" for x, value in points]
    return f"M{'L'.join(found)}" if len(found) > 1 else f"M{found[0]}h0.01"


def _middle(one: QualityWindow, across: Days) -> float:
    return (across.left(one.first) + across.left(one.last) + 1 / across.count) / 2


def _point(one: QualityWindow, across: Days, up: Scale) -> str:
    """A window's value with its interval, which tells itself over all of its days."""
    kind, x = "learnt" if one.in_training else "true", f"{100 * _middle(one, across):.3f}%"
    ends = [one.interval.low, one.interval.high] if one.interval else [one.value, one.value]
    low, high, at = (f"{100 * (1 - up.share(value)):.2f}%" for value in (*ends, one.value))
    left, wide = 100 * across.left(one.first), 100 * one.days / across.count
    figures = [str(one.last), one.model_version, one.outcomes, one.value, *ends]
    return (
        f'<g class="{"point" if one.is_final else "point open"}"><rect class="day" x="{left:.3f}%" width="{wide:.3f}%" '
        f'height="100%" data-window="{one.first}" data-figures="{escape(json.dumps(figures))}"/>'
        f'<line class="whisker {kind}" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'
        f'<circle class="point {kind}" cx="{x}" cy="{at}" r="2.6"/><title>{escape(window_in_words(one))}</title></g>'
    )


def _day(one: QualityDay, across: Days) -> str:
    figures = [one.model_version, one.estimated_quality, one.estimated_low, one.estimated_high]
    return (
        f'<rect class="day" x="{100 * across.left(one.day):.3f}%" width="{100 / across.count:.3f}%" height="100%" '
        f'data-day="{one.day}" data-figures="{escape(json.dumps(figures))}">'
        f"<title>{escape(estimate_in_words(one))}</title></rect>"
    )


def window_in_words(one: QualityWindow) -> str:
    """A window's quality in words."""
    ends = f" ({one.interval.low:.3g} to {one.interval.high:.3g})" if one.interval else ""
    final = "" if one.is_final else ", not final yet"
    learnt = ", on rows it was trained on" if one.in_training else ""
    rest = f"on {one.outcomes:,} outcomes{final}{learnt}"
    return f"{one.span}, version {one.model_version}: measured {one.value:.3g}{ends} {rest}"


def estimate_in_words(one: QualityDay) -> str:
    """What was expected of a day, in words."""
    ends = f" ({one.estimated_low:.3g} to {one.estimated_high:.3g})" if one.estimated_low is not None else ""
    return f"{one.day}, version {one.model_version}: estimated {one.estimated_quality:.3g}{ends}"


def grid(up: Scale, most: int = 5) -> str:
    """A line across at every tick."""
    return "".join(
        f'<line x1="0" x2="100%" y1="{100 * (1 - up.share(tick)):.2f}%" y2="{100 * (1 - up.share(tick)):.2f}%"/>'
        for tick in up.ticks(most)
    )


def framed(parts: Iterable[str], up: Scale, across: Days, said: str, high: str, most: int = 5) -> Markup:
    """A chart of `parts` with its ticks on the left and its days below; `said` is what it shows, in words."""
    labels = [(f"{100 * (1 - up.share(tick)):.2f}%", short(tick)) for tick in up.ticks(most)]
    widest = max((text for _, text in labels), key=len, default="")
    middle = date.fromordinal((across.first.toordinal() + across.last.toordinal()) // 2)
    dates = dict.fromkeys([across.first, middle, across.last])
    lines = [
        f'<div class="chart" style="--high: {high}"><div class="ups" aria-hidden="true"><i>{widest}</i>',
        *(f'<span style="top: {top}">{text}</span>' for top, text in labels),
        f'</div><svg class="field" role="img" aria-label="{escape(said)}">',
        *parts,
        '</svg><div class="dates" aria-hidden="true">',
        *(f"<span>{day}</span>" for day in dates),
        "</div></div>",
    ]
    return Markup("\n".join(lines))


def short(value: float) -> str:
    """A tick in few letters."""
    for size, name in ((1e9, " bn"), (1e6, " m"), (1e3, " k")):
        if abs(value) >= 10 * size or (abs(value) >= size and size > 1e3):
            return f"{value / size:g}{name}"
    return f"{value:,g}" if abs(value) >= 1_000 else f"{value:g}"
