"""A contract drafted from a user's own files: `draft` guesses and says why, `write` puts it in place."""

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from contender.contracts.contract import Contract
from contender.contracts.sections import Kind
from contender.drafting.column_types import ColumnGuess, Guess, Hints, guess_columns
from contender.drafting.draft_check import Checked, check_rows
from contender.drafting.draft_sections import (
    ColumnSettings,
    drift_entries,
    judging_entries,
    known_since,
    lookup_lines,
    lookup_settings,
    matches,
    newest_of,
    outcome_entries,
    records_entries,
    scoring_entries,
)
from contender.drafting.file_names import folder_of, pattern_of
from contender.drafting.headers import begins_with_values
from contender.drafting.keys_and_lookups import LookupGuess, Tie, TimeChoice, key_of, lookup_of, tie_of, time_of
from contender.drafting.landed_rows import LandedRows, Progress, read_all
from contender.drafting.measures import Spread, limits_of, spread_of, without_marks
from contender.drafting.number_forms import number_form_of
from contender.drafting.suspects import doubled, leaks_of, numbering
from contender.drafting.target import Target, rare_classes, target_of
from contender.drafting.toml_text import column_lines, column_settings, readme, section, toml_value
from contender.errors import UsageError

_MOST_QUARANTINED = 0.05
"""A contract that would refuse more of its own files than this is drafted again, with less asked of the columns."""


@dataclass(frozen=True)
class Draft:
    """A drafted contract as text, its README, every guess in it, and what became of the files' own rows by it."""

    name: str
    toml: str
    readme: str
    guesses: tuple[Guess, ...]
    checked: Checked


@dataclass(frozen=True)
class Asked:
    """What a person asked for: files, a target, and what they said of them; see `draft`."""

    files: Sequence[Path]
    name: str
    target: str
    outcomes: Sequence[Path] = ()
    key: str | None = None
    time: str | None = None
    kind: Kind | None = None
    lookups: Sequence[str] = ()
    formats: Mapping[str, Sequence[str]] = field(default_factory=dict)
    decimal: str | None = None
    named: bool = True


@dataclass(frozen=True)
class _Side:
    """Records or outcomes: their rows, what their columns are, and what their numbers measure."""

    landed: LandedRows
    columns: dict[str, ColumnGuess]
    spreads: dict[str, Spread]
    notes: list[Guess]


