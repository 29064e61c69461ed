"""What ties files together: the key, the time, and look-up tables given as `NAME=FILE:KEY[,KEY…]`."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path

from contender.drafting.column_types import ColumnGuess, Guess, Hints, guess_columns
from contender.drafting.expressions import columns_of, quoted
from contender.drafting.landed_rows import LandedRows, Texts, read_all
from contender.drafting.measures import TimeFacts, time_facts
from contender.drafting.time_forms import time_form_of
from contender.errors import UsageError

ID_NAME = re.compile(
    r"(^|_)(id|ids|key|uuid|guid|nr|no|num|number|nummer|index|instant|code|ref)(_|$)|id$|nummer$", re.IGNORECASE
)
_BIRTH = re.compile(r"birth|dob|born|geburt|naiss|nacim|nascim|nascita|рожд", re.IGNORECASE)
_LATER = re.compile(
    r"(^|_)(expir\w*|until|due|deadline|valid_to|ablauf\w*|fällig\w*|ends?|end_date|ended\w*|closed\w*)(_|$)",
    re.IGNORECASE,
)
_EVENT = re.compile(
    r"(^|_)(date|time|datetime|timestamp|ts|at|on|when|created|started|begin|start|order\w*|datum|zeit|zeitpunkt|fecha|heure|data|dato|день|дата)(_|$)"
    r"|date$|time$|datum$",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"([01]?\d|2[0-4])[:.h][0-5]\d([:.][0-5]\d)?( ?[AaPp][Mm])?")
_RISES = 0.95
_MOST_REPEATED, _FEW_REPEATED = 0.01, 3
"""Rows, as a share or at least, that may repeat a key which a person has named."""
_MOST_MISSING = 0.05
_TIED, _MOSTLY_TIED = 0.3, 0.5
"""Of the outcomes' keys, at least: for a column to be the key by its values, and for one not to be asked about."""
_ASKED = 20_000
_ROW_NAME = re.compile(
    r"(row|record|rec|obs|line|sl|s|lfd)_?(index|no|nr|num|number|nummer|names?|id)"
    r"|index|instant|no|nr|num|number|nummer|row|sno|unnamed_0|column_1"
)
"""Names of what only counts the rows of a file, and begins anew in the next one."""


@dataclass(frozen=True)
class LookupGuess:
    """A look-up table: its file, its key columns with an expression over the record each, and its columns."""

    name: str
    path: Path
    key: dict[str, str]
    columns: dict[str, ColumnGuess]


@dataclass(frozen=True)
class Tie:
    """The column of the outcomes that names the record: its text, the records' own that it equals, what to say of it.

    `made` is the column that is made for it, where the outcomes write the same keys otherwise than the records do.
    """

    column: str
    theirs: str
    ours: str
    guess: Guess
    made: ColumnGuess | None = None


@dataclass(frozen=True)
class TimeChoice:
    """The column that says when a record came about, with the facts, and the column that is made for it, if one is."""

    guess: Guess
    column: ColumnGuess
    facts: TimeFacts
    parts: tuple[str, ...] = ()


