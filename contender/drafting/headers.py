"""Whether a file begins with names or with values, where all that can tell says the same."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from contender.drafting.column_types import guess_column
from contender.drafting.landed_rows import Texts
from contender.errors import UnreadableFile
from contender.ingestion.cell_forms import BLANKS
from contender.ingestion.file_format import FileForm, describe
from contender.ingestion.file_reader import read_chunks

_LOOKED_AT, _FEWEST = 1_000, 5
_FEW_NAMES = 20


def begins_with_values(path: Path) -> bool:
    """Whether the first row of a file of CSV is plainly one of values: of each column's type, and DuckDB says so too.

    False where that is in doubt: names may be numbers, and a table of texts alone does not tell.
    """
    try:
        named = describe(path)
        if named.format != "csv" or named.above or named.below:
            return False
        form = describe(path, ())
        chunk = next(islice(read_chunks(path, form, rows=_LOOKED_AT), 1), None)
    except UnreadableFile:
        return False
    if chunk is None or len(chunk.row_numbers) <= _FEWEST or chunk.row_numbers[0] != 1:
        return False
    columns = [[(value or "").strip(BLANKS) for value in values] for values in chunk.columns.values()]
    first = [values[0] for values in columns]
    if len(set(first)) > 1 and _counts_up(first):
        return False
    said = [_fits(values[0], values[1:]) for values in columns if values[0]]
    return False not in said and 2 * sum(one is True for one in said) > len(columns) and _sniffed(path, form)


def _counts_up(first: Sequence[str]) -> bool:
    """Whether a row is 0, 1, 2 and so on, or the years of columns: names, if any numbers are."""
    if not all(text.isascii() and text.isdigit() for text in first):
        return False
    numbers = [int(text) for text in first]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _fits(first: str, rest: Sequence[str]) -> bool | None:
    """Whether a cell is of the type of those below it; None where that says nothing."""
    below = guess_column("x", Texts.of(rest))
    if below.type == "text":
        return None
    if below.type == "category":
        few = below.distinct <= _FEW_NAMES < len(rest)
        return True if first in below.texts.counts else False if few else None
    whole = guess_column("x", Texts.of([first, *rest]))
    return whole.type in (below.type, "number") and first not in whole.unread


def _sniffed(path: Path, form: FileForm) -> bool:
    import duckdb

    if form.delimiter == " ":
        # Columns that blanks line up are none that it takes apart.
        return True
    try:
        with duckdb.connect() as connection:
            found = connection.execute(
                "SELECT HasHeader FROM sniff_csv(?, delim = ?, quote = ?, ignore_errors = true)",
                [str(path), form.delimiter, form.quotechar],
            ).fetchall()
    except duckdb.Error:
        return False
    return bool(found) and not found[0][0]
