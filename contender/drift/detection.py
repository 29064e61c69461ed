"""Checks a window against the champion's training, and keeps every check in the table `drift`."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from contender.contracts.contract import Contract
from contender.contracts.loop_sections import Drift
from contender.drift import daily_samples
from contender.drift.baseline import Side, Source, Watched
from contender.drift.daily_samples import SOURCES, watched_columns
from contender.drift.drift_check import ColumnDrift, Comparison, DriftCheck, before, conclude
from contender.drift.reference_sample import Reference
from contender.drift.significance import compare
from contender.lake import tables
from contender.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TABLE = "drift"
_SEASONS, _LONG_SEASON = 4, timedelta(days=28)
_MEMORY = 100
"""So many times the windows that count are looked through for those that do not overlap."""


def check_drift(
    settings: Settings, contract: Contract, reference: Reference, version: int, as_of: datetime
) -> tuple[DriftCheck, tuple[Comparison, ...]]:
    """One check of the newest whole days before `as_of`, and what was compared, for the report.

    Outcomes are compared in the newest window in which all have matured.

    Args:
        reference: the champion's, see `make_reference`.
        version: the champion's.
        as_of: aware, or naive UTC.
    """
    end = _utc(as_of).date()
    mature = (_utc(as_of) - contract.outcome.matures_after).date()
    ends: dict[Source, date] = {"features": end, "predictions": end, "outcomes": mature}
    compared = tuple(
        _comparison(settings, contract, reference, source, version, ends[source])
        for source in SOURCES
        if source in reference.sides
    )
    columns = compare(compared, contract.drift, lambda one, far: _counterpart(settings, contract, one, far, version))
    trained = reference.sides["features"]
    found = DriftCheck(
        use_case=contract.name,
        model_version=version,
        start=end - contract.drift.window,
        end=end,
        reference_start=trained.start,
        reference_end=trained.end,
        checked_at=_utc(as_of),
        columns=columns,
    )
    return conclude(found, _earlier(settings, found, contract.drift), contract.drift), compared


def keep_check(settings: Settings, check: DriftCheck) -> None:
    """Add a check to the table `drift`, one row for each column."""
    share = check.share_drifted
    rows = [
        {
            "model_version": check.model_version,
            "checked_at": check.checked_at,
            "check_start": check.start,
            "check_end": check.end,
            "reference_start": check.reference_start,
            "reference_end": check.reference_end,
            "share_drifted": share,
            "alarm": str(column) in check.alarming,
            "table": column.table,
            "column": column.column,
            "kind": column.kind,
            "method": column.method,
            "score": column.score,
            "expected": column.expected,
            "limit": column.limit,
            "threshold": column.threshold,
            "drifted": column.drifted,
            "why": column.why,
            "season": column.season,
            "window_start": column.start,
            "window_end": column.end,
            "missing_current": column.missing_current,
            "missing_reference": column.missing_reference,
            "missing_drifted": column.missing_drifted,
            "rows_current": column.rows_current,
            "rows_reference": column.rows_reference,
            "new_values": column.new_values,
        }
        for column in check.columns
    ]
    tables.append_small(settings, check.use_case, TABLE, rows, _schema())


def past_checks(
    settings: Settings,
    use_case: str,
    *,
    version: int | None = None,
    since: date = date.min,
    ends: tuple[date, date] = (date.min, date.max),
) -> list[DriftCheck]:
    """The checks that are kept, the oldest first.

    Args:
        version: those of one champion only.
        since: those of windows that start then or later only.
        ends: those of windows that end after the first of these days, and not after the second, only.
    """
    import pyarrow.dataset as ds

    delta = tables.opened(settings, use_case, TABLE)
    if delta is None:
        return []
    # Each check is a file, and most files of a long past are not opened.
    where = f"check_start >= '{since}' AND check_end > '{ends[0]}' AND check_end <= '{ends[1]}'"
    end = ds.field("check_end")
    wanted = (ds.field("check_start") >= since) & (end > ends[0]) & (end <= ends[1])
    if version is not None:
        where += f" AND model_version = {version}"
        wanted &= ds.field("model_version") == version
    found = tables.dataset_of(delta, where=where).to_table(filter=wanted)
    checks: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in found.to_pylist():
        checks.setdefault((row["checked_at"], row["model_version"], row["check_start"]), []).append(row)
    return [_check_of(use_case, rows) for _, rows in sorted(checks.items(), key=lambda item: item[0])]


def _comparison(
    settings: Settings, contract: Contract, reference: Reference, source: Source, version: int, end: date
) -> Comparison:
    start, side = end - contract.drift.window, reference.sides[source]
    return Comparison(
        source=source,
        columns=watched_columns(contract, source),
        current=_side(settings, contract, source, version, start, end),
        reference=side,
        ordinary=reference.ordinary[source],
    )


def _earlier(settings: Settings, check: DriftCheck, rules: Drift) -> list[DriftCheck]:
    """The checks that count beside this one: those just before it are most often enough, and few are read."""
    enough = rules.of_windows * rules.window
    found: list[DriftCheck] = []
    for back in (enough, _MEMORY * enough):
        past = past_checks(
            settings,
            check.use_case,
            version=check.model_version,
            since=check.start - _MEMORY * enough,
            ends=(check.start - back, check.start),
        )
        found = before(check, past, rules)
        if len(found) + 1 >= rules.of_windows:
            break
    return found


def _side(settings: Settings, contract: Contract, source: Source, version: int, start: date, end: date) -> Side:
    only = _by(version) if source == "predictions" else None
    return daily_samples.side_of(settings, contract, source, start, end, most=contract.drift.window_rows, only=only)


def _by(version: int) -> "Callable[[pd.DataFrame], Any]":
    return lambda frame: frame["model_version"] == version


def _counterpart(
    settings: Settings, contract: Contract, one: Comparison, columns: Sequence[Watched], version: int
) -> Side | None:
    """The same days one or more seasons before, in or before the reference; None where there are none.

    A window that is compared with the same days of the season anyway, or holds whole seasons, needs no second look.

    What came after the training proves nothing: a shift that lasts looks like a season to itself. Long seasons are cut
    to whole weeks, so that weekdays meet their like, and take in the weeks beside.
    """
    start, end, season = one.current.start, one.current.end, contract.drift.season
    if season is None or any(ordinary.season for ordinary in one.ordinary.values()) or not (end - start) % season:
        return None
    is_long = season >= _LONG_SEASON
    step = season - season % timedelta(days=7) if is_long else season
    back = (end - one.reference.end) // step * step
    while end - back > one.reference.end:
        back += step
    shifts = (
        [back + timedelta(days=days) for days in (-7, 0, 7)]
        if is_long
        else [back + step * more for more in range(_SEASONS)]
    )
    windows = [(start - shift, end - shift) for shift in shifts if end - shift <= one.reference.end]
    sides = daily_samples.sides_of(
        settings,
        contract,
        one.source,
        windows,
        most=contract.drift.window_rows,
        columns=columns,
        only=_by(version) if one.source == "predictions" else None,
    )
    return _joined([side for side in sides if len(side.frame)])


def _joined(sides: Sequence[Side]) -> Side | None:
    import pandas as pd

    if not sides:
        return None
    missing = {name: sum(side.missing[name] for side in sides) for name in sides[0].missing}
    frame = pd.concat([side.frame for side in sides], ignore_index=True)
    return Side(
        min(side.start for side in sides),
        max(side.end for side in sides),
        frame,
        sum(side.rows for side in sides),
        missing,
    )


def _check_of(use_case: str, rows: Sequence[dict[str, Any]]) -> DriftCheck:
    first = rows[0]
    names = [
        "table",
        "column",
        "kind",
        "method",
        "score",
        "expected",
        "limit",
        "threshold",
        "drifted",
        "why",
        "season",
        "missing_current",
        "missing_reference",
        "missing_drifted",
        "rows_current",
        "rows_reference",
        "new_values",
    ]
    columns = [
        ColumnDrift(start=row["window_start"], end=row["window_end"], **{name: row[name] for name in names})
        for row in rows
    ]
    return DriftCheck(
        use_case,
        first["model_version"],
        first["check_start"],
        first["check_end"],
        first["reference_start"],
        first["reference_end"],
        first["checked_at"],
        tuple(columns),
        tuple(str(column) for column, row in zip(columns, rows, strict=True) if row["alarm"]),
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _schema() -> "pa.Schema":
    import pyarrow as pa

    text, number, flag, day, whole = pa.string(), pa.float64(), pa.bool_(), pa.date32(), pa.int64()
    return pa.schema(
        {
            "model_version": whole,
            "checked_at": pa.timestamp("us", tz="UTC"),
            "check_start": day,
            "check_end": day,
            "reference_start": day,
            "reference_end": day,
            "share_drifted": number,
            "alarm": flag,
            "table": text,
            "column": text,
            "kind": text,
            "method": text,
            "score": number,
            "expected": number,
            "limit": number,
            "threshold": number,
            "drifted": flag,
            "why": text,
            "season": flag,
            "window_start": day,
            "window_end": day,
            "missing_current": number,
            "missing_reference": number,
            "missing_drifted": flag,
            "rows_current": whole,
            "rows_reference": whole,
            "new_values": text,
        }
    )