def key_of(
    given: str | None,
    landed: LandedRows,
    records: Mapping[str, ColumnGuess],
    outcomes: Mapping[str, ColumnGuess],
    counted: Collection[str] = (),
    later: LandedRows | None = None,
) -> Guess | None:
    """The column that names a record; None where there is none and nothing needs one. Rows may come again as they were.

    Args:
        outcomes: columns of the outcomes' own files that may name a record.
        later: the rows of these files.
        counted: columns of numbers without a gap, which may only count the rows of one file: the last choice.

    Raises:
        UsageError: the given column is not there or repeats; or outcomes need one and none is to be found.
    """
    if given is not None:
        if given not in records:
            raise UsageError(f"The key '{given}' is no column of the records; {nearest(given, records)}")
        column = records[given]
        repeated = column.rows - column.gaps - column.distinct
        again = 0
        if repeated:
            # Of the same key with other values only one row is right; the same row twice is one record.
            cells = ", ".join(landed.cell(name) for name in records)
            (rows,) = landed.one(f"SELECT count(*) FROM (SELECT DISTINCT {cells} FROM landed)")
            again = min(landed.rows - int(rows), repeated)
            repeated -= again
        if repeated > max(_MOST_REPEATED * column.rows, _FEW_REPEATED):
            raise UsageError(
                f"The key '{given}' repeats with other values in {repeated:,} of {column.rows:,} rows; needed one "
                "value per record: give another column, or none."
            )
        if column.gaps > _MOST_MISSING * column.rows:
            raise UsageError(
                f"The key '{given}' is missing in {column.gaps:,} of {column.rows:,} rows; "
                f"needed one value per record: "
                "give another column, or none."
            )
        came = "rows came before as they are, and count" if again > 1 else "row came before as it is, and counts"
        doubts = [
            f"{again:,} {came} once" * (again > 0),
            f"{repeated:,} {'rows repeat' if repeated > 1 else 'row repeats'} one with other values" * (repeated > 0),
            f"missing in {column.gaps:,} row{'s' * (column.gaps > 1)}" * (column.gaps > 0),
        ]
        told = "; ".join(["as given", *(doubt for doubt in doubts if doubt)])
        return Guess("records.key", given, told, check=repeated + column.gaps > 0)
    unique = [
        name
        for name, column in records.items()
        if column.type in ("text", "integer", "category")
        and column.distinct + column.gaps == column.rows
        and column.gaps <= _MOST_MISSING * column.rows
        and column.rows > 1
    ]
    shared = [name for name in unique if name in outcomes]
    if later is not None and not shared:
        shared = [name for name in unique if _same_keys(landed, records[name], later, outcomes)]
    if later is not None and not shared:
        raise UsageError(
            "No column of records and outcomes alike is different in every record, so the key is a guess that needs a "
            "person: name it with --key, and where the outcomes call it otherwise, with --key RECORDS=OUTCOMES."
        )
    likely = [name for name in shared or unique if shared or ID_NAME.search(words_of(name))]
    if not likely:
        return None
    best = min(
        likely,
        key=lambda name: (
            not ID_NAME.search(words_of(name)),
            name in counted,
            records[name].gaps,
            list(records).index(name),
        ),
    )
    begins_anew = best in counted and not outcomes and len(landed.files) == 1
    if begins_anew and landed.one(f"SELECT min(TRY_CAST({landed.cell(best)} AS BIGINT)) FROM landed")[0] in (0, 1):
        # It runs through from file to file where several were looked at.
        if _ROW_NAME.fullmatch(words_of(best).strip("_")):
            return None
    else:
        begins_anew = False
    column = records[best]
    gaps = f", missing in {column.gaps:,}" if column.gaps else ""
    told = f"different in all {column.rows:,} rows{gaps}"
    if begins_anew:
        told += "; it only counts them: if the next file counts anew, its rows clash with these, so take the key out"
    return Guess(
        "records.key", best, told, check=bool(column.gaps) or begins_anew or column.rows < 1000 or len(likely) > 1
    )


def tie_of(
    key: ColumnGuess, given: str | None, landed: LandedRows, later: LandedRows, outcomes: Mapping[str, ColumnGuess]
) -> Tie:
    """The column of the outcomes that names the record: of the key's name, else the one that holds its values.

    Args:
        key: the records' column.
        given: the outcomes' column, where a person named it.

    Raises:
        UsageError: there is none.
    """
    found = _same_keys(landed, key, later, outcomes)
    column = given or (key.name if key.name in outcomes else next(iter(found), None))
    if column is None:
        raise UsageError(
            f"The key '{key.name}' is no column of the outcomes, and none of theirs holds its values; "
            f"{nearest(key.name, outcomes)} Name it with --key '{key.name}=COLUMN'."
        )
    if column not in outcomes:
        raise UsageError(f"The key '{column}' is no column of the outcomes; {nearest(column, outcomes)}")
    share, expression = found.get(column, (0.0, ""))
    told = f"{share:.0%} of the outcomes name a record"
    ours, theirs = landed.cell(key.name), later.cell(column)
    if key.type == "integer":
        ours, theirs = _by_value(ours), _by_value(theirs)
    if not expression:
        doubt = share < _MOSTLY_TIED or column not in (key.name, given)
        return Tie(column, theirs, ours, Guess("outcome.key", column, told, check=doubt))
    name, cell = f"{column}_padded", expression.replace(quoted(column), theirs)
    made = ColumnGuess(
        name, "text", outcomes[column].texts, settings={"from": expression}, why="as the records write it", cell=cell
    )
    guess = Guess("outcome.key", expression, f"with leading zeros, as in the records; {told}", check=True)
    return Tie(name, cell, ours, guess, made)


