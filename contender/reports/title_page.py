"""All about a title on one page that any browser opens without a network: who held it, and on what evidence."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from contender import svg
from contender.contracts.contract import Contract
from contender.markup import card, document, number
from contender.reports.verdict_sections import SHAPES, Document, numbers, opponent, parts_of
from contender.svg import Scale, axis, interval, key, mark, row, upright
from contender.values import ModelVersion

_MOST_REIGNS = 40
"""Changes of the title that are drawn; the ledger has them all."""

_STYLE = """
.facts { display: grid; gap: .8rem 1.2rem; margin: 0;
  grid-template-columns: repeat(auto-fit, minmax(min(11rem, 45%), 1fr)); }
.facts dt { color: var(--soft); font-size: .82rem; } .facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.kicker { color: var(--soft); margin: 0; }
.tone { color: var(--tone); }
ul { margin: .4rem 0; padding-left: 1.2rem; } li { margin: .15rem 0; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); font-size: .92rem; margin-top: .8rem; }
code { overflow-wrap: anywhere; }
.examples td, .whole { white-space: nowrap; }
.examples + h3 { margin-top: 2.2rem; }
"""


def page_of(
    documents: Sequence[Document],
    history: Sequence[Mapping[str, Any]],
    contract: Contract,
    *,
    champion: ModelVersion | None = None,
    now: datetime | None = None,
) -> str:
    """The page on a use case, as self-contained HTML in which every value is escaped.

    Args:
        documents: of verdicts, newest first; what older ones lack is said to be not recorded.
        history: entries of the ledger, oldest first, each with `at`, `action`, `version`, `reason` and `by`.
        champion: who holds the title, where more of it is known than the ledger says.
        now: where the last reign is drawn to; without it, the newest moment in the documents and the history.
    """
    moments = [_moment(entry["at"]) for entry in history] + [_moment(one["at"]) for one in documents if "at" in one]
    until = now or max(moments, default=datetime.now(UTC))
    return document(
        f"{contract.name}: the title and its evidence",
        [
            *_header(documents, history, contract, champion, until),
            *card("Champions", _reigns(history, contract, until)),
            *card("The last verdicts", _verdicts(documents)),
            *(parts_of(documents[0], contract) if documents else []),
        ],
        svg.STYLE + _STYLE,
    )


def _header(
    documents: Sequence[Document],
    history: Sequence[Mapping[str, Any]],
    contract: Contract,
    champion: ModelVersion | None,
    until: datetime,
) -> list[str]:
    facts = {"owner": contract.owner or "not named", "champion now": "nobody yet"}
    if history:
        entry = history[-1]
        # A version's own verdict may have recorded what the ledger's entry does not.
        known = next((one for one in documents if one["challenger"] == entry["version"]), {})
        family = champion.family if champion else known.get("family")
        trained = champion.trained_until if champion else known.get("trained_until")
        facts |= {
            "champion now": f"version {entry['version']}",
            "since (UTC)": f"{_moment(entry['at']):%Y-%m-%d %H:%M}",
            "family": family or "not recorded",
            "trained until": str(trained)[:16].replace("T", " ") if trained else "not recorded",
        }
    facts |= {"last verdict": documents[0]["decision"] if documents else "none yet"}
    facts |= {"this page (UTC)": f"{until:%Y-%m-%d %H:%M}"}
    return [
        f'<header class="card"><p class="kicker">{escape(contract.name)}</p><h1>{escape(contract.question)}</h1>',
        '<dl class="facts">',
        *(f"<div><dt>{name}</dt><dd>{escape(str(value))}</dd></div>" for name, value in facts.items()),
        "</dl></header>",
    ]


def _reigns(history: Sequence[Mapping[str, Any]], contract: Contract, until: datetime) -> list[str]:
    if not history:
        advice = f"<code>contender run {escape(contract.name)}</code> trains a first champion"
        return [f"<p>Nobody has held the title of {escape(contract.name)} yet; {advice}.</p>"]
    starts = [_moment(entry["at"]) for entry in history]
    ends = [*starts[1:], max(until, starts[-1])]
    shown = range(max(0, len(history) - _MOST_REIGNS), len(history))
    first, last = starts[shown[0]].timestamp(), ends[-1].timestamp()
    scale = Scale(first, max(last, first + 60))
    form = "%Y-%m-%d" if last - first > 3 * 86_400 else "%m-%d %H:%M"
    dates = [(at, f"{datetime.fromtimestamp(at, UTC):{form}}") for at in (first, (first + last) / 2, last)]
    earlier = [f'<p class="soft">{shown[0]:,} earlier changes are in the ledger.</p>'] if shown[0] else []
    return [
        f'<p class="soft">Newest first. {key("promote")} took the title by a verdict, {key("back")} by a roll-back, '
        f"{key('keep')} by hand or otherwise.</p>",
        *(_reign(history[place], starts[place], ends[place], scale, place == shown[-1]) for place in reversed(shown)),
        axis(scale, dates if last > first + 60 else dates[:1], "time (UTC)"),
        *earlier,
    ]


def _reign(entry: Mapping[str, Any], start: datetime, end: datetime, scale: Scale, now: bool) -> str:
    action = str(entry["action"])
    shape = "back" if "roll" in action else "promote" if action in ("crowned", "promoted") else "keep"
    left, right = scale.share(start.timestamp()), scale.share(end.timestamp())
    drawn = (
        f'<g class="{shape}"><rect class="reign" x="{100 * left:.3f}%" width="{100 * (right - left):.3f}%" y="25%" '
        f'height="50%" rx="3"/></g>' + mark(shape, f"{100 * left:.3f}%", start.isoformat())
    )
    lasted = _lasted((end - start).total_seconds())
    by = escape(str(entry["by"]))
    numbers_ = f"{start:%Y-%m-%d %H:%M}, {lasted}{' so far' if now else ''}, by {by}"
    label = f'<b>version {escape(str(entry["version"]))}</b> <span class="{shape} tone">{escape(action)}</span>'
    said = f"version {entry['version']} {action} at {start:%Y-%m-%d %H:%M} UTC, for {lasted}"
    return row(label, drawn, numbers_, said, escape(str(entry["reason"])))


def _verdicts(documents: Sequence[Document]) -> list[str]:
    if not documents:
        return ['<p class="soft">No challenger has been judged yet.</p>']
    found = [
        f'<p class="soft">What each challenger gains over its opponent, more is better, with the interval of the '
        f"judge. Solid line: zero. Dashed line: the smallest worthwhile gain, or the loss that was "
        f"allowed. {key('promote')} PROMOTE, "
        f"{key('keep')} KEEP, {key('wait')} INCONCLUSIVE.</p>"
    ]
    # A gain over the dummy is tens of times one over a champion: on one axis nothing could be told apart.
    groups = dict.fromkeys((one["metric"], one.get("against", "champion")) for one in documents)
    for metric, against in groups:
        inside = [one for one in documents if (one["metric"], one.get("against", "champion")) == (metric, against)]
        found += [f"<h3>{escape(metric)} against the {escape(against)}</h3>", *_forest(inside, metric)]
    return found


def _forest(documents: Sequence[Document], metric: str) -> list[str]:
    reach = [0.0]
    for one in documents:
        reach += [*one["interval"], *filter(None, [_bar(one)])]
    scale = Scale.around(reach)
    ticks = [(tick, f"{tick:g}") for tick in scale.ticks()]
    return [*(_verdict(one, scale) for one in documents), axis(scale, ticks, f"gain in {metric}")]


def _verdict(one: Document, scale: Scale) -> str:
    low, high = one["interval"]
    level, shape, bar = one.get("interval_level", 0.9), SHAPES[one["decision"]], _bar(one)
    drawn = upright(scale, 0.0, "zero") + (upright(scale, bar, "worth") if bar else "")
    drawn += interval(scale, low, one["gain"], high, shape)
    label = f'<b class="{shape} tone">{one["decision"]}</b> version {escape(str(one["challenger"]))}'
    label += f' <span class="soft">against {opponent(one)}, {escape(str(one.get("as_of", ""))[:10])}</span>'
    told = f'{numbers(one["gain"], low, high, level)}<br><span class="soft">{_needed(one)}</span>'
    said = f"{one['decision']}: gain {one['gain']:+.3g}, {low:+.3g} to {high:+.3g}"
    return row(label, drawn, told, said)


def _bar(one: Document) -> float | None:
    """The smallest worthwhile gain, below zero where a loss was allowed; any gain over the dummy is worthwhile."""
    if one.get("against") == "dummy":
        return None
    if one.get("mode", "usual") == "usual":
        return one.get("min_gain")
    return -one["allowed_loss"] if one.get("allowed_loss") else None


def _needed(one: Document) -> str:
    bar = _bar(one)
    if one.get("against") == "dummy":
        return "any gain is enough"
    if one.get("mode", "usual") != "usual":
        return "not being worse is enough" + (f", by {number(-bar, 'g')} at most" if bar else "")
    return "smallest worthwhile gain not recorded" if bar is None else f"worthwhile from {number(bar, 'g')}"


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _lasted(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
