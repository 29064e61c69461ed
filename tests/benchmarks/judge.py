"""How often the judge is wrong, and how often the usual rule is, on seeded models whose true quality is known.

    uv run python tests/benchmarks/judge.py [--json] [--rounds 2000] [--rows 4000]

Every round draws outcomes (20 % positives) and two models' scores from normal distributions, so that the true ROC AUC
of each is known exactly: equal, or better by twice the smallest worthwhile gain. The scores of both correlate by about
0.95, as those of two models of one training do. The rules are those that a contract has by default, with ROC AUC as
the metric and 0.01 as the smallest worthwhile gain. "The usual rule" promotes whoever scores at least as much.

Where a challenger's gain, as measured, is below the smallest worthwhile gain, or where DeLong's test does not agree,
the judge cannot promote; such rounds are not judged in full, which changes nothing but the time. Intervals are 95 %
Clopper-Pearson intervals.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from contender.contracts.sections import Judging
from contender.evaluation.judge import JudgedRows, Occasion, judge
from contender.evaluation.significance_tests import delong

RULES = Judging(metric="roc_auc", newest=timedelta(days=28), min_gain=0.01)
POSITIVES, QUALITY, NOISE = 0.2, 0.80, 0.22
WEEKS, CANDIDATES, SLICES, HARM = 52, 50, 4, 2.0


@dataclass(frozen=True)
class Sample:
    """Outcomes, both models' scores and a slice column, each of shape (rows,)."""

    y: NDArray[np.int64]
    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    region: NDArray[np.str_]


def lift_of(auc: float) -> float:
    """How far apart two normal distributions of unit variance lie whose ROC AUC is `auc`.

    Source: Bamber (1975), The Area above the Ordinal Dominance Graph, Journal of Mathematical Psychology 12(4).
    """
    return float(np.sqrt(2) * norm.ppf(auc))


def draw(rng: np.random.Generator, rows: int, gain: float = 0.0, harmed: float = 0.0) -> Sample:
    """Scores whose true ROC AUC differs by `gain`, in the first slice instead by `-harmed`."""
    y = (rng.random(rows) < POSITIVES).astype(np.int64)
    region = rng.integers(0, SLICES, rows)
    gains = np.where((region == 0) & (harmed > 0), -harmed, gain)
    shared = rng.normal(size=rows)
    champion = _score(y, shared, rng, np.full(rows, QUALITY))
    challenger = _score(y, shared, rng, QUALITY + gains)
    return Sample(y, champion, challenger, region.astype(str))


