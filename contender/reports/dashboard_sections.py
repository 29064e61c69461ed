"""The dashboard's parts on one use case: title, verdicts, quality, drift, volumes, happenings."""

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape

from contender.markup import number, table
from contender.reports.dashboard_model import Batch, Happening, UseCase
from contender.reports.day_charts import Days, bars, legend, quality, quality_in_words
from contender.reports.drift_heat_map import heat_map
from contender.reports.verdict_sections import SHAPES, Document, numbers, opponent
from contender.svg import Scale, axis, interval, key, row, upright


def head_of(shown: UseCase) -> list[str]:
    """Name and question, what waits for a person, and the facts at a glance."""
    named = f'<p class="kicker">{escape(shown.name)}</p><h2>{escape(shown.question or shown.name)}</h2>'
    if shown.is_blank:
        return [named, _empty("No predictions yet", f"contender run {shown.name}")]
    return [
        named,
        *(f'<p class="failing">{key("wait", "bad")} {escape(one)}</p>' for one in shown.failing),
        *(f'<p class="call">{key("wait")} {escape(one)}</p>' for one in attention(shown)),
        *(f'<p class="refused">{escape(one)}</p>' for one in shown.troubles),
        '<dl class="facts">',
        *(
            f'<div><dt>{escape(name)}</dt><dd data-fact="{escape(name)}">{value}</dd></div>'
            for name, value in _facts(shown).items()
        ),
        "</dl>",
        *_crowning(shown),
    ]


def attention(shown: UseCase) -> list[str]:
    """What a person should see to, as plain sentences."""
    found = [shown.waiting] if shown.waiting else []
    if shown.heat and shown.heat.alarming:
        names = shown.heat.alarming
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        found.append(f"Drift alarm on {shown.heat.days[-1][1]}: {', '.join(names[:4])}{more}.")
    return found


def title_of(shown: UseCase) -> str:
    """The champion in a word or two, as HTML."""
    champion = shown.champion
    if champion is None:
        return "nobody yet"
    name = f'version <data value="{champion.version}">{champion.version}</data>'
    return f'<a href="{escape(champion.link)}" rel="noopener">{name}</a>' if champion.link else name


def quality_told(shown: UseCase) -> str:
    """The newest final quality, else the newest estimate, as HTML; empty without either."""
    if (one := shown.measured) is not None and one.quality is not None:
        return f"{number(one.quality, '.3f')} measured"
    if (one := shown.estimated) is not None and one.estimated_quality is not None:
        return f"{number(one.estimated_quality, '.3f')} estimated"
    return ""


def _facts(shown: UseCase) -> dict[str, str]:
    """Names as plain text, values as HTML."""
    champion, found = shown.champion, {"champion": title_of(shown)}
    if champion:
        found["since (UTC)"] = f"{champion.since:%Y-%m-%d %H:%M}"
    if (one := shown.measured) is not None and one.quality is not None:
        found[f"{one.metric}, measured {one.day}"] = _with_interval(one.quality, one.quality_low, one.quality_high)
    if (one := shown.estimated) is not None and one.estimated_quality is not None:
        found[f"{one.metric}, estimated {one.day}"] = _with_interval(
            one.estimated_quality, one.estimated_low, one.estimated_high
        )
    if shown.heat:
        found["columns that drift now"] = f"{number(len(shown.heat.drifted), 'd')} of {number(shown.heat.tested, 'd')}"
    found["predictions"] = number(shown.predictions_in_all, ",")
    found["alerts"] = number(shown.alerts_in_all, ",")
    found["quarantined rows"] = number(shown.quarantined_in_all, ",")
    judged = next((one for one in shown.verdicts if champion and one["challenger"] == champion.version), {})
    if p95 := (judged.get("latency_ms") or {}).get("p95"):
        found["latency p95, as judged"] = f"{number(p95, '.3g')} ms"
    return found


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    ends = (
        f' <small class="soft">{number(low, ".3f")} to {number(high, ".3f")}</small>'
        if low is not None and high is not None
        else ""
    )
    return f"{number(value, '.3f')}{ends}"


