"""What came since the last time, where it is little: counted and sampled in this process, as Spark would do it."""

import hashlib
from collections.abc import Iterable, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

from contender.ordinary import DAY, Watched
from contender.values import BATCH, KEY, TIME

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

HASH, HASH_BITS = "_hash", 60
"""Column of a sample: the seeded hash of the record's key, the first fifteen digits of an MD5 in hexadecimal."""


_FRUGAL = {"batch_readahead": 1, "fragment_readahead": 1}


def bound_of(share: float) -> int:
    """The hash that such a share of all hashes does not exceed."""
    return int(min(share, 1.0) * 2**HASH_BITS)


def share_of_day(most: int, rows: int) -> float:
    """Which share of a day's rows to keep, so that hardly ever fewer than `most` are."""
    return min(1.0, (most + 4 * sqrt(most) + 10) / rows)


def hash_of(key: str, seed: int) -> int:
    """A hash that Spark computes alike."""
    return int(hashlib.md5(f"{seed}/{key}".encode(), usedforsecurity=False).hexdigest()[:15], 16)


def count_and_sample(
    rows: "ds.Dataset", columns: Sequence[Watched], names: Sequence[str], most: int, seed: int
) -> "tuple[pd.DataFrame, pa.Table]":
    """Exact counts by day, and of each day the rows with the smallest hashes, about `most`; a piece at a time.

    Args:
        rows: with `_key` and `_batch`, and either `_time` or what is made of it, `_day` and `_hash`.
        names: what the sample is to have.

    Returns:
        `_day`, `_rows`, `_until` (the newest batch) and the missing values of each column, one row for each day; and
        the sample.
    """
    import pandas as pd
    import pyarrow as pa

    made = DAY in rows.schema.names
    days = rows.to_table(columns=[DAY if made else TIME])
    sizes = (days[DAY] if made else _days(days[TIME])).to_pandas().value_counts()
    bounds = {day: bound_of(share_of_day(most, int(count))) for day, count in sizes.items()}
    wanted = [name for name in names if made or name not in (DAY, HASH)]
    counted, sampled = [], []
    for batch in rows.to_batches(columns=wanted if made else [TIME, *wanted], batch_size=65_536, **_FRUGAL):
        piece = pa.Table.from_batches([batch])
        if not made:
            hashes = pa.array([hash_of(key, seed) for key in piece[KEY].to_pylist()], pa.int64())
            piece = piece.append_column(DAY, _days(piece[TIME])).append_column(HASH, hashes)
        own = piece[DAY].to_pandas()
        counted.append(_count(piece, own, columns))
        below = piece[HASH].to_numpy() <= own.map(bounds).to_numpy(dtype="int64")
        sampled.append(piece.filter(below).select(list(names)))
    if not len(sizes):
        return pd.DataFrame(), pa.table({})
    grouped = pd.concat(counted).groupby(level=0)
    found = grouped.sum().assign(_until=grouped["_until"].max()).rename_axis(DAY).reset_index()
    return found, pa.concat_tables(sampled).sort_by(DAY)


def _days(times: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(pc.floor_temporal(times, unit="day"), pa.date32())


def _count(piece: "pa.Table", days: "pd.Series[Any]", columns: Iterable[Watched]) -> "pd.DataFrame":
    import pandas as pd
    import pyarrow.compute as pc

    missing = {}
    for column in columns:
        there = pc.is_valid(piece[column.name])
        if column.kind == "number":
            there = pc.fill_null(pc.is_finite(piece[column.name]), False)
        missing[column.name] = ~there.to_numpy()
    by = days.to_numpy()
    batches = pd.Series(piece[BATCH].to_numpy()).groupby(by)
    return pd.DataFrame(missing).groupby(by).sum().assign(_rows=batches.size(), _until=batches.max())
