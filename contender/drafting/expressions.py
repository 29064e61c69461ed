"""Expressions over columns, in DuckDB's dialect: which columns one names, and how a name is written in one."""

import json
import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from contender.errors import UsageError

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@cache
def _keywords() -> frozenset[str]:
    import duckdb

    return frozenset(word for (word,) in duckdb.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall())


def quoted(name: str) -> str:
    """A column's name as an expression may hold it."""
    if _BARE.fullmatch(name) and name.lower() not in _keywords():
        return name
    return '"' + name.replace('"', '""') + '"'


def columns_of(expression: str, columns: Collection[str], where: str) -> tuple[str, ...]:
    """The columns that an expression uses, in order of appearance, without evaluating it.

    Args:
        expression: one column's name, whatever characters it has, else SQL.
        columns: all there are.
        where: what they belong to, for the error.

    Raises:
        UsageError: the expression is none, or names a column that is not there or none at all; names the nearest.
    """
    if expression in columns:
        return (expression,)
    tree = parsed(expression, columns)
    folded = {name.casefold(): name for name in columns}
    used: dict[str, None] = {}
    for name in _names(tree):
        known = name if name in columns else folded.get(name.casefold())
        if known is None:
            raise UsageError(
                f"'{expression}' names '{name}', which is no column of the {where}; {_nearest(name, columns)}"
            )
        used[known] = None
    if not used:
        raise UsageError(f"'{expression}' uses no column of the {where}; there is {', '.join(list(columns)[:12])}.")
    return tuple(used)


def compared_with_text(expression: str, columns: Collection[str]) -> frozenset[str]:
    """The columns that an expression compares with a text."""
    found = set()
    for node in _nodes(parsed(expression, columns)):
        sides = [node.get("left"), node.get("right"), *(node.get("children") or [])]
        sides = [side for side in sides if isinstance(side, dict)]
        if node.get("class") not in ("COMPARISON", "OPERATOR", "FUNCTION"):
            continue
        if any(
            str((side.get("literal") or {}).get("kind", "")).upper() == "STRING" or _is_text(side) for side in sides
        ):
            found |= {side["column_names"][-1] for side in sides if side.get("class") == "COLUMN_REF"}
    folded = {name.casefold(): name for name in columns}
    return frozenset(folded[name.casefold()] for name in found if name.casefold() in folded)


def _is_text(node: dict[str, Any]) -> bool:
    value = node.get("value")
    return (
        node.get("class") == "CONSTANT" and isinstance(value, dict) and (value.get("type") or {}).get("id") == "VARCHAR"
    )


def parsed(expression: str, columns: Collection[str]) -> Any:
    """The tree of an expression.

    Raises:
        UsageError: it is none, or more than one.
    """
    import duckdb

    with duckdb.connect() as connection:
        (text,) = connection.execute("SELECT json_serialize_sql(?)", [f"SELECT ({expression})"]).fetchone() or ("",)
    tree = json.loads(text)
    if tree.get("error"):
        near = get_close_matches(expression, list(columns), n=1, cutoff=0.6)
        hint = (
            f"did you mean '{near[0]}'?"
            if near
            else "a name with blanks or signs stands in double quotes, a text in single ones."
        )
        raise UsageError(f"'{expression}' is no column and no expression ({tree.get('error_message', '')}); {hint}")
    for node in _nodes(tree):
        if node.get("class") in ("SUBQUERY", "STAR", "WINDOW", "PARAMETER"):
            raise UsageError(
                f"'{expression}' holds more than an expression over one row; needed columns and functions."
            )
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _names(tree: Any) -> Iterator[str]:
    for node in _nodes(tree):
        if node.get("class") == "COLUMN_REF":
            yield ".".join(node["column_names"])


def _nearest(name: str, columns: Collection[str]) -> str:
    near = get_close_matches(name, list(columns), n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    shown: Sequence[str] = list(columns)[:12]
    return f"there is {', '.join(shown)}."
