"""The dashboard: every use case on one page that any browser opens without a network and without a script."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from markupsafe import Markup

from contender.markup import number, part, render, table
from contender.redact import shortened
from contender.reports import day_charts
from contender.reports.dashboard_model import QualityDay, UseCase
from contender.reports.day_charts import Days, estimate_in_words, window_in_words
from contender.reports.drift_heat_map import heat_map
from contender.reports.verdict_sections import forests_of


def page_of(shown: Sequence[UseCase], *, at: datetime, renews: bool | None = None) -> str:
    """The page, as self-contained HTML in which every value is escaped.

    Args:
        at: when it was read (UTC).
        renews: whether the server that gives it lets the browser load it again; None where it is a file.
    """
    return render(
        "dashboard.html",
        shown=sorted(shown, key=lambda one: (one.is_blank, one.name)),
        at=at,
        renews=renews,
        quality_of=_quality,
        bars_of=_bars,
        heat_map=heat_map,
        forests_of=forests_of,
        shortened=shortened,
    )


def _quality(shown: UseCase) -> Markup:
    """Measured and estimated quality over time, with the figures below."""
    assert shown.ends is not None
    days, windows = shown.quality, shown.windows
    newest = [window_in_words(one) for one in (shown.measured,) if one]
    newest += [estimate_in_words(one) for one in (shown.estimated,) if one]
    said = f"{shown.metric}, {days[0].day} to {days[-1].day}. {'. '.join(newest)}"
    tested = [one for one in windows if not one.in_training]
    entries = {
        "true": "measured, with its 90 % interval" if tested else "",
        "young": "measured, not final yet" if any(not one.is_final for one in tested) else "",
        "learnt": "on rows that the model was trained on" if len(tested) < len(windows) else "",
        "expected": "estimated by day while outcomes are not in"
        if any(one.estimated_quality is not None for one in days)
        else "",
    }
    since = windows[-1].last if windows else date.min
    waiting = sum(one.mature for one in days if one.day > since)
    return part(
        "quality.html",
        entries={kind: text for kind, text in entries.items() if text},
        chart=day_charts.quality(days, windows, Days(*shown.ends), said),
        point=shown.point,
        waiting=waiting,
        windows=table(
            ["window", "version", "final outcomes", "measured", "low", "high"],
            [
                [
                    one.span,
                    _version(one.model_version, one.in_training),
                    one.outcomes,
                    one.value,
                    one.interval.low if one.interval else None,
                    one.interval.high if one.interval else None,
                ]
                for one in reversed(windows)
            ],
        ),
        days=table(
            ["day", "version", "predictions", "final outcomes", "measured", "low", "high", "estimated", "low", "high"],
            [_figures(one) for one in reversed(days[-60:])],
        ),
        estimate=shown.estimated.estimate if shown.estimated else "none",
    )


def _figures(one: QualityDay) -> list[object]:
    return [
        one.day,
        _version(one.model_version, one.is_known),
        one.predictions,
        one.mature,
        *(one.quality, one.quality_low, one.quality_high),
        *(one.estimated_quality, one.estimated_low, one.estimated_high),
    ]


def _version(number: int, in_training: bool) -> str:
    return f"v{number}{' (trained on)' * in_training}"


def _bars(shown: UseCase, counts: Mapping[date, float], unit: str, form: str = ",") -> Markup:
    """A bar for each day below the newest and the highest; empty where nothing was counted."""
    if not counts or shown.ends is None:
        return Markup("")
    newest, most = max(counts), max(counts, key=lambda day: counts[day])
    said = f"{unit} by day; {newest}: {counts[newest]:{form}}; most on {most}: {counts[most]:{form}}"
    told = Markup('<p class="soft">{} on {}, at most {} on {}.</p>').format(
        number(counts[newest], form), newest, number(counts[most], form), most
    )
    return told + day_charts.bars(counts, Days(*shown.ends), said, unit, form)