def _crowning(shown: UseCase) -> list[str]:
    """How the champion won."""
    champion = shown.champion
    if champion is None:
        if shown.failing:
            return ["<p>Nobody holds the title yet; what keeps a champion from it stands above.</p>"]
        return [
            f"<p>Nobody holds the title yet; <code>contender run {escape(shown.name)}</code> trains a champion.</p>"
        ]
    link = f' <a href="{escape(shown.report)}">All of the evidence</a>.' if shown.report else ""
    return [
        f'<p class="soft">{escape(champion.action.capitalize())} by {escape(champion.by)}, change '
        f"{number(champion.reigns, 'd')} of the title: {escape(champion.reason.rstrip('.'))}.{link}</p>"
    ]


def verdicts_of(shown: UseCase) -> list[str]:
    """The last challengers: decision, gain with its interval, and why."""
    if not shown.verdicts:
        return [_empty("No challenger has been judged yet", _run(shown))]
    found = [
        f'<p class="soft">Gain over the opponent, more is better. Solid line: zero. {key("promote")} PROMOTE, '
        f"{key('keep')} KEEP, {key('wait')} INCONCLUSIVE.</p>"
    ]
    # A gain over the dummy is tens of times one over a champion: each has an axis of its own.
    groups = dict.fromkeys((one["metric"], one.get("against", "champion")) for one in shown.verdicts)
    for metric, against in groups:
        inside = [one for one in shown.verdicts if (one["metric"], one.get("against", "champion")) == (metric, against)]
        scale = Scale.around([0.0, *(end for one in inside for end in one["interval"])])
        ticks = [(tick, f"{tick:g}") for tick in scale.ticks(4)]
        found += [*(_verdict(one, scale) for one in inside), axis(scale, ticks, f"{metric} against the {against}")]
    return ['<div class="verdicts">', *found, "</div>"]


def _verdict(one: Document, scale: Scale) -> str:
    low, high = one["interval"]
    shape = SHAPES[one["decision"]]
    drawn = upright(scale, 0.0, "zero") + interval(scale, low, one["gain"], high, shape)
    label = (
        f'<b class="{shape} tone">{escape(one["decision"])}</b> version {escape(str(one["challenger"]))} '
        f'<span class="soft">against {opponent(one)}, {escape(str(one.get("at", ""))[:10])}</span>'
    )
    said = f"{one['decision']}: gain {one['gain']:+.3g}, {low:+.3g} to {high:+.3g}"
    reason = escape(str(next(iter(one["reasons"]), "")))
    return row(label, drawn, numbers(one["gain"], low, high, one.get("interval_level", 0.9)), said, reason)


def quality_of(shown: UseCase) -> list[str]:
    """Measured and estimated quality over time, with the days' figures below."""
    if not shown.quality or shown.ends is None:
        what = "No predictions yet" if not shown.predictions_in_all else "Quality was not measured yet"
        return [_empty(what, f"contender monitor {shown.name}" if shown.predictions_in_all else _run(shown))]
    days, newest = shown.quality, [one for one in (shown.measured, shown.estimated) if one is not None]
    said = f"{shown.metric} by day, {days[0].day} to {days[-1].day}. " + ". ".join(map(quality_in_words, newest))
    entries = [("true", "measured, with its 90 % interval"), ("expected", "estimated while outcomes are not in")]
    entries += [("young", "measured, not final yet")] * any(
        one.quality is not None and not one.is_mature for one in days
    )
    entries += [("learnt", "on rows that the model was trained on")] * any(one.is_known for one in days)
    return [
        *legend(entries),
        *quality(days, Days(*shown.ends), said),
        "<details><summary>The figures of the last 60 days</summary>",
        *table(
            ["day", "version", "predictions", "final outcomes", "measured", "low", "high", "estimated", "low", "high"],
            [
                [
                    one.day,
                    f"v{one.model_version}" + (" (trained on)" if one.is_known else ""),
                    one.predictions,
                    one.mature,
                    one.quality,
                    one.quality_low,
                    one.quality_high,
                    one.estimated_quality,
                    one.estimated_low,
                    one.estimated_high,
                ]
                for one in reversed(days[-60:])
            ],
        ),
        f'<p class="soft">The newest estimate: {escape(shown.estimated.estimate if shown.estimated else "none")}.</p>',
        "</details>",
    ]


def drift_of(shown: UseCase) -> list[str]:
    """Drift by column over time."""
    if shown.heat is None or not shown.heat.days:
        started = bool(shown.predictions_in_all)
        what = "Drift was not checked yet" if started else "No predictions yet, so nothing to check"
        return [_empty(what, f"contender monitor {shown.name}" if started else _run(shown))]
    return heat_map(shown.heat)


