"""A contract drafted from a user's own files: `draft` guesses and says why, `write` puts it in place."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from contender.contracts.contract import Contract
from contender.drafting.column_types import ColumnGuess, Guess, guess_column, to_number
from contender.drafting.draft_sections import (
    ColumnSettings,
    judging_entries,
    lookup_lines,
    lookup_settings,
    matches,
    newest_of,
    outcome_entries,
    record_settings,
    records_entries,
    scoring_entries,
)
from contender.drafting.keys_and_lookups import key_of, lookup_of, time_of
from contender.drafting.sample import Sample, folder_of, pattern_of, sample_of
from contender.drafting.suspects import find_leaks
from contender.drafting.target import Target, target_of
from contender.drafting.toml_text import column_lines, column_settings, readme, section, toml_value
from contender.errors import UsageError


@dataclass(frozen=True)
class Draft:
    """A drafted contract as text, its README, and every guess in it."""

    name: str
    toml: str
    readme: str
    guesses: tuple[Guess, ...]


def draft(
    files: Sequence[Path],
    *,
    name: str,
    target: str,
    outcomes: Sequence[Path] = (),
    key: str | None = None,
    time: str | None = None,
    lookups: Sequence[str] = (),
    folder: Path,
) -> Draft:
    """A contract for the files, guessed from a bounded sample of them.

    Args:
        files: of records, any of the formats that `reading` knows.
        name: of the use case.
        target: a column, or an SQL expression over the columns of the outcomes (without any: of the records).
        outcomes: files that hold what is known later; none when the records' own files carry it.
        key: the column that names a record.
        time: the column that says when it came about.
        lookups: texts `NAME=FILE:KEY[,KEY…]`; a KEY is a column of both, or `COLUMN=EXPRESSION` over the record.
        folder: holds one folder per use case; the contract is checked as if it stood there.

    Raises:
        UsageError: a name, file, column or expression is not there or cannot be used; or a guess needs a person.
        UnreadableFile: a file cannot be read.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(f"The name '{name}' cannot name a use case; needed small letters, digits and _.")
    if not files:
        raise UsageError(f"No file of records was given for '{name}'; needed at least one: name it.")
    sample = sample_of(files)
    columns = _guess(sample)
    if 2 * sum(to_number(column) is not None for column in columns) >= len(columns):
        raise UsageError(f"{files[0]} begins with values ({', '.join(columns)[:60]}); needed a first line of names.")
    outcome_sample = sample_of(outcomes) if outcomes else None
    later = _guess(outcome_sample) if outcome_sample else {}
    source, where = (outcome_sample, "outcomes") if outcome_sample else (sample, "records")
    aim = target_of(target, later or columns, source.columns, where)
    landing = folder_of([*files, *outcomes], "files of records and outcomes")
    if not outcomes:
        later = {column: columns.pop(column) for column in aim.columns}
    keyed, timed = key_of(key, columns, later if outcomes else {}), time_of(time, columns, sample.columns)
    tables = [lookup_of(text, landing, columns) for text in lookups]
    if set(columns) <= {keyed.value if keyed else None}:
        raise UsageError(f"Beside the target and the key no column is left in {files[0]}; needed one to predict from.")
    exclude, leaks = find_leaks(_aligned(aim, keyed, sample, outcome_sample), columns, sample.columns, aim.text)
    others = [*outcomes, *(table.path for table in tables)]
    guesses = [
        Guess("records.files", pattern_of(files, others), matches(files), check=len(files) == 1),
        *_first_guesses(aim, keyed, timed, sample, outcome_sample),
        *leaks,
    ]
    record_lines = {
        column: record_settings(guess, sample, exclude.get(column), keyed, timed) for column, guess in columns.items()
    }
    outcome_key = keyed.value if outcomes and keyed else None
    outcome_lines = {
        column: column_settings(guess, whole=source.whole, needed=column == outcome_key)
        for column, guess in later.items()
    }
    question = f"Will {aim.text} hold?" if aim.kind == "binary" else f"What will {aim.text} be?"
    every = (columns, later, *(table.columns for table in tables))
    missing = sorted({""}.union(*(guess.tokens for group in every for guess in group.values())))
    lines = [
        f"# Drafted from a sample of {sample.rows:,} rows. What has a comment is a guess: look before trusting it.",
        f"name = {toml_value(name)}",
        f"question = {toml_value(question)}",
        f"kind = {toml_value(aim.kind)}  # {aim.why}",
        'owner = ""',
        'licence = ""',
        *section("records", records_entries(guesses[0], landing, keyed, timed, missing)),
        "",
        "[records.columns]",
        *column_lines(record_lines),
        *section("outcome", outcome_entries(aim, outcomes, [*files, *(table.path for table in tables)])),
        "",
        "[outcome.columns]",
        *column_lines(outcome_lines),
    ]
    groups: dict[str, Mapping[str, ColumnSettings]] = {"Records": record_lines, "Outcome": outcome_lines}
    for table in tables:
        groups[f"Look-up {table.name}"] = lookup_settings(table)
        lines += lookup_lines(table, landing)
    judging = judging_entries(aim, record_lines, columns, newest_of(timed, columns, sample))
    scoring = scoring_entries(aim)
    lines += [*section("judging", judging), *section("scoring", scoring)]
    guesses += [Guess(f"judging.{entry}", toml_value(value), why) for entry, value, why in judging if why]
    guesses += [Guess(f"scoring.{entry}", toml_value(value), why, check=True) for entry, value, why in scoring if why]
    guesses += [
        Guess(f"{kind}.columns.{column}", settings["type"], why, check=bool(found[column].doubt))
        for kind, group, found in (("records", record_lines, columns), ("outcome", outcome_lines, later))
        for column, (settings, why) in group.items()
    ]
    text = "\n".join(lines) + "\n"
    Contract.model_validate(tomllib.loads(text) | {"folder": folder / name})
    grain = f"one record, named by `{keyed.value}`" if keyed else "one record"
    return Draft(name, text, readme(name, question, grain, groups), tuple(guesses))


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


def _guess(sample: Sample) -> dict[str, ColumnGuess]:
    return {name: guess_column(name, values) for name, values in sample.columns.items()}


def _aligned(aim: Target, keyed: Guess | None, sample: Sample, outcomes: Sample | None) -> list[float | None]:
    """The target of each sampled record, as a number; None where the sample of the outcomes does not hold it."""
    numbers = [value if isinstance(value, float) else None for value in aim.values]
    if outcomes is None or keyed is None:
        return numbers
    known = dict(zip(outcomes.columns[keyed.value], numbers, strict=False))
    return [known.get(value) for value in sample.columns[keyed.value]]


def _first_guesses(
    aim: Target, keyed: Guess | None, timed: Guess | None, sample: Sample, outcomes: Sample | None
) -> list[Guess]:
    found = [Guess("kind", aim.kind, aim.why, aim.check)]
    found.append(keyed or Guess("records.key", "none", "made from each row's content and place", check=True))
    found.append(timed or Guess("records.time", "none", "the order of arrival is the time", check=True))
    after, why = "1 day" if outcomes else "1 hour", "nothing in the files tells when an outcome was known"
    found.append(Guess("outcome.known_after", after, why, check=True))
    for one in (sample, outcomes):
        if one is not None and one.odd:
            why = f"{one.odd} has other columns than the first file"
            found.append(Guess("columns", "all that were seen", why, check=True))
    return found
