"""Cells of text as typed values, in Spark, by the form in which the contract's column says that it is written.

A cell that does not fit the form is null here and gets a reason in `row_checks`: no form is guessed at, so that a
`22,026.47` in a column of decimal commas is never a number.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pyspark.sql import Column as SparkColumn
from pyspark.sql import functions as F

from contender.contracts.sections import LENGTH_FORMS, Column
from contender.contracts.spellings import NO, YES
from contender.ingestion import cell_forms
from contender.ingestion.cell_forms import BLANKS, Step


def trimmed(cell: SparkColumn) -> SparkColumn:
    """A cell without the blanks around it, those of other scripts and of typesetters too."""
    return F.btrim(cell, F.lit(BLANKS))


def read(
    cell: SparkColumn, column: Column, missing: Sequence[str], at: datetime | None = None
) -> tuple[SparkColumn, SparkColumn]:
    """The cell's text, null where it is missing, and its value, null as well where the text cannot be read.

    Args:
        cell: as `trimmed` gives it.
        missing: spellings of a missing value in all columns.
        at: when the file arrived; two digits stand for no later year.
    """
    spelt = {trim for spelling in {*missing, *column.missing} if (trim := spelling.strip(BLANKS))}
    text = F.when(~cell.isin(*spelt, ""), cell)
    value = _typed(text, column, at)
    if column.type in ("number", "integer"):
        # By value, too: a tool that writes whole numbers as `-200.0` does not bring them to life.
        marks = [_typed(F.lit(spelling), column, at) for spelling in sorted(spelt) if re.search(r"\d", spelling)]
        if marks:
            there = ~F.coalesce(value.isin(*marks), F.lit(False))
            text, value = F.when(there, text), F.when(there, value)
    return text, value


def _typed(text: SparkColumn, column: Column, at: datetime | None) -> SparkColumn:
    match column.type:
        case "category" | "text":
            return text
        case "boolean":
            lower = F.lower(text)
            yes, no = (
                [spelling.strip(BLANKS).lower() for spelling in of] for of in (column.yes or YES, column.no or NO)
            )
            return F.when(lower.isin(*yes), F.lit(True)).when(lower.isin(*no), F.lit(False))
        case "timestamp":
            return F.coalesce(*[_time(text, form, column, at) for form in column.format or ("",)])
    if column.format is not None:
        return F.coalesce(*[_length(text, hours=form == LENGTH_FORMS[1]) for form in column.format])
    bare = _after(F.translate(text, *cell_forms.SIGNS), cell_forms.bare_steps(column))
    plain = _after(bare, cell_forms.plain_steps(column))
    number = alone = plain.try_cast("double")
    for pattern, by in cell_forms.other_factors(column):
        number = F.when(bare.rlike(pattern), alone * by).otherwise(number)
    if column.type == "integer":
        return _whole(plain, number, bare, column)
    return F.when(~F.isnan(number) & (F.abs(number) != float("inf")), number)


def _after(text: SparkColumn, steps: Sequence[Step]) -> SparkColumn:
    for step in steps:
        # Java folds the case of ASCII alone unless told, and its $ stands before a line's end, too.
        pattern = step.pattern.replace("(?i)", "(?iu)")
        if step.by is None:
            text = F.when(text.rlike(rf"^(?:{pattern})\z"), text)
        else:
            text = F.regexp_replace(text, pattern, step.by.replace("\\", "$"))
    return text


def _whole(plain: SparkColumn, number: SparkColumn, bare: SparkColumn, column: Column) -> SparkColumn:
    """Exact as far as 64 bits reach; with an exponent or a factor as far as floating point is exact."""
    exact = F.when(plain.rlike(r"^[+-]?\d+(\.0*)?$"), F.regexp_replace(plain, r"\..*$", "").try_cast("bigint"))
    for pattern, _ in cell_forms.other_factors(column):
        exact = F.when(~bare.rlike(pattern), exact)
    # What is too small for floating point is not 0.
    fits = (F.abs(number) <= cell_forms.EXACT) & (number == F.floor(number))
    fits &= (number != 0) | ~plain.rlike(r"[1-9].*[eE]")
    return F.coalesce(exact, F.when(fits & ~plain.rlike(r"^[+-]?\d+$"), number.try_cast("bigint")))


def _time(text: SparkColumn, form: str, column: Column, at: datetime | None) -> SparkColumn:
    text = F.translate(text, *cell_forms.TIME_BLANKS)
    if form in cell_forms.EPOCHS:
        return _epoch(text, cell_forms.EPOCHS[form])
    if form == "Excel days":
        return _excel_days(text)
    if form == "ISO week":
        return _iso_week(text)
    if form == "RFC 2822":
        time = _iso(_after(text, cell_forms.MAIL_STEPS))
    elif form:
        time = F.try_to_timestamp(_after(text, cell_forms.time_steps(form)), F.lit(cell_forms.short_months(form)))
    else:
        time = _iso(text)
    if cell_forms.has_short_year(form):
        time = _within_a_century(time, column, at)
    return F.when(F.unix_micros(time).between(cell_forms.FIRST_US, cell_forms.LAST_US), time)


def _iso(text: SparkColumn) -> SparkColumn:
    # Of a time without a date Spark would make one of today, of six digits a year.
    text = _after(text, [Step(cell_forms.ISO)])
    # Only where there is something to mend: of millions of times hardly one has a comma or a zone.
    text = F.when(text.contains(","), F.translate(text, ",", ".")).otherwise(text)
    end = F.substring(text, -6, 6)
    zoned = (F.length(text) > 12) & (end.contains("+") | end.contains("-") | (F.substring(text, -1, 1) > "9"))
    zone = r"( ?(?:Z|UTC|GMT|[+-]\d.*))$"
    mended = _after(
        text,
        [
            Step(rf"^([^ T]*[ T]\d\d?){zone}", r"\1:00\2"),
            Step(rf"^([^ T]*[ T]\d\d?:\d\d?){zone}", r"\1:00\2"),
            Step(r"(:.*[+-]\d\d)(\d\d)$", r"\1:\2"),
        ],
    )
    return F.try_to_timestamp(F.when(zoned, mended).otherwise(text))


def _excel_days(text: SparkColumn) -> SparkColumn:
    days = F.translate(_after(text, [Step(cell_forms.EXCEL)]), ",", ".").try_cast("decimal(28,9)")
    # To the millisecond, as Excel tells it: a count of days in floating point is not exact beyond.
    moment = F.round((days - cell_forms.EXCEL_1970) * cell_forms.MILLISECONDS, 0).try_cast("bigint") * 1000
    sound = (days >= cell_forms.EXCEL_FIRST) & moment.between(cell_forms.FIRST_US, cell_forms.LAST_US)
    return F.timestamp_micros(F.when(sound, moment))


def _epoch(text: SparkColumn, microseconds: Decimal) -> SparkColumn:
    text = F.translate(_after(text, [Step(cell_forms.EPOCH)]), ",", ".")
    moment = F.round(F.try_multiply(text.try_cast("decimal(28,9)"), F.lit(microseconds)), 0).try_cast("bigint")
    return F.timestamp_micros(F.when(moment.between(cell_forms.FIRST_US, cell_forms.LAST_US), moment))


def _iso_week(text: SparkColumn) -> SparkColumn:
    pattern, parts = cell_forms.WEEK
    year, week, day = (F.regexp_extract(text, pattern, place + 1).try_cast("int") for place in range(len(parts)))
    monday = F.date_trunc("week", F.to_timestamp(F.concat(F.lpad(year.cast("string"), 4, "0"), F.lit("-01-04"))))
    first = F.date_add(monday.cast("date"), 7 * (week - 1))
    return F.when(F.weekofyear(first) == week, F.date_add(first, F.coalesce(day, F.lit(1)) - 1).cast("timestamp"))


def _within_a_century(time: SparkColumn, column: Column, at: datetime | None) -> SparkColumn:
    """Spark takes two digits for a year from 2000 to 2099."""
    if column.years_from is not None:
        centuries = F.floor((F.year(time) - column.years_from) / 100).cast("int")
        moved = time - F.make_ym_interval(centuries * 100)
    elif at is not None:
        late = time > F.lit(at + timedelta(days=1))
        moved = F.when(late, time - F.make_ym_interval(F.lit(100))).otherwise(time)
    else:
        return time
    # 2000 has a 29th of February that 1900 and 2100 have not.
    return F.when(F.dayofmonth(moved) == F.dayofmonth(time), moved)


def _length(text: SparkColumn, *, hours: bool) -> SparkColumn:
    """A length of time in seconds."""
    found = F.when(text == "0", F.lit(0.0))
    text = _after(text, [Step(cell_forms.LENGTH)])
    for pattern, parts in cell_forms.lengths(hours=hours):
        seconds: SparkColumn = F.lit(0.0)
        for place, factor in enumerate(parts, start=2):
            part = F.translate(F.regexp_extract(text, pattern, place), ",", ".").try_cast("double")
            seconds = seconds + F.coalesce(part, F.lit(0.0)) * factor
        negative = F.regexp_extract(text, pattern, 1) == "-"
        found = F.coalesce(found, F.when(text.rlike(pattern), F.when(negative, -seconds).otherwise(seconds)))
    return found
