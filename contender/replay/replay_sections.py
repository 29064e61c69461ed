"""The parts of a replay's page: policies in figures, quality and cost over time, what happened, and every sentence."""

from collections import Counter
from html import escape

from markupsafe import Markup

from contender.markup import number, table
from contender.replay import replay_charts, timelines
from contender.replay.conclusion import Words, amount, beyond_luck, has_costs, named, ours_of
from contender.replay.replay_charts import costs_over_time, kind_of, legend, until
from contender.replay.replay_results import OURS, POLICIES, Alarm, Course, Period, Replay
from contender.reports.day_charts import short
from contender.reports.verdict_sections import SHAPES, numbers
from contender.svg import Scale, axis, interval, key, row, upright
from contender.values import Interval

_NOT_KNOWN = "not known"


def forest_of(words: Words) -> list[str]:
    """What ours saved against each policy, or, without costs, each policy's quality; each with its interval."""
    replay = words.replay
    saved = [(one, one.saved, one.saved_interval) for one in replay.courses if one.saved is not None]
    if saved:
        scale = Scale.around([0.0, *(end for _, at, ends in saved for end in (at, *_ends(ends)))])
        ticks = [(tick, short(tick)) for tick in scale.ticks(4)]
        rows = [_saved(words, scale, course, at) for course, at, _ in saved]
        unit = f", {replay.currency}" * bool(replay.currency)
        note = (
            f"Right of the line: {OURS} was cheaper; with 90 % intervals. {key('promote')} cheaper beyond luck, "
            f"{key('back')} dearer beyond luck, {key('wait')} no difference beyond luck."
        )
        return [f'<p class="soft">{note}</p>', *rows, axis(scale, f"what {OURS} saved against it{unit}", ticks)]
    told = [one for one in replay.courses if one.quality is not None]
    if len(told) < 2 or has_costs(replay):
        return []
    scale = Scale.around([value for one in told for value in (one.quality, *_ends(one.interval)) if value is not None])
    rows = []
    for one in told:
        at = one.quality or 0.0
        low, high = _ends(one.interval) or (at, at)
        drawn = interval(scale, low, at, high, "keep", kind_of(replay, one))
        rows.append(
            row(
                Markup(named(one)),
                drawn,
                Markup(words.quality(one)),
                f"{one.policy}: {at:.3g}, {low:.3g} to {high:.3g}",
            )
        )
    ticks = [(tick, f"{tick:g}") for tick in scale.ticks(4)]
    return [*rows, axis(scale, f"{replay.metric}, {words.better}", ticks)]


def _saved(words: Words, scale: Scale, course: Course, saved: float) -> Markup:
    low, high = _ends(course.saved_interval) or (saved, saved)
    sure = beyond_luck(course.saved_interval)
    shape = "wait" if not sure else "promote" if saved > 0 else "back"
    drawn = upright(scale, 0.0, "zero") + interval(scale, low, saved, high, shape)
    ends = f" ({amount(low)} to {amount(high)})" if course.saved_interval else ""
    told = f"<b>{words.money(saved, '+')}</b>{ends}"
    said = f"{OURS} saved {saved:,.0f} against {course.policy}, {low:,.0f} to {high:,.0f}"
    return row(Markup(f"against {named(course)}"), drawn, Markup(told), said)


def _ends(found: Interval | None) -> tuple[float, ...]:
    return () if found is None else (found.low, found.high)


def policies_of(words: Words, money: bool) -> list[str]:
    """The table of policies: what each gave, and what it took."""
    replay = words.replay
    names = ["policy", replay.metric]
    names += ["mistakes' cost"] * money + ["retrains", "promotions"] + ["retrain cost", "total cost"] * money
    compared = money and ours_of(replay) is not None and len(replay.courses) > 1
    names += [f"{OURS} saved"] * compared + ["alarms", "seconds"]
    rows = []
    for one in replay.courses:
        cells: list[object] = [one.policy]
        cells += [_with_interval(one.quality, one.interval)]
        cells += [_amount(one.mistakes_cost)] * money + [one.retrains, one.promotions]
        cells += [_amount(one.retrain_cost), _amount(one.cost)] * money
        cells += ["–" if one.policy == OURS else _money_told(one)] * compared
        rows.append([*cells, _alarms(one), Markup(number(one.seconds, ",.0f"))])
    unit = f"Money in {replay.currency}. " * (money and bool(replay.currency))
    meant = [f"{named(one)} retrains {POLICIES[one.policy]}" for one in replay.courses if one.policy in POLICIES]
    return [table(names, rows), f'<p class="soft">{escape(unit)}{"; ".join(meant)}{"." * bool(meant)}</p>']


def _with_interval(value: float | None, ends: Interval | None) -> object:
    if value is None:
        return _NOT_KNOWN
    found = _ends(ends)
    told = f"<small>{number(found[0])} to {number(found[1])}</small>" if found else ""
    return Markup(f"{number(value)}{told}")


def _amount(value: float | None) -> object:
    return _NOT_KNOWN if value is None else Markup(amount(value))


def _money_told(one: Course) -> object:
    if one.saved is None:
        return _NOT_KNOWN
    found = _ends(one.saved_interval)
    told = f"<small>{amount(found[0])} to {amount(found[1])}</small>" if found else ""
    return Markup(f"{amount(one.saved, '+')}{told}")


def _alarms(one: Course) -> Markup:
    counts = Counter(alarm.name for period in one.periods for alarm in period.alarms)
    lines = [f"{number(count, ',')} {escape(name)}" for name, count in counts.most_common()]
    return Markup("<br>".join(lines) or "none")


