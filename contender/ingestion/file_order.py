"""The order of files that landed together: by their names as people count, so that `returns-10` follows `returns-9`."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

_DIGITS = 40
"""Numbers in a name are compared by so many digits."""


def natural(name: str) -> str:
    """A text that sorts as the name should."""
    return re.sub(r"[0-9]+", lambda number: number[0].zfill(_DIGITS)[-_DIGITS:], name)


def natural_of(names: str) -> "Column":
    """The same of a column of names, in Spark."""
    from pyspark.sql import functions as F

    padded = F.regexp_replace(F.col(names), "([0-9]+)", f"{'0' * _DIGITS}$1")
    return F.regexp_replace(padded, f"[0-9]*([0-9]{{{_DIGITS}}})", "$1")
