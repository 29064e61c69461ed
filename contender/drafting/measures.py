"""What numbers and times of a column measure over all rows: quantiles, marks of a missing value, plausible limits."""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from contender.drafting.column_types import ColumnGuess, Guess
from contender.drafting.landed_rows import ROW, LandedRows
from contender.drafting.typed_columns import read

_SHARES = (0.01, 0.25, 0.5, 0.75, 0.99)
_FEWEST_MARKS = 3
_ROOM = 10
"""So many spans between the 1 % and the 99 % quantile lie between each of them and the limit of what is plausible."""
_RARE, _FEW = 0.001, 4


@dataclass(frozen=True)
class Spread:
    """The numbers of a column: how many, the least, the largest, and the quantiles at 1, 25, 50, 75 and 99 %."""

    count: int
    low: float
    high: float
    quantiles: tuple[float, float, float, float, float]


def cell_of(landed: LandedRows, guess: ColumnGuess) -> str:
    """The column's text as an expression over the table `landed`."""
    return guess.cell or landed.cell(guess.name)


def value_of(landed: LandedRows, guess: ColumnGuess) -> str:
    """The column's typed value as an expression over the table `landed`."""
    return read(cell_of(landed, guess), guess.column, sorted(guess.tokens))[1]


def spread_of(landed: LandedRows, guess: ColumnGuess) -> Spread | None:
    """The numbers of a column over all rows; None where there are none."""
    count, low, high, quantiles = landed.one(
        f"SELECT count(v), min(v), max(v), quantile_cont(v, {list(_SHARES)}) "
        f"FROM (SELECT CAST({value_of(landed, guess)} AS DOUBLE) AS v FROM landed)"
    )
    return Spread(count, low, high, tuple(quantiles)) if count else None


def without_marks(
    landed: LandedRows, guesses: Mapping[str, ColumnGuess], spreads: dict[str, Spread]
) -> tuple[dict[str, ColumnGuess], list[Guess]]:
    """The columns with the numbers that stand for a missing value, such as -200 or 999, and what to say of them.

    Such a number is the least or the largest, comes again and again, and lies further from all others than those from
    one another; where one column proves it, it counts in others where it is the extreme as well. `spreads` is brought
    up to date.
    """
    extremes: dict[tuple[str, float], tuple[int, float, float]] = {}
    for name, spread in spreads.items():
        if spread.low == spread.high or guesses[name].settings.get("format"):
            continue
        wanted = [end for end in (spread.low, spread.high) if _looks_like_a_mark(end)]
        if not wanted:
            continue
        value = f"CAST({value_of(landed, guesses[name])} AS DOUBLE)"
        ask = ", ".join(
            f"count_if(v = {end!r}), min(v) FILTER (v != {end!r}), max(v) FILTER (v != {end!r})" for end in wanted
        )
        found = landed.one(f"SELECT {ask} FROM (SELECT {value} AS v FROM landed)")
        for place, end in enumerate(wanted):
            if found[3 * place + 1] is not None:
                extremes[name, end] = found[3 * place], found[3 * place + 1], found[3 * place + 2]
    proven = {
        end
        for (_, end), (count, low, high) in extremes.items()
        if count >= _FEWEST_MARKS and (low - end if end < low else end - high) > max(high - low, 0) and high > low
    }
    changed, notes = dict(guesses), list[Guess]()
    for (name, end), (count, low, high) in extremes.items():
        alone = (name, end) in extremes and end in proven
        if (
            not alone
            or count < 2
            or low <= end <= high
            or (end < 0 and low < 0 and count < 0.001 * spreads[name].count)
        ):
            continue
        spelling = _spelling(guesses[name], end)
        changed[name] = changed[name].with_missing(spelling)
        others = f"all others are {low:.10g} to {high:.10g}: it counts as missing"
        why = f"{spelling} stands in {count:,} row{'s' * (count != 1)}, {others}"
        notes.append(Guess(f"records.columns.{name}.missing", spelling, why, check=True))
        again = spread_of(landed, changed[name])
        if again is not None:
            spreads[name] = again
    return changed, notes


def _looks_like_a_mark(number: float) -> bool:
    digits = f"{abs(number):.10g}"
    nines = re.fullmatch(r"9{2,}(\.9+)?", digits) is not None
    return nines or (number < 0 and number == int(number) and abs(number) >= 9 and digits.strip("0") in "123456789")


