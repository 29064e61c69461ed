"""From rows of strings to typed rows with the reasons against them, in Spark, by contract.

A conformed frame has the columns of ours (`_file`, `_row`, …), every declared column in its type, `_raw` (the strings
as landed), `_reasons` (an array, empty for a good row), and per checked type one column that holds the raw value where
it cannot be read, so that Great Expectations shows what stood there. `RULES` says for both what each check asks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from contender import column_names
from contender.contracts.sections import Column, Columns, ColumnType
from contender.ingestion import cells
from contender.ingestion.file_order import with_natural
from contender.values import FILE, KEY, ROW, TIME

_NEEDED: dict[ColumnType, str] = {
    "number": "not a finite number",
    "integer": "not a whole number of 64 bits",
    "boolean": "neither true nor false",
    "timestamp": "not a time",
    "category": "",
    "text": "",
}
SPARK_TYPES: dict[ColumnType, str] = {
    "number": "double",
    "integer": "bigint",
    "boolean": "boolean",
    "timestamp": "timestamp",
    "category": "string",
    "text": "string",
}


CheckKind = Literal["readable", "present", "min", "max", "in set", "not in the future", "unique", "unchanged"]


@dataclass(frozen=True)
class Rule:
    """What one kind of check asks of the column that it measures, for Spark and for Great Expectations.

    `fails` takes the column and the check's limit; a missing value fails no rule but that it be there. `limit` names
    the expectation's argument for the limit.
    """

    fails: Callable[[SparkColumn, Any], SparkColumn]
    expectation: str
    limit: str = ""


_FLAGGED = Rule(lambda value, _: value.isNotNull(), "ExpectColumnValuesToBeNull")
"""Of a column that is filled only where the check fails."""

RULES: dict[CheckKind, Rule] = {
    "readable": _FLAGGED,
    "present": Rule(lambda value, _: value.isNull(), "ExpectColumnValuesToNotBeNull"),
    "min": Rule(lambda value, limit: value < F.lit(limit), "ExpectColumnValuesToBeBetween", "min_value"),
    "max": Rule(lambda value, limit: value > F.lit(limit), "ExpectColumnValuesToBeBetween", "max_value"),
    "in set": Rule(lambda value, limit: ~value.isin(*limit), "ExpectColumnValuesToBeInSet", "value_set"),
    "not in the future": Rule(lambda value, limit: value > F.lit(limit), "ExpectColumnValuesToBeBetween", "max_value"),
    "unique": _FLAGGED,
    "unchanged": _FLAGGED,
}


@dataclass(frozen=True)
class Check:
    """One promise of the contract about one column, told as the reason that a row gets for breaking it."""

    column: str
    kind: CheckKind
    reason: str
    limit: float | datetime | tuple[str, ...] | None = None

    @property
    def measured(self) -> str:
        """Name of the column of the conformed frame that the check looks at."""
        return column_names.stored(self.reason) if RULES[self.kind] is _FLAGGED else self.column


def checks_of(columns: Columns, *, key: str | None, time: str | None, at: datetime, skew: timedelta) -> list[Check]:
    """Every check of the rows of one file kind, in the order in which reasons are told.

    Columns, key and time go by their names in the lake; reasons tell the user's.
    """
    found = []
    for name, column in columns.items():
        told = column_names.exact(name)
        if needed := _NEEDED[column.type]:
            found.append(Check(name, "readable", f"{told}: {needed}"))
        if column.required or name in (key, time):
            found.append(Check(name, "present", f"{told}: missing"))
        if column.min is not None:
            found.append(Check(name, "min", f"{told}: below {column.min:.15g}", column.min))
        if column.max is not None:
            found.append(Check(name, "max", f"{told}: above {column.max:.15g}", column.max))
        if column.values is not None and column.unseen == "quarantine":
            found.append(Check(name, "in set", f"{told}: none of the {len(column.values)} known values", column.values))
    if time is not None:
        found.append(Check(time, "not in the future", f"{column_names.exact(time)}: in the future", at + skew))
    return found


def key_checks(key: str) -> list[Check]:
    """The checks that compare a record with earlier ones."""
    told = column_names.exact(key)
    return [
        Check(key, "unique", f"{told}: the same row came before"),
        Check(key, "unchanged", f"{told}: came before with other values"),
    ]


def conform(
    staged: DataFrame,
    columns: Columns,
    checks: Sequence[Check],
    missing: Sequence[str],
    at: datetime | None = None,
    made: Mapping[str, str] | None = None,
) -> DataFrame:
    """Typed columns, `_raw`, and `_reasons` by every row check. One narrow pass.

    Args:
        at: when the rows arrived.
        made: the expressions, over the staged cells, of columns that no file has.
    """
    own = [name for name in staged.columns if name not in (FILE, ROW)]
    # Trimmed in a step of its own: each way to read a cell looks at it, and Spark would trim it anew for each.
    trimmed = staged.select(
        FILE,
        ROW,
        F.struct(*map(_quoted, own)).alias("_landed"),
        *[cells.trimmed(F.col(_quoted(name))).alias(name) for name in own],
    )
    made = {name: made[name] for name in columns if made and name in made}
    if made:
        trimmed = trimmed.withColumns({name: cells.trimmed(F.expr(text)) for name, text in made.items()})
    landed = [F.col(_quoted(n)) if n in made else F.col("_landed").getField(n).alias(n) for n in columns]
    trimmed = trimmed.withColumn("_raw", F.struct(*landed))
    read = {name: cells.read(F.col(_quoted(name)), column, missing, at) for name, column in columns.items()}
    raw, values = ({name: pair[place] for name, pair in read.items()} for place in (0, 1))
    unreadable = unreadable_of(checks)
    typed = trimmed.select(
        FILE,
        ROW,
        "_raw",
        *[value.alias(name) for name, value in values.items()],
        *[
            F.when(raw[name].isNotNull() & values[name].isNull(), raw[name]).alias(to)
            for name, to in unreadable.items()
        ],
    )
    reasons = [F.when(_fails(check, checks), F.lit(check.reason)) for check in checks]
    return typed.withColumn(
        "_reasons", F.array_compact(F.array(*reasons)) if reasons else F.array().cast("array<string>")
    )


def mark_repeated(rows: DataFrame, known: DataFrame | None, columns: Mapping[str, Column], key: str) -> DataFrame:
    """Add the reasons of `key_checks`: a key that an earlier row of the batch, or an accepted record, already has.

    The first row with a key is accepted. `known` are accepted records with at least `_key` and the columns.
    """
    same, other = key_checks(key)
    content = content_of(columns)
    # As columns: what rows are sorted by is computed anew for each comparison.
    marked = with_natural(rows, FILE, "_name").withColumns({"_content": content, "_bad": F.size("_reasons") > 0})
    earlier = Window.partitionBy(KEY).orderBy("_bad", TIME, "_name", FILE, ROW)
    marked = marked.withColumn("_first", F.first("_content").over(earlier)).withColumn(
        "_place", F.row_number().over(earlier)
    )
    if known is None:
        before = F.when(F.col("_place") > 1, F.col("_first"))
    else:
        marked = marked.join(complete(known, columns).select(KEY, content.alias("_known")), on=KEY, how="left")
        before = F.coalesce("_known", F.when(F.col("_place") > 1, F.col("_first")))
    marked = marked.withColumn("_before", F.when(F.col(KEY).isNotNull(), before))
    repeated = F.when(F.col("_before") == F.col("_content"), F.lit(same.reason)).when(
        F.col("_before").isNotNull(), F.lit(other.reason)
    )
    flags = {check.measured: F.when(F.array_contains("_reasons", check.reason), F.col(KEY)) for check in (same, other)}
    return (
        marked.withColumn("_reasons", F.array_compact(F.array_append("_reasons", repeated)))
        .withColumns(flags)
        .drop("_content", "_name", "_bad", "_first", "_place", "_before", "_known")
    )


def complete(rows: DataFrame, columns: Mapping[str, Column]) -> DataFrame:
    """Accepted rows with every declared column; what was declared only after they came is null."""
    later = {name: column for name, column in columns.items() if name not in rows.columns}
    return rows.select("*", *[F.lit(None).cast(SPARK_TYPES[column.type]).alias(n) for n, column in later.items()])


def content_of(columns: Mapping[str, Column]) -> SparkColumn:
    """A number that rows share only where the same values are there, and the same are missing."""
    values = [F.col(_quoted(name)) for name in columns]
    # A missing value adds nothing to a hash: (5, nothing) would be (nothing, 5).
    return F.xxhash64(*values, *[value.isNull() for value in values])


def content_key(columns: Columns) -> SparkColumn:
    """A key made from a row's content and place: the same row of the same file always gets the same one."""
    return F.sha1(F.concat_ws("\x1f", FILE, F.col(ROW).cast("string"), F.to_json("_raw")))


def unreadable_of(checks: Sequence[Check]) -> dict[str, str]:
    """The columns that hold what cannot be read, by the column that it stood in.

    It has its own reason, and is not told as missing, too: missing is what was never there.
    """
    return {check.column: check.measured for check in checks if check.kind == "readable"}


def _fails(check: Check, checks: Sequence[Check]) -> SparkColumn:
    fails = RULES[check.kind].fails(F.col(_quoted(check.measured)), check.limit)
    unread = unreadable_of(checks).get(check.column) if check.kind == "present" else None
    return fails & F.col(_quoted(unread)).isNull() if unread else fails


def _quoted(name: str) -> str:
    return f"`{name}`"
