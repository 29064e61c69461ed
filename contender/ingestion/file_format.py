"""What kind of file has landed: format, compression, encoding, delimiter and column names.

Column names are normalised the same way on every read: stripped; each of the characters space , ; { } ( ) newline tab =
becomes "_" (a Delta table cannot have them); a leading "_" becomes "x_" (names of ours start with "_"); an empty name
becomes "column_N" by its place.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from contender.errors import UnreadableFile
from contender.ingestion.sniffing import binary_kind, delimiter_of, encoding_of, quotechar_of

GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)
_SAMPLE_BYTES = 1 << 20
_HEADER_ROWS = 20_000
_TABOO = str.maketrans(dict.fromkeys(" ,;{}()\n\r\t=", "_"))


@dataclass(frozen=True)
class FileForm:
    """How a file is to be read. `encoding` is empty for Parquet, `delimiter` and `quotechar` for all but CSV.

    The header of JSON lines is every key of the first 20,000 objects, in order of appearance.
    """

    format: Literal["csv", "jsonl", "parquet"]
    compression: Literal["gz"] | None
    header: tuple[str, ...]
    encoding: str = ""
    delimiter: str = ""
    quotechar: str = ""


def normalise(name: str) -> str:
    """A column name as a table may carry it; empty stays empty."""
    clean = name.strip().lstrip("\ufeff").translate(_TABOO)
    return f"x{clean}" if clean.startswith("_") else clean


def describe(path: Path) -> FileForm:
    """The form of a file, told from its content; its name only helps between CSV and JSON lines.

    Raises:
        UnreadableFile: empty, header only, binary, truncated gzip, NUL bytes, no delimiter, duplicate names.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be opened ({error.strerror}); needed a file that can be read.") from None
    if magic == b"PAR1":
        return _describe_parquet(path)
    if path.name.lower().endswith((".parquet", ".pq")):
        raise UnreadableFile(f"{path} does not begin like Parquet; needed a whole Parquet file: deliver it again.")
    compression: Literal["gz"] | None = "gz" if magic.startswith(b"\x1f\x8b") else None
    sample = _sample(path, compression)
    _refuse_what_is_no_text(path, sample)
    encoding = encoding_of(sample)
    errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
    text = sample.decode(encoding, errors).lstrip("\ufeff")
    if not text.strip():
        raise UnreadableFile(f"{path} holds blank lines only; needed a header and rows: deliver it again.")
    if len(sample) == _SAMPLE_BYTES:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    stem = path.name.lower().removesuffix(".gz")
    if stem.endswith((".jsonl", ".ndjson", ".json")) or _is_object(text.lstrip().splitlines()[0]):
        return FileForm("jsonl", compression, _keys(path, text, compression, encoding), encoding)
    quotechar = quotechar_of(text)
    delimiter = delimiter_of(text, quotechar)
    if delimiter is None:
        raise UnreadableFile(
            f"{path} has no delimiter that splits its header and rows alike; needed two columns or more split by "
            "one of , ; tab |: write it again with one of these."
        )
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quotechar)
    header = _header(path, next(row for row in rows if row))
    if not any(line.strip() for line in text.splitlines()[rows.line_num :]):
        raise UnreadableFile(f"{path} holds a header and no rows; needed at least one row: deliver it again.")
    return FileForm("csv", compression, header, encoding, delimiter, quotechar)


def open_bytes(path: Path, compression: Literal["gz"] | None) -> gzip.GzipFile | io.BufferedReader:
    """The content of a file, decompressed while it is read."""
    return gzip.GzipFile(path, "rb") if compression == "gz" else path.open("rb")


def open_text(path: Path, compression: Literal["gz"] | None, encoding: str) -> io.TextIOWrapper:
    """The text of a file; bytes that are not of its encoding become lone surrogates, or U+FFFD in UTF-16."""
    errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
    return io.TextIOWrapper(open_bytes(path, compression), encoding=encoding, errors=errors, newline="")


def _sample(path: Path, compression: Literal["gz"] | None) -> bytes:
    sample = bytearray()
    try:
        with open_bytes(path, compression) as file:
            while len(sample) < _SAMPLE_BYTES and (more := file.read1(_SAMPLE_BYTES - len(sample))):
                sample += more
    except GZIP_ERRORS:
        rows = max(sample.count(b"\n") - 1, 0)
        raise UnreadableFile(
            f"{path} is a gzip file that breaks off after {rows:,} rows; needed the whole file: deliver it again."
        ) from None
    if not sample:
        raise UnreadableFile(f"{path} is empty; needed a header and rows: deliver it again.")
    return bytes(sample)


def _refuse_what_is_no_text(path: Path, sample: bytes) -> None:
    kind = binary_kind(sample)
    if kind is None and b"\0" in sample and encoding_of(sample) in ("utf-8", "utf-8-sig", "cp1252", "latin-1"):
        # A NUL in one row costs that row; in the header, or all over, the file is not what it should be.
        first_line = sample.split(b"\n", 1)[0]
        if b"\0" in first_line or sample.count(b"\0") > len(sample) * 0.1:
            kind = "text with NUL bytes"
    if kind is not None:
        raise UnreadableFile(f"{path} is {kind}; needed CSV, JSON lines or Parquet: convert it, or deliver it again.")


def _header(path: Path, names: Iterable[str]) -> tuple[str, ...]:
    header = tuple(normalise(name) or f"column_{place}" for place, name in enumerate(names, start=1))
    # Spark tells column names apart without regard to case.
    folded = [name.casefold() for name in header]
    for place, name in enumerate(folded):
        if name in folded[:place]:
            raise UnreadableFile(
                f"{path} has two columns named '{header[place]}'; needed names that differ by more than case, spaces "
                "and brackets: rename one of them."
            )
    return header


def _is_object(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _keys(path: Path, text: str, compression: Literal["gz"] | None, encoding: str) -> tuple[str, ...]:
    if text.lstrip().startswith("["):
        raise UnreadableFile(f"{path} is one JSON list; needed one JSON object per line: write it as JSON lines.")
    keys: dict[str, None] = {}
    with open_text(path, compression, encoding) as file:
        try:
            for number, line in enumerate(iter(lambda: file.readline(_SAMPLE_BYTES), "")):
                if number >= _HEADER_ROWS:
                    break
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                keys.update(dict.fromkeys(normalise(key) or "x_" for key in row) if isinstance(row, dict) else {})
        except GZIP_ERRORS:
            pass
    if not keys:
        raise UnreadableFile(f"{path} holds no JSON object; needed one JSON object per line: write it as JSON lines.")
    return _header(path, keys)


def _describe_parquet(path: Path) -> FileForm:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows, names = file.metadata.num_rows, file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(
            f"{path} begins like Parquet but cannot be read ({str(error).splitlines()[0].rstrip('.')}); needed a whole "
            "Parquet file: deliver it again."
        ) from None
    if rows == 0:
        raise UnreadableFile(f"{path} holds a header and no rows; needed at least one row: deliver it again.")
    return FileForm("parquet", None, _header(path, names))
