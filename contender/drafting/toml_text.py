"""A contract and its README as text, from guesses: one column per line, a comment at every guess."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from contender.drafting.column_types import ENOUGH_ROWS, MOST_LISTED, ColumnGuess, range_of

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_FEW = 10
_RARE = 0.001
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
    guess: ColumnGuess, *, whole: bool, bounded: bool = True, listed: bool = True, needed: bool = False
) -> tuple[dict[str, Any], str]:
    """The settings of a column and the reason for them.

    Args:
        guess: what the sample tells.
        whole: the sample is all there is.
        bounded: give numbers a range.
        listed: give few categories by name, and require what was never missing.
        needed: require it in any case.
    """
    settings: dict[str, Any] = {"type": guess.type}
    why = ""
    if guess.format:
        settings["format"] = guess.format
        why = guess.doubt or "the form of the times seen"
    if needed or (listed and guess.missing == 0 and guess.rows >= ENOUGH_ROWS):
        settings["required"] = True
    if guess.numeric and guess.low is not None and guess.high is not None:
        why = f"seen {guess.low:.10g} to {guess.high:.10g}"
        if bounded:
            settings["min"], settings["max"] = range_of(guess)
            if guess.unique and guess.type == "integer":
                # What numbers the records grows without end.
                del settings["max"]
    if guess.type == "category":
        distinct = len(guess.counts)
        why = f"{distinct} values seen"
        if listed and distinct < MOST_LISTED:
            settings["values"] = sorted(guess.counts)
            rare = min(guess.counts.values()) < _RARE * guess.rows
            if distinct > _FEW or rare or not whole:
                settings["unseen"] = "accept"
    if guess.type == "text":
        why = guess.doubt or ("different in every row" if guess.unique else f"{len(guess.counts):,} values seen")
    if guess.missing and guess.rows:
        why += f"{'; ' if why else ''}{guess.missing / guess.rows:.1%} missing"
    return settings, why


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
