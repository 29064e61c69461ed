"""What one window shows, as triage weighs it: of all its rows, of single batches, and of the rows of one category.

A batch is what one delivery of the feed brought. That all moved in one batch speaks against the feed only when other
batches of the same days did not move: where each day is a batch, a day that differs may be the world.
"""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from contender.contracts.contract import Contract
from contender.contracts.loop_sections import Triage
from contender.drift.baseline import DAY, Side, Watched, is_missing
from contender.drift.distances import Values, distance
from contender.drift.drift_check import ColumnDrift, Comparison, DriftCheck
from contender.performance.quality_readings import Reading
from contender.retraining.triage import ColumnSigns, Signs, unit_change
from contender.values import BATCH

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

QUANTILES = (0.25, 0.5, 0.75)
_FEW_VALUES, _MOST_VALUES = 30, 20
_FEW_WINDOWS, _ODD = 8, 0.02
"""Windows of the training that tell how much a column varies, and the share of them, at either end, that is odd."""

_LUCK, _LUCK_OF_MANY = 3.0, 4.5
"""Standard errors that a share may rise by chance: of one column, and of each of many parts of a window."""


@dataclass(frozen=True)
class Arrived:
    """What is known of a window beside its values; `usual_rows` is None where history tells nothing."""

    usual_rows: float | None = None
    quarantined: float = 0.0
    usual_quarantined: float = 0.0


def read_signs(compared: Comparison, check: DriftCheck, arrived: Arrived, rules: Triage, metric: str) -> Signs:
    """The signs of a window, all but the quality.

    Args:
        compared: the comparison of the features.
        check: of the same window, concluded with the windows before it.
    """
    found = {column.column: column for column in check.columns if column.table == "features"}
    of_season = not check.alarm and any(column.season for column in check.columns)
    columns = [
        _overall(compared, column, _moved(found[column.name], check, of_season), found[column.name], rules)
        for column in compared.columns
    ]
    others = [
        ColumnSigns(str(column), drifted=_moved(column, check, of_season), score=column.score)
        for column in check.columns
        if column.table != "features"
    ]
    return Signs(
        metric=metric,
        rows=compared.current.rows,
        usual_rows=arrived.usual_rows,
        quarantined=arrived.quarantined,
        usual_quarantined=arrived.usual_quarantined,
        columns=tuple(columns + others) if check.tested else (),
        by_source=tuple(_standing_out(compared, found, rules)),
        drifted=check.alarm or of_season,
        once=tuple(map(str, check.drifted)),
        only_source=_only_source(compared, list(found.values()), rules),
        same_season=of_season if check.alarm or of_season else None,
    )


def with_quality(signs: Signs, measured: Reading | None, estimated: Reading | None) -> Signs:
    """The signs beside the quality that is known."""
    return replace(signs, measured=measured, estimated=estimated)


def with_echoes(signs: Signs, contract: Contract, start: date, broken: Collection[date]) -> Signs:
    """The signs that say which columns still count rows of broken days, and so move without a cause in the world.

    These are the history features that reach back from the window to such a day, and with them the model's answers.

    Args:
        start: first day of the window.
        broken: days whose rows are held out because the feed was broken.
    """
    ends = [datetime.combine(day + timedelta(days=1), time()) for day in broken if day < start]
    opens = datetime.combine(start, time())
    counting = {name for name, feature in contract.history.items() if any(opens - feature.over < end for end in ends)}
    if not counting:
        return signs
    columns = [
        replace(column, echoes=column.name in counting or column.name.startswith("predictions."))
        for column in signs.columns
    ]
    return replace(signs, columns=tuple(columns))


def suspect_batches(signs: Signs, batches: Sequence[int]) -> list[int]:
    """The batches of a broken window to learn nothing from: those that stand out, else all."""
    named = [column.source for column in signs.by_source] + [signs.only_source]
    numbers = {int(match[1]) for name in named if (match := re.fullmatch(r"batch (\d+)", name))}
    return [batch for batch in batches if batch in numbers] or list(batches)


def _moved(column: ColumnDrift, check: DriftCheck, of_season: bool) -> bool:
    return column.season if of_season else str(column) in check.alarming


def _overall(compared: Comparison, column: Watched, drifted: bool, found: ColumnDrift, rules: Triage) -> ColumnSigns:
    now, then = found.missing_current or 0.0, found.missing_reference or 0.0
    # What was missing in the same season before is no news.
    usual = (
        max(now, then)
        if found.season
        else then
        + max(
            _luck(now, compared.current.rows, then, compared.matched.rows),
            _ordinarily(compared, column, _LUCK) * _wider(compared, column),
        )
    )
    if now - usual > rules.max_missing_rise and not found.season:
        usual = max(usual, _at_times(compared, column))
    here, there = compared.current.values(column.name), compared.matched.values(column.name)
    ratios = _ratios(column, here, there)
    if unit_change(ratios, rules.unit_tolerance) and _varies(compared, column, ratios):
        ratios = ()
    return ColumnSigns(column.name, now, min(usual, 1.0), ratios, drifted, found.score)


