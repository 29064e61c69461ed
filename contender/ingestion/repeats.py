"""Which rows say nothing new: a record that is in the lake already, an outcome that is the one that counts by now.

They are no faults. A file that is delivered again, or that has grown, is full of them.
"""

from collections.abc import Mapping

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from contender.contracts.sections import Column
from contender.ingestion.file_order import with_natural
from contender.ingestion.row_checks import complete, content_of
from contender.values import BATCH, FILE, KEY, RECEIVED, ROW

OLD, REPEATED = "_old", "_repeated"
"""Whether the record is in the lake already, and whether there is nothing else in the row."""


def mark_old_records(rows: DataFrame, same: str) -> DataFrame:
    """Tell the rows whose only fault is that the same row came before; of such they have none any more."""
    old = F.coalesce(F.col("_reasons") == F.array(F.lit(same)), F.lit(False))
    marked = rows.withColumn(OLD, old).withColumn(REPEATED, F.col(OLD))
    return marked.withColumn(
        "_reasons", F.when(F.col(OLD), F.array().cast("array<string>")).otherwise(F.col("_reasons"))
    )


def mark_old_outcomes(
    rows: DataFrame, known: DataFrame | None, columns: Mapping[str, Column], *, dated: bool, among: SparkColumn
) -> DataFrame:
    """Say of each row whether its outcome is nothing new, as a column `_old_outcome`.

    Args:
        rows: with `_key`, `_file`, `_row` and the outcome's columns.
        known: what is in the lake of these keys.
        dated: a column tells when an outcome was known. Without it the last one counts, so that what was true before
            is news after something else was.
        among: the rows that have a valid outcome.
    """
    content = content_of(columns)
    # As columns: what rows are sorted by is computed anew for each comparison.
    marked = with_natural(rows, FILE, "_name").withColumns({"_content": content, "_valid": among})
    order = ("_name", FILE, ROW)
    earlier = Window.partitionBy(KEY, "_valid").orderBy(*order)
    if known is not None:
        arrival = F.struct(RECEIVED, BATCH, "_name", FILE, ROW, content.alias("_c"))
        found = with_natural(complete(known, columns), FILE, "_name").select(KEY, arrival.alias("_place"))
        answers = found.groupBy(KEY).agg(
            F.max("_place").getField("_c").alias("_last"), F.collect_set(F.col("_place").getField("_c")).alias("_all")
        )
        marked = marked.join(answers, on=KEY, how="left")
    else:
        marked = marked.withColumn("_last", F.lit(None).cast("bigint")).withColumn(
            "_all", F.lit(None).cast("array<bigint>")
        )
    if dated:
        first = Window.partitionBy(KEY, "_valid", "_content").orderBy(*order)
        again = (F.row_number().over(first) > 1) | F.coalesce(F.array_contains("_all", F.col("_content")), F.lit(False))
    else:
        before = F.coalesce(F.lag("_content").over(earlier), F.col("_last"))
        again = F.coalesce(before == F.col("_content"), F.lit(False))
    again = F.col("_valid") & F.col(KEY).isNotNull() & again
    return marked.withColumn("_old_outcome", again).drop("_content", "_valid", "_name", "_last", "_all")
