"""What is to be predicted: the columns behind a target, its kind, and what its values are over all rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from contender.contracts.sections import Kind
from contender.drafting.column_types import ColumnGuess
from contender.drafting.expressions import columns_of, compared_with_text, quoted
from contender.drafting.landed_rows import ROW, LandedRows
from contender.drafting.measures import cell_of, limits_of, spread_of, value_of
from contender.drafting.typed_columns import read, text_literal
from contender.errors import UsageError

_MOST_CLASSES = 50
_MOST_NUMBERED_CLASSES = 10
KINDS: tuple[Kind, ...] = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Target:
    """An expression over columns with what it gives over all rows.

    `known` counts rows with an outcome; `classes` how often each, of a number empty; `quantiles` are those at 5, 20,
    50, 80 and 95 % of a number, `limits` what it will hardly leave, `spread` its standard deviation within
    them. `relation` is a table with the value `y` and the row's place, for a query.
    """

    text: str
    columns: tuple[str, ...]
    kind: Kind
    why: str
    relation: str
    known: int
    classes: Mapping[str, int]
    quantiles: tuple[float, ...] = ()
    spread: float = 0.0
    limits: tuple[float, float] | None = None
    check: bool = False

    @property
    def base_rate(self) -> float:
        """Share of true among the known outcomes of a binary target."""
        return self.classes.get("1", 0) / max(self.known, 1)


def target_of(
    text: str, landed: LandedRows, guesses: Mapping[str, ColumnGuess], where: str, kind: Kind | None = None
) -> tuple[Target, dict[str, ColumnGuess]]:
    """The target, its kind and its values, and the columns as the target takes them.

    Args:
        text: a column, or an expression over columns in DuckDB's dialect.
        guesses: of every column that the target may use.
        where: what the columns belong to, for errors.
        kind: what a person said it is.

    Raises:
        UsageError: no such column, no expression, or the target is constant, missing throughout, or not of the kind.
    """
    columns = columns_of(text, list(guesses), where)
    found = dict(guesses)
    if text not in guesses:
        for name in compared_with_text(text, list(guesses)):
            # What is compared with a text is a text: `y = 'yes'` means what stands there.
            if found[name].type == "boolean":
                found[name] = replace(found[name], type="category", settings={}, unread={}, why="compared with a text")
        return _of_expression(text, columns, landed, found, kind), found
    guess = found[text]
    if guess.type == "timestamp":
        raise UsageError(f"The target '{text}' is a time; needed a number, a class or a condition over it.")
    counts = _counts(f"CAST({value_of(landed, guess)} AS VARCHAR)", landed)
    _must_vary(text, counts)
    known, distinct = sum(counts.values()), len(counts)
    assumed, why, check = _kind_of(guess, counts)
    if kind is not None and kind != assumed:
        assumed, why, check = kind, f"as given; its {distinct:,} different values would be {assumed}", False
    if assumed == "binary":
        if distinct != 2:
            raise UsageError(
                f"The target '{text}' has {distinct:,} different values; needed two for kind "
                f"binary: say a condition such "
                f"as {quoted(text)} = {_literal(next(iter(counts)), guess)}, or another --kind."
            )
        if guess.type == "boolean" or (guess.numeric and {float(one) for one in counts} == {0.0, 1.0}):
            value = _relation(f"CAST({value_of(landed, guess)} AS DOUBLE)")
            ones = sum(n for one, n in counts.items() if one in ("true", "1", "1.0"))
            return Target(
                text, columns, "binary", why, value, known, {"0": known - ones, "1": ones}, check=check
            ), found
        return _two_values(text, columns, landed, guess, counts, why), found
    if assumed == "regression":
        if not guess.numeric:
            raise UsageError(
                f"The target '{text}' holds texts such as '{next(iter(counts))}'; needed numbers "
                f"for kind regression: say "
                f"how they are written with --format, or another --kind."
            )
        return _number(text, columns, landed, guess, why, check), found
    if distinct > _MOST_CLASSES:
        first = next(iter(counts))
        raise UsageError(
            f"The target '{text}' has {distinct:,} different "
            f"{'values' if guess.numeric else 'texts'}; needed a number, at "
            f"most {_MOST_CLASSES} classes or a condition such as {quoted(text)} = {_literal(first, guess)}."
        )
    if guess.type == "number":
        found[text] = guess = replace(guess, type="category", settings={}, why="classes")
    elif guess.type in ("text", "boolean"):
        found[text] = guess = replace(guess, type="category", settings={})
    return Target(
        text,
        columns,
        "multiclass",
        why,
        _relation(f"CAST({value_of(landed, guess)} AS VARCHAR)"),
        known,
        counts,
        check=check,
    ), found


def rare_classes(target: Target, least: int) -> dict[str, int]:
    """The classes with fewer rows than `least`, the rarest first."""
    rare = {name: n for name, n in target.classes.items() if n < least}
    return dict(sorted(rare.items(), key=lambda one: one[1])) if target.kind == "multiclass" else {}


def band_limits(target: Target) -> tuple[float, float]:
    """Warning and critical: three and nine times the base odds, or the 80 % and 95 % quantiles of a number."""
    if target.kind == "multiclass":
        return 0.5, 0.9
    if target.kind == "regression":
        low, high = tidy2(target.quantiles[3]), tidy2(target.quantiles[4])
        return min(low, high), max(low, high)
    odds = (rate := target.base_rate) / max(1 - rate, 1e-9)
    warning, critical = (tidy2(times * odds / (1 + times * odds)) for times in (3, 9))
    return warning, critical


def tidy2(number: float) -> float:
    """A number with two significant digits."""
    return float(f"{number:.2g}")


def _kind_of(guess: ColumnGuess, counts: Mapping[str, int]) -> tuple[Kind, str, bool]:
    distinct = len(counts)
    if guess.type == "boolean":
        return "binary", guess.why or "its values are true and false", False
    if distinct == 2:
        if guess.numeric and {float(one) for one in counts} == {0.0, 1.0}:
            return "binary", "its values are 0 and 1", False
        return "binary", "", True
    if not guess.numeric:
        return "multiclass", f"{distinct} different values", False
    whole = guess.type == "integer" or all(float(one).is_integer() for one in counts)
    if distinct > _MOST_NUMBERED_CLASSES or not whole:
        few = whole and distinct <= _MOST_CLASSES
        return (
            "regression",
            f"{distinct:,} different numbers" + ("; if they are classes, say --kind multiclass" * few),
            few,
        )
    often = min(counts.values()) >= max(2, guess.rows // 1000)
    shown = ", ".join(sorted(counts, key=float))
    if often:
        return (
            "multiclass",
            f"the {distinct} whole numbers {shown}; if they are amounts or grades, say --kind regression",
            True,
        )
    return "regression", f"the {distinct} whole numbers {shown}; if they are classes, say --kind multiclass", True


def _two_values(
    text: str, columns: tuple[str, ...], landed: LandedRows, guess: ColumnGuess, counts: Mapping[str, int], why: str
) -> Target:
    rare = min(counts, key=lambda value: (counts[value], value))
    literal = _literal(rare, guess)
    value = _relation(f"CAST({value_of(landed, guess)} = {literal} AS DOUBLE)")
    known = sum(counts.values())
    told = why or f"'{text}' has two values, and '{rare}' is the rarer"
    flags = {"0": known - counts[rare], "1": counts[rare]}
    return Target(f"{quoted(text)} = {literal}", columns, "binary", told, value, known, flags, check=True)


def _literal(value: str, guess: ColumnGuess) -> str:
    return value if guess.numeric else text_literal(value)


def _of_expression(
    text: str, columns: tuple[str, ...], landed: LandedRows, guesses: Mapping[str, ColumnGuess], kind: Kind | None
) -> Target:
    import duckdb

    # The expression's own names stand for typed values, within one row.
    tokens = sorted({token for name in columns for token in guesses[name].tokens})
    inner = ", ".join(
        f"{read(cell_of(landed, guesses[name]), guesses[name].column, tokens)[1]} AS {_always_quoted(name)}"
        for name in columns
    )
    relation = f"(SELECT ({text}) AS y, {ROW} FROM (SELECT {inner}, {ROW} FROM landed))"
    try:
        kind_found = landed.one(f"SELECT typeof(y) FROM {relation} LIMIT 1")[0]
        counts = dict(
            landed.ask(
                f"SELECT CAST(y AS VARCHAR), count(*) AS n FROM {relation} WHERE y IS NOT NULL "
                f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT 100000"
            )
        )
    except duckdb.Error as error:
        reason = str(error).split("\n")[0].split(": ", 1)[-1].rstrip(".")
        raise UsageError(f"'{text}' cannot be evaluated: {reason}; needed an expression in DuckDB's dialect.") from None
    _must_vary(text, counts)
    known = sum(counts.values())
    if kind_found == "BOOLEAN":
        found = Target(
            text,
            columns,
            "binary",
            "the expression is a condition",
            relation,
            known,
            {"0": counts.get("false", 0), "1": counts.get("true", 0)},
        )
    elif kind_found in ("VARCHAR", "ENUM"):
        if len(counts) > _MOST_CLASSES:
            raise UsageError(f"'{text}' gives {len(counts):,} different texts; needed at most {_MOST_CLASSES} classes.")
        found = Target(text, columns, "multiclass", "the expression gives text", relation, known, counts)
    elif kind_found in ("TIMESTAMP", "DATE", "TIME", "INTERVAL"):
        raise UsageError(f"'{text}' gives a time; needed a number, a class or a condition.")
    elif {float(one) for one in counts} <= {0.0, 1.0}:
        flags = {
            "0": sum(n for one, n in counts.items() if float(one) == 0.0),
            "1": sum(n for one, n in counts.items() if float(one) == 1.0),
        }
        found = Target(text, columns, "binary", "the expression gives 0 and 1", relation, known, flags)
    else:
        found = _number_of(text, columns, relation, landed)
    if kind is not None and kind != found.kind:
        raise UsageError(f"'{text}' gives a {found.kind} target; needed another expression for kind {kind}.")
    return found


def _always_quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _number(
    text: str, columns: tuple[str, ...], landed: LandedRows, guess: ColumnGuess, why: str, check: bool
) -> Target:
    value = f"CAST({value_of(landed, guess)} AS DOUBLE)"
    found = replace(_number_of(text, columns, _relation(value), landed), why=why, check=check)
    spread = spread_of(landed, guess)
    if spread is None:
        return found
    low, high = limits_of(landed, guess, spread)
    # One slip of the pen must not say how much a model has to gain.
    within = landed.one(
        f"SELECT stddev_pop(v) FROM (SELECT {value} AS v FROM landed) WHERE v BETWEEN {low!r} AND {high!r}"
    )
    return replace(found, limits=(low, high), spread=float(within[0] or 0))


def _number_of(text: str, columns: tuple[str, ...], relation: str, landed: LandedRows) -> Target:
    known, spread, quantiles = landed.one(
        f"SELECT count(y), stddev_pop(y), quantile_cont(CAST(y AS DOUBLE), [0.05, 0.2, 0.5, 0.8, 0.95]) FROM {relation}"
    )
    return Target(
        text,
        columns,
        "regression",
        "the expression gives numbers",
        relation,
        known,
        {},
        tuple(quantiles),
        float(spread or 0),
    )


def _counts(value: str, landed: LandedRows) -> dict[str, int]:
    return dict(
        landed.ask(
            f"SELECT y, count(*) AS n FROM (SELECT {value} AS y FROM landed) WHERE y IS NOT NULL "
            f"GROUP BY 1 ORDER BY n DESC, y"
        )
    )


def _must_vary(text: str, counts: Mapping[str, Any]) -> None:
    if len(counts) < 2:
        found = f"is {next(iter(counts))} in every row" if counts else "is missing in every row"
        raise UsageError(f"The target '{text}' {found}; needed two values or more: choose another one, or more files.")


def _relation(value: str) -> str:
    return f"(SELECT {value} AS y, {ROW} FROM landed)"
