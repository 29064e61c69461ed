"""What a column seems to be, guessed from all its values; every guess with its reason."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from contender.contracts.sections import LENGTH_FORMS, TIME_FORMS, Column, ColumnType
from contender.contracts.spellings import NO, YES
from contender.drafting.landed_rows import LandedRows, Texts
from contender.drafting.number_forms import NumberForm, number_form_of
from contender.drafting.time_forms import TimeForm, is_known, time_form_of
from contender.errors import UsageError
from contender.ingestion.cell_forms import is_length

ALWAYS_MISSING = frozenset(
    {"NULL", "null", "NaN", "nan", "\\N", "#N/A", "#NA", "N/A", "n/a", "<NA>", "NaT", "Null", "?"}
    | {"#REF!", "#NUM!", "#DIV/0!", "#VALUE!", "#NAME?", "#NULL!", "#NV", "#BEZUG!", "#ZAHL!", "#WERT!"}
)
MOSTLY_MISSING = frozenset(
    {
        "NA",
        "na",
        "None",
        "none",
        "NONE",
        "-",
        "--",
        "---",
        "missing",
        "Missing",
        ".",
        "-nan",
        "NAN",
    }
    | {"unknown", "Unknown", "k.A.", "k. A.", "keine Angabe", "nicht bekannt", "nd", "ND", "n.d.", "*", "..", "…", "–"}
)
"""Missing among numbers, times and truths; among names a value like any other, unless the files' numbers use it."""

_READABLE_SHARE = 0.995
"""A column is of a type when all but a few of its values are; those few end in quarantine, with a reason."""
MOST_CATEGORIES = 10_000
_LONGEST_CATEGORY = 64
_MOST_MARKS = 3
_LARGEST, _LARGEST_QUANTITY = 2**63 - 1, 2**53
TYPES: tuple[ColumnType, ...] = ("number", "integer", "boolean", "category", "text", "timestamp")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LETTERS = ({"t", "f"}, {"y", "n"}, {"j", "n"}, {"s", "n"})
"""Pairs of letters that say true and false; any other letters are codes."""
_CLOCK = re.compile(r"\d{1,3}:[0-5]\d(:[0-5]\d([.,]\d+)?)?")


@dataclass(frozen=True)
class Guess:
    """One thing that was guessed; `check` where a person should look before trusting it."""

    what: str
    value: str
    why: str
    check: bool = False


@dataclass(frozen=True)
class ColumnGuess:
    """A column's type and form, and the facts behind them.

    `tokens` are spellings of a missing value of all columns, `settings` the column's own keys in the contract beside
    its type. `unread` counts present texts that are not of the type.
    """

    name: str
    type: ColumnType
    texts: Texts
    tokens: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict)
    why: str = ""
    doubt: str = ""
    proven_decimal: str = ""
    day_or_month: str = ""
    cell: str = ""
    """An expression that gives the text, where no file has the column."""

    @property
    def rows(self) -> int:
        return self.texts.rows

    @property
    def own_missing(self) -> tuple[str, ...]:
        return tuple(self.settings.get("missing", ()))

    @property
    def gaps(self) -> int:
        """Rows in which the column is empty or spelt as missing."""
        return self.texts.empty + sum(self.texts.counts.get(text, 0) for text in {*self.tokens, *self.own_missing})

    @property
    def distinct(self) -> int:
        """Different values, without the spellings of a missing one."""
        return self.texts.distinct - len({*self.tokens, *self.own_missing} & self.texts.counts.keys())

    @property
    def unique(self) -> bool:
        """Whether the value is there and another in every row."""
        return self.gaps == 0 and self.texts.distinct == self.rows

    @property
    def numeric(self) -> bool:
        return self.type in ("number", "integer")

    @property
    def values(self) -> dict[str, int]:
        """How often each present text."""
        gone = {*self.tokens, *self.own_missing}
        return {text: n for text, n in self.texts.counts.items() if text not in gone}

    @property
    def column(self) -> Column:
        """As the contract declares it, without limits."""
        return Column.model_validate({"type": self.type, **self.settings})

    def with_missing(self, *spellings: str) -> "ColumnGuess":
        """The same with spellings of a missing value of this column alone."""
        kept = [one for one in spellings if one not in self.own_missing]
        return replace(self, settings={**self.settings, "missing": [*self.own_missing, *kept]})


