"""The dashboard: every use case on one page that any browser opens without a network and without a script."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

from contender import svg
from contender.markup import document, number
from contender.redact import shortened
from contender.reports import day_charts, drift_heat_map
from contender.reports.dashboard_model import UseCase
from contender.reports.dashboard_sections import (
    attention,
    drift_of,
    happenings_of,
    head_of,
    quality_of,
    quality_told,
    small_charts,
    title_of,
    verdicts_of,
)
from contender.svg import key

_STYLE = """
:root { --guess: #b4520a; } @media (prefers-color-scheme: dark) { :root { --guess: #f5a352; } }
main { max-width: 76rem; }
h1 { margin: 0; } h3 { margin: 1.3rem 0 .2rem; font-size: .95rem; }
a { color: var(--accent); } code { overflow-wrap: anywhere; }
.kicker { color: var(--soft); margin: 0; font-size: .9rem; letter-spacing: .02em; }
.tone { color: var(--tone); }
.top { display: flex; flex-wrap: wrap; gap: .2rem 1.5rem; align-items: baseline; justify-content: space-between;
  margin: 0 .2rem 1rem; }
.top p { margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: .8rem;
  margin: 0 0 1.2rem; padding: 0; list-style: none; }
.tiles .card { margin: 0; padding: .9rem 1.1rem; height: 100%; position: relative; }
.tiles a.whole { font-weight: 700; text-decoration: none; } .tiles a.whole::after { content: ""; position: absolute;
  inset: 0; }
.tiles .card:hover { border-color: var(--accent); } .tiles p { margin: .15rem 0; font-size: .92rem; }
.tiles a.whole:focus-visible::after { outline: 2px solid var(--accent); border-radius: .6rem; }
.use-case { content-visibility: auto; contain-intrinsic-size: auto 90rem; scroll-margin-top: .6rem; }
.use-case > h3:first-of-type { margin-top: 1.3rem; }
.facts { display: grid; gap: .7rem 1.2rem; margin: .9rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(9.5rem, 45%), 1fr)); }
.facts dt { color: var(--soft); font-size: .82rem; }
.facts dd { margin: 0; font-weight: 650; font-size: 1.08rem; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.facts dd small { font-weight: 400; white-space: nowrap; }
.failing { border-left: 4px solid var(--bad); background: color-mix(in srgb, var(--bad) 11%, transparent);
  padding: .45rem .8rem; border-radius: .25rem; overflow-wrap: anywhere; }
.call { background: color-mix(in srgb, var(--wait) 13%, transparent); border-left: 4px solid var(--wait);
  padding: .45rem .8rem; border-radius: .25rem; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 0 2.2rem; }
.pair > div { min-width: 0; }
.empty { color: var(--soft); border: 1px dashed var(--line); border-radius: .4rem; padding: .8rem 1rem;
  margin: .5rem 0; }
.verdicts .row { grid-template-columns: minmax(9rem, 16rem) 1fr minmax(11rem, 15rem); }
.verdicts .row > .note { margin-bottom: .5rem; padding-bottom: .35rem; overflow-wrap: anywhere; }
.log, .batches { list-style: none; margin: .3rem 0; padding: 0; font-size: .9rem; }
.log li { padding: .3rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.batches li { padding: .25rem 0; overflow-wrap: anywhere; }
.batches .many { float: right; font-variant-numeric: tabular-nums; }
.batches .share { height: .45rem; background: var(--guess); border-radius: 2px; min-width: 2px; margin: .15rem 0; }
summary { cursor: pointer; color: var(--accent); font-size: .9rem; margin-top: .6rem; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 46rem) { .verdicts .row { grid-template-columns: 1fr; } }
@media (max-width: 40rem) { h2 { font-size: 1.1rem; } }
"""


_TILE = 130
"""Characters of a failure on the tile; its section has the whole."""


def page_of(shown: Sequence[UseCase], *, at: datetime, renews: bool | None = None) -> str:
    """The page, as self-contained HTML in which every value is escaped.

    Args:
        at: when it was read (UTC).
        renews: whether the server that gives it lets the browser load it again; None where it is a file.
    """
    ordered = sorted(shown, key=lambda one: (one.is_blank, one.name))
    parts = [
        '<header class="top"><h1>Contender</h1>',
        f'<p class="soft">As of <time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M:%S}</time> UTC.'
        f"{_renewal(renews)}</p></header>",
        *(_tiles(ordered) if len(shown) > 1 else []),
        *(line for one in ordered for line in _section(one)),
    ]
    if not shown:
        parts.append(
            '<section class="card"><h2>No use case yet</h2><p><code>contender init FILE --name NAME --target COLUMN'
            "</code> writes a contract from your own files.</p></section>"
        )
    style = svg.STYLE + day_charts.STYLE + drift_heat_map.STYLE + _STYLE
    return document("Contender: every use case", parts, style)


def _renewal(renews: bool | None) -> str:
    if renews is None:
        return ""
    if renews:
        return ' It renews itself every minute; <a href="?still">keep it still</a>.'
    return ' It stays as it is; <a href="/">let it renew itself</a>.'


def _tiles(shown: Sequence[UseCase]) -> list[str]:
    return ['<nav aria-label="Use cases"><ul class="tiles">', *map(_tile, shown), "</ul></nav>"]


def _tile(one: UseCase) -> str:
    lines = []
    if one.champion:
        lines.append(f"{_plain_title(one)} since {one.champion.since:%Y-%m-%d}")
    else:
        lines.append("no champion yet")
    if told := quality_told(one):
        lines.append(f"{escape(one.metric)} {told}")
    if one.heat and one.heat.days:
        lines.append(f"{number(len(one.heat.drifted), 'd')} of {number(one.heat.tested, 'd')} columns drift")
    lines += [f"{key('wait', 'bad')} {escape(shortened(one.failing[0], _TILE))}"] if one.failing else []
    calls = [*attention(one), *one.troubles]
    lines += [f"{key('wait')} {escape(calls[0])}"] if calls else []
    name = escape(one.name)
    told_lines = "".join(f"<p>{line}</p>" for line in lines)
    return f'<li><div class="card"><a class="whole" href="#{name}">{name}</a>{told_lines}</div></li>'


def _plain_title(one: UseCase) -> str:
    assert one.champion is not None
    return f"version {number(one.champion.version, 'd')}" if one.champion.link else title_of(one)


def _section(one: UseCase) -> list[str]:
    found = [
        f'<section class="card use-case" id="{escape(one.name)}" data-use-case="{escape(one.name)}">',
        *head_of(one),
    ]
    if one.is_blank or not one.question:
        # What was never run, or has no contract that can be read, has nothing else to show.
        return [*found, "</section>"]
    return [
        *found,
        f"<h3>Quality over time{': ' * bool(one.metric)}{escape(one.metric)}</h3>",
        *quality_of(one),
        "<h3>Drift by column</h3>",
        *drift_of(one),
        '<div class="pair">',
        *small_charts(one),
        "</div>",
        "<h3>The last verdicts</h3>",
        *verdicts_of(one),
        *happenings_of(one),
        "</section>",
    ]