def _same_keys(
    landed: LandedRows, key: ColumnGuess, later: LandedRows, outcomes: Mapping[str, ColumnGuess]
) -> dict[str, tuple[float, str]]:
    """Columns of the outcomes that hold the key's values, the likeliest first.

    Each with the share of its values that name a record, and the expression that writes them as records do, where they
    don't. Records whose key is a whole number are known by its value, however outcomes write it.
    """
    ours = landed.cell(key.name)
    by_value = key.type == "integer"
    (shortest, longest, digits) = landed.one(
        f"SELECT min(length({ours})), max(length({ours})), bool_and(regexp_full_match({ours}, '\\d+')) FROM landed "
        f"WHERE {ours} != ''"
    )
    padded = bool(digits) and not by_value and shortest == longest > 1
    found: dict[str, tuple[float, str]] = {}
    for name, column in outcomes.items():
        if column.distinct < _MOSTLY_TIED * (column.rows - column.gaps):
            continue
        cell = later.cell(name)
        texts = [text for (text,) in later.ask(f"SELECT DISTINCT {cell} FROM landed WHERE {cell} != '' LIMIT {_ASKED}")]
        for expression in ("", *([f"lpad({quoted(name)}, {longest}, '0')"] if padded else [])):
            theirs = expression.replace(quoted(name), "v") or "v"
            if by_value:
                ours, theirs = _by_value(landed.cell(key.name)), _by_value("v")
            (named,) = landed.one(
                f"SELECT count(*) FROM (SELECT unnest(?) AS v) WHERE {theirs} IN (SELECT {ours} FROM landed)", [texts]
            )
            share = named / max(len(texts), 1)
            if share > found.get(name, (0.0, ""))[0]:
                found[name] = share, expression
    ranked = sorted(found, key=lambda name: -found[name][0])
    return {name: found[name] for name in ranked if found[name][0] >= _TIED or name == key.name}


def _by_value(cell: str) -> str:
    return f"coalesce(CAST(try_cast({cell} AS HUGEINT) AS VARCHAR), {cell})"


def time_of(
    given: str | None, landed: LandedRows, records: Mapping[str, ColumnGuess], hints: Hints
) -> tuple[TimeChoice | None, list[Guess]]:
    """The column that says when a record came about, and what to say of those that were not taken.

    None where rows of one delivery have no order that is known. A date and a time of day in two columns make one.

    Raises:
        UsageError: the given column is not there, or no time.
    """
    if given is not None:
        if given in records:
            column = records[given]
            if column.type != "timestamp":
                shown = "', '".join(list(column.values)[:3])
                raise UsageError(
                    f"The time '{given}' holds values such as '{shown}', which is no time that can be read; needed ISO "
                    f"8601 or a common form such as 31/12/2024 23:59: name another column, or "
                    f"say how it is written with "
                    f"--format '{given}=dd/MM/yyyy HH:mm'."
                )
            facts = time_facts(landed, column)
            assert facts is not None
            missing = f"; missing in {column.gaps:,} of {column.rows:,} rows" if column.gaps else ""
            guess = Guess("records.time", given, f"as given{missing}", check=column.gaps > 0)
            return TimeChoice(guess, column, facts), []
        if parts := _columns_in(given, records):
            return _of_parts(parts, landed, records, hints, "as given"), []
        raise UsageError(f"The time '{given}' is no column of the records; {nearest(given, records)}")
    found: dict[str, TimeFacts] = {}
    passed: list[Guess] = []
    now = datetime.now(UTC).replace(tzinfo=None)
    for name, column in records.items():
        if column.type != "timestamp":
            continue
        facts = time_facts(landed, column)
        if facts is None or facts.distinct < 2:
            continue
        why = ""
        if _BIRTH.search(name):
            why = "a date of birth says nothing of when the record came about"
        elif _LATER.search(words_of(name)):
            why = "by its name it lies after the record"
        elif facts.late > now:
            why = "it lies in the future"
        elif facts.newest - facts.oldest > timedelta(days=365 * 40) and facts.rising < _RISES:
            why = "it spans more than 40 years and does not rise with the rows"
        elif column.gaps > 0.01 * column.rows:
            why = f"it is missing in {column.gaps / column.rows:.0%} of the rows"
        elif facts.rising < _RISES and not (_EVENT.search(words_of(name)) or facts.clock):
            why = f"{facts.rising:.0%} of the rows are no older than the row before"
        if why:
            passed.append(Guess("records.time", f"not {name}", why))
        else:
            found[name] = facts
    if not found:
        return None, passed
    rising = {name: facts for name, facts in found.items() if facts.rising >= _RISES}
    best = max(
        rising or found,
        # Of times that differ as often and rise as much the first one is when it began.
        key=lambda name: (
            round(20 * found[name].distinct / landed.rows),
            round(20 * found[name].rising),
            bool(_EVENT.search(words_of(name))),
        ),
    )
    facts = found[best]
    others = [name for name in found if name != best]
    beside = f"; beside {', '.join(others)}: say --time for another" if others else ""
    why = f"{facts.rising:.0%} of the rows are no older than the row before{beside}"
    if not facts.clock and (clock := _clock_beside(best, records)):
        return _of_parts((best, clock), landed, records, hints, f"date and time of day in two columns; {why}"), passed
    guess = Guess("records.time", best, why, check=facts.rising < _RISES or bool(others))
    return TimeChoice(guess, records[best], facts), passed


