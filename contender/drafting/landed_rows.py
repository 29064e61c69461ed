"""All rows of some files as text in Parquet, read as ingest reads them, and questions about them in DuckDB.

Cells are trimmed, as ingest trims them; memory is bounded by a chunk of a file and by DuckDB's limit.
"""

import re
import shutil
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.errors import UsageError
from contender.ingestion.cell_forms import BLANKS
from contender.ingestion.file_format import FileForm, describe
from contender.ingestion.file_reader import read_chunks
from contender.ingestion.line_parsers import FIELD_LIMIT
from contender.ingestion.text_values import composed

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Progress = Callable[[str], None]
ROW, FILE, NUMBER = "_row", "_file", "_number"
"""Columns of `landed` beside `c0`, `c1`, …: a row's place among all rows, its file's, and its number in the file."""

_SMALL = 16 << 20
_BLOCK = 4 << 20
_MEMORY = "700MB"
_HELD = 32 << 20
"""So many bytes of Parquet are held in memory."""
_KNOWN = {"format", "compression", "header", "encoding", "delimiter", "quotechar"}
_SHOWN = 3
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Texts:
    """What stands in a column: how often each text, without those that are empty.

    Where there are more than 5,000 different ones `whole` is false, and `counts` holds a few texts of every shape
    (texts that differ in digits alone), which stand for all of their shape.
    """

    counts: Mapping[str, int]
    rows: int
    empty: int
    distinct: int
    whole: bool = True

    @property
    def present(self) -> int:
        return self.rows - self.empty

    @classmethod
    def of(cls, values: Sequence[str | None]) -> "Texts":
        """Of values in memory."""
        counts = Counter(text for value in values if value is not None and (text := value.strip(BLANKS)))
        return cls(counts, len(values), len(values) - counts.total(), len(counts))


@dataclass(frozen=True)
class LandedRows:
    """Every good row of the files, in the natural order of the files' names.

    `lacking` names, for a column that not all files have, the files without it; `unused` are columns of Parquet that
    hold lists or structures, which ingest leaves out; `bad` counts rows that could not be taken apart, by reason, with
    up to three samples of each in `bad_samples`.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    rows: int
    lacking: Mapping[str, tuple[str, ...]]
    unused: tuple[str, ...]
    bad: Counter[str]
    bad_samples: Mapping[str, tuple[str, ...]]
    delimiters: frozenset[str]
    connection: "duckdb.DuckDBPyConnection"

    def cell(self, name: str) -> str:
        """The column's text as an expression over the table `landed`."""
        return f"c{self.names.index(name)}"

    def ask(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a query gives; `landed` is the table."""
        return self.connection.execute(query, list(values)).fetchall()

    def one(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The first row that a query gives."""
        return self.ask(query, values)[0]

    def texts_of(self, name: str, most: int = 5_000, shapes: int = 5_000) -> Texts:
        """What stands in a column, of all rows."""
        cell = self.cell(name)
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE texts AS SELECT {cell} AS v, count(*) AS n FROM landed "
            f"WHERE {cell} IS NOT NULL AND {cell} != '' GROUP BY 1"
        )
        distinct, present = self.one("SELECT count(*), coalesce(sum(n), 0) FROM texts")
        if distinct <= most:
            counts = dict(self.ask("SELECT v, n FROM texts ORDER BY n DESC, v"))
        else:
            counts = {}
            # What is most frequent stands for itself: a spelling of a missing value has a shape of its own or not.
            found = self.ask(
                "SELECT sum(n), list_distinct([min(v), max(v)] || min_by(v, hash(v), 6) || max_by(v, n, 2)) "
                "FROM texts GROUP BY translate(v, '123456789', '000000000') ORDER BY 1 DESC, 2 LIMIT ?",
                [shapes],
            )
            for weight, shown in found:
                for place, text in enumerate(sorted(shown)):
                    counts[text] = weight // len(shown) + (place < weight % len(shown))
        self.connection.execute("DROP TABLE texts")
        return Texts(counts, self.rows, self.rows - int(present), distinct, distinct <= most)


