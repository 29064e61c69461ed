"""Columns of a record that the model must not see: those that know the target, and those that only number the rows."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from contender.contracts.sections import Kind
from contender.drafting.column_types import ColumnGuess
from contender.drafting.keys_and_lookups import ID_NAME, words_of
from contender.drafting.landed_rows import ROW, LandedRows
from contender.drafting.measures import Spread, value_of
from contender.drafting.target import Target
from contender.errors import TooFewOutcomes
from contender.training.leakage import find_leaks
from contender.values import ModelColumn

if TYPE_CHECKING:
    import pandas as pd

_LOOKED_AT = 40_000
_MOSTLY_DIFFERENT = 0.9
_FEWEST = 20


def numbering(landed: LandedRows, columns: Mapping[str, ColumnGuess], spreads: Mapping[str, Spread]) -> dict[str, str]:
    """Columns that number rows or name things, with the reason; no quantity of theirs means anything."""
    found: dict[str, str] = {}
    for name, column in columns.items():
        if column.type != "integer" or name not in spreads:
            continue
        spread = spreads[name]
        if column.unique and spread.high - spread.low == column.rows - 1:
            found[name] = "numbers the rows"
        elif column.unique and column.rows >= _FEWEST and _rises(landed, column):
            found[name] = "rises with every row, as a number given to each"
        elif ID_NAME.search(words_of(name)) and column.distinct > _MOSTLY_DIFFERENT * (column.rows - column.gaps):
            found[name] = "names things: nearly every row has its own"
    return found


_NUMBERED = re.compile(r"(.+)[_.]\d+", re.DOTALL)


def doubled(landed: LandedRows, columns: Collection[str]) -> dict[str, str]:
    """Columns that stand in the files twice under one name, of which each but the first got a number, with the reason.

    Only such as are the same in every row: `x_2` may well be a column of its own.
    """
    found: dict[str, str] = {}
    for name in landed.names:
        match = _NUMBERED.fullmatch(name)
        if match is None or match[1] not in landed.names or not {name, match[1]} & set(columns):
            continue
        (differing,) = landed.one(
            f"SELECT count_if({landed.cell(name)} IS DISTINCT FROM {landed.cell(match[1])}) FROM landed"
        )
        if not differing:
            left, other = (name, match[1]) if name in columns else (match[1], name)
            found[left] = f"the same as '{other}' in every row"
    return found


def _rises(landed: LandedRows, column: ColumnGuess) -> bool:
    (falls,) = landed.one(
        f"SELECT count_if(v <= p) FROM (SELECT v, lag(v) OVER (ORDER BY {ROW}) AS p "
        f"FROM (SELECT {value_of(landed, column)} AS v, {ROW} FROM landed))"
    )
    return bool(falls == 0)


def leaks_of(
    target: Target,
    landed: LandedRows,
    columns: Mapping[str, ColumnGuess],
    *,
    time: str | None,
    later: tuple[LandedRows, str, str] | None = None,
) -> tuple[dict[str, str], str]:
    """Columns that know the target, with what was found, by the same look that training takes; and why there was none.

    Args:
        columns: the record's columns that a model would see.
        time: the record's time, which is not doubted.
        later: where the target stands in files of outcomes: their rows, and expressions for the key in them and in
            the records.
    """
    import pandas as pd

    kinds = {"number": "number", "integer": "number", "boolean": "number", "category": "category", "timestamp": "time"}
    seen = [ModelColumn(name, kinds[column.type]) for name, column in columns.items() if column.type in kinds]  # type: ignore[arg-type]
    step = max(landed.rows // _LOOKED_AT, 1)
    names = [f"c{place}" for place in range(len(seen))]
    parts = [f"{_as_feature(landed, columns[one.name])} AS {name}" for one, name in zip(seen, names, strict=True)]
    order = f"{value_of(landed, columns[time])} NULLS FIRST, {ROW}" if time else ROW
    if later is None:
        query = (
            f"SELECT y, {', '.join(parts) or '0'} FROM landed JOIN (SELECT y, {ROW} AS place "
            f"FROM {target.relation}) ON place = {ROW} "
            f"WHERE {ROW} % {step} = 0 AND y IS NOT NULL ORDER BY {order}"
        )
        frame = landed.connection.execute(query).df()
    else:
        files, theirs, mine = later
        known = files.connection.execute(
            f"SELECT {theirs} AS k, any_value(y) AS y FROM landed JOIN "
            f"(SELECT y, {ROW} AS place FROM {target.relation}) ON place = {ROW} WHERE y IS NOT NULL GROUP BY 1"
        ).df()
        query = f"SELECT {mine} AS k, {', '.join(parts) or '0'} FROM landed WHERE {ROW} % {step} = 0 ORDER BY {order}"
        frame = landed.connection.execute(query).df().merge(known, on="k")
    if len(frame) < _FEWEST or not seen:
        return {}, f"{len(frame):,} rows are too few to tell whether a column knows the target"
    table = pd.DataFrame({one.name: _column(frame[name], one) for one, name in zip(seen, names, strict=True)})
    kind: Kind = target.kind
    y = frame["y"].to_numpy(dtype=object if kind == "multiclass" else float)
    try:
        found = find_leaks(table, y, kind=kind, columns=seen, past=[time] if time else [], allowed={}, seed=0)
    except TooFewOutcomes as error:
        return {}, str(error)
    return {name: leak.why for leak in found for name in leak.features}, ""


def _as_feature(landed: LandedRows, column: ColumnGuess) -> str:
    value = value_of(landed, column)
    if column.type == "category":
        return value
    return f"epoch({value})" if column.type == "timestamp" else f"CAST({value} AS DOUBLE)"


def _column(values: "pd.Series", column: ModelColumn) -> "pd.Series":
    return values.astype(object).mask(values.isna(), None) if column.kind == "category" else values.astype(float)


__all__: Sequence[str] = ("doubled", "leaks_of", "numbering")
