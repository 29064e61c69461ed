"""How a column's cells are written, as patterns and replacements: one description, read by Spark and by DuckDB alike.

Patterns keep to what Java's engine and RE2 have in common: no look-around, and `\\1` stands for a group.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from contender.contracts.sections import Column
from contender.contracts.spellings import MONTHS

BLANKS = " \t\n\r\f\v\u00a0\u1680\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200C)))
"""What stands around a value without meaning anything: the blanks of all scripts and of typesetters."""

_ZEROS = (0xFF10, 0x0660, 0x06F0, 0x0966)
"""Zero in the wide digits of East Asia, in those of Arabic and Persian, and of Hindi."""
SIGNS = (
    "−–－\v\u00a0\u2007\u2009\u202f’＋．，％٫٬" + "".join(chr(zero + n) for zero in _ZEROS for n in range(10)),
    "---     '+.,%.," + "0123456789" * len(_ZEROS),
)
"""Signs, blanks and digits within a number, and those of ASCII that they stand for."""
TIME_BLANKS = ("\u00a0\u2009\u202f", "   ")

EXACT = 2**53
"""Up to here every whole number is a number of its own in floating point."""
FIRST_US, LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds since 1970."""
_DAY = 86_400


@dataclass(frozen=True)
class Step:
    """What happens to a text: `by` stands where the pattern was; without one a text that does not fit it is none."""

    pattern: str
    by: str | None = None


def one_of(texts: Sequence[str]) -> str:
    """A pattern of some texts, the longest first."""
    return "|".join(re.escape(text.strip(BLANKS)) for text in sorted(texts, key=len, reverse=True))


def digits(point: str, thousands: str | None) -> str:
    """A pattern of the digits of a number; what begins with 0 has no groups, so that `0.123` is never 123."""
    sign = re.escape(point)
    whole = r"\d+"
    if thousands:
        group = re.escape(thousands)
        # In India only the last group has three digits.
        between = r"\d{2,3}" if thousands == "," else r"\d{3}"
        whole = rf"(?:\d+|[1-9]\d{{0,2}}(?:{group}{between})*{group}\d{{3}})"
    return rf"(?:{whole}(?:{sign}\d*)?|{sign}\d+)"


def negative_steps(negative: str | None) -> list[Step]:
    """Puts a minus before a number that is written as negative otherwise, whatever stands beside it."""
    if negative is None:
        return []
    found = r"^([^\d()]*)\(([^()]*\d[^()]*)\)([^\d()]*)$" if negative == "(1)" else r"^([^+-]*)(\d[^\d+-]*)-(\D*)$"
    return [Step(found, r"-\1\2\3")]


def bare_steps(column: Column) -> list[Step]:
    """Takes away what the column says to drop, of a text with `SIGNS` replaced."""
    steps = negative_steps(column.negative)
    if not column.drop:
        return steps
    dropped = one_of(column.drop)
    return [*steps, Step(rf"^([+-]?)\s*(?:{dropped})\s*", r"\1"), Step(rf"\s*(?:{dropped})$", "")]


def plain_steps(column: Column) -> list[Step]:
    """Makes of a bare text the number as a computer writes it, without a factor that is no power of ten.

    One that is becomes the exponent, so that `1.1k` is 1100 and not 1100.0000000000002.
    """
    factor = rf"(?:\s*(?:{one_of(tuple(column.factors))}))?" if column.factors else ""
    # Where digits are grouped none of 1.234e5 can tell whether it is a thousand: grouped numbers have no exponent.
    exponent = rf"{digits(column.point, None)}[eE][+-]?\d+"
    steps = [Step(rf"[+-]?\s?(?:{digits(column.point, column.thousands)}{factor}|{exponent})")]
    for name, by in column.factors.items():
        power = _power(by)
        steps.append(Step(_behind_digits(column, name), r"\1" if power is None else rf"\1E{power}"))
    if column.thousands:
        steps.append(Step(re.escape(column.thousands), ""))
    steps.append(Step(r"^([+-])\s", r"\1"))
    return [*steps, Step(",", ".")] if column.point == "," else steps