def read_all(files: Sequence[Path], progress: Progress = lambda _: None, *, header: bool = True) -> LandedRows:
    """All rows of the files, of all their columns; a column that a file lacks is missing there.

    Args:
        header: whether CSV begins with a row of names; without one the columns are called by their places.

    Raises:
        UsageError: no such file, or no row in any.
        UnreadableFile: a file cannot be read.
    """
    import duckdb
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for path in files:
        if not path.is_file():
            raise UsageError(f"There is no file {path}; needed files that are there: check the path.")
    ordered = sorted(files, key=lambda path: natural(path.name))
    forms = [describe(path, None if header else ()) for path in ordered]
    names = tuple(dict.fromkeys(name for form in forms for name in form.header if name not in form.unused))
    unused = tuple(dict.fromkeys(name for form in forms for name in form.unused if name not in names))
    lacking = {
        name: lacks
        for name in names
        if (
            lacks := tuple(
                path.name
                for path, form in zip(ordered, forms, strict=True)
                if name not in form.header or name in form.unused
            )
        )
    }
    folder = Path(tempfile.mkdtemp(prefix="contender-draft-"))
    text = pa.string()
    schema = pa.schema(
        [
            (FILE, pa.int32()),
            (ROW, pa.int64()),
            (NUMBER, pa.int64()),
            *((f"c{place}", text) for place in range(len(names))),
        ]
    )
    rows, told = 0, time.monotonic()
    bad: Counter[str] = Counter()
    samples: dict[str, list[str]] = {}

    def write(place: int, tables: "Iterator[_Rows]", writer: "pq.ParquetWriter") -> None:
        nonlocal rows, told
        for part in tables:
            rows += part.count
            for reason, shown in part.bad:
                bad[reason] += 1
                samples.setdefault(reason, [])
                if len(samples[reason]) < _SHOWN:
                    samples[reason].append(f"{ordered[place].name}: {shown[:80]}")
            if part.count:
                columns = [
                    pa.nulls(part.count, text)
                    if name not in part.columns or name in forms[place].unused
                    else pc.utf8_trim(part.columns[name], BLANKS)
                    if part.blanks
                    else part.columns[name]
                    for name in names
                ]
                first = rows - part.count
                places = pa.array(np.arange(first, rows))
                files_of = pa.array(np.full(part.count, place, dtype=np.int32))
                writer.write_table(
                    pa.Table.from_arrays(
                        [files_of, places, pa.array(part.numbers, pa.int64()), *columns], schema=schema
                    )
                )
            if time.monotonic() - told > _PAUSE_SECONDS:
                told = time.monotonic()
                progress(f"read {rows:,} rows, in file {place + 1:,} of {len(ordered):,}")

    shared = None
    for place, (path, form) in enumerate(zip(ordered, forms, strict=True)):
        if path.stat().st_size <= _SMALL:
            shared = shared or pq.ParquetWriter(folder / "small.parquet", schema, compression="lz4")
            write(place, iter(_whole(path, form)), shared)
            continue
        if plain := _is_plain(path, form):
            before = rows, bad.copy(), {reason: list(shown) for reason, shown in samples.items()}
            try:
                with pq.ParquetWriter(folder / f"{place:06}.parquet", schema, compression="lz4") as writer:
                    write(place, _fast(path, form, plain), writer)
                continue
            except _NotPlain:
                rows, bad, samples = before
        with pq.ParquetWriter(folder / f"{place:06}.parquet", schema, compression="lz4") as writer:
            write(place, _slow(path, form), writer)
    if shared is not None:
        shared.close()
    if rows == 0:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(f"{ordered[0]} holds no row that can be read; needed at least one: check its delimiter.")
    connection = duckdb.connect(config={"memory_limit": _MEMORY, "temp_directory": str(folder / "spilled")})
    # Of hundreds of columns the description alone takes 20 ms to read, at each of thousands of questions.
    size = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    kind = "TABLE" if size <= _HELD else "VIEW"
    connection.execute(
        f"CREATE {kind} landed AS SELECT * FROM read_parquet('{str(folder).replace(chr(39), chr(39) * 2)}/*.parquet')"
    )
    found = LandedRows(
        tuple(ordered),
        names,
        rows,
        lacking,
        unused,
        bad,
        {reason: tuple(shown) for reason, shown in samples.items()},
        frozenset(form.delimiter for form in forms),
        connection,
    )
    weakref.finalize(connection, shutil.rmtree, folder, ignore_errors=True)
    return found


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Order of names as people count: `part-9` before `part-10`."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part)


@dataclass(frozen=True)
class _Rows:
    columns: "Mapping[str, pa.Array]"
    numbers: Any
    bad: Sequence[tuple[str, str]] = ()
    blanks: bool = True

    @property
    def count(self) -> int:
        return len(self.numbers)


