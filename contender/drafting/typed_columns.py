"""Cells of text as typed values in DuckDB, by the same patterns as `ingestion.cells` reads them in Spark.

A test holds both to the same values and the same missing ones.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from contender.contracts.sections import LENGTH_FORMS, Column
from contender.contracts.spellings import NO, YES
from contender.ingestion import cell_forms
from contender.ingestion.cell_forms import BLANKS, Step

_DIRECTIVES = {
    **{"yyyy": "%Y", "yy": "%y", "MMM": "%b", "MM": "%m", "M": "%m", "dd": "%d", "d": "%d"},
    **{"HH": "%H", "H": "%H", "hh": "%I", "h": "%I", "mm": "%M", "ss": "%S", "SSS": "%g", "SSSSSS": "%f", "a": "%p"},
}
_SIMPLE = r"[+-]?(?:\d{1,300}(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?"
"""Numbers as most are written; all of them are finite."""
_COMMON = r"\d{4}-\d\d-\d\d(?:[ T](?:[01]\d|2[0-3]):\d\d(?::\d\d(?:\.\d{1,6})?)?)?"
"""Times as most are written."""


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
            return f"coalesce({', '.join(_time(text, form, column, at) for form in column.format or ('',))}, NULL)"
    if column.format is not None:
        return f"coalesce({', '.join(_length(text, hours=form == LENGTH_FORMS[1]) for form in column.format)}, NULL)"
    # Few cells hold a sign of another script, and to look for each of them takes long.
    ascii_alone, other = f"strlen({text}) = length({text})", _translated(text, cell_forms.SIGNS)
    signs = f"CASE WHEN {ascii_alone} THEN replace({text}, chr(11), ' ') ELSE {other} END"
    bare = _after(signs, cell_forms.bare_steps(column))
    plain = _after(bare, cell_forms.plain_steps(column))
    number = multiplied = f"TRY_CAST({plain} AS DOUBLE)"
    others = cell_forms.other_factors(column)
    for pattern, by in others:
        multiplied = f"CASE WHEN {_found(bare, pattern)} THEN {number} * {by!r}::DOUBLE ELSE {multiplied} END"
    # Most are plain digits, and what is plain needs no care.
    if column.type == "integer":
        careful = _whole(plain, multiplied, [_found(bare, pattern) for pattern, _ in others])
        quick = f"TRY_CAST({text} AS BIGINT)"
        return f"CASE WHEN regexp_full_match({text}, '[+-]?\\d{{1,18}}') THEN {quick} ELSE {careful} END"
    careful = f"CASE WHEN isfinite({multiplied}) THEN {multiplied} END"
    if column.point == "." and not (column.thousands or column.drop or column.factors):
        quick = f"TRY_CAST({text} AS DOUBLE)"
        return f"CASE WHEN regexp_full_match({text}, '{_SIMPLE}') THEN {quick} ELSE {careful} END"
    return careful


def _after(text: str, steps: Sequence[Step]) -> str:
    for step in steps:
        if step.by is None:
            text = f"CASE WHEN regexp_full_match({text}, {text_literal(step.pattern)}) THEN {text} END"
        else:
            text = f"regexp_replace({text}, {text_literal(step.pattern)}, {text_literal(step.by)}, 'g')"
    return text


def _translated(text: str, signs: tuple[str, str]) -> str:
    return f"translate({text}, {', '.join(map(text_literal, signs))})"


def _found(text: str, pattern: str) -> str:
    return f"regexp_matches({text}, {text_literal(pattern)})"


def _parts(text: str, pattern: str, names: Sequence[str]) -> str:
    return f"regexp_extract({text}, {text_literal(pattern)}, [{_list(names)}])"


def _whole(plain: str, number: str, multiplied: Sequence[str]) -> str:
    digits = rf"CASE WHEN regexp_full_match({plain}, '[+-]?\d+(\.0*)?') THEN split_part({plain}, '.', 1) END"
    exact = f"TRY_CAST({digits} AS BIGINT)"
    for condition in multiplied:
        exact = f"CASE WHEN NOT {condition} THEN {exact} END"
    fits = (
        f"abs({number}) <= {cell_forms.EXACT} AND {number} = floor({number}) AND "
        f"({number} != 0 OR NOT {_found(plain, '[1-9].*[eE]')}) AND NOT {_found(plain, '^[+-]?[0-9]+$')}"
    )
    return f"coalesce({exact}, CASE WHEN {fits} THEN TRY_CAST({number} AS BIGINT) END)"


def _time(text: str, form: str, column: Column, at: datetime | None) -> str:
    text = _translated(text, cell_forms.TIME_BLANKS)
    if form in cell_forms.EPOCHS:
        fitting = _after(text, [Step(cell_forms.EPOCH)])
        number = f"TRY_CAST(replace({fitting}, ',', '.') AS DECIMAL(28,9))"
        moment = f"TRY_CAST(round({number} * {cell_forms.EPOCHS[form]}) AS BIGINT)"
        return f"CASE WHEN {_in_range(moment)} THEN make_timestamp({moment}) END"
    if form == "Excel days":
        days = f"TRY_CAST(replace({_after(text, [Step(cell_forms.EXCEL)])}, ',', '.') AS DECIMAL(28,9))"
        since = f"({days} - {cell_forms.EXCEL_1970}) * {cell_forms.MILLISECONDS}"
        moment = f"TRY_CAST(round({since}) AS BIGINT) * 1000"
        sound = f"{days} >= {cell_forms.EXCEL_FIRST} AND {_in_range(moment)}"
        return f"CASE WHEN {sound} THEN make_timestamp({moment}) END"
    if form == "ISO week":
        found = _parts(text, *cell_forms.WEEK)
        day = f"coalesce(nullif({found}.day, ''), '1')"
        time = f"try_strptime({found}.year || '-W' || lpad({found}.week, 2, '0') || '-' || {day}, '%G-W%V-%u')"
        # There is no week 53 in most years.
        return f"CASE WHEN weekofyear({time}) = TRY_CAST({found}.week AS INTEGER) THEN {time} END"
    if form == "RFC 2822":
        mail = _after(text, cell_forms.MAIL_STEPS)
        time = f"CASE WHEN regexp_full_match({mail}, {text_literal(cell_forms.ISO)}) THEN {_iso(mail)} END"
    elif form:
        fitting = _after(text, cell_forms.time_steps(form))
        time = f"try_strptime({fitting}, {text_literal(_directives(cell_forms.short_months(form)))})"
    else:
        careful = f"CASE WHEN regexp_full_match({text}, {text_literal(cell_forms.ISO)}) THEN {_iso(text)} END"
        quick = f"TRY_CAST({text} AS TIMESTAMP)"
        time = f"CASE WHEN regexp_full_match({text}, '{_COMMON}') THEN {quick} ELSE {careful} END"
    if cell_forms.has_short_year(form):
        time = _within_a_century(time, column, at)
    return f"CASE WHEN {_in_range(f'epoch_us({time})')} THEN {time} END"


def _in_range(moment: str) -> str:
    return f"{moment} BETWEEN {cell_forms.FIRST_US} AND {cell_forms.LAST_US}"


def _iso(text: str) -> str:
    """The time in a text that is ISO 8601."""
    found = _parts(text, *cell_forms.ISO_PARTS)
    clock = f"CASE WHEN {found}.clock LIKE '%:%' THEN {found}.clock ELSE {found}.clock || ':00' END"
    offset = _parts(f"{found}.zone", r"([+-])(\d\d?):?(\d\d)?", ("sign", "h", "m"))
    minutes = f"coalesce(TRY_CAST({offset}.h AS INTEGER) * 60, 0) + coalesce(TRY_CAST({offset}.m AS INTEGER), 0)"
    body = f"TRY_CAST({found}.day || ' ' || replace({clock}, ',', '.') AS TIMESTAMP)"
    full = f"{body} - (CASE {offset}.sign WHEN '-' THEN -1 ELSE 1 END * ({minutes})) * INTERVAL 1 MINUTE"
    missing = f"CASE length({text}) WHEN 4 THEN '-01-01' WHEN 6 THEN '-01' WHEN 7 THEN '-01' ELSE '' END"
    return f"CASE WHEN {found}.day != '' THEN {full} ELSE TRY_CAST({text} || {missing} AS TIMESTAMP) END"


def _within_a_century(time: str, column: Column, at: datetime | None) -> str:
    if column.years_from is not None:
        moved = f"{time} - to_years(CAST(floor((year({time}) - {column.years_from}) / 100.0) AS INTEGER) * 100)"
    else:
        latest = ((at or datetime.now(UTC)) + timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S")
        moved = f"CASE WHEN {time} > TIMESTAMP '{latest}' THEN {time} - INTERVAL 100 YEAR ELSE {time} END"
    return f"CASE WHEN day({moved}) = day({time}) THEN {moved} END"


def _directives(form: str) -> str:
    def directive(match: re.Match[str]) -> str:
        return match[1] if match[1] is not None else _DIRECTIVES[match[0]]

    return re.sub(r"'([^']*)'|([A-Za-z])\2*", directive, form.replace("%", "%%"))


def _length(text: str, *, hours: bool) -> str:
    """A length of time in seconds."""
    ways = [f"CASE WHEN {text} = '0' THEN 0.0::DOUBLE END"]
    fitting = _after(text, [Step(cell_forms.LENGTH)])
    for pattern, parts in cell_forms.lengths(hours=hours):
        found = _parts(fitting, pattern, ["sign", *(f"p{place}" for place in range(len(parts)))])
        seconds = "0.0::DOUBLE"
        for place, factor in enumerate(parts):
            part = f"TRY_CAST(replace({found}.p{place}, ',', '.') AS DOUBLE)"
            seconds = f"({seconds} + coalesce({part}, 0.0) * {factor})"
        signed = f"CASE {found}.sign WHEN '-' THEN -{seconds} ELSE {seconds} END"
        ways.append(f"CASE WHEN {_found(fitting, pattern)} THEN {signed} END")
    return f"coalesce({', '.join(ways)})"