def quality_of(words: Words) -> list[str]:
    """Quality over time, with its figures below."""
    replay = words.replay
    drawn = replay_charts.quality(replay)
    if not drawn:
        return ['<p class="soft">Not known yet: no outcomes are in.</p>']
    names, rows = ["from", "to"], []
    for one in replay.courses:
        names += [one.policy, "low", "high"]
    for start, end, inside in _by_period(replay):
        cells: list[object] = [start, end]
        for period in inside:
            quality = None if period is None else period.quality
            low, high = _ends(period.interval if period else None) or (None, None)
            cells += [_NOT_KNOWN if value is None else value for value in (quality, low, high)]
        rows.append(cells)
    arrow = "↓" if replay.lower_is_better else "↑"
    return [
        f'<p class="soft">{arrow} {words.better}. A point for each period and policy, with its interval; lines that '
        "lie on one another differ in width.</p>",
        *legend(replay),
        drawn,
        "<details><summary>The figures of this chart</summary>",
        table(names, rows),
        "</details>",
    ]


def costs_of(words: Words) -> list[str]:
    """Cost over time, with its figures below; what it differs from that of `never`, where that was played."""
    replay = words.replay
    base = next((one for one in replay.courses if one.policy == "never" and one.cost is not None), None)
    base = base if len(replay.courses) > 1 else None
    curves = costs_over_time(replay, base)
    what = "Mistakes and retrains, added up" + (", less those of never: below zero is cheaper." if base else ".")
    ends = [f"{name}: {curve[max(curve)]:,.0f}" for name, curve in curves.items() if len(curve) > 1]
    days = sorted({day for curve in curves.values() for day in curve})
    rows = [[day, *(_amount(curve.get(day)) for curve in curves.values())] for day in days]
    return [
        f'<p class="soft">{what}</p>',
        *legend(replay, whiskers=False),
        replay_charts.costs(replay, curves, f"{what} In the end {'; '.join(ends)}"),
        "<details><summary>The figures of this chart</summary>",
        table(["before", *curves], rows),
        "</details>",
    ]


def _by_period(replay: Replay) -> list[tuple[object, object, list[Period | None]]]:
    """Each period with what every policy did in it."""
    ends = {one.start: until(one) for course in replay.courses for one in course.periods}
    by_start = [{one.start: one for one in course.periods} for course in replay.courses]
    return [(start, ends[start], [found.get(start) for found in by_start]) for start in sorted(ends)]


def strips_of(replay: Replay) -> list[str]:
    """Under each policy what happened, on one axis of time."""
    found = timelines.keys(replay)
    for one in replay.courses:
        kind = kind_of(replay, one)
        found += [f'<h3><span class="swatch {kind}"></span> {named(one)}</h3>', *timelines.strip(replay, one)]
    return found


def details_of(words: Words, course: Course) -> list[str]:
    """Every alarm, verdict and period of one policy."""
    alarms = [_alarm(alarm) for one in course.periods for alarm in one.alarms]
    verdicts = [line for one in course.periods for line in _verdicts(one)]
    counts = {"alarm": len(alarms), "retrain": course.retrains, "period": len(course.periods)}
    counted = ", ".join(f"{count:,} {name}{'s' * (count != 1)}" for name, count in counts.items())
    return [
        f"<details><summary>{named(course)}: {counted}</summary>",
        "<h3>Alarms</h3>",
        *_listed(alarms, "No alarm was raised."),
        "<h3>Retrains and verdicts</h3>",
        *_listed(verdicts, "Nothing was trained."),
        "<h3>Periods</h3>",
        _periods(words, course),
        "</details>",
    ]


def _alarm(one: Alarm) -> str:
    sign = key(timelines.ALARMS.get(one.name, "other"))
    done = f' <span class="soft">({escape(one.action)})</span>' if one.action else ""
    return f'{sign} <span class="soft">{one.day}</span> <b>{escape(one.name)}</b>{done} {escape(one.sentence)}'


def _verdicts(period: Period) -> list[str]:
    found = []
    if (one := period.retrained) is not None:
        shape = SHAPES.get(one.decision, "back")
        version = "" if one.version is None else f" version {number(one.version, 'd')}"
        gain = ""
        if one.gain is not None and one.interval is not None:
            ends = one.interval
            gain = f", gain {numbers(one.gain, ends.low, ends.high, ends.level)}"
        found.append(
            f'{key(shape)} <span class="soft">{one.at:%Y-%m-%d}</span> <b class="{shape} tone">{escape(one.decision)}'
            f'</b>{version}{gain}. {escape(one.reason)} <span class="soft">Trained because: {escape(one.why)}</span>'
        )
    if period.refused:
        found.append(
            f'{key("denied")} <span class="soft">{until(period)}</span> <b>batch refused</b> {escape(period.refused)}'
        )
    return found


def _listed(lines: list[str], nothing: str) -> list[str]:
    if not lines:
        return [f'<p class="soft">{nothing}</p>']
    return ['<ul class="log">', *(f"<li>{line}</li>" for line in lines), "</ul>"]


def _periods(words: Words, course: Course) -> Markup:
    money = any(one.cost is not None for one in course.periods)
    names = ["from", "to", "rows", "outcomes", "scored by", words.replay.metric, "low", "high", "expected then"]
    names += ["mistakes' cost"] * money + ["held out"]
    rows = []
    for one in course.periods:
        low, high = _ends(one.interval) or (None, None)
        told = [_NOT_KNOWN if value is None else value for value in (one.quality, low, high, one.estimated)]
        by = "nobody" if one.version is None else f"v{one.version}"
        rows.append(
            [
                one.start,
                until(one),
                one.rows,
                one.outcomes,
                by,
                *told,
                *([_amount(one.cost)] * money),
                one.held_out or "no",
            ]
        )
    return table(names, rows)
