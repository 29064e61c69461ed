"""The dashboard's heat map of drift: a row for each column, a cell for each check.

Cells tell by colour how far a column is on its way to the threshold, and by a mark, for whoever sees no colours, that
it went beyond it.
"""

import json
from collections.abc import Sequence
from datetime import date
from html import escape

from contender.markup import table
from contender.reports.dashboard_model import Cell, Heat

STYLE = """
.heat { --cool: 214 70% 93%; --mild: 214 62% 80%; --warm: 214 55% 64%; --drift: 29 90% 52%; --alarm: 14 82% 38%;
  --season: 170 40% 55%; margin: .6rem 0; }
@media (prefers-color-scheme: dark) { .heat { --cool: 214 38% 21%; --mild: 214 42% 32%; --warm: 214 46% 45%;
  --drift: 32 92% 56%; --alarm: 18 95% 72%; --season: 170 40% 42%; } }
.heat-row { display: grid; grid-template-columns: minmax(6rem, 13rem) 1fr 4.2rem; column-gap: .7rem;
  align-items: center; font-size: .85rem; min-height: 1.25rem; }
.heat-row > .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.heat-row > .now { text-align: right; font-variant-numeric: tabular-nums; }
.heat-row svg.cells { width: 100%; height: 1.1rem; overflow: hidden; border-radius: 2px; }
.heat .cool { fill: hsl(var(--cool)); } .heat .mild { fill: hsl(var(--mild)); } .heat .warm { fill: hsl(var(--warm)); }
.heat .drift { fill: hsl(var(--drift)); } .heat .alarm { fill: hsl(var(--alarm)); }
.heat .seasonal { fill: hsl(var(--season)); } .heat .untold { fill: var(--line); fill-opacity: .55; }
.heat .dot { fill: #000; fill-opacity: .8; } .heat .ring { fill: none; stroke: var(--ink); stroke-width: 1.2; }
.heat .bang { fill: var(--card); } .heat .dash { stroke: var(--soft); stroke-width: 1.2; }
.heat rect.one { fill: transparent; } .heat rect.one:hover { stroke: var(--ink); stroke-width: 2; }

.heat-row.foot { color: var(--soft); font-size: 12px; }
.heat-row .dates { display: flex; justify-content: space-between; }
.keys { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; list-style: none; padding: 0; margin: .5rem 0;
  font-size: .85rem; color: var(--soft); }
.keys li > svg { display: inline-block; width: 1.2rem; height: .9rem; vertical-align: -.1rem; margin: 0 .35rem 0 0;
  border-radius: 2px; overflow: hidden; }
@media (max-width: 40rem) { .heat-row { grid-template-columns: 6.6rem 1fr 3.2rem; column-gap: .45rem; } }
"""

_SHOWN = 16
"""Columns that are shown at once; the others are one click away."""

_NAMES = {
    "cool": "far below the threshold",
    "mild": "over half of the way",
    "warm": "close to it",
    "seasonal": "as in this season before",
    "drift": "drifted",
    "alarm": "drifted often enough to alarm",
    "untold": "not enough to tell",
}


def heat_map(heat: Heat) -> list[str]:
    """The map with its key, and the newest check in figures."""
    rows = [_row(name, cells, heat) for name, cells in heat.cells.items()]
    more = rows[_SHOWN:]
    return [
        _keys(),
        '<div class="heat">',
        *rows[:_SHOWN],
        _foot(heat.days),
        *(
            [f"<details><summary>{len(more)} more columns, which drifted less</summary>", *more, "</details>"]
            * bool(more)
        ),
        "</div>",
        f"<details><summary>The newest check in figures ({heat.days[-1][1]})</summary>",
        *_newest(heat),
        "</details>",
    ]


def kind_of(cell: Cell) -> str:
    """How a cell is drawn."""
    if cell.drifted is None:
        return "untold"
    if cell.drifted:
        return "alarm" if cell.alarm else "drift"
    if cell.season:
        return "seasonal"
    ratio = cell.ratio or 0.0
    return "warm" if ratio >= 0.75 else "mild" if ratio >= 0.5 else "cool"


