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

from contender.reports.dashboard_model import QualityDay
from contender.svg import Scale

STYLE = """
.chart { display: grid; grid-template-columns: auto 1fr; column-gap: .5rem; margin: .5rem 0 0; }
.chart .ups { position: relative; font-size: 12px; color: var(--soft); font-variant-numeric: tabular-nums; }
.chart .ups i { font-style: normal; visibility: hidden; display: block; height: 0; }
.chart .ups span { position: absolute; right: 0; transform: translateY(-50%); white-space: nowrap; }
.chart svg.field { width: 100%; height: var(--high); overflow: visible; }
.chart .dates { grid-column: 2; display: flex; justify-content: space-between; font-size: 12px; color: var(--soft);
  border-top: 1px solid var(--line); padding-top: .2rem; font-variant-numeric: tabular-nums; }
.curves path { fill: none; vector-effect: non-scaling-stroke; stroke-linejoin: round; stroke-linecap: round; }
.curves path.band { stroke: none; }
.true { --tone: var(--accent); } .expected { --tone: var(--guess); } .learnt { --tone: var(--soft); }
.curves path.line { stroke: var(--tone); stroke-width: 2.2; }
.curves path.young { stroke: var(--tone); stroke-width: 2; stroke-dasharray: 6 5; }
.curves .expected path.line { stroke-width: 1.8; stroke-dasharray: .1 4.5; }
.curves .learnt path.line { stroke-width: 1.3; }
.curves path.band { fill: var(--tone); fill-opacity: .16; }
.curves .expected path.band { fill-opacity: .2; }
line.change { stroke: var(--soft); stroke-dasharray: 2 3; }
rect.day { fill: transparent; } rect.day:hover { fill: var(--ink); fill-opacity: .09; }
rect.bar { fill: var(--tone, var(--accent)); } rect.bar:hover { fill: var(--ink); }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .4rem 0 0; padding: 0; list-style: none;
  font-size: .85rem; color: var(--soft); }
.legend svg { display: inline-block; vertical-align: -.15rem; width: 1.9rem; height: .9rem; margin-right: .35rem; }
"""

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


def quality(days: Sequence[QualityDay], across: Days, said: str) -> list[str]:
    """Measured and estimated quality by day, each with its interval."""
    tested = [one for one in days if not one.is_known]
    up = _scale(days)
    parts = [grid(up)]
    changes = [new for old, new in pairwise(days) if old.model_version != new.model_version]
    for one in changes:
        x = f"{100 * across.left(one.day):.3f}%"
        parts.append(f'<line class="change" x1="{x}" x2="{x}" y1="0" y2="100%"/>')
    parts.append('<svg class="curves" viewBox="0 0 1000 1000" preserveAspectRatio="none" width="100%" height="100%">')
    parts += _curve(tested, "expected", ("estimated_quality", "estimated_low", "estimated_high"), across, up)
    parts += _curve(tested, "true", ("quality", "quality_low", "quality_high"), across, up)
    parts += _curve([one for one in days if one.is_known], "learnt", ("quality", "", ""), across, up)
    parts.append("</svg>")
    named, free = [days[0], *changes], -1.0
    for one in named:
        # Names that would stand on one another are left to the text of each day.
        if (at := across.left(one.day)) > free:
            parts.append(f'<text x="{100 * at:.3f}%" dx="3" y="11">v{one.model_version}</text>')
            free = at + 0.08
    parts += [_day(one, across) for one in days]
    return framed(parts, up, across, said, "15rem")


def bars(counts: Mapping[date, float], across: Days, said: str, unit: str, form: str = ",") -> list[str]:
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


def legend(entries: Iterable[tuple[str, str]]) -> list[str]:
    """A line of samples: class of the curve, and its meaning."""
    found = []
    for kind, text in entries:
        drawn = {
            "young": '<g class="true"><path class="young" d="M0 7H30"/></g>',
        }.get(kind, f'<g class="{kind}"><path class="band" d="M0 2H30V12H0Z"/><path class="line" d="M1 7H30"/></g>')
        if kind == "learnt":
            drawn = '<g class="learnt"><path class="line" d="M1 7H30"/></g>'
        found.append(f'<li><svg class="curves" viewBox="0 0 30 14" aria-hidden="true">{drawn}</svg>{escape(text)}</li>')
    return ['<ul class="legend">', *found, "</ul>"]


def _scale(days: Sequence[QualityDay]) -> Scale:
    """Around what was measured and estimated; what the model was trained on has no interval that counts."""
    return scale_around(
        [value for one in days for value in (one.quality, one.estimated_quality)],
        [
            end
            for one in days
            if not one.is_known
            for end in (one.quality_low, one.quality_high, one.estimated_low, one.estimated_high)
        ],
    )


def scale_around(values: Iterable[float | None], ends: Iterable[float | None]) -> Scale:
    """Around every value, and around all but the widest intervals, whose `ends` are given; None is passed over."""
    known = sorted(end for end in ends if end is not None)
    cut = len(known) // 50
    return Scale.around([*(one for one in values if one is not None), *known[cut : len(known) - cut]] or [0.0, 1.0])


