"""The report's parts on one verdict: why, guardrails, slices, calibration, flips, and what it was measured with."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from contender.contracts.contract import Contract
from contender.markup import card, number, table
from contender.reports.calibration_chart import panels
from contender.svg import Scale, axis, interval, key, row, upright

Document = Mapping[str, Any]

NOT_RECORDED = '<p class="soft">Not recorded with this verdict.</p>'

SHAPES = {"PROMOTE": "promote", "KEEP": "keep", "INCONCLUSIVE": "wait"}


def parts_of(verdict: Document, contract: Contract) -> list[str]:
    """The newest verdict in detail; what an older document lacks is said to be not recorded."""
    return [
        *card(f"The newest verdict: {verdict['decision']}", [*_reasons(verdict), *_guardrails(verdict)]),
        *card("Slices", _slices(verdict)),
        *card("Calibration", _calibration(verdict, contract)),
        *card("What a promotion flips", _flips(verdict, contract)),
        *card("Fairness", _fairness(verdict)),
        *card("Data and code", _origins(verdict)),
    ]


def opponent(verdict: Document) -> str:
    """Whom the challenger met, as HTML."""
    return f"champion version {escape(str(verdict['champion']))}" if verdict.get("champion") else "the dummy"


def numbers(gain: float, low: float, high: float, level: float | None = None) -> str:
    """A gain with its interval, as HTML."""
    named = "" if level is None else f"{100 * level:.4g} %: "
    return f"<b>{number(gain, '+.3g')}</b> ({named}{number(low, '+.3g')} to {number(high, '+.3g')})"


def _reasons(verdict: Document) -> list[str]:
    scores = f"{number(verdict['challenger_score'])} against "
    scores += number(verdict["champion_score"]) if verdict.get("champion_score") is not None else "no score"
    lenient = "; not being worse was enough" if verdict.get("mode", "usual") != "usual" else ""
    return [
        f"<p>{key(SHAPES[verdict['decision']])} <b>{escape(verdict['decision'])}</b>: challenger version "
        f"{escape(str(verdict['challenger']))} against {opponent(verdict)}, {escape(verdict['metric'])} {scores}, on "
        f"{number(verdict['rows'], ',')} rows that neither has seen ({escape(str(verdict.get('window', '')))})"
        f"{lenient}.</p>",
        "<ul>",
        *(f"<li>{escape(str(reason))}</li>" for reason in verdict["reasons"]),
        "</ul>",
    ]


def _guardrails(verdict: Document) -> list[str]:
    rails = verdict["guardrails"]
    return [
        "<h3>Thresholds and guardrails</h3>",
        *table(
            ["holds", "limit on", "value", "limit"],
            [["yes" if rail["holds"] else "NO", rail["name"], rail["value"], rail["limit"]] for rail in rails],
            bad=[not rail["holds"] for rail in rails],
        ),
    ]


def _slices(verdict: Document) -> list[str]:
    gains, scores = verdict.get("slice_gains"), verdict.get("slices") or {}
    metric = verdict["metric"]
    listed = table(
        ["slice", "rows", f"challenger's {metric}"],
        [[name, int(found["rows"]), found.get(metric, "too small to tell")] for name, found in scores.items()],
    )
    if gains is None:
        return ['<p class="soft">Gains of slices: not recorded with this verdict.</p>', *listed]
    told = [one for one in gains if one["gain"] is not None]
    small = [f"{one['name']} ({one['rows']:,} rows)" for one in gains if one["gain"] is None]
    missing = [f'<p class="soft">Too small to tell: {escape(", ".join(small))}.</p>'] if small else []
    if not told:
        return [*missing, *listed]
    holds = {rail["name"].removeprefix("slice "): rail["holds"] for rail in verdict["guardrails"]}
    legend = f"{key('keep')} holds, {key('wait', 'bad')} does not." if verdict.get("champion") else ""
    margin, level = told[0]["margin"], told[0].get("level", 0.9)
    scale = Scale.around([0.0, -margin, *(one[end] for one in told for end in ("low", "high"))])
    return [
        f'<p class="soft">Gain in {escape(metric)} over {opponent(verdict)} in each slice, with its '
        f"{100 * level:.4g} % interval. Solid line: zero. Dashed line: the loss of {margin:g} that a slice may have. "
        f"{legend}</p>",
        *(_slice(one, scale, holds.get(one["name"], True)) for one in told),
        axis(scale, [(tick, f"{tick:g}") for tick in scale.ticks()], f"gain in {metric}"),
        *missing,
        "<details><summary>What the challenger scores in each slice</summary>",
        *listed,
        "</details>",
    ]


def _slice(one: Document, scale: Scale, holds: bool) -> str:
    lines = upright(scale, 0.0, "zero") + upright(scale, -one["margin"], "worth")
    shape, tone = ("keep", "") if holds else ("wait", "bad")
    drawn = lines + interval(scale, one["low"], one["gain"], one["high"], shape, tone)
    said = f"{one['name']}: gain {one['gain']:+.3g}, {one['low']:+.3g} to {one['high']:+.3g}"
    broken = "" if holds else ' <b class="bad tone">does not hold</b>'
    label = f'{escape(one["name"])}{broken} <span class="soft whole">{one["rows"]:,} rows</span>'
    return row(label, drawn, numbers(one["gain"], one["low"], one["high"]), said)


def _calibration(verdict: Document, contract: Contract) -> list[str]:
    found = {name: bins for name, bins in (verdict.get("calibration") or {}).items() if bins}
    if not found:
        return [NOT_RECORDED]
    regression = contract.kind == "regression"
    meaning = (
        "Outcome minus prediction, by predicted value: median and 90 % of the rows. Around the dashed line is best."
        if regression
        else "What came true beside what was said, in bins of about as many rows each, with 90 % intervals that take "
        "rows to be independent. On the dashed line, a score means what it says; at the lower edge, nothing came true."
    )
    names = ["model", "mean score", "median residual" if regression else "came true", "from", "to", "rows"]
    bins = [
        [name, one["mean_score"], one["rate"], one["low"], one["high"], int(one["rows"])]
        for name, each in found.items()
        for one in each
    ]
    return [
        f'<p class="soft">{meaning}</p>',
        *panels(found, regression=regression),
        "<details><summary>The numbers of every bin</summary>",
        *table(names, bins),
        "</details>",
    ]


def _flips(verdict: Document, contract: Contract) -> list[str]:
    flips = verdict.get("flips")
    if not flips:
        return [NOT_RECORDED]
    of = "rows" if contract.kind == "regression" else "decisions"
    heads = ("Error grows", "Error shrinks") if contract.kind == "regression" else ("Right to wrong", "Wrong to right")
    found = []
    for way, head in zip(("to_wrong", "to_right"), heads, strict=True):
        share = number(flips[f"{way}_share"], ".2%")
        found += [f"<h3>{head}: {share} of the {of}</h3>", *_examples(flips[way])]
    return found


def _examples(examples: Sequence[Document]) -> list[str]:
    if not examples:
        return ['<p class="soft">None.</p>']
    columns = list(examples[0]["columns"])
    names = ["key", "outcome", "champion", "challenger"]
    rows = [[*(one[name] for name in names), *(one["columns"].get(column) for column in columns)] for one in examples]
    return ['<div class="examples">', *table([*names, *columns], rows), "</div>"]


def _fairness(verdict: Document) -> list[str]:
    if "fairness" not in verdict:
        return [NOT_RECORDED]
    found: list[str] = []
    for one in verdict["fairness"]:
        limits, groups = one.get("limits", ()), one.get("groups", ())
        rates = ["selection_rate", "true_positive_rate", "false_positive_rate"]
        found += [
            f"<h3>{escape(str(one['column']))}</h3>",
            *table(
                ["group", "rows", *(rate.replace("_", " ") for rate in rates)],
                [[str(g["group"]), g["rows"], *(_rate_text(g.get(rate)) for rate in rates)] for g in groups],
            ),
        ]
        if limits:
            found += table(
                ["holds", "limit on", "value", "limit"],
                [["yes" if li["holds"] else "NO", li["name"], _rate_text(li["value"]), li["limit"]] for li in limits],
                bad=[not limit["holds"] for limit in limits],
            )
    return found or ['<p class="soft">The contract names no protected columns.</p>']


def _rate_text(value: float | None) -> float | str:
    return "too small to tell" if value is None else value


def _origins(verdict: Document) -> list[str]:
    versions = [[f"table {name}", f"version {version}"] for name, version in (verdict.get("versions") or {}).items()]
    named = {
        "known as of (UTC)": "as_of",
        "judged at (UTC)": "at",
        "code (git revision)": "git_revision",
        "model's files (SHA-256)": "model_digest",
        "MLflow run": "run_id",
    }
    latency = verdict.get("latency_ms") or {}
    rest = [[name, str(verdict.get(where) or "not recorded")] for name, where in named.items()]
    rest += [[f"latency {name}", f"{value:.3g} ms"] for name, value in latency.items()]
    leaks = verdict.get("leaks_allowed")
    rest += [] if leaks else [["leaks allowed", "not recorded" if leaks is None else "none"]]
    rest += [[f"leak allowed: {feature}", reason] for feature, reason in (leaks or {}).items()]
    return table(["what", "which"], [*versions, *rest])
