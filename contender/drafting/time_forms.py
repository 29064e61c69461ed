"""How times are written: Spark's date patterns as expressions, for Python and for DuckDB, and which of them fit."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from contender.contracts.sections import TIME_FORMS
from contender.contracts.spellings import MONTHS
from contender.ingestion.cell_forms import (
    EPOCH,
    EPOCHS,
    EXCEL,
    EXCEL_1970,
    EXCEL_FIRST,
    MAIL_STEPS,
    MILLISECONDS,
    compiled,
    has_short_year,
)

_MONTH_OF = {name: place for place, names in enumerate(MONTHS, start=1) for name in names.split()}
ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)(-(?P<day>\d\d)"
    r"([T ](?P<hour>\d\d):(?P<minute>\d\d)(:(?P<second>\d\d)([.,](?P<part>\d{1,9}))?)?(?P<zone> "
    r"?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?))?)?)?"
)
_WEEK = re.compile(r"(\d{4})-?[Ww](\d\d?)(?:-?([1-7]))?")
_DATES = (
    *("d/M/yyyy", "M/d/yyyy", "yyyy/M/d", "d.M.yyyy", "yyyy.M.d", "d-M-yyyy", "M-d-yyyy", "d M yyyy"),
    *("d/M/yy", "M/d/yy", "d.M.yy", "d-M-yy", "M-d-yy", "yy/M/d", "yy-M-d"),
    *("d-MMM-yyyy", "d MMM yyyy", "d. MMM yyyy", "d/MMM/yyyy", "MMM d, yyyy", "MMM d yyyy", "yyyy-MMM-d", "yyyy MMM d"),
    *("d-MMM-yy", "d MMM yy", "d. MMM yy", "d/MMM/yy", "MMM d, yy", "MMM-yy", "MMM-yyyy", "MMM yyyy"),
)
_CLOCKS = (
    *(
        "",
        " H:mm",
        " H:mm:ss",
        " H:mm:ss.SSS",
        " H:mm:ss.SSSSSS",
        " H.mm.ss",
        " H.mm",
        "'T'H:mm:ss",
        " h:mm a",
        " h:mm:ss a",
    ),
    *(", H:mm", ", H:mm:ss", ", h:mm a", " h:mma"),
)
PATTERNS = (
    *(f"{date}{clock}" for date in _DATES for clock in _CLOCKS),
    *("yyyy-M-d", "yyyy-M-d H:mm", "yyyy-M-d H:mm:ss", "yyyy-M-d'T'H:mm:ss"),
    *("yyyyMMdd", "yyyyMMddHHmmss", "yyyyMMdd HHmmss", "yyyyMMdd HH:mm", "yyyyMMdd HH:mm:ss"),
)
_READABLE = 0.995
_MOST_FORMS = 4
_MOST_LOOKED_AT = 400


@dataclass(frozen=True)
class TimeForm:
    """How the times of a column are written: `patterns` in order of their share, empty for ISO 8601.

    `unread` holds the texts that no pattern reads; `shares` what part of the texts each reads.
    """

    patterns: tuple[str, ...]
    shares: tuple[float, ...]
    unread: Mapping[str, int]
    doubt: str = ""
    marks: tuple[str, ...] = ()
    """Dates of no year that anything could be of, such as 9999-12-31: spellings of a missing one."""


def to_time(text: str, pattern: str | None, now: datetime | None = None) -> datetime | None:
    """A time as naive UTC, or None; the pattern is Spark's or one of `TIME_FORMS`, None for ISO 8601."""
    text = text.strip()
    if pattern in EPOCHS or pattern == "Excel days":
        if not re.fullmatch(EXCEL if pattern == "Excel days" else EPOCH, text, re.ASCII):
            return None
        count = Decimal(text.replace(",", "."))
        try:
            if pattern in EPOCHS:
                return datetime(1970, 1, 1) + timedelta(microseconds=round(count * EPOCHS[pattern]))  # noqa: DTZ001
            since = timedelta(milliseconds=round((count - EXCEL_1970) * MILLISECONDS))
            return datetime(1970, 1, 1) + since if count >= EXCEL_FIRST else None  # noqa: DTZ001
        except OverflowError:
            return None
    if pattern == "RFC 2822":
        if not re.fullmatch(MAIL_STEPS[0].pattern, text, re.ASCII):
            return None
        for step in MAIL_STEPS[1:]:
            text = re.sub(step.pattern, step.by or "", text)
        day, _, rest = text.partition(" ")
        text, pattern = f"{day[:8]}{day[8:].zfill(2)} {rest}", None
    if pattern == "ISO week":
        week = _WEEK.fullmatch(text)
        try:
            return datetime.fromisocalendar(int(week[1]), int(week[2]), int(week[3] or 1)) if week else None
        except ValueError:
            return None
    match = (compiled(pattern) if pattern else ISO).fullmatch(text)
    if match is None:
        return None
    part = {name: value for name, value in match.groupdict().items() if value is not None}
    try:
        year = int(part["year"]) if "year" in part else 2000 + int(part["year2"])
        month = _MONTH_OF[part["name"].rstrip(".").lower()] if "name" in part else int(part["month"])
        hour = int(part.get("hour", 0))
        if "half" in part:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if part["half"].lower().startswith("p") else 0)
        time = datetime(  # noqa: DTZ001 - a time without zone is UTC
            year,
            month,
            int(part.get("day", 1)),
            hour,
            int(part.get("minute", 0)),
            int(part.get("second", 0)),
            int(part.get("part", "0")[:6].ljust(6, "0")),
        )
        zone = part.get("zone", "").strip()
        if zone[:1] in ("+", "-"):
            digits = zone[1:].replace(":", "").ljust(4, "0")
            offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
            time -= offset if zone[0] == "+" else -offset
    except (ValueError, KeyError, OverflowError):
        return None
    latest = (now or datetime.now(UTC).replace(tzinfo=None)) + timedelta(days=1)
    if "year2" in part and time > latest:
        time = time.replace(year=time.year - 100) if (time.month, time.day) != (2, 29) else time - timedelta(days=36525)
    return time


