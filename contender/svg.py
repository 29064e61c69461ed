"""The report's figures as inline SVG: they stretch with the page while their text keeps its size.

Places across a plot are percentages, so that no picture is scaled as a whole and a phone shows readable labels. Shapes
and dashes say what colours say.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from markupsafe import Markup

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


def row(label: str, plot: Markup, numbers: str, said: str, note: str = "") -> Markup:
    """One line of a figure: what it is about, the plot, its numbers, and in plain words what is drawn.

    Whoever points at the plot reads these words, too. Texts that are not marked as HTML are escaped, here and below.
    """
    below = Markup('<div class="note soft">{}</div>').format(note) if note else ""
    return Markup(
        '<div class="row"><div class="label">{}</div><div class="plot"><svg role="img" aria-label="{}">'
        '<title>{}</title><rect class="whole" width="100%" height="100%"/>{}</svg></div>'
        '<div class="numbers">{}</div>{}</div>'
    ).format(label, said, said, plot, numbers, below)


def interval(scale: Scale, low: float, point: float, high: float, shape: str, tone: str = "") -> Markup:
    """A point with its interval, drawn as the mark of that name."""
    left, right, middle = scale.at(low), scale.at(high), scale.at(point)
    ends = "".join(f'<line class="span" x1="{x}" x2="{x}" y1="35%" y2="65%"/>' for x in (left, right))
    return Markup('<g class="{}"><line class="span" x1="{}" x2="{}" y1="50%" y2="50%"/>{}</g>{}').format(
        tone or shape, left, right, Markup(ends), mark(shape, middle, point, tone)
    )


def mark(shape: str, x: str, value: object, tone: str = "", y: str = "50%", title: str = "") -> Markup:
    """A mark at a place across the plot; `value` is what it stands for, `title` what is read on it."""
    named = Markup("<title>{}</title>").format(title) if title else ""
    return Markup('<svg x="{}" y="{}" class="{} {}" data-value="{}">{}{}</svg>').format(
        x, y, shape, tone, value, named, _path(shape)
    )


def key(shape: str, tone: str = "") -> Markup:
    """The mark alone, for texts beside a figure."""
    return Markup('<svg class="mark {} {}" viewBox="-10 -10 20 20" aria-hidden="true">{}</svg>').format(
        shape, tone, _path(shape)
    )


def upright(scale: Scale, value: float, name: str) -> Markup:
    """A line across the plot's height, such as the one at zero."""
    at = scale.at(value)
    return Markup('<line class="{}" x1="{}" x2="{}" y1="0" y2="100%" data-value="{}"/>').format(
        name, at, at, repr(value)
    )


def axis(scale: Scale, said: str, labels: Sequence[tuple[float, str]] = ()) -> Markup:
    """The line below a figure's rows with its values: round ones, where no others are given with their texts."""
    parts = [Markup('<line x1="0" x2="100%" y1="1" y2="1"/>')]
    for value, text in labels or [(tick, f"{tick:g}") for tick in scale.ticks()]:
        share = scale.share(value)
        anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"
        parts.append(Markup('<text x="{}" y="18" text-anchor="{}">{}</text>').format(scale.at(value), anchor, text))
    return Markup(
        '<div class="row"><div class="label axis-name">{}</div><div class="plot"><svg class="axis" aria-hidden="true">'
        '{}</svg></div><div class="numbers"></div></div>'
    ).format(said, Markup("").join(parts))


def _path(shape: str) -> Markup:
    return Markup('<path class="shape" d="{}"/>').format(MARKS[shape][0])