def draft(
    files: Sequence[Path],
    *,
    name: str,
    target: str,
    outcomes: Sequence[Path] = (),
    key: str | None = None,
    time: str | None = None,
    kind: Kind | None = None,
    lookups: Sequence[str] = (),
    formats: Sequence[str] = (),
    decimal: str | None = None,
    header: bool | None = None,
    folder: Path,
    progress: Progress = lambda _: None,
) -> Draft:
    """A contract for the files, guessed from all of their rows, and checked against them.

    Args:
        files: of records, any of the formats that ingest reads.
        name: of the use case.
        target: a column, or an expression over the columns of the outcomes (without any: of the records), in DuckDB's
            dialect.
        outcomes: files that hold what is known later; none when the records' own files carry it.
        key: the column that names a record; `RECORDS=OUTCOMES` where the outcomes' own files call it otherwise.
        time: the column that says when it came about, or several, split by blanks, that make it together.
        kind: of the target, where it is not what its values look like.
        lookups: texts `NAME=FILE:KEY[,KEY…]`; a KEY is a column of both, or `COLUMN=EXPRESSION` over the record.
        formats: texts `COLUMN=FORM`: a date pattern, a form of times or lengths, or a type; one may come again.
        decimal: the decimal sign of all numbers for which nothing else tells it.
        header: whether the files of records begin with a row of names; None where that is to be told from them.
        folder: holds one folder per use case; the contract is checked as if it stood there.
        progress: is told what is being done.

    Raises:
        UsageError: a name, file, column or expression is not there or cannot be used; or a guess needs a person.
        UnreadableFile: a file cannot be read.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"The name '{name}' cannot name a use case; needed small letters, digits and _.")
    if not files:
        raise UsageError(f"No file of records was given for '{name}'; needed at least one: name it.")
    named = not all(map(begins_with_values, files)) if header is None else header
    landed = read_all(files, progress, header=named)
    later = read_all(outcomes, progress) if outcomes else None
    if named and header is None:
        _must_have_names(files[0], landed)
    every = {*landed.names, *(later.names if later else ())}
    key, outcome_key = _two_names(key, landed, later)
    target, key, outcome_key, time = (_as_named(text, every) for text in (target, key, outcome_key, time))
    given = _formats(formats, every)
    asked = Asked(files, name, target, outcomes, key, time, kind, lookups, given, decimal, named)
    progress(f"read all {landed.rows:,} rows; looking at {len(landed.names)} columns")
    records = _side(landed, asked)
    outcome = _side(later, asked) if later else None
    landing = folder_of([*files, *outcomes], "files of records and outcomes")
    try:
        aim, columns = target_of(
            target, later or landed, (outcome or records).columns, "outcomes" if outcomes else "records", kind
        )
    except UsageError as error:
        if named or header is not None:
            raise
        raise UsageError(
            f"{error} The files have no row of names, so that columns are called by their places; say --header if they "
            "have one."
        ) from None
    if outcome is None:
        records = replace(records, columns={name: one for name, one in columns.items() if name not in aim.columns})
        outcome = replace(records, columns={name: columns[name] for name in aim.columns}, notes=[])
        with_files = False
    else:
        outcome, with_files = replace(outcome, columns=columns), True
    counted = [name for name, one in records.spreads.items() if one.high - one.low == landed.rows - 1]
    naming = {name: one for name, one in outcome.columns.items() if name not in aim.columns} if with_files else {}
    keyed = key_of(key, landed, records.columns, naming, counted, later)
    tied = None
    if later is not None and keyed:
        tied = tie_of(records.columns[keyed.value], outcome_key, landed, later, naming)
    if tied and tied.made:
        outcome.columns[tied.made.name] = tied.made
    timed, passed = time_of(time, landed, records.columns, Hints(given, decimal))
    tables = [lookup_of(text, landing, records.columns, given) for text in lookups]
    if set(records.columns) <= {keyed.value if keyed else None}:
        raise UsageError(f"Beside the target and the key no column is left in {files[0]}; needed one to predict from.")
    if timed and timed.parts:
        records.columns[timed.column.name] = timed.column
    progress("looking for columns that know the target")
    exclude = _excluded(records, aim, keyed, timed, (later, tied.theirs, tied.ours) if later and tied else None)
    progress("checking the same rows against the contract")
    loose: dict[str, set[str]] = {}
    while True:
        drafted = _written(
            asked, records, outcome, aim, keyed, tied, timed, tables, exclude, passed, landing, folder, loose
        )
        worst = _to_loosen(drafted, records, loose)
        if drafted.checked.share <= _MOST_QUARANTINED or worst is None:
            return drafted
        column, what = worst
        loose.setdefault(column, set()).add(what)


def write(draft: Draft, folder: Path, overwrite: bool = False) -> Path:
    """Write contract and README into the use case's folder below `folder`, and give the contract's path.

    Raises:
        UsageError: there is a contract already.
    """
    path = folder / draft.name / "contract.toml"
    if path.exists() and not overwrite:
        raise UsageError(f"{path} is there already; needed another name, or leave to overwrite it.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draft.toml, encoding="utf-8")
    notes = path.with_name("README.md")
    if overwrite or not notes.exists():
        notes.write_text(draft.readme, encoding="utf-8")
    return path


_NO_NAMES = "no row of names, the first one holds values: give names in the contract, or say --header"


def _must_have_names(path: Path, landed: LandedRows) -> None:
    """Raises UsageError where most names are numbers, or values that come again and again in their own columns."""
    numbers = 2 * sum(number_form_of({name: 1}) is not None for name in landed.names) >= len(landed.names)
    if numbers or 2 * sum(_is_value(name, landed) for name in landed.names) > len(landed.names):
        raise UsageError(
            f"{path} begins with what looks like values ({', '.join(landed.names)[:60]}), and not all tells that they "
            "are; needed names: say --no-header where the first row is one of values (the columns are column1, "
            "column2, … then), --header where it holds names, or put a line of names above it."
        )


def _is_value(name: str, landed: LandedRows) -> bool:
    """Whether a name is a number, or stands among its column's values in one of a hundred rows."""
    plain = re.sub(r"_\d+$", "", name)  # a name that comes again is numbered
    times = landed.texts_of(name).counts.get(plain, 0)
    return number_form_of({plain: 1}) is not None or times >= max(2, landed.rows / 100)


def _as_named(text: Any, names: set[str]) -> Any:
    """A name as the files' columns have it, which is without blanks around it and composed; else as it is."""
    clean = unicodedata.normalize("NFC", text.strip()) if text else text
    return clean if text not in names and clean in names else text