def _standing_out(compared: Comparison, found: dict[str, ColumnDrift], rules: Triage) -> Iterator[ColumnSigns]:
    """Columns of one source that lost values or changed their unit, beyond what luck does in many sources."""
    columns = [
        column
        for column in compared.columns
        if column.name in compared.current.frame
        and column.name in compared.matched.frame
        and not found[column.name].season
    ]
    current, reference = (_SideRows.of(side, columns) for side in (compared.current, compared.matched))
    for name, here, part in _sources(compared, rules):
        now, then = current.rows(here), reference.rows(part.mask(compared.matched.frame) if part else None)
        for place, column in enumerate(columns):
            missing, usual = now.missing_share(place), then.missing_share(place)
            usual += _luck(missing, now.count, usual, then.count, _LUCK_OF_MANY)
            usual = min(usual + _ordinarily(compared, column, _LUCK_OF_MANY), 1.0)
            if missing - usual > rules.max_missing_rise:
                usual = max(usual, _at_times(compared, column, part))
            ratios = _ratios(column, now.values(place), then.values(place))
            unit = unit_change(ratios, rules.unit_tolerance)
            if unit and _varies(compared, column, ratios):
                unit, ratios = None, ()
            if missing - usual > rules.max_missing_rise or unit:
                yield ColumnSigns(column.name, missing, usual, ratios, source=name)


@dataclass(frozen=True)
class _Category:
    """The rows of one category."""

    column: str
    value: Any

    def mask(self, frame: "pd.DataFrame") -> "NDArray[np.bool_]":
        found: NDArray[np.bool_] = (frame[self.column] == self.value).to_numpy()
        return found


def _sources(compared: Comparison, rules: Triage) -> "Iterator[tuple[str, NDArray[np.bool_], _Category | None]]":
    """Names of parts of the window that are large enough, with their rows in it and what to compare them with.

    None stands for all rows of the training.
    """
    current, reference = compared.current.frame, compared.matched.frame
    batches = _counts(current, BATCH)
    if len(batches) > 1 and len(reference) >= rules.min_rows:
        for batch, rows in batches.items():
            if rows >= rules.min_rows:
                yield f"batch {batch}", (current[BATCH] == batch).to_numpy(), None
    for column in compared.columns:
        if column.kind != "category" or column.name not in current or column.name not in reference:
            continue
        before = _counts(reference, column.name)
        for value, rows in list(_counts(current, column.name).items())[:_MOST_VALUES]:
            if rows >= rules.min_rows and before.get(value, 0) >= rules.min_rows:
                part = _Category(column.name, value)
                yield f"{column.name} '{value}'", part.mask(current), part


def _only_source(compared: Comparison, found: Sequence[ColumnDrift], rules: Triage) -> str:
    """The batch without which no column would have drifted, where other batches brought rows of the same days."""
    frame = compared.current.frame
    drifted = [column for column in found if column.drifted]
    if not drifted or BATCH not in frame:
        return ""
    for batch in _counts(frame, BATCH):
        own = frame[BATCH] == batch
        beside = frame[~own & frame[DAY].isin(frame.loc[own, DAY].unique())]
        if len(beside) >= rules.min_rows and not any(_still(compared, frame[~own], column) for column in drifted):
            return f"batch {batch}"
    return ""


def _still(compared: Comparison, rest: "pd.DataFrame", column: ColumnDrift) -> bool:
    """Whether a column would have drifted with these rows of the window alone."""
    values = rest[column.column].to_numpy()
    there, here = compared.matched.values(column.column), values[~is_missing(values)]
    if there is None or not len(here) or not len(there):
        return True
    if column.missing_drifted:
        rise = abs(float(rest[column.column].isna().mean()) - (column.missing_reference or 0.0))
        if rise > abs((column.missing_current or 0.0) - (column.missing_reference or 0.0)) / 2:
            return True
    if column.score is None or column.threshold is None or column.score < column.threshold:
        return False
    return distance(column.method, there, here) >= column.threshold  # type: ignore[arg-type]


def _ratios(column: Watched, here: Values | None, there: Values | None) -> tuple[float, ...]:
    """Quantiles now over those of the reference; empty where they are not all above zero, or are one and the same."""
    if column.kind != "number" or here is None or there is None or min(len(here), len(there)) < _FEW_VALUES:
        return ()
    now, then = _quantiles(here), _quantiles(there)
    if min(*now, *then) <= 0 or len(set(then)) < len(QUANTILES):
        return ()
    return tuple(high / low for high, low in zip(now, then, strict=True))


