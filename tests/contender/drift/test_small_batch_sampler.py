"""New rows that are counted and sampled a piece at a time."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable, write_deltalake

from contender.drift import small_batch_sampler
from contender.drift.baseline import DAY, Watched
from contender.drift.small_batch_sampler import (
    HASH,
    Drawing,
    bound_of,
    hashes_of,
    pieces_of,
    pieces_of_known,
    share_of_day,
    stored_pieces,
)
from contender.values import BATCH, KEY, TIME

FIRST, SEED, MOST = date(2026, 1, 1), 7, 100
COLUMNS = (Watched("features", "amount", "number"), Watched("features", "shop", "category"))
NAMES = [KEY, DAY, HASH, BATCH, "amount", "shop"]


def stored(days, rows, *, batch=1) -> pa.Table:
    number = np.arange(days * rows)
    amount = np.where(number % 10 == 0, np.inf, number / 7)
    return pa.table(
        {
            KEY: [f"{one:07}" for one in number],
            TIME: pa.array(
                [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=int(one)) for one in number % days],
                pa.timestamp("us", "UTC"),
            ),
            BATCH: pa.array(np.full(len(number), batch), pa.int64()),
            "amount": pa.array(amount, mask=number % 10 == 1),
            "shop": pa.array(["abc"[one % 3] if one % 4 else None for one in number]),
        }
    )


def pieces(rows):
    """As `stored_pieces` gives those of files."""
    return lambda names: (
        pa.Table.from_batches([batch])
        for batch in rows.select(names).to_batches(max_chunksize=small_batch_sampler.PIECE_ROWS)
    )


def in_files(table, after):
    delta = DeltaTable(table)
    return stored_pieces(delta.to_pyarrow_dataset(), pa.schema(delta.schema().to_arrow()), after)


class Counted:
    """Pieces that count the rows which are held at once: those that came and were not let go of."""

    def __init__(self, pieces) -> None:
        self.pieces, self.largest, self.times = pieces, 0, 0

    def __call__(self, names):
        self.times += 1
        for piece in self.pieces(names):
            self.largest = max(self.largest, len(piece))
            yield piece


def test_counts_are_exact_and_the_sample_holds_the_smallest_hashes_of_each_day():
    rows = stored(3, 900)
    drawing = Drawing(pieces_of(pieces(rows), SEED), COLUMNS, NAMES, MOST)
    sample = pa.concat_tables(drawing.sample())
    counted = drawing.counted
    assert list(counted[DAY]) == [FIRST + timedelta(days=day) for day in range(3)]
    assert list(counted["_rows"]) == [900] * 3
    assert list(counted["_until"]) == [1] * 3
    assert counted["amount"].sum() == 540, "what is null or infinite"
    assert counted["shop"].sum() == 675
    bound = bound_of(share_of_day(MOST, 900))
    expected = set(np.array(rows[KEY])[hashes_of(rows[KEY].to_pylist(), SEED) <= bound])
    assert set(sample[KEY].to_pylist()) == expected
    assert sample.column_names == NAMES
    assert sample[DAY].to_pylist() == sorted(sample[DAY].to_pylist())


def test_outcomes_are_those_of_the_records_that_are_sampled():
    records = stored(2, 300)
    known = pa.concat_tables(Drawing(pieces_of(pieces(records), SEED), COLUMNS, [KEY, DAY, HASH], MOST).sample())
    outcomes = pa.table({KEY: records[KEY], BATCH: records[BATCH], "target": np.ones(600)})
    matched = pieces_of_known(pieces(outcomes), ds.dataset(pa.concat_tables([known, known])))
    drawing = Drawing(matched, (Watched("outcomes", "target", "number"),), [KEY, DAY, HASH, BATCH, "target"], MOST)
    sample = pa.concat_tables(drawing.sample())
    assert sorted(sample[KEY].to_pylist()) == sorted(known[KEY].to_pylist()), "each once, whatever was sampled twice"


def test_nothing_new_is_nothing():
    drawing = Drawing(pieces_of(pieces(stored(1, 1).slice(0, 0)), SEED), COLUMNS, NAMES, MOST)
    assert (dict(drawing.rows), len(drawing.counted)) == ({}, 0)


def test_files_are_read_from_the_batch_after_and_lack_what_came_later(tmp_path):
    first, second = stored(2, 50, batch=1).drop_columns("shop"), stored(2, 50, batch=2)
    write_deltalake(tmp_path, first)
    write_deltalake(tmp_path, second, mode="append", schema_mode="merge")
    read = in_files(tmp_path, 0)
    both = pa.concat_tables(read([KEY, BATCH, "shop"]))
    assert both.column_names == [KEY, BATCH, "shop"]
    assert both.filter(pc.field(BATCH) == 1)["shop"].null_count == 100
    newest = pa.concat_tables(in_files(tmp_path, 1)([KEY, "amount"]))
    assert newest.sort_by(KEY).equals(second.select([KEY, "amount"]))


@pytest.mark.slow
def test_the_rows_that_are_held_at_once_do_not_grow_with_the_table(tmp_path, monkeypatch):
    """Ten times the rows of a day, and ten times the days, with the same few rows at a time."""
    monkeypatch.setattr(small_batch_sampler, "_HELD_VALUES", 500 * len(NAMES))
    largest = []
    for days, rows in ((4, 10_000), (4, 100_000), (40, 10_000)):
        table = tmp_path / f"{days}-{rows}"
        write_deltalake(table, stored(days, rows))
        counted = Counted(pieces_of(in_files(table, 0), SEED))
        drawing = Drawing(counted, COLUMNS, NAMES, MOST)
        written = [len(piece) for piece in drawing.sample()]
        assert counted.times == 2, "once for the days, once for the rows"
        assert sum(written) < 2 * MOST * days
        largest.append((counted.largest, max(written)))
    assert all(came <= small_batch_sampler.PIECE_ROWS and written <= 500 + 2 * MOST * 4 for came, written in largest), (
        largest
    )
