"""Cells of text as typed values in DuckDB, by the same rules as `ingestion.cells` reads them in Spark.

A test holds both to the same values and the same missing ones.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from contender.contracts.sections import LENGTH_FORMS, Column
from contender.contracts.spellings import MONTHS, NO, YES
from contender.drafting.landed_rows import BLANKS
from contender.drafting.time_forms import compiled

_ENGLISH = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DIRECTIVES = {
    **{"yyyy": "%Y", "yy": "%y", "MMMM": "%b", "MMM": "%b", "MM": "%m", "M": "%m", "dd": "%d", "d": "%d"},
    **{"HH": "%H", "H": "%H", "hh": "%I", "h": "%I", "mm": "%M", "ss": "%S", "SSS": "%g", "SSSSSS": "%f", "a": "%p"},
}
_EPOCHS = {"epoch s": 1_000_000, "epoch ms": 1000, "epoch us": 1}
_EXACT = 2**53


def text_literal(text: str) -> str:
    """A text in DuckDB's dialect."""
    return "'" + text.replace("'", "''") + "'"


def read(cell: str, column: Column, missing: Sequence[str], at: datetime | None = None) -> tuple[str, str]:
    """A cell's text, null where it is missing, and its value, null as well where the text can't be read.

    Args:
        cell: an expression that gives the trimmed text.
        missing: spellings of a missing value in all columns.
        at: when the file arrived; two digits stand for no later year.
    """
    spelt = {trim for one in {*missing, *column.missing} if (trim := one.strip(BLANKS))}
    text = f"CASE WHEN {cell} NOT IN ({_list([*sorted(spelt), ''])}) THEN {cell} END"
    value = _typed(text if column.type in ("category", "text") else cell, column, at)
    if column.type in ("number", "integer"):
        marks = [_typed(text_literal(one), column, at) for one in sorted(spelt) if re.search(r"\d", one)]
        if marks:
            gone = f"coalesce({value} IN ({', '.join(marks)}), false)"
            return (
                f"CASE WHEN NOT {gone} THEN {text} END",
                f"CASE WHEN NOT {gone} AND {text} IS NOT NULL THEN {value} END",
            )
    return text, value if column.type in ("category", "text") else f"CASE WHEN {text} IS NOT NULL THEN {value} END"


def _list(texts: Sequence[str]) -> str:
    return ", ".join(text_literal(text) for text in texts)


def _typed(text: str, column: Column, at: datetime | None) -> str:
    match column.type:
        case "category" | "text":
            return text
        case "boolean":
            yes, no = ([one.strip(BLANKS).lower() for one in of] for of in (column.yes or YES, column.no or NO))
            return (
                f"CASE WHEN lower({text}) IN ({_list(yes)}) THEN true WHEN lower({text}) IN "
                f"({_list(no)}) THEN false END"
            )
        case "timestamp":
            return f"coalesce({', '.join(_time(text, form, at) for form in column.format or ('',))}, NULL)"
        case "integer":
            # Most are plain digits, and what is plain needs no care.
            quick = f"TRY_CAST({text} AS BIGINT)"
            careful = _whole(_plain(text, column))
            return f"CASE WHEN regexp_full_match({text}, '[+-]?\\d{{1,18}}') THEN {quick} ELSE {careful} END"
    if column.format is not None:
        return _length(text, hours=column.format[0] == LENGTH_FORMS[1])
    if _is_simple(column):
        quick = f"CASE WHEN regexp_full_match({text}, '{_SIMPLE}') THEN TRY_CAST({text} AS DOUBLE)"
        careful = f"TRY_CAST({_formed(text, column)} AS DOUBLE)"
        return f"{quick} WHEN regexp_full_match({text}, '.*[^0-9.eE+-].*') THEN {careful} END"
    number = f"TRY_CAST({_plain(text, column)} AS DOUBLE)"
    for name, by in column.factors.items():
        if _power(by) is None:
            number = f"CASE WHEN {text} LIKE {text_literal('%' + name)} THEN {number} * {by!r} ELSE {number} END"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _one_of(texts: Sequence[str]) -> str:
    return "|".join(re.escape(text.strip(BLANKS)) for text in sorted(texts, key=len, reverse=True))