_NO_YEAR = r"(?:0\d{3}|1[0-7]\d\d|2[2-9]\d\d|[3-9]\d{3})"
_NO_DATE = re.compile(rf"(?:{_NO_YEAR}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]{_NO_YEAR})(?:[ T,].*)?")
_MOST_MARKS = 3


def time_form_of(counts: Mapping[str, int], *, name: str = "", hint: str | None = None) -> TimeForm | None:
    """How the texts are written as times, but for a few dates that stand for none; None where most are no times.

    Args:
        counts: how often each text stands there.
        name: of the column: a count of seconds is a time only by its name.
        hint: "d" or "M", what stands first in dates elsewhere in the files.
    """
    marks = [text for text in counts if _NO_DATE.fullmatch(text)]
    if not 0 < len(marks) <= _MOST_MARKS:
        return _form_of(counts, name, hint)
    form = _form_of({text: n for text, n in counts.items() if text not in marks}, name, hint)
    if form is None:
        return None
    told = f"{' and '.join(repr(mark) for mark in marks)} counts as missing"
    return replace(form, marks=tuple(marks), doubt="; ".join(part for part in (form.doubt, told) if part))


def _form_of(counts: Mapping[str, int], name: str, hint: str | None) -> TimeForm | None:
    total = sum(counts.values())
    if not total:
        return None
    ordered = sorted(counts)
    # Spread over all, since dates in order begin with days that any form reads.
    looked = {text: counts[text] for text in ordered[:: -(-len(ordered) // _MOST_LOOKED_AT)]}
    weight = sum(looked.values())
    if 2 * sum(n for text, n in looked.items() if text[:1].isdigit() or text[:3].isalpha()) < weight:
        return None

    def readable(pattern: str | None, texts: Mapping[str, int]) -> dict[str, int]:
        return {text: n for text, n in texts.items() if (time := to_time(text, pattern)) and 1800 < time.year < 2200}

    if sum(readable(None, looked).values()) >= _READABLE * weight:
        read = readable(None, counts)
        return TimeForm((), (1.0,), {text: n for text, n in counts.items() if text not in read})
    epoch = _epoch_of(looked, name)
    for form in [epoch] if epoch else ["ISO week", "RFC 2822"]:
        if sum(readable(form, looked).values()) >= _READABLE * weight:
            read = readable(form, counts)
            doubt = _excel_told(looked, name) if form == "Excel days" else ""
            return TimeForm((form,), (1.0,), {text: n for text, n in counts.items() if text not in read}, doubt)
    chosen: list[tuple[str, int]] = []
    rest, doubt = dict(looked), ""
    while rest and len(chosen) < _MOST_FORMS:
        found = {pattern: sum(read.values()) for pattern in _likely(rest) if (read := readable(pattern, rest))}
        if not found:
            break
        most = max(found.values())
        best = [pattern for pattern, n in found.items() if n == most]
        if hint is not None and any(_first(pattern) == hint for pattern in best):
            best = [pattern for pattern in best if _first(pattern) == hint]
        if {_first(pattern) for pattern in best} >= {"d", "M"} and len(counts) > len(looked):
            every = {pattern: sum(readable(pattern, counts).values()) for pattern in best}
            best = [pattern for pattern in best if every[pattern] == max(every.values())]
        if {_first(pattern) for pattern in best} >= {"d", "M"}:
            doubt = f"whether day or month stands first no value tells; read as {_padded(best[0], rest)}"
        if chosen and any({_first(best[0]), _first(pattern)} == {"d", "M"} for pattern, _ in chosen):
            # Dates of both orders in one column: those that both could read would be wrong without a word.
            return None
        if chosen and most < 0.002 * weight:
            break
        chosen.append((_padded(best[0], readable(best[0], rest)), most))
        read = readable(best[0], rest)
        rest = {text: n for text, n in rest.items() if text not in read}
    if not chosen or sum(n for _, n in chosen) < _READABLE * weight:
        return None
    patterns = tuple(pattern for pattern, _ in chosen)
    unread = {text: n for text, n in counts.items() if not any(readable(pattern, {text: n}) for pattern in patterns)}
    if any(has_short_year(pattern) for pattern in patterns):
        year = datetime.now(UTC).year
        doubt = "; ".join(part for part in (doubt, f"years of two digits stand for {year - 99} to {year}") if part)
    return TimeForm(patterns, tuple(n / weight for _, n in chosen), unread, doubt)


def _likely(texts: Iterable[str]) -> list[str]:
    """The patterns that a few of the texts fit by their looks."""
    every = list(texts)
    few = every[:: max(len(every) // 20, 1)]
    return [pattern for pattern in PATTERNS if any(compiled(pattern).fullmatch(text) for text in few)]


def _first(pattern: str) -> str:
    letters = pattern.lstrip("'")
    return letters[0] if "MMM" not in pattern else ""


def _padded(pattern: str, texts: Iterable[str]) -> str:
    """The pattern with two digits for each of day, month and hour that has two in all texts."""
    groups = {"day": "d", "month": "M", "hour": "H" if "H" in pattern else "h"}
    matches = [match for text in texts if (match := compiled(pattern).fullmatch(text))]
    for group, letter in groups.items():
        values = [match[group] for match in matches if group in match.re.groupindex]
        if values and all(len(value) == 2 for value in values):
            pattern = re.sub(rf"(?<!{letter}){letter}(?!{letter})", letter * 2, pattern)
    return pattern


_TIME_NAME = re.compile(
    r"time|date|epoch|stamp|(^|_)(at|ts|when|created|updated|seen)($|_)|zeit|datum|heure", re.IGNORECASE
)


_DATE_NAME = re.compile(
    r"(^|[\W_])(date|datum|datetime|timestamp|fecha|zeitpunkt|zeitstempel)s?($|[\W_\d])|(date|datum)$", re.IGNORECASE
)


def _epoch_of(texts: Mapping[str, int], name: str) -> str | None:
    """What is counted since 1970, or by a spreadsheet, where the name says time and all lie from 1980 to 2040."""
    spelt = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    if _DATE_NAME.search(spelt) and all(re.fullmatch(r"\d{5}([.,]\d+)?", text, re.ASCII) for text in texts):
        return "Excel days" if all("29221" <= text <= "51136" for text in texts) else None
    if not _TIME_NAME.search(spelt):
        return None
    if not all(re.fullmatch(r"\d{9,19}(\.\d+)?", text, re.ASCII) for text in texts):
        return None
    for form, unit in EPOCHS.items():
        if all(315e12 <= Decimal(text) * unit <= 2_209e12 for text in texts):
            return form
    return None


def _excel_told(texts: Iterable[str], name: str) -> str:
    shown = next(iter(texts))
    read = to_time(shown, "Excel days")
    return f"'{shown}' is read as a spreadsheet's count of days, {read:%Y-%m-%d %H:%M}: else --format '{name}=number'"


def is_known(pattern: str) -> bool:
    """Whether the pattern is one that can be read here."""
    try:
        return pattern in TIME_FORMS or bool(compiled(pattern))
    except KeyError:
        return False
