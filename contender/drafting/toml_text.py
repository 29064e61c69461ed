"""A contract and its README as text, from guesses: one column per line, a comment at every guess."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from contender.drafting.column_types import ColumnGuess

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDEST_COMMENT_PLACE = 80


def toml_key(name: str) -> str:
    """A column name as a TOML key, quoted where it must be."""
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def toml_value(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


def column_settings(
    guess: ColumnGuess, *, limits: tuple[float, float] | None = None, closed: bool = False, needed: bool = False
) -> tuple[dict[str, Any], str]:
    """The settings of a column and the reason for them.

    Args:
        guess: what all rows tell.
        limits: the least and the largest number that is plausible.
        closed: give the categories by name, and refuse others.
        needed: require it.
    """
    settings: dict[str, Any] = {"type": guess.type, **guess.settings}
    why = [part for part in (guess.doubt or guess.why,) if part]
    if needed:
        settings["required"] = True
    if limits is not None:
        settings["min"], settings["max"] = limits
    if guess.type == "category":
        values = guess.values
        why.append(f"{guess.distinct:,} value{'s' * (guess.distinct != 1)} seen")
        if closed:
            settings |= {"values": sorted(values), "unseen": "quarantine"}
    if guess.type == "text" and not why:
        why.append("different in every row" if guess.unique else f"{guess.distinct:,} values seen")
    if guess.gaps and guess.rows:
        why.append(f"{guess.gaps / guess.rows:.1%} missing")
    return settings, "; ".join(why)


def column_lines(columns: Mapping[str, tuple[Mapping[str, Any], str]]) -> list[str]:
    """One line per column, the settings aligned and the reasons as comments."""
    width = max(len(toml_key(name)) for name in columns)
    lines = [f"{toml_key(name):<{width}} = {toml_value(settings)}" for name, (settings, _) in columns.items()]
    place = max((len(line) for line in lines if len(line) <= _WIDEST_COMMENT_PLACE), default=0)
    return [
        f"{line:<{place}}  # {_one_line(why)}" if why else line
        for line, (_, why) in zip(lines, columns.values(), strict=True)
    ]


def section(title: str, entries: Sequence[tuple[str, Any, str]]) -> list[str]:
    """A TOML table with one key per line, the reasons as comments."""
    lines = ["", f"[{title}]"]
    lines += [f"{key} = {toml_value(value)}" + (f"  # {_one_line(why)}" if why else "") for key, value, why in entries]
    return lines


def readme(
    name: str, question: str, grain: str, columns: Mapping[str, Mapping[str, tuple[Mapping[str, Any], str]]]
) -> str:
    """The README beside the contract: grain, source and the columns, with units for a person to fill in."""
    lines = [f"# {name}", "", question, "", f"One row is {grain}.", ""]
    lines.append("Source: fill in where the data comes from, and its licence.")
    for title, group in columns.items():
        lines += ["", f"## {title}", "", "| column | type | unit | what was seen |", "|---|---|---|---|"]
        for column, (settings, why) in group.items():
            unit = "fill in" if settings["type"] in ("number", "integer") else ""
            lines.append(f"| `{column}` | {settings['type']} | {unit} | {_one_line(why)} |")
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
