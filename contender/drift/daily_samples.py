"""What daily samples hold, and what is made of them: the rows of some days, exact counts, sides to compare."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from contender.contracts.contract import Contract
from contender.drift import small_batch_sampler
from contender.drift.baseline import DAY, Side, Source, Watched, is_missing
from contender.drift.small_batch_sampler import HASH
from contender.features import transforms
from contender.lake import tables
from contender.settings import Settings
from contender.values import BATCH, FILE, KEY, ROW, TARGET

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

SOURCES: tuple[Source, ...] = ("features", "predictions", "outcomes")
COUNTS = "sample_days"
"""The table of the exact counts, one row for a day of each update."""

_RECEIVED = (FILE, ROW)


def watched_columns(contract: Contract, source: Source) -> tuple[Watched, ...]:
    """The columns of a table that are watched. Times only ever grow, and texts have no distribution."""
    if source == "predictions":
        return (Watched(source, "score", "number"),)
    if source == "outcomes":
        return (Watched(source, TARGET, "category" if contract.kind == "multiclass" else "number"),)
    return tuple(
        Watched(source, column.name, "number" if column.kind == "number" else "category")
        for column in contract.model_columns
        if column.kind in ("number", "category")
    )


def kept_beside(contract: Contract, source: Source) -> tuple[str, ...]:
    """What a sample keeps besides the watched columns: what a model needs, and what tells rows apart."""
    if source == "predictions":
        return ("model_version",)
    if source == "outcomes":
        return _RECEIVED
    watched = {column.name for column in watched_columns(contract, source)}
    return tuple(column.name for column in contract.model_columns if column.name not in watched)


def stored_names(contract: Contract, source: Source, names: Iterable[str]) -> dict[str, str]:
    """How the lake calls columns of a table, by what they are called everywhere else."""
    own = contract.stored_names if source == "features" else {}
    return {name: own.get(name, name) for name in names}


def newest_day(settings: Settings, contract: Contract) -> date | None:
    """The newest day of which there are records; None while nothing was sampled."""
    return progress_of(settings, contract, "features").newest


def rows_by_day(settings: Settings, contract: Contract, first: date, last: date) -> dict[date, int]:
    """How many records each day in `[first, last)` has, in their order; days without any are left out."""
    return _by_day(_counts(settings, contract, first, last, ["rows"]), first, last)


def side_of(
    settings: Settings,
    contract: Contract,
    source: Source,
    first: date,
    last: date,
    *,
    most: int,
    only: "Callable[[pd.DataFrame], Any] | None" = None,
) -> Side:
    """The rows of a table in `[first, last)`: all days at the same rate, about `most` rows together.

    Args:
        only: which rows of the sample to take, as a mask; counted is then what was taken.
    """
    (found,) = sides_of(settings, contract, source, [(first, last)], most=most, only=only)
    return found


def sides_of(
    settings: Settings,
    contract: Contract,
    source: Source,
    windows: Sequence[tuple[date, date]],
    *,
    most: int,
    only: "Callable[[pd.DataFrame], Any] | None" = None,
    columns: Sequence[Watched] | None = None,
) -> list[Side]:
    """One side for each window, as `side_of` gives it; all are read in one go, each at its own rate.

    Args:
        columns: some of those that are watched, instead of all that is kept.
    """
    exact = source == "features" and only is None
    watched = watched_columns(contract, source) if columns is None else columns
    span = min(first for first, _ in windows), max(last for _, last in windows)
    counts: list[dict[str, Any]] = []
    if _is_sampled(settings, contract, source):
        counts = _counts(settings, contract, *span, ["rows", "missing"] if exact else ["rows"])
    by_days = [_by_day(counts, *window) for window in windows]
    rates = [rate_of(contract, days, most / max(sum(days.values()), 1)) for days in by_days]
    every = sorted({day for days in by_days for day in days})
    sample = read_sample(settings, contract, source, every, max(rates), columns)
    found = []
    for window, days, rate in zip(windows, by_days, rates, strict=True):
        frame = (
            sample
            if len(windows) == 1
            else sample[(sample[HASH] <= small_batch_sampler.bound_of(rate)) & sample[DAY].isin(list(days))]
        )
        if only is not None:
            frame = frame[only(frame)]
        frame = frame.reset_index(drop=True)
        if exact:
            found.append(Side(*window, frame, sum(days.values()), _missing_in(counts, *window, watched)))
        else:
            missing = {column.name: int(frame[column.name].isna().sum()) for column in watched}
            found.append(Side(*window, frame, len(frame), missing))
    return found


def rate_of(contract: Contract, by_day: Mapping[date, int], wanted: float) -> float:
    """The highest rate, up to the one wanted, at which no day needs more rows than its sample has."""
    return min(1.0, wanted, contract.drift.day_rows / max(by_day.values())) if by_day else 1.0


def read_sample(
    settings: Settings,
    contract: Contract,
    source: Source,
    days: Sequence[date],
    rate: float = 1.0,
    columns: Sequence[Watched] | None = None,
) -> "pd.DataFrame":
    """Sampled rows of some days, each record once: `_key`, `_day`, and all that is kept of the table.

    Args:
        rate: share of a day's rows; only what the day's sample has can be given.
        columns: some of those that are watched, instead of all that is kept.
    """
    import pandas as pd
    import pyarrow.dataset as ds

    watched = watched_columns(contract, source) if columns is None else tuple(columns)
    also = kept_beside(contract, source) if columns is None else ()
    names = [KEY, DAY, HASH, BATCH, *also, *(column.name for column in watched)]
    received = [HASH, KEY, BATCH, *(_RECEIVED if source == "outcomes" else ())]
    wanted = ds.field(DAY).isin(list(days)) & (ds.field(HASH) <= small_batch_sampler.bound_of(rate))
    location = tables.path_of(settings, contract.name, table_of(settings, contract, source))
    known_as = stored_names(contract, source, names)
    found = _of_days(location, days, sorted({*known_as.values(), *received}), wanted)
    if found is None:
        return pd.DataFrame({name: [] for name in names}).astype(types_of(watched))
    kept = _each_once(found.sort_by([(name, "ascending") for name in received]))
    numbers = {column.name for column in watched if column.kind == "number"}
    return pd.DataFrame({name: _plain(kept[known_as[name]], is_number=name in numbers) for name in names})


def types_of(watched: Iterable[Watched]) -> dict[str, str]:
    """Types of the watched columns in a frame: a column without any value comes back from a file without one."""
    return {column.name: "float64" if column.kind == "number" else "object" for column in watched}


def table_of(settings: Settings, contract: Contract, source: Source) -> str:
    """Where the sample of a table is; other features, or another seed, make other samples."""
    return f"samples/{source}-{definition(settings, contract)}"


def definition(settings: Settings, contract: Contract) -> str:
    """What the samples depend on besides the records."""
    return f"{transforms.definition_of(contract)}-{settings.seed}"


@dataclass(frozen=True)
class Progress:
    """What was sampled of a table: up to which batch, at which version, and the newest day; -1 and None of nothing."""

    batch: int = -1
    version: int = -1
    newest: date | None = None


def progress_of(settings: Settings, contract: Contract, source: Source) -> Progress:
    """How far a table was sampled, from the log of the counts alone.

    Each file of the counts is of one update of one table, until somebody joins them.
    """
    import pyarrow.compute as pc

    delta = tables.opened(settings, contract.name, COUNTS)
    if delta is None:
        return Progress()
    mine = {"source": source, "definition": definition(settings, contract)}
    log = tables.log_of(delta)
    names = {"until": "max.until", "version": "max.version", DAY: f"max.{DAY}"}
    if any(not log[f"min.{name}"].equals(log[f"max.{name}"]) for name in mine):
        names = {name: name for name in names}
        log = tables.dataset_of(delta).to_table(columns=[*mine, *names])
        found = log.filter(pc.and_(*[pc.equal(log[name], value) for name, value in mine.items()]))
    else:
        found = log.filter(pc.and_(*[pc.equal(log[f"min.{name}"], value) for name, value in mine.items()]))
    if not len(found):
        return Progress()
    return Progress(*(pc.max(found[names[name]]).as_py() for name in ("until", "version", DAY)))


def _plain(values: "pa.ChunkedArray", *, is_number: bool) -> Any:
    """Numbers as floats, those that are infinite missing; all else as pandas has it, strings and days as objects."""
    import numpy as np
    import pyarrow as pa

    if not is_number:
        plain = values.to_pandas()
        return plain.astype(object) if plain.dtype == bool else plain
    floats = values.cast(pa.float64()).to_numpy()
    return np.where(is_missing(floats), np.nan, floats)


def _each_once(rows: "pa.Table") -> "pa.Table":
    """The last row of each record, of rows in the order of their hashes and keys."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    hashes = rows[HASH].to_numpy()
    if not (hashes[1:] == hashes[:-1]).any():
        return rows
    keys = rows[KEY].combine_chunks()
    last = np.append(pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False), True)
    return rows.filter(pa.array(last))


