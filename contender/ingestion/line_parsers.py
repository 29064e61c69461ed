"""Lines of text into rows, bad ones told apart: the two ways of CSV and of JSON lines.

A quote that is never closed costs the lines up to the next one that is a whole row by itself, not the rest of the file.
"""

import csv
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from io import TextIOBase
from typing import Any

from contender.ingestion.file_format import FileForm, flattened, normalise
from contender.ingestion.sniffing import QUOTE, single_blanks, unescaped
from contender.ingestion.text_values import render

FIELD_LIMIT = 128 * 1024
LINE_LIMIT = 1 << 20
UNDECODED = re.compile(r"[\ud800-\udfff]")
Row = tuple[Any, str, str]
"""Values in the order of the header, text as it stood, and why it is bad; the reason is empty for a good row."""


class Lines:
    """Lines of a text file one by one; those of the row in hand are kept, and can be given back."""

    def __init__(self, file: TextIOBase) -> None:
        self._lines = iter(partial(file.readline, LINE_LIMIT), "")
        self._again: deque[str] = deque()
        self.held: list[str] = []
        self.characters = 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        if len(line) >= LINE_LIMIT and line[-1] not in "\r\n":
            # The rest of an endless line is skipped; its start is kept and refused.
            while (rest := next(self._lines, "")) and rest[-1] not in "\r\n":
                pass
        self.characters += len(line)
        self.held.append(line)
        return line

    def give_back(self, start: int) -> None:
        """Read the held lines from place `start` on once more."""
        self._again.extendleft(reversed(self.held[start:]))
        del self.held[start:]


def split_csv(lines: Lines, form: FileForm) -> Iterator[Row]:
    """Rows after the header; a field of more than 128 KiB or an unclosed quote makes a bad row.

    Rows without anything in them are none; empty fields after the last column are what spreadsheets leave.
    """
    csv.field_size_limit(FIELD_LIMIT)
    options: dict[str, Any] = {"delimiter": form.delimiter, "quotechar": form.quotechar, "strict": True}
    read: Iterable[str] = lines
    if form.delimiter == " ":
        read = map(single_blanks, read)
    if form.escape:
        read = (unescaped(line, form.quotechar) for line in read)
    reader, width, held = csv.reader(read, **options), len(form.header), lines.held
    before = form.above + (not form.headless) + form.below
    while True:
        held.clear()
        reason, values = "", []
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = _csv_reason(str(error))
        if form.escape:
            values = [value.replace(QUOTE, form.quotechar) for value in values]
        if before:
            before -= any(value.strip() for value in values) or bool(reason)
            continue
        if not reason:
            if len(values) > width and not any(value.strip() for value in values[width:]):
                values = values[:width]
            if not any(values) or not any(value.strip() for value in values):
                continue
            if len(values) == width:
                line = held[0]
                if len(held) == 1 and line.isascii() and "\0" not in line and len(line) < LINE_LIMIT:
                    yield values, line, ""
                    continue
            else:
                reason = f"found {len(values)} fields, needed {width}"
        if reason and len(held) > 1:
            shown = [unescaped(line, form.quotechar) for line in held] if form.escape else held
            lines.give_back(_next_whole_row(shown, width, options))
        yield values, "".join(held), reason or _text_reason(held, form)


def split_json(texts: Iterable[str], form: FileForm) -> Iterator[Row]:
    """One object in each text; what the header does not have is not looked at."""
    places = {name: place for place, name in enumerate(form.header)}
    known: dict[str, int | None] = {}
    for line in texts:
        if isinstance(texts, Lines):
            texts.held.clear()
        if not line or line.isspace():
            continue
        reason = "" if line.isascii() and "\0" not in line else _text_reason([line], form)
        values: list[str | None] = [None] * len(places)
        taken = set()
        try:
            row = {} if reason else json.loads(line, parse_float=_as_written, object_pairs_hook=_each_once)
            if not isinstance(row, dict):
                reason = f"found a JSON {type(row).__name__}, needed an object"
                row = {}
        except _TwiceError as error:
            row, reason = {}, f"found column '{error}' twice"
        except (ValueError, RecursionError) as error:
            row, reason = {}, f"found broken JSON ({str(error).split(':')[0]}), needed one object on the line"
        for key, value in flattened(row).items():
            if key not in known:
                known[key] = places.get(normalise(key))
            place = known[key]
            if place is None:
                continue
            if place in taken:
                reason = f"found column '{form.header[place]}' twice"
            else:
                taken.add(place)
                values[place] = render(value)
        escaped = not reason and "\\u" in line
        if escaped and any(value and ("\0" in value or UNDECODED.search(value)) for value in values):
            reason = "found a character that no text can hold"
        yield values, line, reason


class _TwiceError(ValueError):
    """A key that an object has twice."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return found


def _as_written(number: str) -> float | str:
    """A number with more digits than floating point has stays as it stands."""
    return float(number) if len(number) <= _EXACT_DIGITS else number


_EXACT_DIGITS = 15


def _next_whole_row(held: list[str], width: int, options: dict[str, Any]) -> int:
    for place, line in enumerate(held[1:], start=1):
        if line.count(options["quotechar"]) % 2:
            continue
        try:
            if any(len(row) == width for row in csv.reader([line], **options)):
                return place
        except csv.Error:
            continue
    return len(held)


def _csv_reason(message: str) -> str:
    if "field larger" in message:
        return f"found a field of more than {FIELD_LIMIT:,} characters, probably a quote that is never closed"
    if "end of data" in message:
        return "found a quote that is never closed"
    return "found text after a closing quote, needed a delimiter or two quotes in a row"


def _text_reason(held: list[str], form: FileForm) -> str:
    text = "".join(held)
    if any(len(line) >= LINE_LIMIT for line in held):
        return f"found a line of more than {LINE_LIMIT:,} characters; its start is kept"
    if "\0" in text:
        return "found a NUL byte"
    if UNDECODED.search(text) or (form.encoding.startswith("utf-16") and "\ufffd" in text):
        return f"found bytes that are not {form.encoding}"
    return ""
