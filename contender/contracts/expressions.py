"""SQL expressions of a contract, in DuckDB's dialect: parsed once, with the user's own names, and told to Spark too.

A text that is a column's name is that column, whatever letters it has. Names are taken as they stand, else without
regard to case; a text that is compared with a boolean column is read as that column reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Self

from contender.contracts.sections import Column
from contender.contracts.spellings import NO, YES

if TYPE_CHECKING:
    from typing import Any

    from sqlglot.expressions import Expression as Tree


@dataclass(frozen=True)
class Expression:
    """An expression over the columns of one row; `names` are those that it uses, in order of appearance."""

    text: str
    names: tuple[str, ...]
    _tree: "Tree | None"
    """None of a column alone."""

    @classmethod
    def parse(cls, text: str, columns: Mapping[str, Column] | None) -> Self:
        """The expression in a text.

        Args:
            columns: those that there are; None where only the files tell.

        Raises:
            ValueError: it is none, or names a column that is not there; says the nearest one.
        """
        text = text.strip()
        if columns is not None and text in columns:
            return cls(text, (text,), None)
        from sqlglot import exp

        tree = _parsed(text)
        if not isinstance(tree, exp.Condition) or tree.find(
            exp.Query, exp.AggFunc, exp.Window, exp.Star, exp.Placeholder
        ):
            raise ValueError(
                f"'{text}' is a query, or an aggregate of several rows; expected an expression over one row's columns"
            )
        found: dict[str, None] = {}

        def resolve(node: "Tree") -> "Tree":
            if not isinstance(node, exp.Column):
                return node
            name = ".".join(part.name for part in node.parts)
            name = name if columns is None else _known(name, columns, text)
            found[name] = None
            return exp.column(exp.to_identifier(name, quoted=True))

        tree = tree.transform(resolve)
        for comparison in list(tree.find_all(exp.EQ, exp.NEQ, exp.In, exp.NullSafeEQ, exp.NullSafeNEQ)):
            _read_as_boolean(comparison, columns or {}, text)
        return cls(text, tuple(found), tree)

    @property
    def duckdb(self) -> str:
        """For DuckDB, over columns of the user's names."""
        return '"' + self.text.replace('"', '""') + '"' if self._tree is None else self._tree.sql("duckdb")

    def spark(self, stored: Mapping[str, str]) -> str:
        """For Spark, over columns of the names that these have in the lake."""
        if self._tree is None:
            return "`" + stored.get(self.text, self.text).replace("`", "``") + "`"
        from sqlglot import exp

        def rename(node: "Tree") -> "Tree":
            if isinstance(node, exp.Column):
                return exp.column(exp.to_identifier(stored.get(node.name, node.name), quoted=True))
            return node

        return self._tree.transform(rename).sql("spark")


def _parsed(text: str) -> "Any":
    from sqlglot import errors, parse_one

    try:
        return parse_one(text, read="duckdb")
    except errors.SqlglotError as error:
        found = getattr(error, "errors", None)
        reason = found[0]["description"] if found else str(error).splitlines()[0]
        near = f" near '{found[0]['highlight']}'" if found and found[0].get("highlight") else ""
        raise ValueError(
            f"'{text}' is neither a column nor an SQL expression ({reason.rstrip('.')}{near}); a name with blanks or "
            'brackets stands in double quotes inside an expression, such as "Net price" > 5'
        ) from None


def _known(name: str, columns: Mapping[str, Column], text: str) -> str:
    if name in columns:
        return name
    alike = [known for known in columns if known.casefold() == name.casefold()]
    if len(alike) == 1:
        return alike[0]
    near = alike or get_close_matches(name, list(columns), n=1, cutoff=0.5)
    advice = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(list(columns)[:12])}"
    raise ValueError(f"'{text}' names '{name}', which is not there; {advice} Texts stand in single quotes: '{name}'.")


def _read_as_boolean(comparison: "Any", columns: Mapping[str, Column], text: str) -> None:
    from sqlglot import exp

    sides = [comparison.this, *comparison.expressions, *filter(None, [comparison.args.get("expression")])]
    named = [side for side in sides if isinstance(side, exp.Column) and side.name in columns]
    named = [side for side in named if columns[side.name].type == "boolean"]
    if not named:
        return
    column = columns[named[0].name]
    for side in sides:
        if isinstance(side, exp.Literal):
            spelling = str(side.this).strip().lower()
            yes, no = (column.yes or YES, column.no or NO)
            if spelling not in {word.lower() for word in (*yes, *no)}:
                raise ValueError(
                    f"'{text}' compares '{named[0].name}' with '{side.this}', which is neither true nor false; "
                    f"expected {named[0].name} = true, or one of its spellings"
                )
            side.replace(exp.Boolean(this=spelling in {word.lower() for word in yes}))


def cells_of(columns: Mapping[str, Column]) -> tuple[str, ...]:
    """Names of the cells that a file has for some columns; a column that is made has those that it is made of."""
    found: dict[str, None] = {}
    for name, column in columns.items():
        made_of = Expression.parse(column.expression, None).names if column.expression else (name,)
        found |= dict.fromkeys(made_of)
    return tuple(found)
