"""Figures of the lake for the dashboard, without Spark and in bounded memory.

Of tables that grow with the data only counts are kept, by day or by batch. A file whose rows are of one day is counted
from the table's log alone; of others one column is read, one group of rows of the file at a time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from contender.contracts.contract import Contract
from contender.lake import tables
from contender.performance import quality_windows
from contender.performance.quality_windows import QualityWindow
from contender.reports.dashboard_model import DAYS, MOST_BATCHES, Batch, Cell, Heat, QualityDay, batches_of, leading
from contender.settings import Settings
from contender.values import BATCH, RECEIVED, TIME

if TYPE_CHECKING:
    import pyarrow as pa

_FRUGAL = {"batch_size": 16_384, "batch_readahead": 1, "fragment_readahead": 1}

_QUALITY = (
    "day",
    "model_version",
    "in_training",
    "predictions",
    "mature",
    "mature_share",
    "metric",
    "quality",
    "quality_low",
    "quality_high",
    "estimated_quality",
    "estimated_low",
    "estimated_high",
    "estimate",
    "p95_latency_ms",
)

_DRIFT = (
    "check_end",
    "checked_at",
    "table",
    "column",
    "score",
    "threshold",
    "drifted",
    "season",
    "alarm",
    "why",
)


@dataclass(frozen=True)
class Counts:
    """Rows by day, of the last days that have any, and all rows."""

    days: dict[date, int]
    in_all: int


@dataclass(frozen=True)
class Quality:
    """Days with what was measured and estimated, and windows of days that have enough outcomes; `point` says which."""

    days: list[QualityDay]
    windows: list[QualityWindow]
    point: str


def read_quality(settings: Settings, contract: Contract) -> Quality:
    """The last year of `performance`, one model version for each day; at most 366 rows for each version are held."""
    since = _a_year_before(_newest_in(tables.opened(settings, contract.name, "performance"), "day"))
    if since is None:
        return NO_QUALITY
    columns = [*dict.fromkeys((*_QUALITY, *quality_windows.COLUMNS))]
    rows = tables.read_small(settings, contract.name, "performance", columns, where=[("day", ">=", since)])
    if rows is None or not len(rows):
        return NO_QUALITY
    days = leading(rows.select(_QUALITY).to_pylist())
    shown = {(one.day, one.model_version) for one in days}
    measured = quality_windows.measured_days(rows.select(quality_windows.COLUMNS), contract.kind)
    kept = sorted((one for one in measured if (one.day, one.model_version) in shown), key=lambda one: one.day)
    least = contract.performance.min_outcomes
    windows = quality_windows.windows_of(kept, days[-1].metric, min_outcomes=least, seed=settings.seed)
    return Quality(days, windows, quality_windows.point_in_words(contract.kind, least))


NO_QUALITY = Quality([], [], "")


def read_drift(settings: Settings, use_case: str) -> Heat | None:
    """The last year of `drift`: for each column and day the check that was made last; that many cells are held."""
    delta = tables.opened(settings, use_case, "drift")
    newest = _newest_in(delta, "check_end")
    since = _a_year_before(newest)
    if delta is None or newest is None or since is None:
        return None
    found: dict[str, dict[date, Cell]] = {}
    made: dict[tuple[str, date], datetime] = {}
    for rows in _stream(delta, [*_DRIFT], ("check_end", since)):
        for row in rows.to_pylist():
            name, day = _name(row), row["check_end"] - timedelta(days=1)
            if (name, day) in made and made[name, day] > row["checked_at"]:
                continue
            made[name, day] = row["checked_at"]
            # Reasons are told of the newest check only.
            why = row["why"] if row["check_end"] == newest else ""
            found.setdefault(name, {})[day] = Cell(
                day, row["score"], row["threshold"], row["drifted"], bool(row["season"]), bool(row["alarm"]), why
            )
    return Heat.of(found)


def count_days(settings: Settings, use_case: str, table: str) -> Counts:
    """Rows by the day of the record, for the last 366 days up to the newest."""
    delta = tables.opened(settings, use_case, table)
    if delta is None:
        return Counts({}, 0)
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ["path", "num_records", f"min.{TIME}", f"max.{TIME}"]
    log = pa.table(delta.get_add_actions(flatten=True))
    files = list(zip(*(log[name].to_pylist() for name in names), strict=True)) if len(log) else []
    in_all = sum(rows for _, rows, _, _ in files)
    newest = max((high.date() for *_, high in files if high is not None), default=None)
    since = _a_year_before(newest) or date.min
    counts: Counter[date] = Counter()
    mixed = set()
    for path, rows, low, high in files:
        if high is None or high.date() < since:
            continue
        if low is not None and low.date() == high.date():
            counts[high.date()] += rows
        else:
            mixed.add(path)
    for batch in _batches(delta, mixed, [TIME]):
        days = pc.value_counts(pc.cast(pc.floor_temporal(batch.column(0), unit="day"), pa.timestamp("s")))
        for one in days:
            counts[one["values"].as_py().date()] += one["counts"].as_py()
    return Counts({day: rows for day, rows in sorted(counts.items()) if day >= since}, in_all)


def read_quarantine(settings: Settings, use_case: str) -> tuple[list[Batch], int]:
    """The newest batches with quarantined rows, and all such rows; only as many files are read as these are in."""
    delta = tables.opened(settings, use_case, "quarantine")
    if delta is None:
        return [], 0
    import pyarrow as pa

    log = pa.table(delta.get_add_actions(flatten=True))
    if not len(log):
        return [], 0
    names = ("path", "num_records", f"min.{BATCH}", f"max.{BATCH}")
    files = list(zip(*(log[name].to_pylist() for name in names), strict=True))
    ends = sorted({end for _, _, low, high in files for end in (low, high) if end is not None}, reverse=True)
    since = ends[min(len(ends), MOST_BATCHES) - 1] if ends else 0
    wanted = {path for path, _, _, high in files if high is None or high >= since}
    reasons: dict[int, Counter[str]] = {}
    rows: Counter[int] = Counter()
    received: dict[int, datetime] = {}
    for batch in _batches(delta, wanted, [BATCH, RECEIVED, "reasons"]):
        for number, at, why in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if number < since:
                continue
            rows[number] += 1
            received.setdefault(number, at)
            reasons.setdefault(number, Counter()).update(why or [])
    return batches_of(reasons, rows, received), sum(count for _, count, _, _ in files)


def _name(row: dict[str, Any]) -> str:
    """As `drift.ColumnDrift` calls itself."""
    return str(row["column"]) if row["table"] == "features" else f"{row['table']}.{row['column']}"


def _a_year_before(newest: date | None) -> date | None:
    return None if newest is None else newest - timedelta(days=DAYS - 1)


def _newest_in(delta: "tables.Delta | None", column: str) -> date | None:
    """The latest day in a column: from the table's log, and where that does not tell, from the rows."""
    if delta is None:
        return None
    import pyarrow as pa
    import pyarrow.compute as pc

    log = pa.table(delta.get_add_actions(flatten=True))
    told = log[f"max.{column}"].to_pylist() if f"max.{column}" in log.column_names else [None]
    if None in told:
        told = [pc.max(batch.column(0)).as_py() for batch in _stream(delta, [column])]
    return max((one for one in told if one is not None), default=None)


def _stream(
    delta: "tables.Delta", columns: Sequence[str], least: tuple[str, date] | None = None
) -> "Iterator[pa.RecordBatch]":
    """Rows of a table, some at a time; those whose column of that name is at least so much, or all."""
    import pyarrow.dataset as ds

    condition = None if least is None else ds.field(least[0]) >= least[1]
    yield from tables.dataset_of(delta).to_batches(columns=list(columns), filter=condition, **_FRUGAL)


def _batches(delta: "tables.Delta", paths: set[str], columns: Sequence[str]) -> "Iterator[pa.RecordBatch]":
    """Columns of some of a table's files."""
    if not paths:
        return
    import pyarrow.dataset as ds

    every = tables.dataset_of(delta)
    files = [file for file in every.get_fragments() if file.path in paths]
    yield from ds.FileSystemDataset(files, every.schema, every.format, every.filesystem).to_batches(
        columns=list(columns), **_FRUGAL
    )
