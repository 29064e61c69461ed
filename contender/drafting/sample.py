"""A bounded look at files from which a contract can be guessed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from contender.errors import UsageError
from contender.ingestion.file_format import describe
from contender.ingestion.file_reader import read_chunks

SAMPLE_ROWS = 20_000
_MOST_FILES = 12
_EXTENSION = re.compile(r"(\.[A-Za-z]+\d?)?(\.gz)?$")


@dataclass(frozen=True)
class Sample:
    """The first rows of up to twelve files, spread evenly over all in the order of their names.

    `whole` says that nothing was left out; `files` counts all that were given; `odd` names a file whose columns differ.
    """

    columns: dict[str, list[str | None]]
    rows: int
    whole: bool
    files: int
    odd: str | None = None


def sample_of(files: Sequence[Path], rows: int = SAMPLE_ROWS) -> Sample:
    """Up to `rows` good rows of the files; a column that a file lacks is missing there.

    Raises:
        UsageError: no such file.
        UnreadableFile: a sampled file cannot be read.
    """
    for path in files:
        if not path.is_file():
            raise UsageError(f"There is no file {path}; needed files that are there: check the path.")
    ordered = sorted(files, key=lambda path: path.name)
    last, steps = len(ordered) - 1, max(min(len(ordered), _MOST_FILES) - 1, 1)
    chosen = sorted({step * last // steps for step in range(steps + 1)})
    share = rows // len(chosen)
    columns: dict[str, list[str | None]] = {}
    found, whole, odd = 0, len(chosen) == len(ordered), None
    for place in chosen:
        path = ordered[place]
        form = describe(path)
        if columns and set(form.header) != set(columns):
            odd = path.name
        # One row more than wanted tells whether the file goes on.
        chunk = next(read_chunks(path, form, share + 1))
        taken = min(len(chunk.row_numbers), share)
        whole = whole and len(chunk.row_numbers) + len(chunk.bad) <= share
        for name in form.header:
            columns.setdefault(name, [None] * found)
        for name, values in columns.items():
            values += chunk.columns[name][:taken] if name in chunk.columns else [None] * taken
        found += taken
    if found == 0:
        raise UsageError(f"{ordered[0]} holds no row that can be read; needed at least one: check its delimiter.")
    return Sample(columns, found, whole, len(ordered), odd)


def folder_of(files: Sequence[Path], what: str) -> Path:
    """The one folder that holds all files.

    Raises:
        UsageError: they lie in several.
    """
    folders = sorted({path.resolve().parent for path in files})
    if len(folders) != 1:
        raise UsageError(f"The {what} lie in {folders[0]} and {folders[1]}; needed one folder: move them together.")
    return folders[0]


def pattern_of(files: Sequence[Path], others: Sequence[Path] = ()) -> str:
    """The widest pattern of file names that matches `files`, later ones of their kind, and none of `others`.

    Raises:
        UsageError: every pattern matches one of the others too.
    """
    names = sorted({path.name for path in files})
    strangers = {path.name for path in others} - (set(names) if len(names) == 1 else set())
    ends = {match[0] for name in names if (match := _EXTENSION.search(name))}
    end = ends.pop() if len(ends) == 1 else ""
    stems = [name.removesuffix(end) for name in names]
    prefix = _common(stems)
    word = re.match(r"(.*?[^\W\d_])?[-_. ]?(?=[\d\-_. ]*$)", prefix)
    shared = _common([stem[::-1] for stem in stems])[::-1] if len(stems) > 1 else ""
    patterns = [f"{word[0] if word else prefix}*{end}", f"{prefix}*{end}", f"{prefix}*{shared}{end}"]
    if len(names) == 1:
        patterns.append(names[0])
    for pattern in patterns:
        if all(fnmatch(name, pattern) for name in names) and not any(fnmatch(name, pattern) for name in strangers):
            return pattern
    raise UsageError(
        f"No pattern tells {names[0]} and its like from {min(strangers)}; needed names that begin alike within each "
        "kind and differently between kinds, such as records-*.csv and outcomes-*.csv: rename the files."
    )


def _common(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return next((first[:place] for place, letter in enumerate(first) if last[place : place + 1] != letter), first)
