"""Cells of text as typed values, in Spark, by the form in which the contract's column says that it is written.

A cell that does not fit the form is null here and gets a reason in `row_checks`: no form is guessed at, so that a
`22,026.47` in a column of decimal commas is never a number.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column as SparkColumn
from pyspark.sql import functions as F

from contender.contracts.sections import LENGTH_FORMS, Column
from contender.contracts.spellings import MONTHS, NO, YES

BLANKS = " \t\n\r\f\v\u00a0\u1680\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200C)))
"""What stands around a value without meaning anything: the blanks of all scripts and of typesetters."""

_EXACT = float(2**53)
"""Up to here every whole number is a number of its own in floating point."""
_DAY = 86_400
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds since 1970."""


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
    spelt = {*missing, *column.missing}
    text = F.when(~cell.isin(*{trim for spelling in spelt if (trim := spelling.strip(BLANKS))}, ""), cell)
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
        case "integer":
            return _whole(_plain(text, column))
    if column.format is not None:
        return F.coalesce(*[_length(text, hours=form == LENGTH_FORMS[1]) for form in column.format])
    number = _plain(text, column).try_cast("double")
    number = _multiplied(number, text, column)
    return F.when(~F.isnan(number) & (F.abs(number) != float("inf")), number)


def _one_of(texts: Sequence[str]) -> str:
    return "|".join(re.escape(text.strip(BLANKS)) for text in sorted(texts, key=len, reverse=True))


def _bare(text: SparkColumn, column: Column) -> SparkColumn:
    """The text without what the column says to drop, blanks and signs as ASCII has them."""
    bare = F.translate(text, "−–\u00a0\u2007\u2009\u202f’", "--    '")
    if column.drop:
        dropped = _one_of(column.drop)
        bare = F.regexp_replace(bare, rf"^([+-]?)\s*(?:{dropped})\s*", "$1")
        bare = F.regexp_replace(bare, rf"\s*(?:{dropped})$", "")
    return bare


def _plain(text: SparkColumn, column: Column) -> SparkColumn:
    """A number as a computer writes it, with a factor that is a power of ten as its exponent; null where it is none."""
    bare = _bare(text, column)
    powers = {name: by for name, by in column.factors.items() if _power(by) is not None}
    whole, point = r"\d+", re.escape(column.point)
    if column.thousands:
        group = re.escape(column.thousands)
        # In India only the last group has three digits.
        between = r"\d{2,3}" if column.thousands == "," else r"\d{3}"
        whole = rf"(?:\d+|\d{{1,3}}(?:{group}{between})*{group}\d{{3}})"
    digits = rf"[+-]?\s?(?:{whole}(?:{point}\d*)?|{point}\d+)"
    after = rf"(?:\s*(?:{_one_of(tuple(column.factors))}))" if column.factors else ""
    plain = F.when(bare.rlike(rf"^{digits}(?:[eE][+-]?\d+{f'|{after}' if after else ''})?$"), bare)
    for name, by in powers.items():
        plain = F.regexp_replace(plain, rf"(?<=[\d{point}])\s*{re.escape(name.strip(BLANKS))}$", f"E{_power(by)}")
    rest = [name for name in column.factors if name not in powers]
    if rest:
        plain = F.regexp_replace(plain, rf"\s*(?:{_one_of(rest)})$", "")
    if column.thousands:
        plain = F.regexp_replace(plain, re.escape(column.thousands), "")
    plain = F.regexp_replace(plain, r"^([+-])\s", "$1")
    return F.translate(plain, column.point, ".") if column.point != "." else plain


def _power(by: float) -> int | None:
    """The exponent of a power of ten: written into the text, so that `1.1k` is 1100 and not 1100.0000000000002."""
    return next((power for power in range(-15, 19) if by == float(f"1e{power}")), None)


def _multiplied(number: SparkColumn, text: SparkColumn, column: Column) -> SparkColumn:
    for name, by in column.factors.items():
        if _power(by) is None:
            number = F.when(_bare(text, column).endswith(name.strip(BLANKS)), number * by).otherwise(number)
    return number


def _whole(plain: SparkColumn) -> SparkColumn:
    """Exact as far as 64 bits reach; what is written with an exponent only where floating point is exact."""
    exact = F.when(plain.rlike(r"^[+-]?\d+(\.0*)?$"), F.regexp_replace(plain, r"\..*$", "").try_cast("bigint"))
    number = F.when(plain.rlike(r"[eE]"), plain.try_cast("double"))
    return F.coalesce(exact, F.when((F.abs(number) <= _EXACT) & (number == F.floor(number)), number.try_cast("bigint")))


def _time(text: SparkColumn, form: str, column: Column, at: datetime | None) -> SparkColumn:
    text = F.translate(text, "\u00a0\u2009\u202f", "   ")
    if not form:
        return _iso(text)
    if form.startswith("epoch "):
        return _epoch(text, {"s": 1_000_000, "ms": 1000, "us": 1}[form.removeprefix("epoch ")])
    if form == "ISO week":
        return _iso_week(text)
    if re.search(r"[ML]{3}", form):
        for place, names in enumerate(MONTHS):
            text = F.regexp_replace(
                text, rf"(?iu)(?<!\p{{L}})(?:{_one_of(names.split())})\.?(?!\p{{L}})", _MONTH[place]
            )
        form = re.sub(r"[ML]{3,}\.?", "MMM", form)
    if "a" in re.sub(r"'[^']*'", "", form):
        text = F.regexp_replace(text, r"(?i)([ap])\.?\s?m\.?$", "$1m")
    time = F.try_to_timestamp(text, F.lit(form))
    return _within_a_century(time, column, at) if re.search(r"(?<!y)yy(?!y)", form) else time


