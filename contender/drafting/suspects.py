"""Columns of a record that seem to know the target."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from contender.drafting.column_types import ColumnGuess, Guess, to_number

_SUSPICIOUS = 0.9
_MOST_SUMMED = 40


def find_leaks(
    target: Sequence[float | None],
    columns: Mapping[str, ColumnGuess],
    values: Mapping[str, Sequence[str | None]],
    name: str,
) -> tuple[dict[str, str], list[Guess]]:
    """Columns to exclude with the reason, and what a person should look at.

    A column, or the sum of two, that gives the target exactly in every sampled row is excluded; one that correlates
    with it by more than 0.9 is only named, since it may be an honest predictor.

    Args:
        target: shape (rows,), as numbers; None where unknown.
        columns: the record's columns.
        values: their sampled values, each of shape (rows,).
        name: of the target.
    """
    import numpy as np

    known = np.array([np.nan if value is None else value for value in target], dtype=float)
    if np.isfinite(known).sum() < 20:
        return {}, []
    numbers = {
        column: np.array([np.nan if (cell := to_number(value)) is None else cell for value in values[column]])
        for column, guess in columns.items()
        if guess.numeric and guess.low != guess.high
    }
    exclude: dict[str, str] = {}
    guesses: list[Guess] = []
    for column, found in numbers.items():
        both = np.isfinite(found) & np.isfinite(known)
        if both.sum() < 20 or np.ptp(found[both]) == 0 or np.ptp(known[both]) == 0:
            continue
        strength = float(np.corrcoef(found[both], known[both])[0, 1])
        if np.allclose(found[both], known[both]):
            exclude[column] = f"equals the target {name}"
        elif abs(strength) > _SUSPICIOUS:
            why = f"correlates with the target by {strength:.2f}: exclude it, if it is known only with the outcome"
            guesses.append(Guess(f"records.columns.{column}", "kept", why, check=True))
    for one, other in combinations(list(numbers)[:_MOST_SUMMED], 2):
        if one in exclude or other in exclude:
            continue
        total = numbers[one] + numbers[other]
        both = np.isfinite(total) & np.isfinite(known)
        if both.sum() >= 20 and np.allclose(total[both], known[both]):
            exclude[one] = exclude[other] = f"{one} + {other} equals the target {name}"
    guesses = [guess for guess in guesses if guess.what.removeprefix("records.columns.") not in exclude]
    for column, why in exclude.items():
        guesses.append(Guess(f"records.columns.{column}", "excluded", why, check=True))
    return exclude, guesses
