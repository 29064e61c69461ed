"""The veto before training: features that know the outcome, by name, with what was found."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from contender.contracts.sections import Kind
from contender.errors import LeakFound, TooFewOutcomes
from contender.training.feature_strength import Feature, Outcomes, of_feature
from contender.training.leakage_sets import as_logarithms, as_they_are
from contender.training.trainer import rows_to_search
from contender.values import ModelColumn

ROWS = 20_000
"""Rows looked at: enough to tell 0.95 from 0.94, and a second's work."""

_FEWEST = 20
_ONE_SIDED = 100


@dataclass(frozen=True)
class Leak:
    """One feature, or a few together, that know the outcome.

    `strength` is a Gini (2 AUC - 1) for classes and R2 for numbers, measured on rows that the fit had not seen; `why`
    one clause for a person; `reason` the contract's for allowing it, empty where it is refused.
    """

    features: tuple[str, ...]
    kind: Literal["copy", "filled after the outcome", "alone", "together"]
    strength: float
    why: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{' + '.join(self.features)} ({self.kind}): {self.why}"


def refuse_leaks(
    frame: pd.DataFrame,
    y: NDArray[Any],
    *,
    kind: Kind,
    columns: Sequence[ModelColumn],
    past: Collection[str],
    allowed: Mapping[str, str],
    seed: int,
) -> tuple[Leak, ...]:
    """Pass if no feature knows the outcome but those that the contract allows; these are returned. See `find_leaks`.

    Raises:
        LeakFound: names every such feature, what was found, and the limit.
    """
    found = find_leaks(frame, y, kind=kind, columns=columns, past=past, allowed=allowed, seed=seed)
    if refused := [leak for leak in found if not leak.reason]:
        named = ([name for name in leak.features if name not in allowed] for leak in refused)
        raise LeakFound.in_features(zip(named, [leak.why for leak in refused], strict=True))
    return found


def find_leaks(
    frame: pd.DataFrame,
    y: NDArray[Any],
    *,
    kind: Kind,
    columns: Sequence[ModelColumn],
    past: Collection[str],
    allowed: Mapping[str, str],
    seed: int,
    rows: int = ROWS,
) -> tuple[Leak, ...]:
    """Features that know the outcome: a copy, one filled only after it, one that tells it alone, a few together.

    Work and memory are bounded by `rows`, spread evenly over the frame; of two classes the rare one fills a tenth.
    Every fit is measured on rows that it had not seen, older or newer, so that a category with thousands of values
    gives no false alarm. Of more than two classes, the one that is told worst counts.

    Args:
        frame: shape (rows, columns), oldest record first; columns as in `columns`.
        y: shape (rows,), outcomes: two values, some classes, or numbers, by `kind`.
        past: features that can't know their own record's outcome by the way they are made: the record's time and
            features from history. They are not doubted alone, and together only with others; so a target that goes
            on as it was before is no leak.
        allowed: feature, and why it is honest. Looked at all the same, and returned with the reason.

    Returns:
        Those found alone in the order of `columns`, then sets.

    Raises:
        TooFewOutcomes: too few for any strength to mean something.
    """
    y = np.asarray(y)
    chosen = rows_to_search(y, kind, rows)
    outcomes, y = Outcomes.of(y[chosen], kind, seed), y[chosen]
    if not outcomes.turns:
        raise TooFewOutcomes(
            f"Of {len(y):,} records too few have another outcome than most to tell whether a feature knows it; 10 are "
            "needed: wait for more outcomes, or merge the classes in the contract's target."
        )
    features = [Feature.of(frame[column.name].iloc[chosen], column) for column in columns]
    limit = 0.98 if kind == "regression" else 0.95
    with threadpool_limits(1, user_api="blas"):
        doubted = [feature for feature in features if feature.name not in past]
        found = [leak for feature in doubted if (leak := _alone(feature, outcomes, y, limit))]
        refused = {leak.features[0] for leak in found} - set(allowed)
        rest = [feature for feature in features if feature.name not in refused]
        found += _together(rest, outcomes, limit, past=set(past), allowed=set(allowed))
    return tuple(_with_reason(leak, allowed) for leak in found)


def _with_reason(leak: Leak, allowed: Mapping[str, str]) -> Leak:
    if not all(name in allowed for name in leak.features):
        return leak
    return Leak(leak.features, leak.kind, leak.strength, leak.why, "; ".join(allowed[name] for name in leak.features))


def _alone(feature: Feature, outcomes: Outcomes, y: NDArray[Any], limit: float) -> Leak | None:
    """What is wrong with one feature, the plainest kind first."""
    score = "R2" if outcomes.kind == "regression" else "Gini"
    if _is_copy(feature, outcomes, y):
        why = f"'{feature.name}' is a copy of the target in all {feature.filled.sum():,} rows of a sample that have it"
        return Leak((feature.name,), "copy", 1.0, why)
    if (late := _filled_after(feature, outcomes, limit)) is not None:
        strength, share, others = late
        why = f"'{feature.name}' is filled for {share:.1%} of one outcome and {others:.1%} of others, so only after it"
        return Leak((feature.name,), "filled after the outcome", strength, why)
    strength = of_feature(feature, outcomes)
    if strength < limit:
        return None
    why = f"'{feature.name}' alone predicts the target with {score} {_shown(strength)}, where {limit} is the limit"
    return Leak((feature.name,), "alone", strength, why)


