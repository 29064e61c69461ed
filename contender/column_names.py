"""Names of columns as the lake stores them: the user's own, but for what Delta and Spark cannot hold.

Delta refuses blanks and brackets, Spark takes a dot for a step into a structure, names that begin with "_" are ours,
and both tell names apart without regard to case. Such letters are stored as "%" and their code, as addresses of the web
are written. Users only ever see and write the names of their files.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

_TABOO = re.compile(r"[\x00-\x20\x7f,;{}()=.`%*]|^_")
_TWIN = "%~"


def stored(name: str) -> str:
    """How the lake calls a column."""
    return _TABOO.sub(lambda found: f"%{ord(found[0]):02X}", name)


def exact(name: str) -> str:
    """What the user calls a column of the lake."""
    return unquote(re.sub(rf"{_TWIN}\d+$", "", name))


def stored_names(names: Iterable[str]) -> dict[str, str]:
    """How the lake calls each of some columns; of names that differ by case alone the first one keeps its own."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        plain = kept = stored(name)
        number = 2
        while kept.lower() in taken:
            kept, number = f"{plain}{_TWIN}{number}", number + 1
        taken.add(kept.lower())
        found[name] = kept
    return found
