"""What is to be predicted: the columns behind a target, its kind, and settings of the judge that suit its values."""

import re
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from contender.contracts.sections import Kind
from contender.drafting.column_types import ColumnGuess, to_number
from contender.errors import UsageError

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`([^`]+)`|([A-Za-z_]\w*)(\s*\()?")
_WORDS = frozenset(
    {
        "and",
        "or",
        "not",
        "in",
        "is",
        "null",
        "between",
        "like",
        "rlike",
        "case",
        "when",
        "then",
        "else",
        "end",
        "true",
        "false",
        "cast",
        "as",
        "double",
        "int",
        "integer",
        "bigint",
        "float",
        "string",
        "boolean",
        "decimal",
        "date",
        "timestamp",
        "interval",
        "day",
        "days",
        "hour",
        "hours",
        "minute",
        "minutes",
        "second",
        "seconds",
        "div",
        "mod",
        "distinct",
        "current_date",
        "current_timestamp",
        "from",
        "for",
        "escape",
    }
)
_CONDITION = re.compile(r"[<>=]|\b(and|or|not|in|is|between|like|rlike)\b", re.IGNORECASE)
_MOST_CLASSES = 20
_TRUE = frozenset({"true", "t", "yes", "y"})


@dataclass(frozen=True)
class Target:
    """A target as a contract writes it, with its sampled values.

    `values` has one entry per sampled row: a number (binary: 0 or 1), a class, or None where the outcome is missing;
    it is empty where only Spark can evaluate the expression.
    """

    text: str
    columns: tuple[str, ...]
    kind: Kind
    values: tuple[float | str | None, ...]
    why: str
    check: bool = False

    @property
    def numbers(self) -> list[float]:
        return [value for value in self.values if isinstance(value, float)]


def columns_of(expression: str, columns: Sequence[str], where: str) -> tuple[str, ...]:
    """The columns that an SQL expression uses, in order of appearance.

    Raises:
        UsageError: a name is no column, or none is used.
    """
    if expression in columns:
        return (expression,)
    folded = {name.casefold(): name for name in columns}
    used: dict[str, None] = {}
    for match in _TOKEN.finditer(expression):
        name = match[1] or match[2]
        if name is None:
            continue
        if name.casefold() in folded:
            used[folded[name.casefold()]] = None
        elif match[1] or not (match[3] or name.casefold() in _WORDS):
            near = get_close_matches(name, columns, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(list(columns)[:12])}."
            raise UsageError(f"'{expression}' names '{name}', which is no column of the {where}; {hint}")
    if not used:
        raise UsageError(f"'{expression}' uses no column of the {where}; there is {', '.join(list(columns)[:12])}.")
    return tuple(used)


def target_of(
    text: str, guesses: Mapping[str, ColumnGuess], values: Mapping[str, Sequence[str | None]], where: str
) -> Target:
    """The target, its kind and its values in the sample.

    Args:
        text: a column, or an SQL expression over columns.
        guesses: of every column that the target may use.
        values: the same columns' sampled values, each of shape (rows,).
        where: what the columns belong to, for errors.

    Raises:
        UsageError: no such column, or the target is constant or missing throughout.
    """
    columns = columns_of(text, list(guesses), where)
    if text not in guesses:
        found = _evaluate(text, columns, guesses, values)
        if found is None:
            kind: Kind = "binary" if _CONDITION.search(text) else "regression"
            return Target(text, columns, kind, (), "only Spark can evaluate this expression", check=True)
        numbers = tuple(None if value is None else to_number(str(value)) for value in found)
        if all(number is None for number in numbers) and any(value is not None for value in found):
            classes = tuple(None if value is None else str(value) for value in found)
            _must_vary(text, classes)
            return Target(text, columns, "multiclass", classes, "the expression gives text")
        _must_vary(text, numbers)
        binary = set(numbers) <= {0.0, 1.0, None}
        why = "the expression is a condition" if binary else "the expression gives numbers"
        return Target(text, columns, "binary" if binary else "regression", numbers, why)
    guess = guesses[text]
    cells = [_present(value, guess) for value in values[text]]
    _must_vary(text, cells)
    if guess.type == "timestamp":
        raise UsageError(f"The target '{text}' is a time; needed a number, a class or a condition over it.")
    distinct = sorted({cell for cell in cells if cell is not None})
    if guess.type == "boolean":
        flags = tuple(None if cell is None else float(cell.lower() in _TRUE) for cell in cells)
        return Target(text, columns, "binary", flags, "its values are true and false")
    if len(distinct) == 2:
        return _two_values(text, columns, guess, cells, distinct)
    if guess.numeric and (len(distinct) > _MOST_CLASSES or guess.type == "number" or not _are_classes(guess, distinct)):
        numbers = tuple(to_number(cell) for cell in cells)
        return Target(text, columns, "regression", numbers, f"{len(distinct):,} different numbers")
    if len(distinct) > _MOST_CLASSES:
        raise UsageError(
            f"The target '{text}' has {len(distinct):,} different texts; needed a number, at most {_MOST_CLASSES} "
            f"classes or a condition such as {text} = '{distinct[0][:20]}'."
        )
    return Target(text, columns, "multiclass", tuple(cells), f"{len(distinct)} different values", check=guess.numeric)


def base_rate(target: Target) -> float:
    """Share of ones among the known outcomes of a binary target; 0.1 where the sample could not tell."""
    numbers = target.numbers
    return sum(numbers) / len(numbers) if numbers else 0.1


def band_limits(target: Target) -> tuple[float, float]:
    """Warning and critical: three and nine times the base odds, or the 80 % and 95 % quantiles of a number."""
    if target.kind == "multiclass":
        return 0.5, 0.9
    if target.kind == "regression":
        ordered = sorted(target.numbers)
        if not ordered:
            return 0.0, 0.0
        low, high = (tidy2(ordered[int(share * (len(ordered) - 1))]) for share in (0.8, 0.95))
        return min(low, high), max(low, high)
    odds = (rate := base_rate(target)) / max(1 - rate, 1e-9)
    warning, critical = (tidy2(times * odds / (1 + times * odds)) for times in (3, 9))
    return warning, critical


def tidy2(number: float) -> float:
    """A number with two significant digits."""
    return float(f"{number:.2g}")


def _two_values(
    text: str, columns: tuple[str, ...], guess: ColumnGuess, cells: list[str | None], distinct: list[str]
) -> Target:
    if guess.numeric and {to_number(value) for value in distinct} == {0.0, 1.0}:
        return Target(text, columns, "binary", tuple(to_number(cell) for cell in cells), "its values are 0 and 1")
    counts = Counter(cell for cell in cells if cell is not None)
    rare = min(distinct, key=lambda value: (counts[value], value))
    quoted = rare if guess.numeric else "'" + rare.replace("\\", "\\\\").replace("'", "\\'") + "'"
    name = text if re.fullmatch(r"[A-Za-z_]\w*", text) else f"`{text}`"
    flags = tuple(None if cell is None else float(cell == rare) for cell in cells)
    why = f"'{text}' has two values, and '{rare}' is the rarer"
    return Target(f"{name} = {quoted}", columns, "binary", flags, why, check=True)


def _are_classes(guess: ColumnGuess, distinct: list[str]) -> bool:
    """Few whole numbers that all repeat often read as classes, more of them as a count."""
    return len(distinct) <= 10 and min(guess.counts[value] for value in distinct) >= max(2, guess.rows // 1000)


def _must_vary(text: str, cells: Sequence[float | str | None]) -> None:
    distinct = {cell for cell in cells if cell is not None}
    if len(distinct) < 2:
        found = f"is {distinct.pop()} in every sampled row" if distinct else "is missing in every sampled row"
        raise UsageError(f"The target '{text}' {found}; needed two values or more: choose another one, or more files.")


def _present(value: str | None, guess: ColumnGuess) -> str | None:
    if value is None or value.strip() in guess.tokens or not value.strip():
        return None
    return value.strip() if not guess.numeric or to_number(value) is not None else None


def _evaluate(
    text: str, columns: Sequence[str], guesses: Mapping[str, ColumnGuess], values: Mapping[str, Sequence[str | None]]
) -> list[object] | None:
    """The expression's value per row, by SQLite: what both dialects know is enough to tell kind and base rate."""
    cells: list[Sequence[float | str | None]] = []
    for name in columns:
        guess, present = guesses[name], [_present(value, guesses[name]) for value in values[name]]
        if guess.type == "boolean":
            cells.append([None if value is None else float(value.lower() in _TRUE) for value in present])
        else:
            cells.append([to_number(value) for value in present] if guess.numeric else present)
    names = ", ".join(f'"{name}"'.replace("`", "") for name in columns)
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"CREATE TABLE sample ({names})")
        places = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO sample VALUES ({places})", zip(*cells, strict=True))
        return [row[0] for row in connection.execute(f"SELECT ({text}) FROM sample ORDER BY rowid")]
    except sqlite3.Error:
        return None
    finally:
        connection.close()
