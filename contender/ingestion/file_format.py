"""What kind of file has landed: format, compression, encoding, delimiter and column names.

Column names are those of the file, without the blanks around them. An empty name becomes "column_N" by its place, and a
name that came before gets its number: the second "price" is "price_2". A nameless column at the end without a value in
the first rows is none: spreadsheets end their lines with delimiters. A title above the header is skipped.
"""

import gzip
import io
import json
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from contender.errors import UnreadableFile
from contender.ingestion.sniffing import (
    QUOTE,
    bare,
    binary_kind,
    delimiter_of,
    encoding_of,
    header_of,
    names_its_rows,
    quotechar_of,
    sampled_rows,
    unescaped,
)

GZIP_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)
_SAMPLE_BYTES = 1 << 20
_HEADER_ROWS = 20_000
_TOLD = re.compile(r'"?sep=(.)"?[^\S\n]*\r?\n', re.IGNORECASE)
"""A first line in which Excel is told the delimiter."""
_MARKUP = re.compile(r"<(!doctype|html|table|\?xml|head|body|div|style|meta)\b", re.IGNORECASE)


@dataclass(frozen=True)
class FileForm:
    """How a file is to be read. `encoding` is empty for Parquet, `delimiter` and `quotechar` for all but CSV.

    The header of JSON is every key of the first 20,000 objects, in order of appearance, those of an object in an object
    as `outer.inner`. `escape` is what stands before a quote that is part of a value, where that is not doubled. A file
    is `headless` where its first row is one of values. `above` and `below` count the rows of CSV around the header that
    are no data, `unused` names the columns of Parquet that hold lists or structures.
    """

    format: Literal["csv", "jsonl", "json", "parquet"]
    compression: Literal["gz"] | None
    header: tuple[str, ...]
    encoding: str = ""
    delimiter: str = ""
    quotechar: str = ""
    escape: str = ""
    headless: bool = False
    above: int = 0
    below: int = 0
    unused: tuple[str, ...] = ()


def normalise(name: str) -> str:
    """A column name without the blanks around it, in Unicode's composed form; empty stays empty."""
    return unicodedata.normalize("NFC", name.strip().lstrip("\ufeff").strip())


