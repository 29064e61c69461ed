"""What came since the last time, where it is little: counted and sampled in this process, as Spark would do it.

It is read twice, a piece at a time, so that what is held does not grow with it: once for the rows of each day, which
say how many of them to keep, and once for what is kept.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from contender.drift.baseline import DAY, Watched
from contender.values import BATCH, KEY, TIME

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.dataset as ds

HASH, HASH_BITS = "_hash", 60
"""Column of a sample: the seeded hash of the record's key, the first fifteen digits of an MD5 in hexadecimal."""

PIECE_ROWS = 65_536
"""Rows that are looked at at once."""

_HELD_VALUES = 8_000_000
"""So many sampled values wait to be sorted by day before they are written, so that a few days are read back fast."""

_SMALL_BYTES, _BUFFER_BYTES = 32 * 2**20, 2**18
"""Files up to so large are read in one go, and larger ones through a buffer of so much for each column."""

_FRUGAL = {"batch_readahead": 1, "fragment_readahead": 1}

Pieces = Callable[[Sequence[str]], "Iterator[pa.Table]"]
"""Gives the new rows from the start, with the columns that are asked for, at most `PIECE_ROWS` at a time."""


def bound_of(share: float) -> int:
    """The hash that such a share of all hashes does not exceed."""
    return int(min(share, 1.0) * 2**HASH_BITS)


def share_of_day(most: int, rows: int) -> float:
    """Which share of a day's rows to keep, so that hardly ever fewer than `most` are."""
    return min(1.0, (most + 4 * sqrt(most) + 10) / rows)


def hashes_of(keys: Iterable[str], seed: int) -> "np.ndarray[Any, Any]":
    """Hashes that Spark computes alike, shape (keys,)."""
    head = f"{seed}/"
    digests = [hashlib.md5((head + key).encode(), usedforsecurity=False).digest()[:8] for key in keys]
    return (np.frombuffer(b"".join(digests), dtype=">u8") >> (64 - HASH_BITS)).astype(np.int64)