def _of_days(location: str, days: Sequence[date], names: Sequence[str], wanted: "ds.Expression") -> "pa.Table | None":
    """Rows of a table that has `_day`, in whose files the other days are skipped; None without table or days."""
    import pyarrow.dataset as ds

    delta = tables.opened_at(location) if len(days) else None
    if delta is None:
        return None
    first, last = min(days), max(days)
    every = tables.dataset_of(delta, where=f"{DAY} >= '{first}' AND {DAY} <= '{last}'")
    within = (ds.field(DAY) >= first) & (ds.field(DAY) <= last)
    return every.to_table(columns=list(names), filter=within & wanted)


def _is_sampled(settings: Settings, contract: Contract, source: Source) -> bool:
    return tables.opened(settings, contract.name, table_of(settings, contract, source)) is not None


def _counts(
    settings: Settings, contract: Contract, first: date, last: date, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Counts of the features in `[first, last)`, one for a day of each update."""
    import pyarrow.dataset as ds

    days = [first, last - timedelta(days=1)] if first < last else []
    wanted = (ds.field("source") == "features") & (ds.field("definition") == definition(settings, contract))
    found = _of_days(tables.path_of(settings, contract.name, COUNTS), days, [DAY, *names], wanted)
    return [] if found is None else found.to_pylist()


def _by_day(counts: Sequence[Mapping[str, Any]], first: date, last: date) -> dict[date, int]:
    found: Counter[date] = Counter()
    for row in counts:
        if first <= row[DAY] < last:
            found[row[DAY]] += row["rows"]
    return dict(sorted(found.items()))


def _missing_in(
    counts: Sequence[Mapping[str, Any]], first: date, last: date, columns: Iterable[Watched]
) -> dict[str, int]:
    """Missing values of some columns of the features."""
    found: Counter[str] = Counter()
    for row in counts:
        if first <= row[DAY] < last:
            found.update(dict(row["missing"]))
    return {column.name: found[column.name] for column in columns}