def _spelling(guess: ColumnGuess, number: float) -> str:
    plain = f"{number:.10g}"
    same = [text for text in guess.texts.counts if _as_number(text, guess) == number]
    return plain if plain in same or not same else max(same, key=lambda text: guess.texts.counts[text])


def _as_number(text: str, guess: ColumnGuess) -> float | None:
    try:
        return float(text.replace(str(guess.settings.get("decimal", ".")), "."))
    except ValueError:
        return None


def limits_of(landed: LandedRows, guess: ColumnGuess, spread: Spread) -> tuple[float, float]:
    """What a value of the same kind will hardly leave: ten spans beyond the quantiles at 1 and 99 %.

    Of a column that is mostly one number the others say how far it reaches; where values grow by factors rather than
    by sums, so does the room. The limits follow values beyond it that come one after another without a leap, and all of
    them where they are more than one row in a thousand, and more than four.
    """
    first, last, median = spread.quantiles[0], spread.quantiles[4], spread.quantiles[2]
    value = f"CAST({value_of(landed, guess)} AS DOUBLE)"
    if spread.quantiles[1] == spread.quantiles[3]:
        others = landed.one(
            f"SELECT quantile_cont(v, [0.01, 0.99]), count(v) FROM (SELECT {value} AS v FROM "
            f"landed) WHERE v != {median!r}"
        )
        if others[1]:
            first, last = min(others[0][0], median), max(others[0][1], median)
    span = last - first or max(abs(last), 1.0)
    low, high = first - _ROOM * span, last + _ROOM * span
    if spread.quantiles[1] > 0 and last > 10 * median:
        high = max(high, last * min(last / median, 1e3) ** 2)
    if spread.quantiles[3] < 0 and first < 10 * median:
        low = min(low, first * min(first / median, 1e3) ** 2)
    if spread.low < low or spread.high > high:
        most = max(_RARE * spread.count, _FEW)
        beyond = landed.one(
            f"SELECT count_if(v < {low!r}), count_if(v > {high!r}), min(v) FILTER (v >= {low!r}), "
            f"max(v) FILTER (v <= {high!r}), list(v ORDER BY v DESC) FILTER (v < {low!r}), "
            f"list(v ORDER BY v) FILTER (v > {high!r}) FROM (SELECT {value} AS v FROM landed)"
        )
        if beyond[0]:
            end = spread.low if beyond[0] > most else _followed(beyond[2], beyond[4], median)
            low = low if end == beyond[2] else end - span - abs(end)
        if beyond[1]:
            end = spread.high if beyond[1] > most else _followed(beyond[3], beyond[5], median)
            high = high if end == beyond[3] else end + span + abs(end)
    return tidy(low, up=False), tidy(high, up=True)


def _followed(last: float, beyond: Sequence[float], median: float) -> float:
    """The last of the values, going outward, that is not many times further out than the one before it."""
    for value in beyond:
        if abs(value - median) > _ROOM * abs(last - median):
            break
        last = value
    return last


_VAST = 1e307


def tidy(number: float, *, up: bool) -> float:
    """The next number outward with one significant digit."""
    if number == 0:
        return 0.0
    if not abs(number) < _VAST:
        return math.copysign(sys.float_info.max, number)
    unit = 10.0 ** math.floor(math.log10(abs(number)))
    rounded = (math.ceil if up else math.floor)(round(number / unit, 9)) * unit
    return float(f"{rounded:.6g}")


@dataclass(frozen=True)
class TimeFacts:
    """A time over all rows: oldest, newest, the time that a fifth of the rows lies after, and the share of rows that
    are no older than the row before."""

    oldest: datetime
    newest: datetime
    late: datetime
    rising: float
    distinct: int
    clock: bool


def time_facts(landed: LandedRows, guess: ColumnGuess) -> TimeFacts | None:
    """What the times of a column say; None where there are none."""
    value = value_of(landed, guess)
    oldest, newest, late, rising, distinct, clock = landed.one(
        "SELECT min(t), max(t), quantile_disc(t, 0.8), avg(CASE WHEN p IS NULL THEN NULL WHEN t "
        ">= p THEN 1 ELSE 0 END), "
        "count(DISTINCT t), coalesce(bool_or(t != date_trunc('day', t)), false) FROM "
        f"(SELECT t, lag(t) OVER (ORDER BY {ROW}) AS p FROM (SELECT {value} AS t, {ROW} FROM "
        f"landed) WHERE t IS NOT NULL)"
    )
    if oldest is None:
        return None
    return TimeFacts(oldest, newest, late, 1.0 if rising is None else float(rising), distinct, bool(clock))
