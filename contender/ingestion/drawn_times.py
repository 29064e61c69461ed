"""A place in time for records that have none: drawn by a hash within their delivery, the same classes all along it.

Rows of one delivery are exchangeable, and a file may be sorted by anything. A microsecond for each row, in drawn order
and after all earlier deliveries, makes any cut by time a random one, with as many of each class on either side as there
should be.
"""

from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contender.values import FILE, KEY, ROW, TIME

_DRAWN, _PLACE = "_drawn", "_place"


def with_drawn_times(rows: DataFrame, *, keyed: bool, stratum: Column | None, at: datetime, seed: int) -> DataFrame:
    """The rows of one delivery with `_time`, from the moment of its arrival on; the same rows always get the same.

    Args:
        rows: with `_key`, `_file`, `_row` and `_raw`, the row as JSON.
        keyed: the key is the user's own; else it is made of a row's place in its file, and the row itself is drawn by.
        stratum: the class of a row; None where there is none.
        at: when the delivery arrived.
        seed: another one draws another order.

    Source: Madow & Madow (1944), On the Theory of Systematic Sampling, Annals of Mathematical Statistics 15(1).
    """
    drawn = rows.withColumn(_DRAWN, F.xxhash64(F.lit(seed), F.col(KEY if keyed else "_raw")))
    # Rows that are drawn alike are alike, and which of them comes first changes nothing.
    order = [F.col(_DRAWN), F.col(FILE), F.col(ROW)]
    if stratum is not None:
        drawn = drawn.withColumn("_stratum", stratum)
        mine = Window.partitionBy("_stratum")
        within = (F.row_number().over(mine.orderBy(*order)) - 0.5) / F.count("*").over(mine)
        drawn, order = drawn.withColumn(_PLACE, within), [F.col(_PLACE), *order]
    place = F.row_number().over(Window.orderBy(*order)) - 1
    moment = F.timestamp_micros(F.unix_micros(F.lit(at)) + place)
    return drawn.withColumn(TIME, moment).drop(_DRAWN, _PLACE, "_stratum")
