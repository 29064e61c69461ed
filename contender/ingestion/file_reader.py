"""Any landed file as rows of strings: nothing is lost, memory is bounded, and bad rows come with their reason.

Good rows + bad rows = rows of the file; blank lines are not rows.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contender.errors import UnreadableFile
from contender.ingestion.file_format import GZIP_ERRORS, FileForm, json_texts, open_text
from contender.ingestion.line_parsers import UNDECODED, Lines, split_csv, split_json
from contender.ingestion.text_values import render_column

_CHUNK_CHARACTERS = 1 << 26


@dataclass(frozen=True)
class BadRow:
    """A row that could not be taken apart: its number in the file, its text and why."""

    row_number: int
    raw: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file. `columns` holds the good ones, `row_numbers` their numbers (from 1, without the header)."""

    columns: dict[str, list[str | None]]
    row_numbers: list[int]
    bad: list[BadRow] = field(default_factory=list)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_chunks(path: Path, form: FileForm, rows: int = 50_000) -> Iterator[Chunk]:
    """The rows of a file in order, at most `rows` at a time.

    Raises:
        UnreadableFile: the file breaks off or is damaged in the middle; says after how many rows.
    """
    if form.format == "parquet":
        yield from _read_parquet(path, form, rows)
        return
    split = split_csv if form.format == "csv" else split_json
    done = 0
    try:
        with open_text(path, form.compression, form.encoding) as file:
            lines = Lines(file)
            good: list[tuple[str | None, ...] | list[str]] = []
            numbers: list[int] = []
            bad: list[BadRow] = []
            texts: Any = json_texts(file) if form.format == "json" else lines
            for values, raw, reason in split(texts, form):
                done += 1
                if reason:
                    bad.append(BadRow(done, _printable(raw), reason))
                else:
                    good.append(values)
                    numbers.append(done)
                if len(good) + len(bad) >= rows or lines.characters > _CHUNK_CHARACTERS:
                    yield _chunk(form, good, numbers, bad)
                    good, numbers, bad, lines.characters = [], [], [], 0
            if good or bad:
                yield _chunk(form, good, numbers, bad)
    except GZIP_ERRORS:
        raise _broken(path, "gzip", done) from None


def _read_parquet(path: Path, form: FileForm, rows: int) -> Iterator[Chunk]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    done = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=rows):
                columns = [render_column(column) for column in batch.columns]
                first, done = done + 1, done + batch.num_rows
                numbers = list(range(first, done + 1))
                bad: list[BadRow] = []
                wrong = {
                    place
                    for column in columns
                    for place, value in enumerate(column)
                    if value and not value.isascii() and UNDECODED.search(value)
                }
                if wrong:
                    bad = [
                        BadRow(
                            first + place,
                            _printable(json.dumps([column[place] for column in columns], ensure_ascii=False)),
                            "found bytes that are not utf-8",
                        )
                        for place in sorted(wrong)
                    ]
                    keep = [place for place in range(batch.num_rows) if place not in wrong]
                    columns = [[column[place] for place in keep] for column in columns]
                    numbers = [first + place for place in keep]
                yield Chunk(dict(zip(form.header, columns, strict=True)), numbers, bad)
    except (pa.ArrowException, OSError):
        raise _broken(path, "Parquet", done) from None


def _chunk(form: FileForm, good: list[Any], numbers: list[int], bad: list[BadRow]) -> Chunk:
    columns = map(list, zip(*good, strict=True)) if good else ([] for _ in form.header)
    return Chunk(dict(zip(form.header, columns, strict=True)), numbers, bad)


def _printable(raw: str) -> str:
    text = raw.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text.replace("\0", "\\x00")


def _broken(path: Path, kind: str, rows: int) -> UnreadableFile:
    return UnreadableFile(
        f"{path} is a {kind} file that breaks off after {rows:,} row{'s' * (rows != 1)}; needed the whole "
        "file: deliver it again."
    )