def _shown(strength: float) -> str:
    return f"{strength:.4f}" if strength < 0.99995 else "1.0000"


def _is_copy(feature: Feature, outcomes: Outcomes, y: NDArray[Any]) -> bool:
    """Whether each value stands for one outcome and each outcome for one value, where the feature is filled.

    A number also copies a number when it is a fixed multiple of it, plus or minus something.
    """
    filled = feature.filled
    if filled.sum() < _FEWEST:
        return False
    if outcomes.kind != "regression":
        values, classes = (np.unique(one, return_inverse=True)[1] for one in (feature.codes[filled], y[filled]))
        if values.max() != classes.max() or classes.max() + 1 < len(np.unique(y)):
            return False
        pairs = np.zeros((values.max() + 1, classes.max() + 1), dtype=int)
        np.add.at(pairs, (values, classes), 1)
        return bool(((pairs > 0).sum(0) == 1).all() and ((pairs > 0).sum(1) == 1).all() and pairs.max(0).min() >= 5)
    numbers = feature.numbers
    if numbers is None:
        numbers = pd.to_numeric(pd.Series(feature.texts), errors="coerce").to_numpy(dtype=np.float64)
        filled = np.isfinite(numbers)
        if filled.sum() < max(_FEWEST, 0.99 * feature.filled.sum()):
            return False
    x, target = numbers[filled], y[filled]
    if np.ptp(x) == 0 or len(np.unique(target)) < 3:
        return False
    slope, level = np.polyfit(x - x.mean(), target, 1)
    return bool(np.abs(level + slope * (x - x.mean()) - target).max() <= 1e-6 * np.ptp(target))


def _filled_after(feature: Feature, outcomes: Outcomes, limit: float) -> tuple[float, float, float] | None:
    """Strength, and the shares of filled rows in one outcome and in the others, if being filled tells the outcome.

    It tells when nearly all rows of one outcome are filled and hardly any others, or when many rows of one outcome are
    and a hundred times rarer any others. For numbers the outcomes are the most frequent number and all others.
    """
    filled = feature.filled
    if min(filled.sum(), (~filled).sum()) < _FEWEST:
        return None
    for outcome in _outcomes_apart(outcomes):
        for within in (outcome, ~outcome):
            if min(within.sum(), (~within).sum()) < _FEWEST:
                continue
            share, others = float(filled[within].mean()), float(filled[~within].mean())
            one_sided = share >= 0.25 and others * _ONE_SIDED <= share and (~within).sum() >= 3 * _ONE_SIDED
            if share - others >= 0.95 or (one_sided and filled[within].sum() >= _FEWEST):
                return share - others, share, others
    if outcomes.kind == "regression":
        explained = float(np.corrcoef(filled, outcomes.numbers[:, 0])[0, 1] ** 2)
        if explained >= limit:
            high = outcomes.numbers[:, 0] > outcomes.numbers[:, 0].mean()
            return explained, float(filled[high].mean()), float(filled[~high].mean())
    return None


def _outcomes_apart(outcomes: Outcomes) -> Iterator[NDArray[np.bool_]]:
    if outcomes.kind != "regression":
        yield from (column == 1 for column in outcomes.numbers.T)
        return
    values, counts = np.unique(outcomes.numbers, return_counts=True)
    if 0.05 <= counts.max() / counts.sum() <= 0.95:
        yield outcomes.numbers[:, 0] == values[counts.argmax()]


def _together(
    features: Sequence[Feature], outcomes: Outcomes, limit: float, *, past: set[str], allowed: set[str]
) -> list[Leak]:
    """Small sets with which a simple fit reproduces the outcome, as they are or as products (by their logarithms).

    A set of features from the past, or of allowed ones, is taken away and the rest looked at again.
    """
    score = "R2" if outcomes.kind == "regression" else "Gini"
    found: list[Leak] = []
    for design, way in ((as_they_are(features, outcomes), "sum"), (as_logarithms(features, outcomes), "product")):
        rest = design.without([name for leak in found for name in leak.features]) if design else None
        while rest and (least := rest.few_that_reproduce(limit)):
            names, strength = least
            rest = rest.without(names)
            if set(names) <= past | allowed and (len(names) == 1 or not set(names) <= allowed):
                continue
            quoted = " and ".join(f"'{name}'" for name in names)
            verb = "together reproduce" if len(names) > 1 else "alone reproduces"
            reached = f"{score} {_shown(strength)} in a simple fit (of a {way}), where {limit} is the limit"
            why = f"{quoted} {verb} the target with {reached}"
            found.append(Leak(names, "together" if len(names) > 1 else "alone", strength, why))
    return found