def other_factors(column: Column) -> list[tuple[str, float]]:
    """The factors that are no powers of ten, each with the pattern that is found in a bare text that has it."""
    return [(_behind_digits(column, name), by) for name, by in column.factors.items() if _power(by) is None]


def _behind_digits(column: Column, name: str) -> str:
    return rf"([\d{re.escape(column.point)}])\s*{re.escape(name.strip(BLANKS))}$"


def _power(by: float) -> int | None:
    return next((power for power in range(-15, 19) if by == float(f"1e{power}")), None)


_CLOCK = r"(?:[01]?\d|2[0-3])(?::[0-5]?\d(?::[0-5]?\d(?:[.,]\d{0,9})?)?)?"
_OFFSET = r"[+-](?:(?:0\d|1[0-7])(?::?[0-5]\d)?|18(?::?00)?|\d(?::[0-5]\d)?)"
_ZONE = rf" ?(?:Z|UTC|GMT|{_OFFSET})"
ISO = rf"\d{{4}}(?:-\d\d?(?:-\d\d?(?:[ T]{_CLOCK}(?:{_ZONE})?)?)?)?"
"""ISO 8601 as people write it. Names of zones are none of it: an hour that a clock shows twice would be guessed at."""
ISO_PARTS = (rf"^(\d{{4}}-\d\d?-\d\d?)[ T]({_CLOCK})({_ZONE})?$", ("day", "clock", "zone"))
WEEK = (r"^(\d{4})-?[Ww](\d{1,2})(?:-?([1-7]))?$", ("year", "week", "day"))
EPOCH = r"-?\d{1,19}(?:[.,]\d+)?"
EPOCHS = {
    "epoch s": Decimal(1_000_000),
    "epoch ms": Decimal(1000),
    "epoch us": Decimal(1),
    "epoch ns": Decimal("0.001"),
}
"""Microseconds in one of each unit."""
EXCEL = r"\d{2,7}(?:[.,]\d+)?"
EXCEL_1970, EXCEL_FIRST, MILLISECONDS = 25_569, 61, 86_400_000
"""The day of 1970, the first day that is counted right (Excel has a 29th of February 1900), and what a day has."""

_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_MAIL = rf"\d\d?\s+(?:{_MONTHS})\s+\d{{4}}\s+{_CLOCK}"
_MAIL_ZONE = r"\s*(?:ut|utc|gmt|z|[+-]\d{4}(?:\s*\([^()]*\))?)"
_MAIL_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun),?\s+"
MAIL = rf"(?i)(?:{_MAIL_DAY}{_MAIL}(?:{_MAIL_ZONE})?|{_MAIL}{_MAIL_ZONE})"
"""RFC 2822, with a day of the week or a zone: without either it is a date pattern like others."""
MAIL_STEPS = (
    Step(MAIL),
    Step(rf"(?i)^{_MAIL_DAY}", ""),
    Step(r"\s*\([^()]*\)$", ""),
    *(
        Step(rf"(?i)^(\d\d?)\s+{name}\s+(\d{{4}})\s+", rf"\2-{number:02}-\1 ")
        for number, name in enumerate(_MONTHS.split("|"), start=1)
    ),
    Step(r"(?i)\s*(?:ut|utc|gmt|z)$", " UTC"),
    Step(r"\s*([+-]\d{4})$", r" \1"),
)
"""Makes ISO 8601 of it."""