@dataclass(frozen=True)
class Hints:
    """What is known beside a column's own values: what a person gave, and what other columns prove."""

    formats: Mapping[str, Sequence[str]] = field(default_factory=dict)
    given_decimal: str | None = None
    decimal: str | None = None
    first: str | None = None


def guess_columns(
    landed: LandedRows, formats: Mapping[str, Sequence[str]], decimal: str | None = None
) -> dict[str, ColumnGuess]:
    """The type and form of every column, each by its own values first, then by what the others prove.

    Raises:
        UsageError: a given format is none, or does not fit the column's values.
    """
    hints = Hints(formats, decimal)
    texts = {name: landed.texts_of(name) for name in landed.names}
    found = {name: guess_column(name, one, hints) for name, one in texts.items()}
    signs = Counter(guess.proven_decimal for guess in found.values() if guess.proven_decimal)
    firsts = Counter(guess.day_or_month for guess in found.values() if guess.day_or_month)
    # Between two signs that both are proven nothing follows for a third column.
    sign = next(iter(signs)) if len(signs) == 1 else None
    first = next(iter(firsts)) if len(firsts) == 1 else None
    if sign or first:
        again = Hints(formats, decimal, sign, first)
        found |= {
            name: guess_column(name, texts[name], again)
            for name, guess in found.items()
            if guess.doubt or guess.numeric
        }
    used = {token for guess in found.values() if guess.type not in ("category", "text") for token in guess.tokens}
    return {name: _with_tokens_of_others(guess, used) for name, guess in found.items()}


def guess_column(name: str, texts: Texts, hints: Hints = Hints()) -> ColumnGuess:
    """The type and form of one column."""
    if given := hints.formats.get(name):
        return _as_given(name, texts, given, hints)
    strict = {text: n for text, n in texts.counts.items() if text not in ALWAYS_MISSING | MOSTLY_MISSING}
    total = sum(strict.values())
    if total == 0:
        return ColumnGuess(name, "text", texts, _tokens(texts), why="no value at all")
    if boolean := _boolean(name, texts, strict):
        return boolean
    times = time_form_of(strict, name=name, hint=hints.first)
    if times and sum(times.unread.values()) <= (1 - _READABLE_SHARE) * total:
        return _timestamp(name, texts, times)
    numbers = number_form_of(strict, hint=hints.decimal, given=hints.given_decimal)
    if numbers and (guess := _number(name, texts, strict, numbers, hints)):
        return guess
    if guess := _length(name, texts, strict):
        return guess
    return _names(name, texts, numbers)


def _boolean(name: str, texts: Texts, strict: Mapping[str, int]) -> ColumnGuess | None:
    groups: dict[str, int] = {}
    for text, n in strict.items():
        groups[text.lower()] = groups.get(text.lower(), 0) + n
        if len(groups) > 24:
            return None
    total = sum(groups.values())
    known = {text: n for text, n in groups.items() if text in YES or text in NO}
    if sum(known.values()) < _READABLE_SHARE * total or all(re.fullmatch(r"[01]([.,]0)?", text) for text in known):
        return None
    if len(known) == 1 and not {"true", "false", "yes", "no"} & known.keys():
        return None
    unread = {text: n for text, n in strict.items() if text.lower() not in known}
    if all(len(text) == 1 for text in known) and (unread or known.keys() not in _LETTERS):
        return None
    yes = sorted(text for text in known if text in YES)
    spelt = ", ".join(sorted(known)[:6])
    return ColumnGuess(name, "boolean", texts, _tokens(texts), {}, unread, f"{spelt}: true is {', '.join(yes)}")


def _timestamp(name: str, texts: Texts, times: TimeForm) -> ColumnGuess:
    settings: dict[str, Any] = {"missing": list(times.marks)} if times.marks else {}
    why = "ISO 8601"
    if times.patterns:
        settings["format"] = times.patterns[0] if len(times.patterns) == 1 else list(times.patterns)
        why = "the form of the times seen"
        if len(times.patterns) > 1:
            shares = (f"{pattern} {share:.1%}" for pattern, share in zip(times.patterns, times.shares, strict=True))
            why = f"times of several forms: {', '.join(shares)}"
    first = (
        times.patterns[0][0]
        if times.patterns and times.patterns[0][0] in "dM" and "MMM" not in times.patterns[0]
        else ""
    )
    proven = "" if "day or month" in times.doubt else first
    return ColumnGuess(
        name, "timestamp", texts, _tokens(texts), settings, times.unread, why, times.doubt, day_or_month=proven
    )


