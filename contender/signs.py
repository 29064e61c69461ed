"""What one window shows, as triage weighs it: of all its rows, of single batches, and of the rows of one category.

A batch is what one delivery of the feed brought. That all moved in one batch speaks against the feed only when other
batches of the same days did not move: where each day is a batch, a day that differs may be the world.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from contender.clauses import Triage
from contender.distances import distance
from contender.drift import ColumnDrift, Comparison, DriftCheck
from contender.ordinary import DAY, Watched
from contender.triage import ColumnSigns, Reading, Signs, unit_change
from contender.values import BATCH

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

QUANTILES = (0.25, 0.5, 0.75)
_FEW_VALUES, _MOST_VALUES = 30, 20
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
        _overall(compared, column, _moved(found[column.name], check, of_season), found[column.name])
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
        # Of nothing at all it cannot be told whether anything was to come.
        usual_rows=arrived.usual_rows if compared.current.rows else None,
        quarantined=arrived.quarantined,
        usual_quarantined=arrived.usual_quarantined,
        columns=tuple(columns + others) if check.told else (),
        by_source=tuple(_standing_out(compared, found, rules)),
        drifted=check.alarm or of_season,
        only_source=_only_source(compared, list(found.values()), rules),
        same_season=of_season if check.alarm or of_season else None,
    )


def with_quality(signs: Signs, measured: Reading | None, estimated: Reading | None) -> Signs:
    """The signs beside the quality that is known."""
    return replace(signs, measured=measured, estimated=estimated)


def suspect_batches(signs: Signs, batches: Sequence[int]) -> list[int]:
    """The batches of a broken window to learn nothing from: those that stand out, else all."""
    named = [column.source for column in signs.by_source] + [signs.only_source]
    numbers = {int(match[1]) for name in named if (match := re.fullmatch(r"batch (\d+)", name))}
    return [batch for batch in batches if batch in numbers] or list(batches)


def _moved(column: ColumnDrift, check: DriftCheck, of_season: bool) -> bool:
    return column.season if of_season else str(column) in check.alarming


def _overall(compared: Comparison, column: Watched, drifted: bool, found: ColumnDrift) -> ColumnSigns:
    now, then = found.missing_current or 0.0, found.missing_reference or 0.0
    # What was missing in the same season before is no news.
    usual = max(now, then) if found.season else then + _luck(now, compared.current.rows, then, compared.matched.rows)
    here, there = compared.current.values(column.name), compared.matched.values(column.name)
    ratios = _ratios(column, here, there)
    return ColumnSigns(column.name, now, min(usual, 1.0), ratios, drifted, found.score)


def _standing_out(compared: Comparison, found: dict[str, ColumnDrift], rules: Triage) -> Iterator[ColumnSigns]:
    """Columns of one source that lost values or changed their unit, beyond what luck does in many sources."""
    current, reference = compared.current.frame, compared.matched.frame
    for name, here, there in _sources(compared, rules):
        for column in compared.columns:
            if column.name not in current or column.name not in reference or found[column.name].season:
                continue
            now, then = current.loc[here, column.name], reference.loc[there, column.name]
            missing, usual = float(now.isna().mean()), float(then.isna().mean())
            usual = min(usual + _luck(missing, len(now), usual, len(then), _LUCK_OF_MANY), 1.0)
            ratios = _ratios(column, now.dropna(), then.dropna())
            signs = ColumnSigns(column.name, missing, usual, ratios, source=name)
            if missing - usual > rules.max_missing_rise or unit_change(ratios, rules.unit_tolerance):
                yield signs


def _sources(compared: Comparison, rules: Triage) -> "Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]":
    """Names of parts of the window that are large enough, with their rows in it and those to compare them with."""
    import numpy as np

    current, reference = compared.current.frame, compared.matched.frame
    every = np.ones(len(reference), dtype=bool)
    batches = _counts(current, BATCH)
    if len(batches) > 1 and len(reference) >= rules.min_rows:
        for batch, rows in batches.items():
            if rows >= rules.min_rows:
                yield f"batch {batch}", (current[BATCH] == batch).to_numpy(), every
    for column in compared.columns:
        if column.kind != "category" or column.name not in current or column.name not in reference:
            continue
        before = _counts(reference, column.name)
        for value, rows in list(_counts(current, column.name).items())[:_MOST_VALUES]:
            if rows >= rules.min_rows and before.get(value, 0) >= rules.min_rows:
                here, there = ((frame[column.name] == value).to_numpy() for frame in (current, reference))
                yield f"{column.name} '{value}'", here, there


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
    there, here = compared.matched.values(column.column), rest[column.column].dropna()
    if there is None or not len(here) or not len(there):
        return True
    if column.missing_drifted:
        rise = abs(float(rest[column.column].isna().mean()) - (column.missing_reference or 0.0))
        if rise > abs((column.missing_current or 0.0) - (column.missing_reference or 0.0)) / 2:
            return True
    if column.score is None or column.threshold is None or column.score < column.threshold:
        return False
    return distance(column.method, there, here) >= column.threshold  # type: ignore[arg-type]


def _ratios(column: Watched, here: "pd.Series[Any] | None", there: "pd.Series[Any] | None") -> tuple[float, ...]:
    """Quantiles now over those of the reference; empty where they are not all above zero, or are one and the same."""
    if column.kind != "number" or here is None or there is None or min(len(here), len(there)) < _FEW_VALUES:
        return ()
    now, then = here.quantile(list(QUANTILES)).tolist(), there.quantile(list(QUANTILES)).tolist()
    if min(*now, *then) <= 0 or len(set(then)) < len(QUANTILES):
        return ()
    return tuple(float(high / low) for high, low in zip(now, then, strict=True))


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
