"""What an alarm is about: the feed is broken, the inputs have moved, the model decays, or it is the season.

Named in this order, and the first that fits is the name:

1. *broken feed*: values missing that used to be there, more rows refused than usual, another unit, far too few or too
   many rows or none any more, or all that moved moved in one source. Nothing is learnt from such rows, and no quality
   is believed.
2. *decay*: the measured quality is beyond the contract's floor, or fell against its own past by more than luck.
3. *season*: the inputs moved as they did in the same season before. An estimate follows its inputs, so that it may fall
   with the season too; a measured fall it does not explain.
4. *decay*: the estimated quality says what the measured one says in 2; but an estimate that fell while no input moved
   tells of a few easy cases more or less, and not of decay; nor does one that fell while what moved were averages and
   counts of the past, if rows of a broken feed are still among them.
5. *shift*: the inputs moved, and the quality holds as far as it is known.
6. *none*: nothing moved. *not enough to tell* where too little was there to look at, which is never an all-clear.

Every limit is in `[triage]` and `[performance]` of the contract.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from contender.contracts.contract import Contract
from contender.contracts.loop_sections import Performance, Triage
from contender.contracts.sections import LOWER_IS_BETTER
from contender.values import Interval

if TYPE_CHECKING:
    from contender.performance.quality_readings import Reading

Name = Literal["broken feed", "decay", "season", "shift", "none", "not enough to tell"]

UNITS = (10.0, 100.0, 1000.0, 1e6, 60.0, 3600.0, 86_400.0)
"""What values are multiplied or divided by when a unit is mistaken: powers of ten, and those of time."""

_STAND_IN_LOSS = 0.02
"""What the accuracy may lose where it stands in for another metric."""

_INTERVAL, _BEYOND_LUCK = 1.6448536269514722, 2.3263478740408408
"""Standard errors to the end of a 90 % interval, and to where luck leads once in 100 windows."""


@dataclass(frozen=True)
class ColumnSigns:
    """One column now against its reference, in all rows or, where `source` names one, in those of one source.

    `missing` and `usual_missing` are shares of the rows. `ratios` are quantiles now over the same quantiles then, such
    as the quartiles, of columns whose values are above zero; empty otherwise. `drifted` is the verdict of the check
    of drift, with its score. `echoes` says that the values still count rows of a feed that was broken before.
    """

    name: str
    missing: float = 0.0
    usual_missing: float = 0.0
    ratios: tuple[float, ...] = ()
    drifted: bool = False
    score: float | None = None
    source: str = ""
    echoes: bool = False


@dataclass(frozen=True)
class Signs:
    """All that was seen in one window.

    Args:
        rows: in the window; `usual_rows` in a window of this length, None where that is not known.
        quarantined: share of the received rows that was refused, and what is usual.
        columns: of all rows; `by_source` of those of single sources (a file, a terminal, a category) that stand out.
        drifted: whether the check of drift raised an alarm, after its corrections.
        once: columns that drifted in this window, though not in enough of the last ones for an alarm.
        only_source: the one source without which nothing would have moved; empty where there is none.
        measured: the quality by outcomes; `estimated` that of the newest predictions; None where there is none.
        same_season: whether the same season before looked like this; None where history does not reach there.
    """

    metric: str
    rows: int
    usual_rows: float | None = None
    quarantined: float = 0.0
    usual_quarantined: float = 0.0
    columns: tuple[ColumnSigns, ...] = ()
    by_source: tuple[ColumnSigns, ...] = ()
    drifted: bool = False
    once: tuple[str, ...] = ()
    only_source: str = ""
    measured: "Reading | None" = None
    estimated: "Reading | None" = None
    same_season: bool | None = None


@dataclass(frozen=True)
class Diagnosis:
    """The name of an alarm, what it means in one sentence, and every reason for it.

    `retrain`: a new challenger would help; `decayed`: and may replace the champion without winning outright;
    `hold_out`: nothing may be learnt from the window's rows.
    """

    name: Name
    sentence: str
    reasons: tuple[str, ...] = ()
    retrain: bool = False
    decayed: bool = False
    hold_out: bool = False


def diagnose(signs: Signs, rules: Triage, quality: Performance, *, floor: float | None, max_loss: float) -> Diagnosis:
    """The name of what was seen, by the rules above.

    Args:
        floor: the worst quality that is borne, None for no limit; `max_loss` what may be lost against the past, both
            in units of the metric.
    """
    if broken := tuple(_broken(signs, rules)):
        what = " Its rows are held out of training." if signs.rows else ""
        return Diagnosis("broken feed", f"The feed looks broken: {broken[0]}.{what}", broken, hold_out=bool(signs.rows))
    if measured := tuple(_decay("measured", signs.metric, signs.measured, quality, floor, max_loss)):
        return _decayed(measured)
    moved = _moved(signs)
    if moved and signs.same_season:
        reasons = (moved, "the same season looked like this before")
        return Diagnosis("season", f"It is the season: {moved}, as it did before.", reasons)
    estimated = tuple(_decay("estimated", signs.metric, signs.estimated, quality, floor, max_loss))
    echo = _echo(signs)
    if estimated and moved and not echo:
        return _decayed((*estimated, moved))
    if signs.rows < rules.min_rows:
        are = "row is" if signs.rows == 1 else "rows are"
        found = f"{signs.rows:,} {are} too few to tell; {rules.min_rows:,} are needed"
        return Diagnosis("not enough to tell", f"{found[0].upper()}{found[1:]}.", (found,))
    held = estimated or tuple(_held(signs, quality, max_loss))
    too_few = tuple(_too_few(signs, quality))
    if moved:
        known = (*echo, *(held or too_few or ("the quality is not known yet, measured or estimated",)))
        return Diagnosis("shift", f"The inputs have moved, to be watched: {moved}; {known[0]}.", (moved, *known))
    if not signs.columns and not held:
        found = "no column was compared and no quality is known"
        return Diagnosis("not enough to tell", f"{found[0].upper()}{found[1:]}.", (found,))
    if signs.once:
        sentence = f"No alarm yet: {_listed(signs.once)} moved in this window, not in enough of those before."
        return Diagnosis("none", sentence, held or too_few)
    return Diagnosis("none", "No input has moved beyond luck.", held or too_few)


def quality_limits(contract: Contract) -> tuple[float | None, float]:
    """The worst quality that is borne and what may be lost, as `[performance]` says or else `[judging]`.

    Where accuracy stands in for a metric that cannot be read from predictions, a gain in that metric's units says
    nothing of it.
    """
    from contender.performance.score_counts import metric_of

    floor, max_loss = contract.performance.floor, contract.performance.max_loss
    metric = metric_of(contract.kind, contract.judging.metric)
    threshold = contract.judging.thresholds.get(metric)
    if floor is None and threshold is not None:
        floor = threshold.max if threshold.min is None else threshold.min
    if max_loss is None:
        max_loss = contract.judging.min_gain if metric == contract.judging.metric else _STAND_IN_LOSS
    return floor, max_loss


def _decayed(reasons: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        "decay",
        f"The champion decays: {reasons[0]}. A new challenger is called for.",
        reasons,
        retrain=True,
        decayed=True,
    )


def _broken(signs: Signs, rules: Triage) -> Iterator[str]:
    """Every sign that the feed, and not the world, has changed."""
    if signs.usual_rows and (signs.usual_rows >= rules.min_rows or signs.rows >= rules.min_rows):
        ratio = signs.rows / signs.usual_rows
        if not signs.rows:
            yield f"no rows came where {signs.usual_rows:,.0f} are usual"
        elif not rules.min_volume <= ratio <= rules.max_volume:
            yield (
                f"{signs.rows:,} rows came where {signs.usual_rows:,.0f} are usual, {ratio:.3g} times as many; "
                f"between {rules.min_volume:g} and {rules.max_volume:g} are believed"
            )
    if signs.quarantined - signs.usual_quarantined > rules.max_quarantine_rise:
        yield f"{signs.quarantined:.1%} of the rows were refused where {signs.usual_quarantined:.1%} are usual"
    if signs.rows < rules.min_rows:
        return
    for column in (*signs.columns, *signs.by_source):
        where = f" in {column.source}" if column.source else ""
        if column.missing - column.usual_missing > rules.max_missing_rise:
            yield (
                f"'{column.name}' is missing in {column.missing:.1%} of the rows{where} where "
                f"{column.usual_missing:.1%} are usual"
            )
        if factor := unit_change(column.ratios, rules.unit_tolerance):
            times = f"{factor:g} times" if factor > 1 else f"one {1 / factor:g}th of"
            yield f"the values of '{column.name}'{where} are about {times} what they were, as in another unit"
    if signs.only_source and signs.drifted:
        yield f"all that moved moved in {signs.only_source} alone"


def unit_change(ratios: tuple[float, ...], tolerance: float) -> float | None:
    """The factor of a mistaken unit by which all quantiles moved together; None where that is not what happened.

    Args:
        ratios: quantiles now over the same quantiles then; one alone may be anything, so two are needed.
        tolerance: how far each may lie from the factor, as a share of it.
    """
    if len(ratios) < 2 or not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        return None
    for factor in (*UNITS, *[1 / unit for unit in UNITS]):
        if all(abs(math.log(ratio / factor)) <= math.log1p(tolerance) for ratio in ratios):
            return factor
    return None


def _decay(
    kind: str, metric: str, reading: "Reading | None", rules: Performance, floor: float | None, max_loss: float
) -> Iterator[str]:
    """Why a quality says decay; a fall is luck until shown otherwise.

    The metric that decides says how much was lost, and the mean loss, where it is measured over weeks, whether that is
    luck: it is far less at the mercy of a few cases.
    """
    if reading is None or reading.interval is None or reading.rows < rules.min_outcomes:
        return
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    best = max(sign * reading.interval.low, sign * reading.interval.high)
    told = f"the {kind} {metric} is {reading.value:.4g} ({reading.interval.low:.4g} to {reading.interval.high:.4g})"
    if floor is not None and best < sign * floor:
        yield f"{told} on {reading.rows:,} rows, beyond the floor of {floor:g}"
    if reading.past is None or reading.past_interval is None or reading.past_rows < rules.min_outcomes:
        return
    fall = sign * (reading.past - reading.value)
    if fall < max_loss:
        return
    was = f"{told}, and was {reading.past:.4g}: a {'rise' if sign < 0 else 'fall'} of {fall:.4g}"
    if reading.loss is not None:
        if reading.loss.beyond_luck:
            errors = f"{reading.loss.errors:.1f} standard errors above its past"
            yield f"{was}, with a mean loss {errors}, where luck explains {reading.loss.luck:.1f}"
        return
    luck = _BEYOND_LUCK * math.hypot(_error(reading.interval), _error(reading.past_interval), reading.past_spread)
    if fall > luck:
        yield f"{was}, where luck explains {luck:.2g}"


def _held(signs: Signs, rules: Performance, max_loss: float) -> Iterator[str]:
    sign = -1.0 if signs.metric in LOWER_IS_BETTER else 1.0
    for kind, reading in (("measured", signs.measured), ("estimated", signs.estimated)):
        if reading is None or reading.rows < rules.min_outcomes:
            continue
        if reading.past is None:
            yield f"the {kind} {signs.metric} is {reading.value:.4g}, with too short a past to compare it with"
        elif sign * (reading.past - reading.value) < max_loss:
            yield f"the {kind} {signs.metric} holds at {reading.value:.4g} after {reading.past:.4g}"
        else:
            yield f"the {kind} {signs.metric} is {reading.value:.4g} after {reading.past:.4g}, which luck may explain"


def _too_few(signs: Signs, rules: Performance) -> Iterator[str]:
    found = signs.measured
    if found is not None and found.rows < rules.min_outcomes:
        needed = f"{rules.min_outcomes:,} are needed to tell"
        yield f"the {signs.metric} was measured on {found.rows:,} outcomes, and {needed}"


def _moved(signs: Signs) -> str:
    """What the check of drift says moved; empty without an alarm."""
    if not signs.drifted:
        return ""
    names = [column.name for column in signs.columns if column.drifted]
    return f"{_listed(names)} moved" if names else "the inputs moved as a whole"


def _listed(names: Sequence[str]) -> str:
    told = ", ".join(f"'{name}'" for name in names[:5])
    return f"{told} and {len(names) - 5} more" if len(names) > 5 else told


def _echo(signs: Signs) -> tuple[str, ...]:
    """That all which moved is what a broken feed left behind; nothing where the world may have moved."""
    moved = [column for column in signs.columns if column.drifted]
    if not moved or not all(column.echoes for column in moved):
        return ()
    return ("what moved still counts rows of a feed that was broken",)


def _error(interval: Interval) -> float:
    return (interval.high - interval.low) / (2 * _INTERVAL)
