"""Where files lie and which pattern of names tells them from others."""

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from contender.errors import UsageError

_EXTENSION = re.compile(r"(\.[A-Za-z]+\d?)?(\.gz)?$")


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