class _NotPlain(Exception):
    """Only the careful reader can take this file apart."""


def _whole(path: Path, form: FileForm) -> list[_Rows]:
    if plain := _is_plain(path, form):
        try:
            return list(_fast(path, form, plain))
        except _NotPlain:
            pass
    return list(_slow(path, form))


def _slow(path: Path, form: FileForm) -> Iterator[_Rows]:
    import pyarrow as pa

    for chunk in read_chunks(path, form):
        columns = {name: pa.array(composed(values), pa.string()) for name, values in chunk.columns.items()}
        yield _Rows(columns, chunk.row_numbers, [(row.reason, row.raw) for row in chunk.bad])


def _fast(path: Path, form: FileForm, plain: "_Plain") -> Iterator[_Rows]:
    """The rows of a CSV file in which lines and delimiters alone say where cells end."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    done = 0
    try:
        with csv.open_csv(
            path,
            csv.ReadOptions(column_names=list(form.header), skip_rows=1, block_size=_BLOCK),
            csv.ParseOptions(delimiter=form.delimiter, quote_char=form.quotechar, double_quote=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(form.header, pa.string()), strings_can_be_null=False, check_utf8=True
            ),
        ) as reader:
            for batch in reader:
                columns = {n: _composed(one) for n, one in zip(form.header, batch.columns, strict=True)}
                if batch.num_rows and max(pc.max(pc.binary_length(one)).as_py() for one in batch.columns) > FIELD_LIMIT:
                    raise _NotPlain
                yield _Rows(columns, np.arange(done + 1, done + batch.num_rows + 1), blanks=plain.blanks)
                done += batch.num_rows
    except pa.ArrowInvalid:
        raise _NotPlain from None


def _composed(cells: "pa.Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.all(pc.string_is_ascii(cells)).as_py() is not False:
        return cells
    return pa.array(composed(cells.to_pylist()), pa.string())


@dataclass(frozen=True)
class _Plain:
    """A file whose lines and delimiters alone say where cells end; whether blanks may stand around a cell's text."""

    blanks: bool


def _is_plain(path: Path, form: FileForm) -> _Plain | None:
    """Told from all bytes: quotes, if there are any, enclose whole cells on one line, and nothing else needs care."""
    if form.format != "csv" or form.compression or form.encoding not in ("utf-8", "utf-8-sig"):
        return None
    if any(getattr(form, one.name) for one in fields(form) if one.name not in _KNOWN):
        return None
    if not (form.delimiter + form.quotechar).isascii() or form.delimiter == " ":
        return None
    edges = [form.delimiter.encode(), b"\n"]
    quoted = [form.quotechar.encode() + b" ", b" " + form.quotechar.encode()]
    beside = [pair for edge in edges for pair in (edge + b" ", b" " + edge)] + [b" \r"]
    beside += [blank for blank in (b"\t", b"\f", b"\v") if blank not in edges]
    blanks, rest = False, b""
    with path.open("rb") as file:
        first = file.readline().removeprefix(b"\xef\xbb\xbf")
        if not first.strip() or first.count(form.quotechar.encode()) % 2:
            return None
        while block := file.read(_BLOCK):
            block = rest + block
            end = block.rfind(b"\n") + 1
            block, rest = (block[:end], block[end:]) if end else (b"", block)
            if len(rest) > _BLOCK or not _plain_block(block, form):
                return None
            blanks = blanks or not block.isascii() or any(pair in block for pair in (*beside, *quoted))
    rest += b"\n"
    blanks = blanks or not rest.isascii() or any(pair in rest for pair in (*beside, *quoted))
    return _Plain(blanks) if _plain_block(rest, form) else None


def _plain_block(block: bytes, form: FileForm) -> bool:
    """Whether whole lines are plain: a quote that opens stands before a cell, the next one behind it on the line."""
    import numpy as np

    if b"\0" in block or block.count(b"\r") != block.count(b"\r\n"):
        return False
    signs = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(signs == ord(form.quotechar))
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    ends = np.flatnonzero((signs == ord("\n")) | (signs == ord("\r")))
    on_one_line = np.searchsorted(ends, opening) == np.searchsorted(ends, closing)
    edges = [ord(form.delimiter), ord("\n")]
    before, behind = (
        np.isin(signs[opening - 1], edges) | (opening == 0),
        np.isin(signs[closing + 1], [*edges, ord("\r")]),
    )
    return bool((on_one_line & before & behind).all())