def _sub(text: str, pattern: str, by: str) -> str:
    return f"regexp_replace({text}, {text_literal(pattern)}, {text_literal(by)})"


_SIMPLE = r"[+-]?(?:\d{1,300}(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?"
"""Numbers as most are written; all of them are finite."""


def _is_simple(column: Column) -> bool:
    return column.point == "." and not (column.thousands or column.drop or column.factors)


def _plain(text: str, column: Column) -> str:
    if not _is_simple(column):
        return _formed(text, column)
    return (
        f"CASE WHEN regexp_full_match({text}, '{_SIMPLE}') THEN {text} "
        f"WHEN regexp_full_match({text}, '.*[^0-9.eE+-].*') THEN {_formed(text, column)} END"
    )


def _formed(text: str, column: Column) -> str:
    bare = f"translate({text}, '−–\u00a0\u2007\u2009\u202f’', '--    ''')"
    if column.drop:
        dropped = _one_of(column.drop)
        bare = _sub(bare, rf"^([+-]?)\s*(?:{dropped})\s*", r"\1")
        bare = _sub(bare, rf"\s*(?:{dropped})$", "")
    whole, point = r"\d+", re.escape(column.point)
    if column.thousands:
        group = re.escape(column.thousands)
        between = r"\d{2,3}" if column.thousands == "," else r"\d{3}"
        whole = rf"(?:\d+|\d{{1,3}}(?:{group}{between})*{group}\d{{3}})"
    digits = rf"[+-]?\s?(?:{whole}(?:{point}\d*)?|{point}\d+)"
    after = rf"|(?:\s*(?:{_one_of(tuple(column.factors))}))" if column.factors else ""
    pattern = rf"{digits}(?:[eE][+-]?\d+{after})?"
    plain = f"CASE WHEN regexp_full_match({bare}, {text_literal(pattern)}) THEN {bare} END"
    rest = []
    for name, by in column.factors.items():
        if (power := _power(by)) is not None:
            plain = _sub(plain, rf"([\d{point}])\s*{re.escape(name.strip(BLANKS))}$", rf"\1E{power}")
        else:
            rest.append(name)
    if rest:
        plain = _sub(plain, rf"\s*(?:{_one_of(rest)})$", "")
    if column.thousands:
        plain = f"replace({plain}, {text_literal(column.thousands)}, '')"
    plain = _sub(plain, r"^([+-])\s", r"\1")
    return f"replace({plain}, {text_literal(column.point)}, '.')" if column.point != "." else plain


def _power(by: float) -> int | None:
    return next((power for power in range(-15, 19) if by == float(f"1e{power}")), None)


def _whole(plain: str) -> str:
    digits = rf"CASE WHEN regexp_full_match({plain}, '[+-]?\d+(\.0*)?') THEN split_part({plain}, '.', 1) END"
    number = f"CASE WHEN {plain} SIMILAR TO '.*[eE].*' THEN TRY_CAST({plain} AS DOUBLE) END"
    fits = f"abs({number}) <= {_EXACT} AND {number} = floor({number})"
    return f"coalesce(TRY_CAST({digits} AS BIGINT), CASE WHEN {fits} THEN TRY_CAST({number} AS BIGINT) END)"