def describe(path: Path, names: Sequence[str] | None = None) -> FileForm:
    """The form of a file, told from its content; its name only helps between CSV and JSON lines.

    Args:
        names: of the columns of CSV whose first row is one of values; where there are none they are made.

    Raises:
        UnreadableFile: empty, header only, binary, truncated gzip, NUL bytes, no delimiter.
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
    # What begins with a megabyte of ASCII says only further on how it writes other letters.
    plain = len(sample) == _SAMPLE_BYTES and sample.isascii() and b"\0" not in sample
    encoding = encoding_of(_beyond_ascii(path, compression) if plain else sample)
    errors = "replace" if encoding.startswith("utf-16") else "surrogateescape"
    text = sample.decode(encoding, errors).lstrip("\ufeff")
    if not text.strip():
        raise UnreadableFile(f"{path} holds blank lines only; needed a header and rows: deliver it again.")
    if len(sample) == _SAMPLE_BYTES:
        text = text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text
    stem = path.name.lower().removesuffix(".gz")
    begins = text.lstrip()
    if stem.endswith((".jsonl", ".ndjson", ".json")) or _is_object(begins.splitlines()[0]):
        _refuse_what_is_no_rows(path, begins)
        form: Literal["json", "jsonl"] = "json" if _is_one_document(begins) else "jsonl"
        return FileForm(form, compression, _keys(path, form, compression, encoding), encoding)
    if _MARKUP.match(begins):
        raise UnreadableFile(f"{path} is a page of HTML or XML; needed CSV, JSON lines or Parquet: save it as CSV.")
    quotechar = quotechar_of(text)
    told = _TOLD.match(text)
    text = text[told.end() :] if told else text
    delimiter = told[1] if told else delimiter_of(text, quotechar)
    if delimiter is None:
        raise UnreadableFile(
            f"{path} has no delimiter that splits its header and rows alike; needed two columns or more split by "
            "one of , ; tab |: write it again with one of these."
        )
    escape = _escape_of(text, delimiter, quotechar)
    read = unescaped(text, quotechar) if escape else text
    rows = [row for row in sampled_rows(read, delimiter, quotechar) if any(field.strip() for field in row)]
    if not rows:
        raise UnreadableFile(f"{path} holds no row; needed a header and rows: deliver it again.")
    if names is not None:
        header = tuple(names) or tuple(f"column{place}" for place in range(1, _usual_width(rows) + 1))
        above = int(told is not None)
        return FileForm("csv", compression, header, encoding, delimiter, quotechar, escape, headless=True, above=above)
    above, below = header_of(rows)
    body = rows[above + 1 + below :]
    # Not by the rows: a quote that is never closed makes none of them.
    if sum(bool(line.strip()) for line in text.splitlines()) <= above + 1:
        raise UnreadableFile(f"{path} holds a header and no rows; needed at least one row: deliver it again.")
    width = len(bare(rows[above]))
    if any(len(row) <= len(rows[above]) and any(field.strip() for field in row[width:]) for row in body):
        width = len(rows[above])
    titles = [name.replace(QUOTE, quotechar) for name in rows[above][:width]]
    if names_its_rows(text, rows[above], body):
        titles = ["", *titles]
    above += told is not None
    header = _header(titles)
    return FileForm("csv", compression, header, encoding, delimiter, quotechar, escape, above=above, below=below)


def _usual_width(rows: Sequence[list[str]]) -> int:
    """How many fields most rows have, without empty ones at the end of all of them."""
    width = Counter(map(len, rows)).most_common(1)[0][0]
    return max(len(bare(row[:width])) for row in rows)


def _escape_of(text: str, delimiter: str, quotechar: str) -> str:
    """A backslash, where more rows can be taken apart if it stands before quotes that are part of a value."""
    if f"\\{quotechar}" not in text:
        return ""
    from contender.ingestion.line_parsers import Lines, split_csv

    first = next(iter(sampled_rows(unescaped(text, quotechar), delimiter, quotechar)), [])
    header = tuple(str(place) for place in range(len(first)))
    good = {
        escape: sum(
            not reason
            for *_, reason in split_csv(
                Lines(io.StringIO(text, newline="")),
                FileForm("csv", None, header, "utf-8", delimiter, quotechar, escape),
            )
        )
        for escape in ("", "\\")
    }
    return "\\" if good["\\"] > good[""] else ""


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
            f"{path} is a gzip file that breaks off after {rows:,} row{'s' * (rows != 1)}; needed the whole "
            "file: deliver it again."
        ) from None
    if not sample:
        raise UnreadableFile(f"{path} is empty; needed a header and rows: deliver it again.")
    return bytes(sample)


def _beyond_ascii(path: Path, compression: Literal["gz"] | None) -> bytes:
    """The first part of a file that is not ASCII alone; empty where all of it is, or where it breaks off before."""
    found = bytearray()
    try:
        with open_bytes(path, compression) as file:
            while len(found) < _SAMPLE_BYTES and (block := file.read(_SAMPLE_BYTES)):
                if not block.isascii():
                    found += block
    except GZIP_ERRORS:
        pass
    return bytes(found)


def _refuse_what_is_no_text(path: Path, sample: bytes) -> None:
    kind = binary_kind(sample)
    if kind is None and b"\0" in sample and encoding_of(sample) in ("utf-8", "utf-8-sig", "cp1252", "latin-1"):
        # A NUL in one row costs that row; in the header, or all over, the file is not what it should be.
        first_line = sample.split(b"\n", 1)[0]
        if b"\0" in first_line or sample.count(b"\0") > len(sample) * 0.1:
            kind = "text with NUL bytes"
    if kind is not None:
        raise UnreadableFile(f"{path} is {kind}; needed CSV, JSON lines or Parquet: convert it, or deliver it again.")


def _header(names: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for place, given in enumerate(names, start=1):
        name = wanted = normalise(given) or f"column_{place}"
        number = 1
        while name in found:
            number += 1
            name = f"{wanted}_{number}"
        found[name] = None
    return tuple(found)


def _is_object(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _refuse_what_is_no_rows(path: Path, text: str) -> None:
    """One object for all rows: columns one after the other, as pandas writes them, or the rows in a list within."""
    try:
        found = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return
    rows = found if isinstance(found, dict) else {}
    lists = {key: value for key, value in rows.items() if isinstance(value, list) and len(value) > 1}
    within = next((key for key, value in lists.items() if all(isinstance(one, dict) for one in value)), None)
    if within is not None:
        raise UnreadableFile(
            f"{path} holds one object, in which '{within}' is a list of {len(lists[within]):,} objects; needed that "
            "list alone, or one object per line: write the file with nothing around it."
        )
    objects = [value for value in rows.values() if isinstance(value, dict) and len(value) > 1]
    columns = len(rows) > 1 and (
        (len(objects) == len(rows) and all(one.keys() == objects[0].keys() for one in objects))
        or (len(lists) == len(rows) and len({len(one) for one in lists.values()}) == 1)
        or {"columns", "data"} <= lists.keys()
    )
    if columns:
        raise UnreadableFile(
            f"{path} holds one object of columns; needed a list of rows, or one object per line: with pandas write it "
            "by to_json(..., orient='records')."
        )


def _is_one_document(begins: str) -> bool:
    """Whether JSON is one list of objects, or one object over several lines, and not an object on each line."""
    if begins.startswith("["):
        return begins[1:].lstrip().startswith(("{", "]")) or not begins[1:].strip()
    first, *more = begins.splitlines()
    return bool(more) and not _is_object(first) and first.strip() == "{"


def _keys(
    path: Path, form: Literal["json", "jsonl"], compression: Literal["gz"] | None, encoding: str
) -> tuple[str, ...]:
    keys: dict[str, None] = {}
    with open_text(path, compression, encoding) as file:
        try:
            texts = iter(lambda: file.readline(_SAMPLE_BYTES), "") if form == "jsonl" else json_texts(file)
            for row in map(_flat_object, islice(texts, _HEADER_ROWS)):
                keys.update(dict.fromkeys(normalise(key) for key in row if key.strip()))
        except GZIP_ERRORS:
            pass
    if not keys:
        raise UnreadableFile(f"{path} holds no JSON object; needed one JSON object per line: write it as JSON lines.")
    return tuple(keys)


def _flat_object(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return flattened(row) if isinstance(row, dict) else {}


def flattened(row: dict[str, Any]) -> dict[str, Any]:
    """An object whose objects are laid out beside it, one level deep, each as `outer.inner`."""
    if not any(isinstance(value, dict) for value in row.values()):
        return row
    found: dict[str, Any] = {}
    for key, value in row.items():
        found |= {f"{key}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {key: value}
    return found


def json_texts(file: io.TextIOBase) -> Iterator[str]:
    """The texts of the values of a JSON list, or of the values one after the other; memory is bounded by one value.

    What is broken comes as it stands, up to the end of the file.
    """
    decoder, held, place = json.JSONDecoder(), "", 0
    more: str | None = None
    while more != "":
        more = file.read(_SAMPLE_BYTES)
        held, place = held[place:] + more, 0
        while begin := _VALUE.match(held, place):
            try:
                end = decoder.raw_decode(held, begin.end())[1]
            except (ValueError, RecursionError):
                break
            # A number may go on in what is not read yet.
            if end == len(held) and more:
                break
            yield held[begin.end() : end]
            place = end
        if more and len(held) - place > _LONGEST_VALUE:
            break
    if rest := held[place:].strip(" \t\r\n,]\ufeff"):
        yield rest


_VALUE = re.compile(r"[\s,\[\ufeff]*(?=[^\s,\[\]\ufeff])")
_LONGEST_VALUE = 16 << 20


def _describe_parquet(path: Path) -> FileForm:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(
            f"{path} begins like Parquet but cannot be read ({str(error).splitlines()[0].rstrip('.')}); needed a whole "
            "Parquet file: deliver it again."
        ) from None
    if rows == 0:
        raise UnreadableFile(f"{path} holds a header and no rows; needed at least one row: deliver it again.")
    unused = {field.name for field in schema if pa.types.is_nested(field.type)}
    header = _header(schema.names)
    return FileForm("parquet", None, header, unused=tuple(name for name in header if name in unused))