def _number(
    name: str,
    texts: Texts,
    strict: Mapping[str, int],
    numbers: NumberForm,
    hints: Hints,
    exact: int = _LARGEST_QUANTITY,
) -> ColumnGuess | None:
    total, unread = sum(strict.values()), dict(numbers.unread)
    # A unit without a number says that there is none.
    marks = sorted(text for text in unread if text.strip() in {*numbers.drop, *numbers.factors})
    unread = {text: n for text, n in unread.items() if text not in marks}
    if _are_marks(unread, total) and texts.distinct - len(unread) >= 10:
        # Words between numbers, again and again: a way to write that there is none.
        marks, unread = [*marks, *sorted(unread)], {}
    elif sum(unread.values()) > (1 - _READABLE_SHARE) * total:
        return None
    settings: dict[str, Any] = {}
    if numbers.decimal != ("," if numbers.thousands == "." else "."):
        settings["decimal"] = numbers.decimal
    if numbers.thousands:
        settings["thousands"] = numbers.thousands
    if numbers.drop:
        settings["drop"] = list(numbers.drop)
    if numbers.factors:
        settings["factors"] = dict(numbers.factors)
    if numbers.negative:
        settings["negative"] = numbers.negative
    if marks:
        settings["missing"] = marks
    doubt = numbers.doubt
    if marks:
        doubt = "; ".join(
            [*([doubt] if doubt else []), f"{' and '.join(repr(mark) for mark in marks)} counts as missing"]
        )
    largest = max((abs(int(text)) for text in strict if re.fullmatch(r"[+-]?\d{16,}", text)), default=0)
    if largest > exact:
        # As text no digit is lost, also of one that is longer still.
        why = f"whole numbers beyond 2^53, such as {largest}, are names"
        return ColumnGuess(name, "text", texts, _tokens(texts), why=why)
    kind: ColumnType = "integer" if numbers.whole else "number"
    return ColumnGuess(
        name,
        kind,
        texts,
        _tokens(texts),
        settings,
        unread,
        numbers.why,
        doubt,
        numbers.decimal if numbers.proven else "",
    )


def _are_marks(unread: Mapping[str, int], total: int) -> bool:
    words = not any(re.search(r"\d", text) for text in unread)
    return words and 0 < len(unread) <= _MOST_MARKS and min(unread.values()) >= max(2, 0.0005 * total)


