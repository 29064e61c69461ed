"""How a text file is written: its encoding, delimiter and quotes, told from a sample of its bytes."""

import csv
import io
import re
from collections.abc import Iterable
from itertools import takewhile
from statistics import median

DELIMITERS = (",", ";", "\t", "|")
_BINARY = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"SQLite format 3": "an SQLite database",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"GIF8": "a GIF picture",
}
_NEVER_WESTERN = frozenset(b"\x81\x8d\x8f\x90\x9d\xff")
_SAMPLED_ROWS = 200


def binary_kind(sample: bytes) -> str | None:
    """What a sample is when it is no text: a known format, or plainly binary; None for text."""
    for magic, kind in _BINARY.items():
        if sample.startswith(magic) and (not magic.isalpha() or b"\0" in sample[:512]):
            return kind
    if is_utf16(sample):
        return None
    control = sum(sample.count(byte) for byte in range(32) if byte not in b"\t\n\r\f\x1a\0")
    return "binary data" if control > len(sample) * 0.05 else None


def is_utf16(sample: bytes) -> bool:
    """Whether a byte order mark says so, or a zero stands in nearly every second byte."""
    if sample.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return False
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    zeros = max(sample[0::2].count(0), sample[1::2].count(0))
    return zeros > len(sample) * 0.4 and min(sample[0::2].count(0), sample[1::2].count(0)) * 4 < zeros


def encoding_of(sample: bytes) -> str:
    """Name of the encoding of a sample.

    A sample that holds valid UTF-8 characters beside a few wrong bytes is damaged UTF-8, not another encoding; only
    without any is a Western encoding considered, and only where the result reads like text.
    """
    if is_utf16(sample):
        if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "utf-16"
        return "utf-16-le" if sample[1::2].count(0) > sample[0::2].count(0) else "utf-16-be"
    utf8 = "utf-8-sig" if sample.startswith(b"\xef\xbb\xbf") else "utf-8"
    text = sample.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    wrong = len(re.findall(r"[\udc80-\udcff]", text[:-4] if len(text) > 1000 else text))
    right = len(re.findall(r"[^\x00-\x7f\udc80-\udcff]", text))
    if wrong == 0 or wrong <= right:
        return utf8
    from charset_normalizer import from_bytes

    # A table is mostly ASCII, which hides the mess: only the words around the doubtful bytes are judged.
    words = re.findall(rb"[A-Za-z\x80-\xff' ]*[\x80-\xff][A-Za-z\x80-\xff' ]*", sample)[:500]
    doubtful = [byte for word in words for byte in word if byte > 127]
    letters = sum(byte not in _NEVER_WESTERN for byte in doubtful)
    if letters < 0.9 * len(doubtful) or from_bytes(b" ".join(words), cp_isolation=["cp1252"]).best() is None:
        return utf8
    return "cp1252"


def delimiter_of(text: str, quotechar: str = '"') -> str | None:
    """The delimiter that splits header and rows of a sample alike; None where there is no such one.

    Rows may be ragged: half of them must agree with the header, and of few rows none needs to.
    """
    best: tuple[float, int, str] | None = None
    for delimiter in DELIMITERS:
        rows = sampled_rows(text, delimiter, quotechar)
        titles = list(takewhile(lambda row: len(row) < 2, rows))[:_MOST_ABOVE]
        rows = rows[len(titles) :]
        if not rows or len(rows[0]) < 2:
            continue
        width = len(rows[0])
        if any(title[0].count(other) == width - 1 > 1 for title in titles if title for other in DELIMITERS):
            # No title but a header, of which the rows know nothing.
            continue
        width = max(len(bare(rows[0])), 1)
        body = rows[1:]
        agreeing = sum(fits(row, len(rows[0])) or fits(row, width) for row in body) / len(body) if body else 0.0
        if names_its_rows(text, rows[0], body):
            agreeing = 1.0
        if (agreeing >= 0.5 or len(body) <= 3) and (best is None or (agreeing, len(rows[0])) > best[:2]):
            best = (agreeing, len(rows[0]), delimiter)
    return best[2] if best else " " if _is_split_by_blanks(text, quotechar) else None


def _is_split_by_blanks(text: str, quotechar: str) -> bool:
    """Whether blanks split all rows alike, in three columns or more; of sentences they don't."""
    widths = {len(row) for row in sampled_rows(text, " ", quotechar)}
    return len(widths) == 1 and min(widths) >= 3 and text.count("\n") >= _ENOUGH


_BLANKS_BETWEEN = re.compile(r'("[^"]*"|\'[^\']*\')|[ \t]+')


def single_blanks(line: str) -> str:
    """A line of columns that blanks line up, with one blank between two of them."""
    end = line[len(line.rstrip("\r\n")) :]
    return _BLANKS_BETWEEN.sub(lambda match: match[1] or " ", line.strip(" \t\r\n")) + end