def _quantiles(ordered: Values) -> list[float]:
    """Of values in ascending order, with straight lines between them."""
    places = [quantile * (len(ordered) - 1) for quantile in QUANTILES]
    ends = [(float(ordered[math.floor(place)]), float(ordered[math.ceil(place)])) for place in places]
    return [low + (high - low) * (place % 1) for place, (low, high) in zip(places, ends, strict=True)]


def _ordinarily(compared: Comparison, column: Watched, errors: float) -> float:
    """By how much the missing share of whole windows of the champion's own training goes up and down.

    Values may be missing for reasons of the world: without wind there are no gusts.
    """
    ordinary = compared.ordinary.get(column.name)
    return ordinary.missing_expected + errors * ordinary.missing_spread if ordinary and ordinary.windows else 0.0


def _wider(compared: Comparison, column: Watched) -> float:
    ordinary = compared.ordinary.get(column.name)
    return ordinary.wider(compared.current.rows) if ordinary and compared.current.rows else 1.0


def _varies(compared: Comparison, column: Watched, ratios: Sequence[float]) -> bool:
    """Whether windows of the training lie half as far off as the ratios say: then no unit needs to be mistaken.

    Some odd windows, such as those of an old mistake, do not count.
    """
    frame = compared.reference.frame
    medians = frame[column.name].groupby(_windows(compared, frame)).median().dropna()
    if len(medians) < _FEW_WINDOWS:
        return False
    low, middle, high = (float(value) for value in medians.quantile([_ODD, 0.5, 1 - _ODD]))
    if low <= 0:
        return True
    far = abs(math.log(ratios[len(ratios) // 2])) / 2
    return max(math.log(high / middle), math.log(middle / low)) >= far


def _at_times(compared: Comparison, column: Watched, part: _Category | None = None) -> float:
    """The share that is missing in the worst windows of the training, but for odd ones; 0 where there are too few.

    Distances may lie about their middle, while what is missing comes in fits.
    """
    frame = compared.reference.frame
    if part is not None:
        frame = frame[part.mask(frame)]
    of_window = frame[column.name].isna().groupby(_windows(compared, frame))
    shares = of_window.mean()[of_window.size() >= _FEW_VALUES]
    return float(shares.quantile(1 - _ODD)) if len(shares) >= _FEW_WINDOWS else 0.0


def _windows(compared: Comparison, frame: "pd.DataFrame") -> "NDArray[np.int64]":
    """Which window of this length each row is of."""
    import numpy as np

    length = max((compared.current.end - compared.current.start).days, 1)
    return np.array([day.toordinal() // length for day in frame[DAY]], dtype=np.int64)


@dataclass(frozen=True)
class _SideRows:
    """Some rows of a side: what is missing, shape (columns, rows), and the numbers, of which categories have none."""

    missing: "NDArray[np.bool_]"
    numbers: "NDArray[np.float64]"

    @classmethod
    def of(cls, side: Side, columns: Sequence[Watched]) -> Self:
        import numpy as np

        every = [side.frame[column.name].to_numpy() for column in columns]
        shape = (len(columns), len(side.frame))
        missing, numbers = np.zeros(shape, dtype=bool), np.full(shape, np.nan)
        for place, (column, values) in enumerate(zip(columns, every, strict=True)):
            missing[place] = is_missing(values)
            if column.kind == "number":
                numbers[place] = values
        numbers[missing] = np.nan
        return cls(missing, numbers)

    def rows(self, mask: "NDArray[np.bool_] | None") -> Self:
        """Those that the mask names, or all, numbers in ascending order."""
        import numpy as np

        if mask is None:
            return self._ordered
        return type(self)(self.missing[:, mask], np.sort(self.numbers[:, mask]))

    @cached_property
    def _ordered(self) -> Self:
        import numpy as np

        return type(self)(self.missing, np.sort(self.numbers))

    @property
    def count(self) -> int:
        return int(self.missing.shape[1])

    def missing_share(self, place: int) -> float:
        return float(self.missing[place].mean())

    def values(self, place: int) -> Values:
        """What is there of a column that was put in order."""
        return self.numbers[place, : self.count - int(self.missing[place].sum())]


def _counts(frame: "pd.DataFrame", name: str) -> dict[Any, int]:
    """Rows by value, the most frequent first."""
    if name not in frame:
        return {}
    return {value: int(count) for value, count in frame[name].value_counts().items()}


def _luck(now: float, rows: int, then: float, others: int, errors: float = _LUCK) -> float:
    """By how much a share may rise by chance alone."""
    if not rows or not others:
        return 0.0
    pooled = (now * rows + then * others + 1) / (rows + others + 2)
    return errors * math.sqrt(pooled * (1 - pooled) * (1 / rows + 1 / others))