def _two_names(key: str | None, landed: LandedRows, later: LandedRows | None) -> tuple[str | None, str | None]:
    """The records' and the outcomes' name in a text `RECORDS=OUTCOMES`, or the text and none."""
    if key is None or later is None or key in landed.names:
        return key, None
    for place, letter in enumerate(key):
        if letter == "=" and key[:place].strip() in landed.names:
            return key[:place].strip(), key[place + 1 :].strip()
    return key, None


def _formats(texts: Sequence[str], names: set[str]) -> dict[str, list[str]]:
    """Formats by column.

    Raises:
        UsageError: a text is not like COLUMN=FORM, or names no column.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        column = max((name for name in names if text.startswith(f"{name}=")), key=len, default=None)
        if column is None:
            raise UsageError(
                f"The format '{text}' names no column; needed COLUMN=FORM, such as seen=dd/MM/yyyy, with one of "
                f"{', '.join(sorted(names)[:12])}."
            )
        found.setdefault(column, []).append(text.removeprefix(f"{column}="))
    return found


def _side(landed: LandedRows, asked: Asked) -> _Side:
    columns = guess_columns(landed, {n: f for n, f in asked.formats.items() if n in landed.names}, asked.decimal)
    spreads = {
        name: spread
        for name, column in columns.items()
        if column.numeric and (spread := spread_of(landed, column)) is not None
    }
    columns, notes = without_marks(landed, columns, spreads)
    return _Side(landed, columns, spreads, notes)


def _excluded(
    records: _Side,
    aim: Target,
    keyed: Guess | None,
    timed: TimeChoice | None,
    later: tuple[LandedRows, str, str] | None,
) -> dict[str, str]:
    """Columns that a model must not see, with the reason.

    Args:
        later: the rows of the outcomes' own files, and expressions for the key in them and in the records.
    """
    exclude = numbering(records.landed, records.columns, records.spreads) | doubled(records.landed, records.columns)
    if timed:
        exclude |= dict.fromkeys(timed.parts, f"part of {timed.column.name}")
    seen = {
        name: column
        for name, column in records.columns.items()
        if name not in exclude and name != (keyed.value if keyed else None)
    }
    leaks, _ = leaks_of(aim, records.landed, seen, time=timed.column.name if timed else None, later=later)
    exclude.pop(keyed.value if keyed else "", None)
    return exclude | leaks


def _missing(sides: Sequence[Mapping[str, ColumnGuess]]) -> tuple[list[str], set[str]]:
    """Spellings of a missing value that are so in every column that holds them, and those that only some take so."""
    columns = [column for side in sides for column in side.values()]
    every = {token for column in columns for token in column.tokens}
    partly = {
        token
        for token in every
        if any(token in column.texts.counts and token not in column.tokens for column in columns)
    }
    return sorted({""} | (every - partly)), partly


def _written(
    asked: Asked,
    records: _Side,
    outcome: _Side,
    aim: Target,
    keyed: Guess | None,
    tied: Tie | None,
    timed: TimeChoice | None,
    tables: Sequence[LookupGuess],
    exclude: Mapping[str, str],
    passed: Sequence[Guess],
    landing: Path,
    folder: Path,
    loose: Mapping[str, set[str]],
) -> Draft:
    """The contract as text, and what it would do to the files' own rows.

    Args:
        loose: what is no longer asked of a column: its "limits", or its "type".
    """
    files, outcomes = asked.files, asked.outcomes
    missing, partly = _missing([records.columns, outcome.columns, *(table.columns for table in tables)])
    needed = {one for one in (keyed.value if keyed else None, timed.column.name if timed else None) if one}
    record_columns = {
        name: _loosened(column, loose.get(name, set()), partly) for name, column in records.columns.items()
    }
    outcome_columns = {
        name: _loosened(column, loose.get(name, set()), partly) for name, column in outcome.columns.items()
    }
    record_lines: dict[str, ColumnSettings] = {}
    for name, column in record_columns.items():
        limits = None
        # What numbers the records grows without end.
        if (
            column.numeric
            and name in records.spreads
            and name not in exclude
            and name not in needed
            and "limits" not in loose.get(name, set())
        ):
            limits = limits_of(records.landed, records.columns[name], records.spreads[name])
        settings, why = column_settings(column, limits=limits, needed=name in needed)
        if name in records.spreads:
            spread = records.spreads[name]
            why = "; ".join(part for part in (f"seen {spread.low:.10g} to {spread.high:.10g}", why) if part)
        if name in exclude:
            settings, why = settings | {"exclude": exclude[name]}, why
        record_lines[name] = settings, why
    outcome_key = tied.column if tied else None
    outcome_lines = {
        name: column_settings(
            column,
            limits=aim.limits if name in aim.columns and "limits" not in loose.get(name, set()) else None,
            needed=name == outcome_key,
            closed=name in aim.columns and aim.kind == "multiclass" and column.type == "category",
        )
        for name, column in outcome_columns.items()
    }
    files_guess = Guess(
        "records.files",
        pattern_of(files, [*outcomes, *(table.path for table in tables)]),
        matches(files),
        check=len(files) == 1,
    )
    time_guess = timed.guess if timed else None
    header = () if asked.named else records.landed.names
    question = f"Will {aim.text} hold?" if aim.kind == "binary" else f"What will {aim.text} be?"
    known, doubtful = known_since(outcome.columns if outcomes else {}, bool(outcomes), time_guess)
    renamed = ("key", tied.column, tied.guess.why) if tied and keyed and tied.column != keyed.value else None
    lines = [
        f"# Drafted from all {records.landed.rows:,} rows. What has a comment is a guess: look before trusting it.",
        f"name = {toml_value(asked.name)}",
        f"question = {toml_value(question)}",
        f"kind = {toml_value(aim.kind)}  # {aim.why}",
        'owner = ""',
        'licence = ""',
        *section("records", records_entries(files_guess, landing, header, keyed, time_guess, missing)),
        "",
        "[records.columns]",
        *column_lines(record_lines),
        *section(
            "outcome", outcome_entries(aim, outcomes, [*files, *(table.path for table in tables)], known, renamed)
        ),
        "",
        "[outcome.columns]",
        *column_lines(outcome_lines),
    ]
    groups: dict[str, Mapping[str, ColumnSettings]] = {"Records": record_lines, "Outcome": outcome_lines}
    for table in tables:
        groups[f"Look-up {table.name}"] = lookup_settings(table)
        lines += lookup_lines(table, landing)
    judging = judging_entries(aim, record_lines, records.columns, newest_of(timed.facts if timed else None))
    scoring = scoring_entries(aim)
    drift = drift_entries(records.landed.rows, timed.facts if timed else None)
    lines += [*section("judging", judging), *section("scoring", scoring)]
    lines += section("drift", drift) if drift else []
    text = "\n".join(lines) + "\n"
    contract = Contract.model_validate(tomllib.loads(text) | {"folder": folder / asked.name})
    cells = {timed.column.name: timed.column.cell} if timed and timed.parts else {}
    declared = contract.records.columns if outcomes else contract.records.columns | contract.outcome.columns
    checked = check_rows(
        records.landed,
        declared,
        missing=contract.records.missing,
        key=contract.records.key,
        time=contract.records.time,
        cells=cells,
        compared=list(contract.records.columns),
    )
    if outcomes:
        checked = _together(
            checked,
            check_rows(
                outcome.landed,
                contract.outcome.columns,
                missing=contract.records.missing,
                key=None,
                time=None,
                cells={tied.made.name: tied.made.cell} if tied and tied.made else {},
            ),
        )
    if checked.share > _MOST_QUARANTINED:
        share = min(round(checked.share + 0.02, 2), 1.0)
        why = f"{checked.share:.1%} of the rows that this was drafted from fail: mend them, and lower this"
        text += "\n".join(section("batch", [("max_bad_share", share, why)])) + "\n"
        contract = Contract.model_validate(tomllib.loads(text) | {"folder": folder / asked.name})
    guesses = [
        files_guess,
        *([Guess("records.header", f"{header[0]} to {header[-1]}", _NO_NAMES, check=True)] if header else []),
        Guess("kind", aim.kind, aim.why, aim.check),
        keyed or Guess("records.key", "none", "made from each row's content and place", check=True),
        time_guess or Guess("records.time", "none", "rows of one delivery have no order that is known", check=True),
        *passed,
    ]
    guesses += [tied.guess] if tied and (renamed or tied.guess.check) else []
    guesses.append(Guess(f"outcome.{known[0]}", known[1], known[2], check=doubtful))
    guesses += _of_files(records.landed)
    guesses += [*records.notes, *outcome.notes]
    guesses += [Guess(f"records.columns.{name}", "left out", why, check=True) for name, why in exclude.items()]
    guesses += _too_little(contract, aim)
    guesses += [Guess(f"judging.{entry}", toml_value(value), why) for entry, value, why in judging if why]
    guesses += [Guess(f"drift.{entry}", toml_value(value), why) for entry, value, why in drift]
    guesses += [Guess(f"scoring.{entry}", toml_value(value), why, check=True) for entry, value, why in scoring if why]
    guesses += [
        Guess(f"{side}.columns.{column}", settings["type"], why, check=bool(found[column].doubt))
        for side, group, found in (
            ("records", record_lines, record_columns),
            ("outcome", outcome_lines, outcome_columns),
        )
        for column, (settings, why) in group.items()
        if column not in exclude
    ]
    grain = f"one record, named by `{keyed.value}`" if keyed else "one record"
    return Draft(asked.name, text, readme(asked.name, question, grain, groups), tuple(guesses), checked)


def _loosened(column: ColumnGuess, loose: set[str], partly: set[str]) -> ColumnGuess:
    """The column with what is no longer asked of it left away, and with spellings of its own where others read them."""
    if own := sorted(partly & column.tokens):
        column = replace(column, tokens=column.tokens - set(own)).with_missing(*own)
    if "type" in loose:
        return replace(
            column, type="text", settings={}, why=f"not {column.type} throughout: kept as it stands", doubt=""
        )
    return column


def _to_loosen(drafted: Draft, records: _Side, loose: Mapping[str, set[str]]) -> tuple[str, str] | None:
    """The column that costs most rows, and what to leave away; None where nothing would help."""
    costs = {name: drafted.checked.of_column(name) for name in records.columns}
    for name in sorted(costs, key=lambda name: -costs[name]):
        if costs[name] <= _MOST_QUARANTINED / 10 * drafted.checked.rows:
            break
        column = records.columns[name]
        if column.numeric and "limits" not in loose.get(name, set()):
            return name, "limits"
        if column.type not in ("text", "category", "timestamp") and "type" not in loose.get(name, set()):
            return name, "type"
    return None


def _together(one: Checked, other: Checked) -> Checked:
    findings = sorted([*one.findings, *other.findings], key=lambda finding: -finding.rows)
    return Checked(one.rows + other.rows, one.quarantined + other.quarantined, tuple(findings))


def _of_files(landed: LandedRows) -> list[Guess]:
    """Columns that not all files have, and those that cannot be used."""
    unused = "it holds lists or structures: put what is needed of it into a column of its own"
    return [
        *(Guess(f"records.columns.{name}", "left out", unused, check=True) for name in landed.unused),
        *_in_some(landed),
    ]


def _in_some(landed: LandedRows) -> list[Guess]:
    return [
        Guess(
            f"records.columns.{name}",
            "in some files",
            f"missing in {', '.join(lacks[:3])}{' …' * (len(lacks) > 3)}",
            check=True,
        )
        for name, lacks in landed.lacking.items()
    ]


def _too_little(contract: Contract, aim: Target) -> list[Guess]:
    """What is too little for training or judging, with the numbers."""
    share: Any = contract.judging.newest if isinstance(contract.judging.newest, float) else 0.2
    judged = round(share * aim.known)
    trained, least, judges = aim.known - judged, contract.training.min_rows, contract.judging.fewest_rows
    found = []
    if trained < least or judged < judges:
        more = max(least / (1 - share), judges / share)
        found.append(
            Guess(
                "rows",
                f"{aim.known:,} with an outcome",
                f"about {trained:,} to train on and {judged:,} to judge by; needed {least:,} and "
                f"{judges:,}: land files with about {max(round(more) - aim.known, 1):,} more",
                check=True,
            )
        )
    rare = rare_classes(aim, contract.training.fewest_of_a_class)
    if rare:
        shown = ", ".join(f"'{name}' ({n:,})" for name, n in list(rare.items())[:8])
        found.append(
            Guess(
                "classes",
                f"{len(rare)} rare",
                f"fewer than {contract.training.fewest_of_a_class} rows: {shown}",
                check=True,
            )
        )
    elif aim.kind == "binary" and min(aim.classes.values()) < contract.training.fewest_of_a_class:
        n = min(aim.classes.values())
        found.append(
            Guess(
                "classes",
                "rare",
                f"{n:,} rows of the rarer outcome; needed {contract.training.fewest_of_a_class}",
                check=True,
            )
        )
    return found