def sampled_rows(text: str, delimiter: str, quotechar: str) -> list[list[str]]:
    """The first rows of a sample, as far as they can be taken apart; blank lines are none."""
    rows = []
    lines: Iterable[str] = io.StringIO(text, newline="")
    if delimiter == " ":
        lines = map(single_blanks, lines)
    try:
        for row in csv.reader(lines, delimiter=delimiter, quotechar=quotechar):
            if row:
                rows.append(row)
            if len(rows) > _SAMPLED_ROWS:
                break
    except csv.Error:
        pass
    return rows


QUOTE = "\ud800"
"""Stands for a quote that is part of a value while a text is taken apart; no text can hold it."""


def unescaped(text: str, quotechar: str) -> str:
    """A text with `QUOTE` for each quote behind a backslash; one backslash for two of them before a quote."""

    def plain(match: re.Match[str]) -> str:
        signs = match[1]
        return signs[: len(signs) // 2] + (QUOTE if len(signs) % 2 else quotechar)

    return re.sub(rf"(\\+){quotechar}", plain, text)


def bare(row: list[str]) -> list[str]:
    """A row without the empty fields at its end, as spreadsheets write them."""
    width = max((place for place, field in enumerate(row, start=1) if field.strip()), default=0)
    return row[:width]


def fits(row: list[str], width: int) -> bool:
    """Whether a row has so many fields, but for empty ones at its end."""
    return len(row) == width or (len(row) > width and not any(field.strip() for field in row[width:]))


def names_its_rows(text: str, header: list[str], body: list[list[str]]) -> bool:
    """Whether rows have one field more than the header: R writes the names of rows so, their numbers in quotes."""
    numbered = re.match(r'"[^"\n]*".*\n"1"', text) is not None
    return numbered and len(body) > 0 and all(len(row) == len(header) + 1 for row in body[:_ENOUGH])


def header_of(rows: list[list[str]]) -> tuple[int, int]:
    """How many of the first rows stand above the header, and how many below it are no data but units, say.

    Above it are rows of which less than half is filled; below it those with texts in at least two of the columns that
    hold numbers elsewhere, a number in none of them, and neither key nor date.
    """
    usual = median(len([field for field in row if field.strip()]) for row in rows[1:]) if len(rows) > 1 else 0
    above = 0
    for row in rows[: min(_MOST_ABOVE, len(rows) - 1)]:
        filled = sum(bool(field.strip()) for field in row)
        numbered = len(row) == 2 and not row[0].strip()
        # Names of groups leave most cells blank; one nameless column does not make them.
        grouped = filled * 4 <= usual * 3 and usual <= sum(bool(field.strip()) for field in rows[above + 1])
        if (
            filled * 2 >= usual
            and (filled >= 2 or numbered)
            and not (grouped and _is_of_the_header(rows[above + 1], rows[above + 2 :]))
        ):
            break
        above += 1
    else:
        above = 0
    body, below = rows[above + 1 :], 0
    while below < _MOST_BELOW and len(body) > below + _ENOUGH and _is_of_the_header(body[below], body[below + 1 :]):
        below += 1
    return above, below


_MOST_ABOVE, _MOST_BELOW, _ENOUGH = 20, 2, 5
_NUMBER = re.compile(r"\s*[+-]?[\d.,']*\d[\d.,']*\s*%?\s*")
_MISSING = frozenset(["", "-", "--", "?", ".", "na", "n/a", "nan", "none", "null", "nil", "missing", "unknown", "#n/a"])


def _is_of_the_header(row: list[str], others: list[list[str]]) -> bool:
    """Only where it is plain: a row of data that is taken for units would be lost."""
    units = 0
    for place, field in enumerate(map(str.strip, row)):
        cells = [other[place].strip() for other in others if len(other) > place]
        numbers = sum(bool(_NUMBER.fullmatch(cell)) for cell in cells)
        if 2 * numbers > len(cells) and numbers == sum(cell.lower() not in _MISSING for cell in cells):
            if re.search(r"\d{2}|^\d", field):
                return False
            units += field.lower() not in _MISSING
        elif cells and all(re.search(r"\d\d|\d$", text) for text in (field, *cells)):
            # A key or a date, as in the rows below.
            return False
    return units >= 2


def quotechar_of(text: str) -> str:
    """A single quote where whole fields stand in single quotes and none in double ones, else a double quote."""
    edge = r"(?:^|[,;\t|])"
    single, double = (
        len(re.findall(rf"{edge}{quote}[^{quote}\n]*{quote}(?=[,;\t|\r\n]|$)", text, re.MULTILINE)) for quote in "'\""
    )
    return "'" if single and not double else '"'
