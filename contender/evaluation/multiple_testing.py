"""Many tests that share one error: of many slices, or many columns, one may stand out by luck."""

from collections.abc import Sequence


def holm_levels(p_values: Sequence[float], error: float) -> list[float]:
    """The level at which each p-value is tested, in the order given: it is a find when it is at most that.

    The smallest is tested hardest; all that come after the first which is no find are tested at that one's level.

    Args:
        error: probability that anything is found where nothing is.

    Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics
    6(2).
    """
    levels, level = [0.0] * len(p_values), 0.0
    still_finding = True
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        if still_finding:
            level = error / (len(p_values) - rank)
            still_finding = p_values[place] <= level
        levels[place] = level
    return levels
