"""The order of files that landed together: by their names as people count, so that `returns-10` follows `returns-9`."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_DIGITS = 40
"""Numbers in a name are compared by so many digits."""


def natural(name: str) -> str:
    """A text that sorts as the name should."""
    return re.sub(r"[0-9]+", lambda number: number[0].zfill(_DIGITS)[-_DIGITS:], name)


def with_natural(rows: "DataFrame", names: str, to: str) -> "DataFrame":
    """The same of a column of names, in Spark, as a column `to`: made once for each name, not for each row."""
    from pyspark.sql import functions as F

    padded = F.regexp_replace(F.col(names), "([0-9]+)", f"{'0' * _DIGITS}$1")
    natural = F.regexp_replace(padded, f"[0-9]*([0-9]{{{_DIGITS}}})", "$1")
    each = rows.select(names).distinct().select(names, natural.alias(to))
    return rows.join(F.broadcast(each), on=names, how="left")
