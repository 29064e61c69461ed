"""What our pages share: one look, and no need for a network, a script or a file beside them."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

# Nothing may be loaded or run, whatever a value in the page might hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  --ground: #f4f6f9; --card: #fff; --ink: #1b2430; --soft: #566171; --line: #d8dee7;
  --good: #17774b; --wait: #99590a; --keep: #4a5d92; --bad: #ba342b; --accent: #2456c0; }
@media (prefers-color-scheme: dark) { :root { --ground: #11151b; --card: #1a2029; --ink: #e5e9ef; --soft: #9ba7b6;
  --line: #343e4b; --good: #52c690; --wait: #eeb055; --keep: #a3b4ec; --bad: #ff857b; --accent: #86abff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .2rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
p { margin: .4rem 0; }
.soft { color: var(--soft); font-size: .9rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1.2rem 1.4rem;
  margin: 0 0 1.2rem; }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th { color: var(--soft); font-weight: 600; font-size: .82rem; vertical-align: bottom; }
th, td { text-align: left; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; }
th:last-child, td:last-child { padding-right: .3rem; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.bad td { background: color-mix(in srgb, var(--bad) 12%, transparent); }
.refused { border-left: 4px solid var(--bad); padding-left: 1rem; }
@media (max-width: 40rem) { table { font-size: .84rem; } th, td { padding-right: .5rem; }
  main { padding: .8rem .6rem 2rem; } .card { padding: 1rem .9rem; }
  h1 { font-size: 1.35rem; } }
"""


class Figures(str):
    """HTML that a table shows as it is, on the right where its numbers stand."""


def document(title: str, parts: Iterable[str], style: str = "") -> str:
    """A self-contained HTML page of parts that are HTML already; `title` is plain text."""
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}{style}</style></head>",
            "<body><main>",
            *parts,
            "</main></body></html>",
        ]
    )


def card(title: str, parts: Iterable[str]) -> list[str]:
    """A part of a page under its own heading."""
    return ['<section class="card">', f"<h2>{escape(title)}</h2>", *parts, "</section>"]


def table(names: Iterable[str], rows: Iterable[Iterable[Any]], bad: Sequence[bool] = ()) -> list[str]:
    """A table that scrolls in its own box where the screen is narrow; everything but `Figures` is escaped."""
    values = [list(row) for row in rows]
    names = list(names)
    # A column with numbers stands on the right, one below the other, words among them too.
    sides = [_N * any(_is_number(row[place]) for row in values) for place in range(len(names))]
    heads = [f'<th scope="col"{side}>{escape(name)}</th>' for name, side in zip(names, sides, strict=True)]
    lines = ['<div class="scroll" tabindex="0"><table>', f"<tr>{''.join(heads)}</tr>"]
    for place, row in enumerate(values):
        marked = ' class="bad"' if place < len(bad) and bad[place] else ""
        lines.append(f"<tr{marked}>{''.join(map(_cell, row, sides))}</tr>")
    return [*lines, "</table></div>"]


def number(value: float, form: str = ".4g") -> str:
    """A number as people read it, with its exact value for programs that read the page."""
    # NumPy's own numbers say more of themselves than their value.
    exact = float.__repr__(value) if isinstance(value, float) else repr(value)
    return f'<data value="{exact}">{value:{form}}</data>'


_N = ' class="n"'


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Figures) and not isinstance(value, bool)


def _cell(value: Any, side: str) -> str:
    if not _is_number(value):
        return f"<td{side}>{'' if value is None else escape(str(value))}</td>"
    if isinstance(value, Figures):
        return f"<td{side}>{value}</td>"
    return f"<td{side}>{number(value, ',' if isinstance(value, int) else '.4g')}</td>"