def stored_pieces(files: "ds.FileSystemDataset", types: "pa.Schema", after: int) -> Pieces:
    """The rows of later batches in Parquet files, with the types of their table.

    They are read one file after the other, as the scanner of a dataset reads some whole files ahead.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow.parquet import ParquetFile

    def read(names: Sequence[str]) -> "Iterator[pa.Table]":
        schema = pa.schema([types.field(name) for name in sorted({*names, BATCH})])
        for file in files.get_fragments():
            with files.filesystem.open_input_file(file.path) as opened:
                small = opened.size() <= _SMALL_BYTES
                stored = ParquetFile(opened, buffer_size=0 if small else _BUFFER_BYTES, pre_buffer=small)
                known = set(stored.schema_arrow.names)
                there = [name for name in schema.names if name in known]
                for batch in stored.iter_batches(PIECE_ROWS, columns=there):
                    piece = pa.Table.from_batches([batch])
                    for name in set(schema.names) - set(there):
                        piece = piece.append_column(name, pa.nulls(len(piece), schema.field(name).type))
                    piece = piece.select(schema.names)
                    piece = piece if piece.schema.types == schema.types else piece.cast(schema)
                    if pc.min(piece[BATCH]).as_py() <= after:
                        piece = piece.filter(pc.field(BATCH) > after)
                    yield piece.select(list(names))

    return read


def pieces_of(rows: Pieces, seed: int) -> Pieces:
    """Records with their day and hash, which are made of `_time` and `_key`."""
    import pyarrow as pa

    def read(names: Sequence[str]) -> "Iterator[pa.Table]":
        stored = [name for name in names if name not in (DAY, HASH)]
        for piece in rows(sorted({TIME, *stored, *([KEY] if HASH in names else [])})):
            piece = piece.append_column(DAY, _days(piece[TIME]))
            if HASH in names:
                piece = piece.append_column(HASH, pa.array(hashes_of(piece[KEY].to_pylist(), seed)))
            yield piece.select(list(names))

    return read


def pieces_of_known(rows: Pieces, known: "ds.Dataset") -> Pieces:
    """Rows of the records that are known, with the day and the hash that these have there."""
    import pyarrow.dataset as ds

    def read(names: Sequence[str]) -> "Iterator[pa.Table]":
        stored = [name for name in names if name not in (DAY, HASH)]
        for piece in rows(sorted({KEY, *stored})):
            wanted = ds.field(KEY).isin(piece[KEY])
            records = known.to_table(columns=[KEY, DAY, HASH], filter=wanted, batch_size=PIECE_ROWS, **_FRUGAL)
            each = records.group_by([KEY, DAY, HASH]).aggregate([])
            yield piece.join(each, keys=KEY, join_type="inner").select(list(names))

    return read


class Drawing:
    """The sample of new rows, and their exact counts, which are whole once all of the sample was drawn."""

    def __init__(self, pieces: Pieces, columns: Sequence[Watched], names: Sequence[str], most: int) -> None:
        """Count the rows of each day.

        Args:
            names: what the sample is to have.
            most: about so many rows of each day are kept, those with the smallest hashes.
        """
        self._pieces, self._columns, self._names = pieces, columns, tuple(names)
        rows: dict[Any, int] = {}
        for piece in pieces([DAY]):
            for one in piece[DAY].value_counts().to_pylist():
                rows[one["values"]] = rows.get(one["values"], 0) + one["counts"]
        self.rows: Mapping[Any, int] = dict(sorted(rows.items()))
        self._bounds = np.array([bound_of(share_of_day(most, count)) for count in self.rows.values()], dtype=np.int64)
        self._until = np.full(len(rows), -1, dtype=np.int64)
        self._missing = np.zeros((len(rows), len(columns)), dtype=np.int64)

    @property
    def counted(self) -> "pd.DataFrame":
        """`_day`, `_rows`, `_until` (the newest batch) and the missing values of each column, one row for each day."""
        import pandas as pd

        missing = dict(zip([column.name for column in self._columns], self._missing.T, strict=True))
        return pd.DataFrame({DAY: list(self.rows), "_rows": self.rows.values(), "_until": self._until, **missing})

    def sample(self) -> "Iterator[pa.Table]":
        """The sampled rows, sorted by day as far as they are held at once."""
        import pyarrow as pa

        most, held, waiting = max(_HELD_VALUES // len(self._names), 1), 0, []
        for piece in self._pieces(sorted({*self._names, DAY, HASH, BATCH, *(one.name for one in self._columns)})):
            days = self._count(piece)
            kept = piece.filter(pa.array(piece[HASH].to_numpy() <= self._bounds[days])).select(list(self._names))
            waiting.append(kept)
            held += len(kept)
            if held >= most:
                yield pa.concat_tables(waiting).sort_by(DAY)
                held, waiting = 0, []
        if waiting:
            yield pa.concat_tables(waiting).sort_by(DAY)

    def _count(self, piece: "pa.Table") -> "np.ndarray[Any, Any]":
        """Add a piece to the counts; which day each of its rows is of."""
        import pyarrow as pa
        import pyarrow.compute as pc

        order = pa.array(list(self.rows), pa.date32())
        days: np.ndarray[Any, Any] = pc.index_in(piece[DAY], value_set=order).to_numpy()
        np.maximum.at(self._until, days, piece[BATCH].to_numpy())
        for place, column in enumerate(self._columns):
            values = piece[column.name]
            missing = ~np.isfinite(values.to_numpy()) if column.kind == "number" else pc.is_null(values).to_numpy()
            self._missing[:, place] += np.bincount(days[missing], minlength=len(self.rows))
        return days


def _days(times: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.cast(pc.floor_temporal(times, unit="day"), pa.date32())