def _length(name: str, texts: Texts, strict: Mapping[str, int]) -> ColumnGuess | None:
    total = sum(strict.values())
    spelt = {text: n for text, n in strict.items() if is_length(text)}
    if sum(n for text, n in spelt.items() if not _CLOCK.fullmatch(text)) >= _READABLE_SHARE * total:
        unread = {text: n for text, n in strict.items() if text not in spelt}
        why = "lengths of time, in seconds"
        doubt = f"'{next(iter(spelt))}' is read as a length of time, in seconds: else --format '{name}=text'"
        return ColumnGuess(name, "number", texts, _tokens(texts), {"format": LENGTH_FORMS[0]}, unread, why, doubt)
    fitting = {text: n for text, n in strict.items() if _CLOCK.fullmatch(text)}
    if sum(fitting.values()) < _READABLE_SHARE * total:
        return None
    parts = {text.count(":") for text in fitting}
    unread = {text: n for text, n in strict.items() if text not in fitting}
    if parts == {1, 2}:
        read = "m:ss and h:mm:ss in seconds"
        return ColumnGuess(name, "number", texts, _tokens(texts), {"format": LENGTH_FORMS[0]}, unread, read)
    if parts == {2}:
        return ColumnGuess(
            name, "number", texts, _tokens(texts), {"format": LENGTH_FORMS[0]}, unread, "h:mm:ss in seconds"
        )
    if parts != {1}:
        return None
    of_day = all(re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", text) for text in fitting)
    form = LENGTH_FORMS[1] if of_day else LENGTH_FORMS[0]
    read = "hours and minutes" if of_day else "minutes and seconds"
    doubt = f"'{next(iter(fitting))}' is read as {read}, in seconds: else --format '{name}=text'"
    return ColumnGuess(name, "number", texts, _tokens(texts), {"format": form}, unread, f"{read} in seconds", doubt)


def _names(name: str, texts: Texts, numbers: NumberForm | None) -> ColumnGuess:
    tokens = frozenset(ALWAYS_MISSING & texts.counts.keys())
    kept = [text for text in texts.counts if text not in tokens]
    distinct = texts.distinct - len(tokens)
    present = sum(texts.counts[text] for text in kept)
    repeats = distinct <= MOST_CATEGORIES and 2 * distinct <= max(present, 4)
    short = 4 * distinct <= present or all(len(text) <= _LONGEST_CATEGORY for text in kept)
    doubt = ""
    if numbers is not None and sum(numbers.unread.values()) < 0.5 * present:
        odd = max(numbers.unread, key=lambda text: numbers.unread[text]) if numbers.unread else ""
        share = 1 - sum(numbers.unread.values()) / present
        if odd and distinct > 20:
            doubt = f"{share:.0%} are numbers, others such as '{odd[:30]}' are not: kept as it stands"
    if kept and all(text.startswith("'") for text in kept):
        doubt = "each text begins with an apostrophe, as spreadsheets mark texts: kept as it stands"
    kind: ColumnType = "category" if kept and repeats and short else "text"
    settings = {"words": True} if kind == "text" and _is_prose(texts, kept) else {}
    return ColumnGuess(name, kind, texts, tokens, settings, doubt=doubt)


def _is_prose(texts: Texts, kept: Sequence[str]) -> bool:
    """Whether most values are two words or more: they say something together, where codes and names only differ."""
    present = sum(texts.counts[text] for text in kept)
    return 2 * sum(texts.counts[text] for text in kept if len(_WORD.findall(text)) > 1) > present


def _tokens(texts: Texts) -> frozenset[str]:
    return frozenset((ALWAYS_MISSING | MOSTLY_MISSING) & texts.counts.keys())


def _with_tokens_of_others(guess: ColumnGuess, used: set[str]) -> ColumnGuess:
    """Names are missing where the files' numbers are spelt as missing in the same way."""
    if guess.type not in ("category", "text"):
        return guess
    shared = {
        token for token in used & guess.texts.counts.keys() if token in ("NA", "na", "None", "none", "NULL", "NONE")
    }
    return replace(guess, tokens=guess.tokens | shared)


def _as_given(name: str, texts: Texts, given: Sequence[str], hints: Hints) -> ColumnGuess:
    """The column as a person said that it is written.

    Raises:
        UsageError: the format is none, or most values do not fit.
    """
    tokens, total = _tokens(texts), sum(texts.counts.values())
    strict = {text: n for text, n in texts.counts.items() if text not in tokens}
    if len(given) == 1 and given[0] in TYPES:
        kind: ColumnType = next(one for one in TYPES if one == given[0])
        if kind in ("text", "category"):
            return ColumnGuess(name, kind, texts, frozenset(ALWAYS_MISSING & texts.counts.keys()), why="as given")
        if kind == "boolean":
            found = _boolean(name, texts, strict)
            return replace(found, why="as given") if found else ColumnGuess(name, kind, texts, tokens, why="as given")
        if kind == "timestamp":
            times = time_form_of(strict, name="time", hint=hints.first)
            if times is None:
                raise UsageError(_no_fit(name, "timestamp", strict))
            return replace(_timestamp(name, texts, times), why="as given")
        numbers = number_form_of(strict, hint=hints.decimal, given=hints.given_decimal)
        guess = numbers and _number(name, texts, strict, numbers, hints, _LARGEST)
        if not guess:
            raise UsageError(_no_fit(name, kind, strict))
        return replace(guess, type=kind if kind == "number" else guess.type, why="as given")
    if len(given) == 1 and given[0] in LENGTH_FORMS:
        return ColumnGuess(name, "number", texts, tokens, {"format": given[0]}, why="as given")
    from contender.drafting.time_forms import to_time

    for form in given:
        if not is_known(form):
            raise UsageError(
                f"The format '{form}' of '{name}' is none that is known; needed a date pattern "
                f"such as dd.MM.yyyy HH:mm:ss, "
                f"one of {', '.join((*TIME_FORMS, *LENGTH_FORMS))}, or a type ({', '.join(TYPES)})."
            )
    unread = {text: n for text, n in strict.items() if not any(to_time(text, form) for form in given)}
    if total and sum(unread.values()) > 0.05 * total:
        raise UsageError(_no_fit(name, " or ".join(given), unread))
    forms: Any = given[0] if len(given) == 1 else list(given)
    return ColumnGuess(name, "timestamp", texts, tokens, {"format": forms}, unread, "as given")


def _no_fit(name: str, form: str, texts: Mapping[str, int]) -> str:
    shown = "', '".join(list(texts)[:3])
    return f"The column '{name}' holds '{shown}', which the format '{form}' does not read; needed one that reads them."