_TOKENS = {
    **{"yyyy": r"(?P<year>\d{4})", "yy": r"(?P<year2>\d\d)"},
    **{"MMMM": r"(?P<name>[^\W\d_]{3,10}\.?)", "MMM": r"(?P<name>[^\W\d_]{3,10}\.?)"},
    **{"MM": r"(?P<month>\d\d)", "M": r"(?P<month>\d\d?)", "dd": r"(?P<day>\d\d)", "d": r"(?P<day>\d\d?)"},
    **{"HH": r"(?P<hour>\d\d)", "H": r"(?P<hour>\d\d?)", "hh": r"(?P<hour>\d\d)", "h": r"(?P<hour>\d\d?)"},
    **{"mm": r"(?P<minute>\d\d)", "ss": r"(?P<second>\d\d)"},
    **{"SSSSSS": r"(?P<part>\d{6})", "SSS": r"(?P<part>\d{3})", "a": r"(?P<half>[AaPp]\.?\s?[Mm]\.?)"},
}
_TOKEN = re.compile(r"'(?P<quoted>[^']*)'|(?P<letters>([A-Za-z])\3*)|(?P<other>[^A-Za-z']+)")
_ENGLISH = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """What a text of this date pattern looks like, with its parts as groups.

    Raises:
        KeyError: a letter that is none of those that `init` knows.
    """
    found = []
    for match in _TOKEN.finditer(pattern):
        if match["letters"]:
            found.append(_TOKENS[match["letters"]])
        else:
            found.append(re.escape(match["quoted"] if match["quoted"] is not None else match["other"]))
    return re.compile("".join(found))


def short_months(form: str) -> str:
    """The date pattern of what `time_steps` makes of a text."""
    return re.sub(r"[ML]{3,}\.?", "MMM", form)


def time_steps(form: str) -> list[Step]:
    """Makes of a text, with `TIME_BLANKS` replaced, one with English short months and plain am or pm, if it fits."""
    steps, form = [], short_months(form)
    try:
        looks = compiled(form).pattern
    except KeyError:
        # Only Spark knows all letters of date patterns.
        pass
    else:
        steps.append(Step(re.sub(r"\(\?P<\w+>", "(?:", looks).replace(r"[^\W\d_]", r"\pL")))
    if "MMM" in form:
        for english, names in zip(_ENGLISH, MONTHS, strict=True):
            steps.append(Step(rf"(?i)(^|[^\pL])(?:{one_of(names.split())})\.?($|[^\pL])", rf"\1{english}\2"))
    if "a" in re.sub(r"'[^']*'", "", form):
        steps.append(Step(r"(?i)([ap])\.?\s?m\.?$", r"\1m"))
    return steps


def has_short_year(form: str) -> bool:
    """Whether years have two digits."""
    return re.search(r"(?<!y)yy(?!y)", form) is not None


_COUNT = r"(\d+(?:[.,]\d+)?)"
_LENGTHS: tuple[tuple[str, tuple[int, ...]], ...] = (
    (r"(?:(\d+)\s*d(?:ays?)?,?\s+)?(\d+):([0-5]?\d):([0-5]?\d(?:[.,]\d+)?)", (_DAY, 3600, 60, 1)),
    (
        rf"P(?:{_COUNT}W)?(?:{_COUNT}D)?(?:T(?:{_COUNT}H)?(?:{_COUNT}M)?(?:{_COUNT}S)?)?",
        (7 * _DAY, _DAY, 3600, 60, 1),
    ),
    (
        "".join(
            rf"(?:{_COUNT}\s*(?:{unit}),?\s*)?"
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
LENGTH = r"(?i).*\d(?:.*[^t])?"
"""What holds a number and does not end in the T of ISO 8601: no part of the patterns of lengths must be there."""


def is_length(text: str) -> bool:
    """Whether a text is a length of time."""
    return bool(re.fullmatch(LENGTH, text)) and any(re.search(one, text) for one, _ in lengths(hours=False))


def lengths(*, hours: bool) -> list[tuple[str, tuple[int, ...]]]:
    """Patterns of lengths of time, a sign as the first group, with the seconds in one of each further group.

    Of two parts the first is hours, or else minutes.
    """
    second = r"([0-5]?\d)" if hours else r"([0-5]?\d(?:[.,]\d+)?)"
    two = (rf"(\d+):{second}", (3600, 60) if hours else (60, 1))
    return [(rf"(?i)^([+-]?)\s?{body}$", parts) for body, parts in (two, *_LENGTHS)]
