"""Expressions of a contract, which are in DuckDB's dialect, as Spark's dialect has them: names and texts are quoted otherwise."""

import re

_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`")


def to_spark(expression: str) -> str:
    """The same expression with names in backquotes and texts with a backslash before quotes."""

    def quoted(match: re.Match[str]) -> str:
        inside = match[0][1:-1]
        if match[0][0] == "'":
            return "'" + inside.replace("''", "'").replace("\\", "\\\\").replace("'", "\\'") + "'"
        return "`" + inside.replace('""', '"').replace("`", "``") + "`" if match[0][0] == '"' else match[0]

    return _QUOTED.sub(quoted, expression)
