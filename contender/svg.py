"""The report's figures as inline SVG: they stretch with the page while their text keeps its size.

Places across a plot are percentages, so that no picture is scaled as a whole and a phone shows readable labels. Shapes
and dashes say what colours say.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Self

MARKS = {
    "promote": ("M0-8 8 0 0 8-8 0Z", "diamond"),
    "keep": ("M-5.5-5.5H5.5V5.5H-5.5Z", "square"),
    "wait": ("M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0Z", "hollow circle"),
    "back": ("M7-7V7L-7 0Z", "triangle"),
    "broken": ("M-6-6 6 6M-6 6 6-6", "cross"),
    "decay": ("M-7-6H7L0 7Z", "triangle that points down"),
    "season": ("M3-7A7 7 0 1 0 3 7 8.5 8.5 0 0 1 3-7Z", "crescent"),
    "shift": ("M-7-5H2L7 0 2 5H-7L-2 0Z", "arrow"),
    "other": ("M-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0Z", "dot"),
    "denied": ("M-6 0H6", "dash"),
}
"""Path around the origin and name of each mark; the names are also its CSS classes."""

STYLE = """
.row { display: grid; grid-template-columns: minmax(9rem, 15rem) 1fr minmax(11rem, 17rem); column-gap: 1.4rem;
  align-items: center; }
.row > .label { overflow-wrap: anywhere; padding: .2rem 0; }
.row > .numbers { font-size: .88rem; font-variant-numeric: tabular-nums; }
.row > .note { grid-column: 1 / -1; margin: 0 0 .9rem; padding-bottom: .5rem; border-bottom: 1px solid var(--line); }
svg { display: block; overflow: visible; font: 12px system-ui, sans-serif; fill: var(--soft); }
/* Laid over its box, a plot is as high as its row, and the upright lines of all rows meet. */
.plot { position: relative; align-self: stretch; min-height: 2.7rem; }
.plot > svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.axis { width: 100%; height: 1.6rem; }
svg.mark { display: inline-block; width: 1rem; height: 1rem; vertical-align: -.15rem; }
line { stroke: var(--line); }
line.zero { stroke: var(--soft); stroke-width: 1.5; }
line.worth { stroke: var(--accent); stroke-width: 1.5; stroke-dasharray: 4 4; }
.promote { --tone: var(--good); } .keep { --tone: var(--keep); } .wait { --tone: var(--wait); }
.back, .decay { --tone: var(--wait); } .bad, .broken { --tone: var(--bad); }
.season, .shift, .other, .denied { --tone: var(--keep); }
line.span { stroke: var(--tone); stroke-width: 3; }
path.shape, rect.reign { fill: var(--tone); stroke: var(--tone); stroke-width: 2; }
.wait path.shape, .wait.shape { fill: var(--card); }
rect.reign { fill-opacity: .3; stroke-width: 1; }
.back rect.reign { stroke-dasharray: 4 3; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem; }
figure { margin: .4rem 0; max-width: 28rem; } figcaption { font-weight: 600; font-size: .92rem; }
.panels svg { width: 100%; height: auto; }
.axis-name { font-size: .85rem; color: var(--soft); margin: .2rem 0 0; }
@media (max-width: 46rem) {
  .row { grid-template-columns: 1fr; padding-top: .5rem; }
  .row > .label { padding: 0; }
  .row > .plot { grid-row: 3; margin: 0 .5rem; }
}
"""


@dataclass(frozen=True)
class Scale:
    """Where values lie between two ends, on a plain or a logarithmic axis."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Iterable[float]) -> Self:
        """A scale with some air at both ends."""
        found = [*values]
        air = 0.06 * (max(found) - min(found)) or max(abs(found[0]), 1.0) * 0.1
        return cls(min(found) - air, max(found) + air)

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one; what lies beyond stays at the end."""
        if self.logarithmic:
            value = max(value, self.low)
            found = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            found = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, found))

    def at(self, value: float) -> str:
        return f"{100 * self.share(value):.3f}%"

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the ends."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if self.high / self.low < 100 else (1,)
            found = [float(f"{step}e{power}") for power in powers for step in steps]
            return [tick for tick in found if self.low <= tick <= self.high]
        rough = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(size * times for times in (1, 2, 5, 10) if size * times >= rough * 0.999)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [round(place * step, 12) for place in range(first, last + 1)]


def row(label: str, plot: str, numbers: str, said: str, note: str = "") -> str:
    """One line of a figure: what it is about, the plot, its numbers (all HTML), and in plain words what is drawn."""
    below = f'<div class="note soft">{note}</div>' if note else ""
    drawn = f'<div class="plot"><svg role="img" aria-label="{escape(said)}">{plot}</svg></div>'
    return f'<div class="row"><div class="label">{label}</div>{drawn}<div class="numbers">{numbers}</div>{below}</div>'


def interval(scale: Scale, low: float, point: float, high: float, shape: str, tone: str = "") -> str:
    """A point with its interval, drawn as the mark of that name."""
    left, right, middle = scale.at(low), scale.at(high), scale.at(point)
    ends = "".join(f'<line class="span" x1="{x}" x2="{x}" y1="35%" y2="65%"/>' for x in (left, right))
    return (
        f'<g class="{tone or shape}"><line class="span" x1="{left}" x2="{right}" y1="50%" y2="50%"/>{ends}</g>'
        + mark(shape, middle, point, tone)
    )


def mark(shape: str, x: str, value: object, tone: str = "", y: str = "50%") -> str:
    """A mark at a place across the plot; `value` is what it stands for."""
    path = f'<path class="shape" d="{MARKS[shape][0]}"/>'
    return f'<svg x="{x}" y="{y}" class="{shape} {tone}" data-value="{escape(str(value))}">{path}</svg>'


def key(shape: str, tone: str = "") -> str:
    """The mark alone, for texts beside a figure."""
    path = f'<path class="shape" d="{MARKS[shape][0]}"/>'
    return f'<svg class="mark {shape} {tone}" viewBox="-10 -10 20 20" aria-hidden="true">{path}</svg>'


def upright(scale: Scale, value: float, name: str) -> str:
    """A line across the plot's height, such as the one at zero."""
    at = scale.at(value)
    return f'<line class="{name}" x1="{at}" x2="{at}" y1="0" y2="100%" data-value="{value!r}"/>'


def axis(scale: Scale, labels: Sequence[tuple[float, str]], said: str) -> str:
    """The line below a figure's rows with its values."""
    parts = ['<line x1="0" x2="100%" y1="1" y2="1"/>']
    for value, text in labels:
        share = scale.share(value)
        anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"
        parts.append(f'<text x="{scale.at(value)}" y="18" text-anchor="{anchor}">{escape(text)}</text>')
    drawn = f'<div class="plot"><svg class="axis" aria-hidden="true">{"".join(parts)}</svg></div>'
    named = f'<div class="label axis-name">{escape(said)}</div>'
    return f'<div class="row">{named}{drawn}<div class="numbers"></div></div>'
