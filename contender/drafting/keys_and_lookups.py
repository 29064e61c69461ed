"""What ties files together: the key, the time, and look-up tables given as `NAME=FILE:KEY[,KEY…]`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from contender.drafting.column_types import ColumnGuess, Guess, guess_column, to_time
from contender.drafting.sample import sample_of
from contender.drafting.target import columns_of
from contender.errors import UsageError

_ID_NAME = re.compile(r"(^|_)(id|key|uuid|guid|nr|no|number|index|instant)$|id$|^id_", re.IGNORECASE)
_MOST_REPEATED = 0.01


@dataclass(frozen=True)
class LookupGuess:
    """A look-up table: its file, its key columns with an expression over the record each, and its columns."""

    name: str
    path: Path
    key: dict[str, str]
    columns: dict[str, ColumnGuess]


def key_of(given: str | None, records: Mapping[str, ColumnGuess], outcomes: Mapping[str, ColumnGuess]) -> Guess | None:
    """The column that names a record; None where there is none and nothing needs one.

    Raises:
        UsageError: the given column is not there or repeats; or outcomes need one and none is to be found.
    """
    if given is not None:
        for columns, where in ((records, "records"), (outcomes, "outcomes")):
            if columns and given not in columns:
                raise UsageError(f"The key '{given}' is no column of the {where}; {_nearest(given, columns)}")
        column = records[given]
        repeated = column.rows - column.missing - len(column.counts)
        if repeated > _MOST_REPEATED * column.rows:
            raise UsageError(
                f"The key '{given}' repeats in {repeated:,} of {column.rows:,} sampled rows; needed one value per "
                "record: give another column, or none."
            )
        return Guess("records.key", given, "as given", check=repeated > 0)
    unique = [name for name, column in records.items() if column.unique and column.type in ("text", "integer")]
    shared = [name for name in unique if name in outcomes]
    if outcomes and not shared:
        raise UsageError(
            "No column of records and outcomes alike is different in every sampled record, so the key is a guess that "
            "needs a person: name it with --key."
        )
    likely = [name for name in shared or unique if shared or _ID_NAME.search(name)]
    if not likely:
        return None
    best = min(likely, key=lambda name: (not _ID_NAME.search(name), list(records).index(name)))
    rows = records[best].rows
    return Guess("records.key", best, f"different in all {rows:,} sampled rows", check=rows < 1000 or len(likely) > 1)


def time_of(
    given: str | None, records: Mapping[str, ColumnGuess], values: Mapping[str, Sequence[str | None]]
) -> Guess | None:
    """The column that says when a record came about; None where the order of arrival has to do.

    Raises:
        UsageError: the given column is not there, or no time.
    """
    if given is not None:
        if given not in records:
            raise UsageError(f"The time '{given}' is no column of the records; {_nearest(given, records)}")
        if records[given].type != "timestamp":
            sample = next(iter(records[given].counts), "")
            raise UsageError(
                f"The time '{given}' holds values such as '{sample}', which is no time that can be read; needed "
                "ISO 8601 or a common form such as 31/12/2024 23:59: name another column."
            )
        return Guess("records.time", given, "as given", check=records[given].missing > 0)
    shares = {}
    for name, column in records.items():
        if column.type != "timestamp" or column.missing > 0.01 * column.rows:
            continue
        times = [time for value in values[name] if (time := to_time(value, column.format)) is not None]
        steps = list(pairwise(times))
        shares[name] = sum(a <= b for a, b in steps) / max(len(steps), 1)
    if not shares:
        return None
    best = max(shares, key=lambda name: shares[name])
    why = f"{shares[best]:.0%} of the sampled rows are no older than the row before"
    return Guess("records.time", best, why, check=shares[best] < 0.9 or len(shares) > 1)


def lookup_of(text: str, landing: Path, records: Mapping[str, ColumnGuess]) -> LookupGuess:
    """A look-up from its text; an expression over the record may hold commas within brackets.

    Raises:
        UsageError: the text, the file or a key column is not as needed.
    """
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9_]*)=(.+)", text.strip(), re.DOTALL)
    if match is None or ":" not in match[2]:
        raise UsageError(f"The look-up '{text}' is not like planes=planes.csv:tailnum; needed NAME=FILE:KEY[,KEY…].")
    name, rest = match[1], match[2]
    splits = [(rest[:place], rest[place + 1 :]) for place, letter in enumerate(rest) if letter == ":"]
    paths = [(path, keys) for file, keys in splits for path in (Path(file), landing / file) if path.is_file()]
    if not paths:
        raise UsageError(f"There is no file {splits[0][0]}, here or in {landing}; needed the look-up '{name}'.")
    path, keys = paths[0]
    sample = sample_of([path])
    columns = {column: guess_column(column, values) for column, values in sample.columns.items()}
    key: dict[str, str] = {}
    for part in _parts(keys):
        derived = re.fullmatch(r"\s*`?([^=`]+?)`?\s*=(?!=)\s*(.+?)\s*", part, re.DOTALL)
        column, expression = (derived[1], derived[2]) if derived else (part.strip(), part.strip())
        if column not in columns:
            raise UsageError(f"'{column}' is no column of the look-up {path.name}; {_nearest(column, columns)}")
        columns_of(expression, list(records), f"records (look-up '{name}')")
        key[column] = expression
    return LookupGuess(name, path.resolve(), key, columns)


def _parts(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"`":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


def _nearest(name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"there is {', '.join(list(known)[:12])}."