def _curve(days: Sequence[QualityDay], kind: str, names: tuple[str, str, str], across: Days, up: Scale) -> list[str]:
    value, low, high = names
    runs = _runs([one for one in days if getattr(one, value) is not None])
    place = _placing(across, up)
    bands = []
    for run in runs if low else []:
        inside = [one for one in run if getattr(one, low) is not None]
        if inside:
            # A day alone has a band as wide as the day.
            edge = 500 / across.count if len(inside) == 1 else 0.0
            top = [place(one, getattr(one, high), -edge) for one in inside[:1]] * bool(edge)
            top += [place(one, getattr(one, high), edge) for one in inside]
            under = [place(one, getattr(one, low), edge) for one in reversed(inside)]
            under += [place(one, getattr(one, low), -edge) for one in inside[:1]] * bool(edge)
            bands.append(f"M{'L'.join([*top, *under])}Z")
    firm, young = list[str](), list[str]()
    for run in runs:
        points = [place(one, getattr(one, value), 0.0) for one in run]
        if len(run) == 1:
            # With round ends, a line of no length is a dot.
            (firm if kind != "true" or run[0].is_mature else young).append(f"M{points[0]}h0.01")
        for (one, start), (other, end) in pairwise(zip(run, points, strict=True)):
            sure = kind != "true" or (one.is_mature and other.is_mature)
            (firm if sure else young).append(f"M{start}L{end}")
    drawn = f'<path class="band" d="{"".join(bands)}"/>' if bands else ""
    drawn += f'<path class="line" d="{_joined(firm)}"/>' if firm else ""
    drawn += f'<path class="young" d="{_joined(young)}"/>' if young else ""
    return [f'<g class="{kind}">{drawn}</g>'] if drawn else []


def _runs(days: Sequence[QualityDay]) -> list[list[QualityDay]]:
    """Days that a line may join: of one model version, without a long hole between."""
    found: list[list[QualityDay]] = []
    for one in days:
        last = found[-1][-1] if found else None
        joins = last is not None and last.model_version == one.model_version
        if last is not None and joins and (one.day - last.day).days <= _GAP_DAYS:
            found[-1].append(one)
        else:
            found.append([one])
    return found


def _joined(pieces: Sequence[str]) -> str:
    """Lines that go on where the last one ended become one, so that dashes run through."""
    found = ""
    end = None
    for piece in pieces:
        start, _, stop = piece[1:].partition("L")
        found += f"L{stop}" if stop and start == end else piece
        end = stop or None
    return found


def _placing(across: Days, up: Scale) -> Callable[[QualityDay, float, float], str]:
    def place(one: QualityDay, value: float, aside: float) -> str:
        return f"{1000 * across.middle(one.day) + aside:.1f} {1000 * (1 - up.share(value)):.1f}"

    return place


def _day(one: QualityDay, across: Days) -> str:
    figures = [
        one.model_version,
        one.mature,
        one.mature_share,
        one.quality,
        one.quality_low,
        one.quality_high,
        one.estimated_quality,
        one.estimated_low,
        one.estimated_high,
    ]
    return (
        f'<rect class="day" x="{100 * across.left(one.day):.3f}%" width="{100 / across.count:.3f}%" height="100%" '
        f'data-day="{one.day}" data-figures="{escape(json.dumps(figures))}">'
        f"<title>{escape(quality_in_words(one))}</title></rect>"
    )


def quality_in_words(one: QualityDay) -> str:
    """A day's quality in words."""
    parts = [f"{one.day}, version {one.model_version}"]
    if one.quality is not None:
        ends = f" ({one.quality_low:.3g} to {one.quality_high:.3g})" if one.quality_low is not None else ""
        final = "" if one.is_mature else ", not final yet"
        learnt = ", on rows it was trained on" if one.is_known else ""
        parts.append(f"measured {one.quality:.3g}{ends} on {one.mature:,} outcomes{final}{learnt}")
    if one.estimated_quality is not None:
        ends = f" ({one.estimated_low:.3g} to {one.estimated_high:.3g})" if one.estimated_low is not None else ""
        parts.append(f"estimated {one.estimated_quality:.3g}{ends}")
    return "; ".join(parts if len(parts) > 1 else [*parts, "nothing known of its quality"])


def grid(up: Scale, most: int = 5) -> str:
    """A line across at every tick."""
    return "".join(
        f'<line x1="0" x2="100%" y1="{100 * (1 - up.share(tick)):.2f}%" y2="{100 * (1 - up.share(tick)):.2f}%"/>'
        for tick in up.ticks(most)
    )


def framed(parts: Iterable[str], up: Scale, across: Days, said: str, high: str, most: int = 5) -> list[str]:
    """A chart of `parts` with its ticks on the left and its days below; `said` is what it shows, in words."""
    labels = [(f"{100 * (1 - up.share(tick)):.2f}%", short(tick)) for tick in up.ticks(most)]
    widest = max((text for _, text in labels), key=len, default="")
    middle = date.fromordinal((across.first.toordinal() + across.last.toordinal()) // 2)
    dates = dict.fromkeys([across.first, middle, across.last])
    return [
        f'<div class="chart" style="--high: {high}"><div class="ups" aria-hidden="true"><i>{widest}</i>',
        *(f'<span style="top: {top}">{text}</span>' for top, text in labels),
        f'</div><svg class="field" role="img" aria-label="{escape(said)}">',
        *parts,
        '</svg><div class="dates" aria-hidden="true">',
        *(f"<span>{day}</span>" for day in dates),
        "</div></div>",
    ]


def short(value: float) -> str:
    """A tick in few letters."""
    for size, name in ((1e9, " bn"), (1e6, " m"), (1e3, " k")):
        if abs(value) >= 10 * size or (abs(value) >= size and size > 1e3):
            return f"{value / size:g}{name}"
    return f"{value:,g}" if abs(value) >= 1_000 else f"{value:g}"