def _of_parts(
    parts: tuple[str, ...], landed: LandedRows, records: Mapping[str, ColumnGuess], hints: Hints, why: str
) -> TimeChoice:
    """The time that several columns make together.

    Raises:
        UsageError: together they are no time that can be read.
    """
    cell = " || ' ' || ".join(landed.cell(part) for part in parts)
    name = "_".join(parts)
    while name in records:
        name += "_"
    counts = dict(
        landed.ask(
            f"SELECT {cell} AS v, count(*) FROM landed WHERE v IS NOT NULL AND trim(v) != '' GROUP BY 1 LIMIT 50000"
        )
    )
    (filled,) = landed.one(
        f"SELECT count(*) FROM (SELECT {cell} AS v FROM landed) WHERE v IS NOT NULL AND trim(v) != ''"
    )
    texts = Texts(counts, landed.rows, landed.rows - int(filled), len(counts))
    times = time_form_of(counts, name="time", hint=records[parts[0]].day_or_month or hints.first)
    if times is None:
        shown = next(iter(counts), "")
        raise UsageError(
            f"The time '{' '.join(parts)}' gives '{shown}', which is no time that can be read; "
            f"needed a date and a time "
            "of day such as 31/12/2024 and 23:59: name other columns."
        )
    form = {"format": times.patterns[0] if len(times.patterns) == 1 else list(times.patterns)} if times.patterns else {}
    made = " || ' ' || ".join(quoted(part) for part in parts)
    column = ColumnGuess(
        name, "timestamp", texts, settings={**form, "from": made}, why=f"{' and '.join(parts)} together", cell=cell
    )
    facts = time_facts(landed, column)
    assert facts is not None
    return TimeChoice(Guess("records.time", name, why), column, facts, parts)


def _columns_in(text: str, records: Mapping[str, ColumnGuess]) -> tuple[str, ...]:
    """The columns whose names, split by blanks, make the text; none where they don't."""
    words = text.split()
    found: list[str] = []
    while words:
        taken = next((size for size in range(len(words), 0, -1) if " ".join(words[:size]) in records), 0)
        if not taken:
            return ()
        found.append(" ".join(words[:taken]))
        words = words[taken:]
    return tuple(found) if len(found) > 1 else ()


def _clock_beside(date: str, records: Mapping[str, ColumnGuess]) -> str | None:
    """The only column of times of day, where there is one that does not speak of something else by its name."""
    clocks = [
        name
        for name, column in records.items()
        if name != date
        and _of_one_thing(date, name)
        and column.values
        and all(_CLOCK.fullmatch(text) for text in list(column.values)[:200])
    ]
    return clocks[0] if len(clocks) == 1 else None


def _of_one_thing(one: str, other: str) -> bool:
    """Whether two names may speak of one thing: one of them is a single word, or they share one."""
    words, others = ({word for word in words_of(name).split("_") if word} for name in (one, other))
    return min(len(words), len(others)) == 1 or bool((words & others) - {"date", "time"})


def words_of(name: str) -> str:
    """A name in small letters, its words split by _."""
    return re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).lower()


def lookup_of(
    text: str, landing: Path, records: Mapping[str, ColumnGuess], formats: Mapping[str, Sequence[str]]
) -> LookupGuess:
    """A look-up from its text; an expression over the record may hold commas within brackets.

    Raises:
        UsageError: the text, the file or a key column is not as needed.
    """
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9_]*)=(.+)", text.strip(), re.DOTALL)
    if match is None or ":" not in match[2]:
        raise UsageError(f"The look-up '{text}' is not like planes=planes.csv:tailnum; needed NAME=FILE:KEY[,KEY…].")
    name, rest = match[1], match[2]
    splits = [(rest[:place], rest[place + 1 :]) for place, letter in enumerate(rest) if letter == ":"]
    paths = [(path, keys) for file, keys in splits for path in (Path(file), landing / file) if path.is_file()]
    if not paths:
        raise UsageError(f"There is no file {splits[0][0]}, here or in {landing}; needed the look-up '{name}'.")
    path, keys = paths[0]
    columns = guess_columns(read_all([path]), formats)
    key: dict[str, str] = {}
    for part in _parts(keys):
        derived = re.fullmatch(r"\s*`?([^=`]+?)`?\s*=(?!=)\s*(.+?)\s*", part, re.DOTALL)
        column, expression = (derived[1], derived[2]) if derived else (part.strip(), part.strip())
        if column not in columns:
            raise UsageError(f"'{column}' is no column of the look-up {path.name}; {nearest(column, columns)}")
        columns_of(expression, list(records), f"records (look-up '{name}')")
        key[column] = expression
    return LookupGuess(name, path.resolve(), key, columns)


def _parts(text: str) -> list[str]:
    """Split at commas outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"`":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in [*parts, text[start:]] if part.strip()]


def nearest(name: str, known: Mapping[str, object]) -> str:
    """Advice on a name that is not known: the nearest one, else what there is."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"there is {', '.join(list(known)[:12])}."
