"""Lines of text into rows, bad ones told apart: the two ways of CSV and of JSON lines.

A quote that is never closed costs the lines up to the next one that is a whole row by itself, not the rest of the file.
"""

import csv
import json
import re
from collections import deque
from collections.abc import Iterator
from functools import partial
from io import TextIOWrapper
from typing import Any

from contender.ingestion.file_format import FileForm, normalise
from contender.ingestion.text_values import render

FIELD_LIMIT = 128 * 1024
LINE_LIMIT = 1 << 20
UNDECODED = re.compile(r"[\ud800-\udfff]")
Row = tuple[Any, str, str]
"""Values in the order of the header, text as it stood, and why it is bad; the reason is empty for a good row."""


class Lines:
    """Lines of a text file one by one; those of the row in hand are kept, and can be given back."""

    def __init__(self, file: TextIOWrapper) -> None:
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
    """Rows after the header; a field of more than 128 KiB or an unclosed quote makes a bad row."""
    csv.field_size_limit(FIELD_LIMIT)
    options: dict[str, Any] = {"delimiter": form.delimiter, "quotechar": form.quotechar, "strict": True}
    reader, width, held, header = csv.reader(lines, **options), len(form.header), lines.held, True
    while True:
        held.clear()
        reason, values = "", []
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = _csv_reason(str(error))
        if header:
            header = not values and not reason
            continue
        if not reason:
            if len(values) == width:
                line = held[0]
                if len(held) == 1 and line.isascii() and "\0" not in line and len(line) < LINE_LIMIT:
                    yield values, line, ""
                    continue
            elif not any(value.strip() for value in values) and len(values) < 2:
                continue
            else:
                reason = f"found {len(values)} fields, needed {width}"
        if reason and len(held) > 1:
            lines.give_back(_next_whole_row(held, width, options))
        yield values, "".join(held), reason or _text_reason(held, form)


def split_json(lines: Lines, form: FileForm) -> Iterator[Row]:
    """One object per line; a key that the header does not have makes a bad row."""
    places = {name: place for place, name in enumerate(form.header)}
    known: dict[str, int | None] = {}
    for line in lines:
        lines.held.clear()
        if line.isspace():
            continue
        reason = "" if line.isascii() and "\0" not in line else _text_reason([line], form)
        values: list[str | None] = [None] * len(places)
        taken = set()
        try:
            row = {} if reason else json.loads(line)
            if not isinstance(row, dict):
                reason = f"found a JSON {type(row).__name__}, needed an object"
                row = {}
        except (ValueError, RecursionError) as error:
            row, reason = {}, f"found broken JSON ({str(error).split(':')[0]}), needed one object on the line"
        for key, value in row.items():
            if key not in known:
                known[key] = places.get(normalise(key) or "x_")
            place = known[key]
            if place is None:
                reason = f"found key '{key}', which is not among the file's columns"
            elif place in taken:
                reason = f"found column '{form.header[place]}' twice"
            else:
                taken.add(place)
                values[place] = render(value)
        escaped = not reason and "\\u" in line
        if escaped and any(value and ("\0" in value or UNDECODED.search(value)) for value in values):
            reason = "found a character that no text can hold"
        yield values, line, reason


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