_MONTH = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _iso(text: SparkColumn) -> SparkColumn:
    # Of a time without a date Spark would make one of today, of six digits a year.
    text = F.when(text.rlike(r"^\d{4}(-\d{1,2}(-\d{1,2}([ T].*)?)?)?$"), text)
    # Only where there is something to mend: of millions of times hardly one has a comma or a zone.
    text = F.when(text.contains(","), F.regexp_replace(text, r"(:\d\d),(\d+)", "$1.$2")).otherwise(text)
    text = F.when(text.rlike("(UTC|GMT)$"), F.regexp_replace(text, r"\s?(UTC|GMT)$", "Z")).otherwise(text)
    mended = F.regexp_replace(text, r"(:\d\d[\d:.]*)\s?([+-]\d\d)(\d\d)$", "$1$2:$3")
    return F.try_to_timestamp(F.when(F.substring(text, -5, 1).isin("+", "-"), mended).otherwise(text))


def _epoch(text: SparkColumn, microseconds: int) -> SparkColumn:
    number = F.when(text.rlike(r"^-?\d{1,18}([.,]\d+)?$"), F.translate(text, ",", ".")).try_cast("decimal(28,9)")
    moment = F.round(F.try_multiply(number, F.lit(microseconds)), 0).try_cast("bigint")
    return F.timestamp_micros(F.when(moment.between(_FIRST_US, _LAST_US), moment))


def _iso_week(text: SparkColumn) -> SparkColumn:
    pattern = r"^(\d{4})-?[Ww](\d{1,2})(?:-?([1-7]))?$"
    year, week, day = (F.regexp_extract(text, pattern, place).try_cast("int") for place in (1, 2, 3))
    monday = F.date_trunc("week", F.to_timestamp(F.concat(F.lpad(year.cast("string"), 4, "0"), F.lit("-01-04"))))
    first = F.date_add(monday.cast("date"), 7 * (week - 1))
    return F.when(F.weekofyear(first) == week, F.date_add(first, F.coalesce(day, F.lit(1)) - 1).cast("timestamp"))


def _within_a_century(time: SparkColumn, column: Column, at: datetime | None) -> SparkColumn:
    """Spark takes two digits for a year from 2000 to 2099."""
    if column.years_from is not None:
        centuries = F.floor((F.year(time) - column.years_from) / 100).cast("int")
        return time - F.make_ym_interval(centuries * 100)
    if at is None:
        return time
    return F.when(time > F.lit(at + timedelta(days=1)), time - F.make_ym_interval(F.lit(100))).otherwise(time)


_COUNT = r"(\d+(?:[.,]\d+)?)"
_LENGTHS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"(?:(\d+)\s*d(?:ays?)?,?\s+)?(\d+):([0-5]?\d):([0-5]?\d(?:[.,]\d+)?)", (_DAY, 3600, 60, 1)),
    (
        rf"P(?:{_COUNT}W)?(?:{_COUNT}D)?(?:T(?=\d)(?:{_COUNT}H)?(?:{_COUNT}M)?(?:{_COUNT}S)?)?(?<![PT])",
        (7 * _DAY, _DAY, 3600, 60, 1),
    ),
    (
        "(?=\\d)"
        + "".join(
            rf"(?:{_COUNT}\s*(?:{unit})(?![a-z]),?\s*)?"
            for unit in (
                r"d|days?|tage?|jours?",
                r"h|hrs?|hours?|std\.?|stunden?|heures?",
                r"m|mins?\.?|minutes?|minuten?",
                r"s|secs?|seconds?|sek\.?|sekunden?|secondes?",
            )
        ),
        (_DAY, 3600, 60, 1),
    ),
)


def _length(text: SparkColumn, *, hours: bool) -> SparkColumn:
    """A length of time in seconds; of two parts the first is hours, or else minutes."""
    two = (3600, 60) if hours else (60, 1)
    second = r"([0-5]?\d)" if hours else r"([0-5]?\d(?:[.,]\d+)?)"
    found = F.when(text == "0", F.lit(0.0))
    for body, parts in ((rf"(\d+):{second}", two), *_LENGTHS):
        pattern = rf"^(?i)([+-]?)\s?{body}$"
        seconds: SparkColumn = F.lit(0.0)
        for place, factor in enumerate(parts, start=2):
            part = F.translate(F.regexp_extract(text, pattern, place), ",", ".").try_cast("double")
            seconds = seconds + F.coalesce(part, F.lit(0.0)) * factor
        negative = F.regexp_extract(text, pattern, 1) == "-"
        found = F.coalesce(found, F.when(text.rlike(pattern), F.when(negative, -seconds).otherwise(seconds)))
    return found