def _time(text: str, form: str, at: datetime | None) -> str:
    if not form:
        # DuckDB takes a zone's name only in a type of its own, and these two change nothing.
        text = f"regexp_replace({text}, '\\s?(UTC|GMT)$', '')"
        full = r"\d{4}(-\d{1,2}(-\d{1,2}([ T].*)?)?)?"
        day = f"CASE length({text}) WHEN 4 THEN {text} || '-01-01' WHEN 7 THEN {text} || '-01' ELSE {text} END"
        plain = f"TRY_CAST(replace({day}, ',', '.') AS TIMESTAMP)"
        zone = r"\s?([+-])(\d\d):?(\d\d)?$"
        part = f"regexp_extract({text}, '{zone}', ['sign', 'h', 'm'])"
        minutes = f"(TRY_CAST({part}.h AS INTEGER) * 60 + coalesce(TRY_CAST({part}.m AS INTEGER), 0))"
        body = f"TRY_CAST(replace(regexp_replace({text}, '{zone}', ''), ',', '.') AS TIMESTAMP)"
        zoned = f"{body} - (CASE {part}.sign WHEN '+' THEN 1 ELSE -1 END * {minutes}) * INTERVAL 1 MINUTE"
        has_zone = rf"{text} LIKE '%:%' AND regexp_matches({text}, '[+-]\d\d(:?\d\d)?$')"
        return (
            f"CASE WHEN regexp_full_match({text}, '{full}') THEN CASE WHEN {has_zone} THEN {zoned} ELSE {plain} END END"
        )
    if form in _EPOCHS:
        number = f"TRY_CAST(replace({text}, ',', '.') AS DECIMAL(28,9))"
        moment = f"TRY_CAST(round({number} * {_EPOCHS[form]}) AS BIGINT)"
        return rf"CASE WHEN regexp_full_match({text}, '-?\d{{1,18}}([.,]\d+)?') THEN make_timestamp({moment}) END"
    if form == "ISO week":
        found = rf"regexp_extract({text}, '^(\d{{4}})-?[Ww](\d{{1,2}})(?:-?([1-7]))?$', ['year', 'week', 'day'])"
        day = f"coalesce(nullif({found}.day, ''), '1')"
        return f"try_strptime({found}.year || '-W' || lpad({found}.week, 2, '0') || '-' || {day}, '%G-W%V-%u')"
    looks = re.sub(r"\(\?P<\w+>", "(?:", compiled(form).pattern).replace(r"[^\W\d_]", r"[^\d\s.,/-]")
    found = f"CASE WHEN regexp_full_match({text}, {text_literal(looks)}) THEN {text} END"
    if "MMM" in form:
        for english, names in zip(_ENGLISH, MONTHS, strict=True):
            found = _sub(found, rf"(?i)(^|[^\pL])(?:{_one_of(names.split())})\.?($|[^\pL])", rf"\1{english}\2")
    if "a" in re.sub(r"'[^']*'", "", form):
        found = _sub(found, r"(?i)([ap])\.?\s?m\.?$", r"\1m")
    time = f"try_strptime({found}, {text_literal(_directives(form))})"
    if re.search(r"(?<!y)yy(?!y)", form):
        latest = ((at or datetime.now(UTC)) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S")
        time = f"CASE WHEN {time} > TIMESTAMP '{latest}' THEN {time} - INTERVAL 100 YEAR ELSE {time} END"
    return time


def _directives(form: str) -> str:
    def directive(match: re.Match[str]) -> str:
        return match[1] if match[1] is not None else _DIRECTIVES[match[0]]

    return re.sub(r"'([^']*)'|([A-Za-z])\2*", directive, form.replace("%", "%%"))


def _length(text: str, *, hours: bool) -> str:
    """Seconds of `h:mm:ss`, `2 days 3:04:05`, and of two parts hours and minutes, or minutes and seconds."""
    three = (
        rf"regexp_extract({text}, "
        rf"'^([+-]?)(?:(\d+)\s*d(?:ays?)?,?\s+)?(\d+):([0-5]?\d):([0-5]?\d(?:[.,]\d+)?)$', ['s','d','h','m','c'])"
    )
    two = rf"regexp_extract({text}, '^([+-]?)(\d+):([0-5]?\d)$', ['s','h','m'])"
    sign = "(CASE WHEN {0}.s = '-' THEN -1 ELSE 1 END)"
    long = (
        f"{sign.format(three)} * (coalesce(TRY_CAST({three}.d AS DOUBLE), 0) * 86400 + "
        f"TRY_CAST({three}.h AS DOUBLE) * 3600"
        f" + TRY_CAST({three}.m AS DOUBLE) * 60 + TRY_CAST(replace({three}.c, ',', '.') AS DOUBLE))"
    )
    first, second = (3600, 60) if hours else (60, 1)
    short = f"{sign.format(two)} * (TRY_CAST({two}.h AS DOUBLE) * {first} + TRY_CAST({two}.m AS DOUBLE) * {second})"
    return f"coalesce({long}, {short})"