def _score(
    y: NDArray[np.int64], shared: NDArray[np.float64], rng: np.random.Generator, auc: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Calibrated probabilities of a normal signal of unit variance, a part of it shared with the other model."""
    own = rng.normal(size=len(y))
    lift = np.sqrt(2) * norm.ppf(auc)
    signal = lift * y + np.sqrt(1 - NOISE**2) * shared + NOISE * own
    odds = np.exp(lift * signal - lift**2 / 2) * POSITIVES / (1 - POSITIVES)
    return np.asarray(odds / (1 + odds))


def promoted(sample: Sample, seed: int, *, looks: int = 1, sliced: bool = False) -> bool:
    """Whether the judge promotes."""
    check = delong(sample.y, sample.champion, sample.challenger)
    if check.gain < RULES.min_gain or check.p_value >= 0.05 / looks:
        return False
    rows = JudgedRows(
        "binary",
        sample.y,
        champion=sample.champion,
        challenger=sample.challenger,
        dummy=np.full(len(sample.y), POSITIVES),
        threshold=0.5,
        slices={"region": sample.region} if sliced else {},
    )
    return judge(rows, RULES, Occasion(looks), latency_ms={"p95": 5.0}, seed=seed).promotes


def scores_higher(sample: Sample) -> bool:
    """The usual rule."""
    return delong(sample.y, sample.champion, sample.challenger).gain >= 0


Told = tuple[bool, bool]


def equal(seed: int, rows: int) -> Told:
    """One verdict on equal models."""
    sample = draw(np.random.default_rng([seed, 1]), rows)
    return promoted(sample, seed), scores_higher(sample)


def equal_small(seed: int, rows: int) -> Told:
    """The same on as few rows as the contract allows: the hardest case for the arithmetic of large numbers."""
    sample = draw(np.random.default_rng([seed, 6]), RULES.min_rows)
    if min(sample.y.sum(), len(sample.y) - sample.y.sum()) < RULES.min_per_class:
        return False, scores_higher(sample)
    return promoted(sample, seed), scores_higher(sample)


def equal_weekly_for_a_year(seed: int, rows: int) -> Told:
    """Whether any of a year's weekly challengers is promoted, each on a month of rows of which a week is new."""
    rng = np.random.default_rng([seed, 2])
    weeks = [draw(rng, rows // 4) for _ in range(WEEKS + 3)]
    years = []
    for week in range(WEEKS):
        month = weeks[week : week + 4]
        sample = Sample(*(np.concatenate([getattr(one, name) for one in month]) for name in vars(month[0])))
        years.append((promoted(sample, seed + week), scores_higher(sample)))
    return any(ours for ours, _ in years), any(usual for _, usual in years)


def better(seed: int, rows: int) -> Told:
    """A challenger whose true gain is twice the smallest worthwhile one, everywhere."""
    sample = draw(np.random.default_rng([seed, 3]), rows, gain=2 * RULES.min_gain)
    return promoted(sample, seed, sliced=True), scores_higher(sample)


def slice_harm(seed: int, rows: int) -> Told:
    """Better by far more on three slices, and worse on the fourth by twice what a slice may lose."""
    rng = np.random.default_rng([seed, 4])
    sample = draw(rng, rows, gain=8 * RULES.min_gain, harmed=HARM * RULES.slice_margin)
    return promoted(sample, seed, sliced=True), scores_higher(sample)


def fifty_candidates(seed: int, rows: int) -> Told:
    """Whether any of fifty equal candidates, all measured on one window, is promoted."""
    rng = np.random.default_rng([seed, 5])
    y = (rng.random(rows) < POSITIVES).astype(np.int64)
    shared, quality = rng.normal(size=rows), np.full(rows, QUALITY)
    champion, region = _score(y, shared, rng, quality), np.zeros(rows, dtype=np.str_)
    ours = usual = False
    for candidate in range(CANDIDATES):
        sample = Sample(y, champion, _score(y, shared, rng, quality), region)
        ours = ours or promoted(sample, seed + candidate, looks=CANDIDATES)
        usual = usual or scores_higher(sample)
    return ours, usual


CASES: dict[str, tuple[Callable[[int, int], Told], str]] = {
    "equal": (equal, "at most 1 %"),
    "equal_small": (equal_small, "at most 1 %"),
    "equal_weekly_for_a_year": (equal_weekly_for_a_year, "at most 1 %"),
    "better": (better, "at least 80 %"),
    "slice_harm": (slice_harm, "at most 1 %"),
    "fifty_candidates": (fifty_candidates, "at most 1 %"),
}


def _round(case: str, seed: int, rows: int) -> Told:
    return CASES[case][0](seed, rows)


def measure(rounds: int, rows: int, workers: int, seed: int) -> dict[str, object]:
    """Shares of rounds in which the challenger is promoted, by our judge and by the usual rule."""
    found: dict[str, object] = {"rounds": rounds, "rows": rows, "seed": seed, "intervals": {}}
    with ProcessPoolExecutor(workers) as pool:
        for case in CASES:
            told = list(
                pool.map(_round, *zip(*((case, seed + n, rows) for n in range(rounds)), strict=True), chunksize=25)
            )
            for place, name in enumerate((case, f"usual_rule_{case}")):
                count = sum(one[place] for one in told)
                interval = binomtest(count, rounds).proportion_ci(0.95, "exact")
                found[name] = count / rounds
                found["intervals"][name] = [float(interval.low), float(interval.high)]  # type: ignore[index]
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=2_000, help="seeded rounds per case")
    parser.add_argument("--rows", type=int, default=4_000, help="judging rows per verdict")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=20_260_101)
    given = parser.parse_args()
    found = measure(given.rounds, given.rows, given.workers, given.seed)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(f"Share of {given.rounds:,} rounds in which the challenger is promoted, {given.rows:,} judging rows each\n")
    print(f"{'case':<26}{'judge':>8}  {'95 % interval':<19}{'usual rule':>10}  should be")
    for case, (_, limit) in CASES.items():
        low, high = found["intervals"][case]  # type: ignore[index]
        told = f"{found[case]:>8.2%}  {f'{low:.2%} to {high:.2%}':<19}{found[f'usual_rule_{case}']:>10.1%}"
        print(f"{case:<26}{told}  {limit}")


if __name__ == "__main__":
    main()