def small_charts(shown: UseCase) -> list[str]:
    """Predictions, alerts and latency by day, and quarantine by batch; each HTML of its own card."""
    latencies = {one.day: one.p95_latency_ms for one in shown.quality if one.p95_latency_ms is not None}
    return [
        *_small("Predictions per day", _daily(shown.predictions, shown, "predictions", _run(shown))),
        *_small("Alerts per day", _daily(shown.alerts, shown, "alerts", None)),
        *_small("Latency per day, 95th percentile in ms", _latency(latencies, shown)),
        *_small("Quarantined rows, by batch", _quarantine(shown.batches)),
    ]


def happenings_of(shown: UseCase) -> list[str]:
    """Notices, and calls for a retrain with what became of them."""
    return [
        '<div class="pair">',
        *_small("Notices", _listed(shown.notices, "Nothing to tell.")),
        *_small("Calls for a retrain", _listed(shown.triggers, "None so far.")),
        "</div>",
    ]


def _small(title: str, parts: Sequence[str]) -> list[str]:
    return [f"<div><h3>{escape(title)}</h3>", *parts, "</div>"]


def _daily(counts: Mapping[date, int], shown: UseCase, unit: str, command: str | None) -> list[str]:
    if not counts or shown.ends is None:
        return [_empty(f"No {unit} yet", command)]
    newest = max(counts)
    most = max(counts, key=lambda day: counts[day])
    said = f"{unit} by day; {newest}: {counts[newest]:,}; most on {most}: {counts[most]:,}"
    return [
        f'<p class="soft">{number(counts[newest], ",")} on {newest}, '
        f"at most {number(counts[most], ',')} on {most}.</p>",
        *bars(counts, Days(*shown.ends), said, unit),
    ]


def _latency(latencies: Mapping[date, float], shown: UseCase) -> list[str]:
    if not latencies or shown.ends is None:
        return [_empty("No live requests yet", None)]
    newest = max(latencies)
    said = f"95th percentile of latency by day; {newest}: {latencies[newest]:.3g} ms"
    return [
        f'<p class="soft">{number(latencies[newest], ".3g")} ms on {newest}.</p>',
        *bars(latencies, Days(*shown.ends), said, "ms", ".3g"),
    ]


def _quarantine(batches: Sequence[Batch]) -> list[str]:
    if not batches:
        return [_empty("Nothing was quarantined", None)]
    most = max(one.rows for one in batches)
    listed = [_batch(one, most) for one in batches]
    earlier = ["<details><summary>The batches before</summary>", '<ul class="batches">', *listed[3:], "</ul></details>"]
    return ['<ul class="batches">', *listed[:3], "</ul>", *(earlier if listed[3:] else [])]


def _batch(one: Batch, most: int) -> str:
    when = f' <span class="soft">{one.received:%Y-%m-%d}</span>' if one.received else ""
    reasons = "; ".join(f"{reason}: {rows:,}" for reason, rows in one.reasons[:3])
    more = f"; and {len(one.reasons) - 3} more" if len(one.reasons) > 3 else ""
    return (
        f'<li data-batch="{one.number}" data-rows="{one.rows}"><div><b>batch {one.number}</b>{when} '
        f'<span class="many">{number(one.rows, ",")}</span></div>'
        f'<div class="share" style="width: {100 * one.rows / most:.1f}%"></div>'
        f'<div class="soft">{escape(reasons + more)}</div></li>'
    )


def _listed(happenings: Sequence[Happening], nothing: str) -> list[str]:
    if not happenings:
        return [_empty(nothing.rstrip("."), None)]
    return [
        '<ul class="log">',
        *(
            f'<li><span class="soft">{one.at:%Y-%m-%d %H:%M}</span> <b>{escape(one.kind)}</b> '
            f"{escape(one.sentence)}</li>"
            for one in happenings
        ),
        "</ul>",
    ]


def _run(shown: UseCase) -> str | None:
    """The command for who has done nothing yet; none where what fails has to be mended first."""
    return None if shown.failing else f"contender run {shown.name}"


def _empty(what: str, command: str | None) -> str:
    advice = f": <code>{escape(command)}</code>" if command else "."
    return f'<p class="empty">{escape(what)}{advice}</p>'
