"""What mistakes cost, as they were and as they are to be expected, in the contract's currency."""

from collections.abc import Mapping

from contender.contracts.loop_sections import Costs
from contender.performance.score_counts import Tally


def realised_cost(costs: Costs, tally: Tally) -> float | None:
    """Cost of the mistakes in mature outcomes; None where the contract states no costs."""
    return _priced(costs, mistakes_in(tally))


def expected_cost(costs: Costs, mistakes: Mapping[str, float]) -> float | None:
    """Cost of the mistakes that an `estimates.Estimate` expects; None without costs, or without an estimate."""
    return _priced(costs, mistakes) if mistakes else None


def mistakes_in(tally: Tally) -> dict[str, float]:
    """Counts of mistakes in mature outcomes, named as those of an estimate: of numbers, the sum of absolute errors."""
    if tally.kind == "regression":
        return {"error": float(tally.absolute.sum())}
    missed = tally.mature - tally.hits
    if tally.kind == "multiclass":
        return {"error": float(missed.sum())}
    return {
        "false_positive": float(missed[tally.flagged].sum()),
        "false_negative": float(tally.hits[~tally.flagged].sum()),
    }


def _priced(costs: Costs, mistakes: Mapping[str, float]) -> float | None:
    if not costs.stated:
        return None
    prices = {
        "false_positive": costs.false_positive,
        "false_negative": costs.false_negative,
        "error": costs.per_error,
    }
    return sum(prices[name] * count for name, count in mistakes.items())
