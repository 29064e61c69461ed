"""The dashboard's heat map of drift: a row for each column, a cell for each check.

Cells tell by colour how far a column is on its way to the threshold, and by a mark, for whoever sees no colours, that
it went beyond it.
"""

from collections.abc import Sequence
from datetime import date
from html import escape

from markupsafe import Markup

from contender.markup import part, table
from contender.reports.dashboard_model import Cell, Heat

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


def heat_map(heat: Heat) -> Markup:
    """The map with its key, and the newest check in figures."""
    rows = [Markup(_row(name, cells, heat)) for name, cells in heat.cells.items()]
    return part(
        "heat.html",
        keys=Markup(_keys()),
        rows=rows[:_SHOWN],
        more=rows[_SHOWN:],
        foot=Markup(_foot(heat.days)),
        newest_day=heat.days[-1][1],
        newest=_newest(heat),
    )


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
    drawn = list[str]()
    for place, cell in enumerate(cells):
        if cell is None:
            continue
        kind = kind_of(cell)
        told = escape(f"{_window(heat.days[place])}: {_cell_in_words(cell)}")
        # A hair wider than it is, so that no light shows between neighbours.
        drawn.append(
            f'<g><title>{told}</title><rect class="{kind}" x="{place * wide:.2f}%" width="{wide * 1.02:.2f}%"/>'
        )
        drawn.append(f"{_mark(kind, f'{(place + 0.5) * wide:.2f}%')}</g>")
    last = next((cell for cell in reversed(cells) if cell is not None), None)
    drifts = sum(bool(cell and cell.drifted) for cell in cells)
    said = (
        f"{name}: drifted in {drifts} of {whole} checks shown, last {_cell_in_words(last) if last else 'not checked'}"
    )
    now = "–" if last is None or last.score is None else f'<data value="{last.score!r}">{last.score:.3f}</data>'
    return (
        f'<div class="heat-row" data-column="{escape(name)}">'
        f'<div class="name" title="{escape(name)}">{escape(name)}</div>'
        f'<svg class="cells" role="img" aria-label="{escape(said)}">'
        f'{"".join(drawn)}</svg><div class="now">{now}</div></div>'
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


def _newest(heat: Heat) -> Markup:
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
