"""What pages show of verdicts: all of them as a forest of gains, and the newest in detail."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from contender.contracts.contract import Contract
from contender.evaluation.exhibits import ColumnFairness, Flip
from contender.markup import number, table
from contender.promotion.verdict_document import VerdictDocument
from contender.reports.calibration_chart import panels
from contender.svg import Scale, axis, interval, row, upright
from contender.values import Decision, SliceGain

SHAPES: Mapping[str, str] = {Decision.PROMOTE: "promote", Decision.KEEP: "keep", Decision.INCONCLUSIVE: "wait"}

_RATES = ("selection_rate", "true_positive_rate", "false_positive_rate")


def numbers(gain: float, low: float, high: float, level: float | None = None) -> Markup:
    """A gain with its interval."""
    named = "" if level is None else f"{100 * level:.4g} %: "
    return Markup("<b>{}</b> ({}{} to {})").format(
        number(gain, "+.3g"), named, number(low, "+.3g"), number(high, "+.3g")
    )


def forests_of(verdicts: Sequence[VerdictDocument], *, with_reasons: bool = False) -> dict[str, list[Markup]]:
    """For each metric and kind of opponent the lines of its verdicts, on one axis.

    A gain over the dummy is tens of times one over a champion: on one axis nothing could be told apart.
    """
    found = {}
    for metric, against in dict.fromkeys((one.metric, one.against) for one in verdicts):
        inside = [one for one in verdicts if (one.metric, one.against) == (metric, against)]
        reach = [end for one in inside for end in (one.interval.low, one.interval.high, one.needed_gain or 0.0)]
        scale = Scale.around([0.0, *reach])
        rows = [_verdict(one, scale, one.reasons[0] if with_reasons and one.reasons else "") for one in inside]
        found[f"{metric} against the {against}"] = [*rows, axis(scale, f"gain in {metric}")]
    return found


def _verdict(one: VerdictDocument, scale: Scale, note: str) -> Markup:
    ends, shape, needed = one.interval, SHAPES[one.decision], one.needed_gain
    drawn = upright(scale, 0.0, "zero") + (upright(scale, needed, "worth") if needed else "")
    drawn += interval(scale, ends.low, one.gain, ends.high, shape)
    label = Markup('<b class="{} tone">{}</b> version {} <span class="soft">against {}, {}</span>').format(
        shape, one.decision.value, one.challenger, one.opponent, f"{one.at:%Y-%m-%d}"
    )
    told = Markup('{}<br><span class="soft">{}</span>').format(
        numbers(one.gain, ends.low, ends.high, ends.level), _needed(one)
    )
    said = f"{one.decision}: gain {one.gain:+.3g}, {ends.low:+.3g} to {ends.high:+.3g}"
    return row(label, drawn, told, said, note)


def _needed(one: VerdictDocument) -> Markup:
    needed = one.needed_gain
    if one.against == "dummy":
        return Markup("any gain is enough")
    if one.mode == "usual":
        return Markup("worthwhile from {}").format(number(needed or 0.0, "g"))
    at_most = Markup(", by {} at most").format(number(-needed, "g")) if needed else ""
    return Markup("not being worse is enough{}").format(at_most)


def newest_of(verdict: VerdictDocument, contract: Contract) -> dict[str, Any]:
    """What the template `verdict.html` shows of the newest verdict."""
    regression = contract.kind == "regression"
    gains = [one for one in verdict.slice_gains if one.gain is not None]
    return {
        "newest": verdict,
        "shapes": SHAPES,
        "regression": regression,
        "guardrails": table(
            ["holds", "limit on", "value", "limit"],
            [["yes" if rail.holds else "NO", rail.name, _told(rail.value), rail.limit] for rail in verdict.guardrails],
            bad=[not rail.holds for rail in verdict.guardrails],
        ),
        "gains": gains,
        "gain_rows": _gains(verdict, gains),
        "small": [f"{one.name} ({one.rows:,} rows)" for one in verdict.slice_gains if one.gain is None],
        "slices": table(
            ["slice", "rows", f"challenger's {verdict.metric}"],
            [
                [name, int(found["rows"] or 0), _told(found.get(verdict.metric))]
                for name, found in verdict.slices.items()
            ],
        ),
        "calibration": panels(verdict.calibration, regression=regression),
        "bins": table(
            ["model", "mean score", "median residual" if regression else "came true", "from", "to", "rows"],
            [
                [name, one.mean_score, one.rate, one.low, one.high, one.rows]
                for name, bins in verdict.calibration.items()
                for one in bins
            ],
        ),
        "flips": _flips(verdict, regression),
        "fairness": [_fairness(one) for one in verdict.fairness],
        "origins": _origins(verdict),
    }


def _told(value: float | None) -> float | str:
    return "too small to tell" if value is None else value


def _gains(verdict: VerdictDocument, gains: Sequence[SliceGain]) -> list[Markup]:
    if not gains:
        return []
    holds = {rail.name.removeprefix("slice "): rail.holds for rail in verdict.guardrails}
    reach = [end for one in gains for end in (one.low, one.high) if end is not None]
    scale = Scale.around([0.0, -gains[0].margin, *reach])
    rows = [_slice(one, scale, holds.get(one.name, True)) for one in gains]
    return [*rows, axis(scale, f"gain in {verdict.metric}")]


def _slice(one: SliceGain, scale: Scale, holds: bool) -> Markup:
    assert one.gain is not None and one.low is not None and one.high is not None  # noqa: PT018 - told together
    shape, tone = ("keep", "") if holds else ("wait", "bad")
    drawn = upright(scale, 0.0, "zero") + upright(scale, -one.margin, "worth")
    drawn += interval(scale, one.low, one.gain, one.high, shape, tone)
    broken = "" if holds else Markup(' <b class="bad tone">does not hold</b>')
    label = Markup('{}{} <span class="soft whole">{} rows</span>').format(one.name, broken, f"{one.rows:,}")
    said = f"{one.name}: gain {one.gain:+.3g}, {one.low:+.3g} to {one.high:+.3g}"
    return row(label, drawn, numbers(one.gain, one.low, one.high), said)


def _flips(verdict: VerdictDocument, regression: bool) -> list[tuple[str, float, Markup | None]]:
    """Either way that decisions flip: its heading, its share of the rows, and its examples."""
    if verdict.flips is None:
        return []
    heads = ("Error grows", "Error shrinks") if regression else ("Right to wrong", "Wrong to right")
    flips = verdict.flips
    return [
        (heads[0], flips.to_wrong_share, _examples(flips.to_wrong)),
        (heads[1], flips.to_right_share, _examples(flips.to_right)),
    ]


def _examples(examples: Sequence[Flip]) -> Markup | None:
    if not examples:
        return None
    columns = [*examples[0].columns]
    rows = [
        [one.key, one.outcome, one.champion, one.challenger, *(one.columns.get(column) for column in columns)]
        for one in examples
    ]
    return table(["key", "outcome", "champion", "challenger", *columns], rows)


def _fairness(one: ColumnFairness) -> tuple[str, Markup, Markup]:
    groups = table(
        ["group", "rows", *(rate.replace("_", " ") for rate in _RATES)],
        [[group.group, group.rows, *(_told(getattr(group, rate)) for rate in _RATES)] for group in one.groups],
    )
    limits = table(
        ["holds", "limit on", "value", "limit"],
        [["yes" if limit.holds else "NO", limit.name, _told(limit.value), limit.limit] for limit in one.limits],
        bad=[not limit.holds for limit in one.limits],
    )
    return one.column, groups, limits if one.limits else Markup("")


def _origins(verdict: VerdictDocument) -> Markup:
    rows = [[f"table {name}", f"version {version}"] for name, version in verdict.versions.items()]
    rows += [
        ["known as of (UTC)", f"{verdict.as_of:%Y-%m-%d %H:%M:%S}"],
        ["judged at (UTC)", f"{verdict.at:%Y-%m-%d %H:%M:%S}"],
        ["code (git revision)", verdict.git_revision or "not recorded"],
        ["model's files (SHA-256)", verdict.model_digest],
        ["MLflow run", verdict.run_id],
    ]
    rows += [
        [f"latency {name}", "not measured" if value is None else f"{value:.3g} ms"]
        for name, value in verdict.latency_ms.items()
    ]
    rows += [[f"leak allowed: {feature}", reason] for feature, reason in verdict.leaks_allowed.items()]
    return table(["what", "which"], rows if verdict.leaks_allowed else [*rows, ["leaks allowed", "none"]])