def _row(name: str, cells: Sequence[Cell | None], heat: Heat) -> str:
    wide, whole = 100 / len(cells), len(cells)
    shapes: dict[str, str] = {}
    marks, spots = [], []
    for place, cell in enumerate(cells):
        if cell is None:
            continue
        kind = kind_of(cell)
        # A hair wider than it is, so that no light shows between neighbours.
        shapes[kind] = shapes.get(kind, "") + f"M{place} 0h1.02v1h-1.02z"
        marks.append(_mark(kind, f"{(place + 0.5) * wide:.2f}%"))
        if cell.drifted or cell.season:
            spots.append(
                f'<rect class="one" x="{place * wide:.2f}%" width="{wide:.2f}%" height="100%"><title>'
                f"{escape(f'{name}, {_window(heat.days[place])}: {_cell_in_words(cell)}')}</title></rect>"
            )
    figures = [None if one is None else [str(one.day), one.score, one.threshold, one.drifted] for one in cells]
    drawn = "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in shapes.items())
    last = next((cell for cell in reversed(cells) if cell is not None), None)
    drifts = sum(bool(cell and cell.drifted) for cell in cells)
    said = (
        f"{name}: drifted in {drifts} of {whole} checks shown, last {_cell_in_words(last) if last else 'not checked'}"
    )
    now = "–" if last is None or last.score is None else f'<data value="{last.score!r}">{last.score:.3f}</data>'
    return (
        f'<div class="heat-row" data-column="{escape(name)}" data-cells="{escape(json.dumps(figures))}">'
        f'<div class="name" title="{escape(name)}">{escape(name)}</div>'
        f'<svg class="cells" role="img" aria-label="{escape(said)}">'
        f'<svg viewBox="0 0 {whole} 1" preserveAspectRatio="none" width="100%" height="100%">{drawn}</svg>'
        f'{"".join(marks)}{"".join(spots)}</svg><div class="now">{now}</div></div>'
    )


def _mark(kind: str, x: str) -> str:
    if kind == "drift":
        return f'<circle class="dot" cx="{x}" cy="50%" r="2.2"/>'
    if kind == "alarm":
        return f'<svg x="{x}" y="50%" overflow="visible"><path class="bang" d="M0-4.5 4.5 0 0 4.5-4.5 0Z"/></svg>'
    if kind == "seasonal":
        return f'<circle class="ring" cx="{x}" cy="50%" r="2.4"/>'
    return f'<svg x="{x}" y="50%" overflow="visible"><path class="dash" d="M-2 0H2"/></svg>' if kind == "untold" else ""


def _keys() -> str:
    samples = "".join(
        f'<li><svg class="heat" aria-hidden="true"><rect class="{kind}" width="100%" height="100%"/>'
        f"{_mark(kind, '50%')}</svg>{text}</li>"
        for kind, text in _NAMES.items()
    )
    return f'<ul class="keys">{samples}</ul>'


def _foot(days: Sequence[tuple[date, date]]) -> str:
    shown = dict.fromkeys([days[0][0], days[-1][1]])
    dates = "".join(f"<span>{day}</span>" for day in shown)
    cells = f'<div></div><div class="dates">{dates}</div><div class="now">now</div>'
    return f'<div class="heat-row foot" aria-hidden="true">{cells}</div>'


def _newest(heat: Heat) -> list[str]:
    rows = [
        [
            name,
            {True: "yes", False: "no"}.get(bool(cell.drifted), "") if cell.drifted is not None else "untold",
            cell.score,
            cell.threshold,
            cell.why,
        ]
        for name, cell in heat.newest.items()
    ]
    return table(["column", "drifted", "score", "threshold", "in words"], rows, bad=[row[1] == "yes" for row in rows])


def _cell_in_words(cell: Cell) -> str:
    if cell.drifted is None:
        return "not enough to tell"
    what = (
        "drifted, alarm"
        if cell.alarm
        else "drifted"
        if cell.drifted
        else "as a season before"
        if cell.season
        else "no drift"
    )
    if cell.score is None or cell.threshold is None:
        return what
    return f"{what}, {cell.score:.3f} where {cell.threshold:.3f} counts"


def _window(days: tuple[date, date]) -> str:
    return str(days[0]) if days[0] == days[1] else f"{days[0]} to {days[1]}"
