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
from contender.training.feature_strength import Feature, Outcomes, of_feature, of_many, of_whole
from contender.training.leakage_sets import as_logarithms, as_they_are
from contender.training.trainer import rows_to_search
from contender.values import ModelColumn

ROWS = 20_000
"""Rows looked at: enough to tell 0.95 from 0.94, and a second's work."""

_FEWEST = 20
_ONE_SIDED = 100
_COPIED = 15

_MISSED = 3
"""A suspect is no leak where all the rest misses at most so many times what the suspect misses."""


@dataclass(frozen=True)
class _Limits:
    """From which strength on one feature, and a few together, are suspects; see `Outcomes.strengths`."""

    kind: Kind
    alone: float
    together: float

    def told(self, strength: float, limit: float, way: str = "", many: bool = False) -> str:
        """A clause, from the verb on."""
        verb = "reproduce" if many else "predicts"
        if self.kind == "regression":
            return f"{verb} the target with R2 {_shown(strength)}{way}, where {limit} is the limit"
        avoids = f"avoiding at least {strength:.1%} of the mistakes of a plain guess"
        return f"{verb} the target{way}, {avoids}, where {limit:.0%} is the limit"


_LIMITS = {
    "binary": _Limits("binary", 0.9, 0.9),
    "multiclass": _Limits("multiclass", 0.9, 0.9),
    "regression": _Limits("regression", 0.98, 0.99),
}


@dataclass(frozen=True)
class Leak:
    """One feature, or a few together, that know the outcome.

    `strength` is R2 for numbers, and for classes the share of a plain guess's mistakes that are surely avoided (see
    `feature_strength.avoided`), measured on rows that the fit had not seen; `why` is one clause for a person; `reason`
    the contract's for allowing it, empty where it is refused.
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


# What lies near the largest number there is overflows when it is squared, and then reproduces nothing.
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
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
    gives no false alarm. A strong feature is no leak yet: a suspect makes hardly a mistake, surely (`_LIMITS`), and
    makes few beside all features that are in no doubt (`_MISSED`); else the outcome is easily told, as in iris. Nor
    does a number leak that tells no more than the outcome of the row before does.

    Measured by `python tests/benchmarks/leak_veto.py`: of 396 honest tables 1 was refused (0.3 %,
    95 % interval 0.0 to 1.4), of 200 planted leaks 192 were found (96 %, 92.3 to 98.3).

    Args:
        frame: shape (rows, columns), oldest record first, if there is a time; columns as in `columns`.
        y: shape (rows,), outcomes: two values, some classes, or numbers, by `kind`.
        past: features that can't know their own record's outcome by the way they are made: the record's time and
            features from history. They are not doubted alone, and together only with others; so a target that goes
            on as it was before is no leak. Without any, the rows are in no order.
        allowed: feature, and why it is honest. Looked at all the same, and returned with the reason.

    Returns:
        Those found alone in the order of `columns`, then sets.

    Raises:
        TooFewOutcomes: too few for any strength to mean something.
    """
    y = np.asarray(y)
    chosen, ordered = rows_to_search(y, kind, rows), any(past)
    if not ordered:
        # However the file was sorted, by class for instance: either half shall hold something of everything.
        chosen = np.random.default_rng(seed).permutation(chosen)
    y = _moderate(y[chosen].astype(np.float64)) if kind == "regression" else y[chosen]
    outcomes = Outcomes.of(y, kind, seed)
    if not outcomes.turns:
        raise TooFewOutcomes(
            f"Of {len(y):,} records too few have another outcome than most to tell whether a feature knows it; 10 are "
            "needed: wait for more outcomes, or merge the classes in the contract's target."
        )
    # Words are no values that a rule could be made of.
    features = [_seen(frame[one.name].iloc[chosen], one) for one in columns if one.kind != "words"]
    limits = _LIMITS[kind]
    with threadpool_limits(1):
        doubted = [feature for feature in features if feature.name not in past]
        found = [doubt for feature in doubted if (doubt := _alone(feature, outcomes, y, limits))]
        alone = {doubt.leak.features[0] for doubt in found}
        rest = [feature for feature in features if feature.name not in alone - set(allowed)]
        sets = _together(rest, outcomes, limits, past=set(past), allowed=set(allowed))
        rest = [feature for feature in features if feature.name not in alone]
        sets = [doubt for doubt in sets if not _known_to(rest, doubt, outcomes, ordered=ordered)]
        refused = {name for doubt in sets for name in doubt.leak.features}
        rest = [feature for feature in rest if feature.name not in refused]
        found = [doubt for doubt in found if not _known_to(rest, doubt, outcomes, ordered=ordered)]
    return tuple(_with_reason(doubt.leak, allowed) for doubt in (*found, *sets))


def _with_reason(leak: Leak, allowed: Mapping[str, str]) -> Leak:
    if not all(name in allowed for name in leak.features):
        return leak
    return Leak(leak.features, leak.kind, leak.strength, leak.why, "; ".join(allowed[name] for name in leak.features))


@dataclass(frozen=True)
class _Doubt:
    """A suspect, and the rows in which it is compared with what the other features tell; None where it is plain."""

    leak: Leak
    rows: NDArray[np.bool_] | None = None


def _alone(feature: Feature, outcomes: Outcomes, y: NDArray[Any], limits: "_Limits") -> _Doubt | None:
    """What is wrong with one feature, the plainest kind first."""
    if _is_copy(feature, outcomes, y):
        why = f"'{feature.name}' is a copy of the target in all {feature.filled.sum():,} rows of a sample that have it"
        return _Doubt(Leak((feature.name,), "copy", 1.0, why))
    if (late := _filled_after(feature, outcomes, limits.alone)) is not None:
        strength, share, others = late
        why = f"'{feature.name}' is filled for {share:.1%} of one outcome and {others:.1%} of others, so only after it"
        return _Doubt(Leak((feature.name,), "filled after the outcome", strength, why))
    told = of_feature(feature, outcomes)
    if told.strength < limits.alone:
        return None
    why = f"'{feature.name}' alone {limits.told(told.strength, limits.alone)}"
    return _Doubt(Leak((feature.name,), "alone", told.strength, why), told.rows)


def _known_to(others: Sequence[Feature], doubt: _Doubt, outcomes: Outcomes, *, ordered: bool) -> bool:
    """Whether features beside the suspect's tell nearly as much as it does: then the outcome is easily told.

    Numbers in order of time are also told by the one before.
    """
    if doubt.rows is None:
        return False
    some = outcomes.at(doubt.rows)
    features = [feature.at(doubt.rows) for feature in others if feature.name not in doubt.leak.features]
    if ordered and outcomes.kind == "regression":
        features.append(Feature.number("", np.concatenate([[np.nan], some.numbers[:-1, 0]])))
    told = of_many(features, some)
    strength = some.worst(told) if len(doubt.leak.features) > 1 else of_whole(told)
    return _MISSED * (1 - doubt.leak.strength) >= 1 - strength


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
        return bool(
            ((pairs > 0).sum(0) == 1).all() and ((pairs > 0).sum(1) == 1).all() and pairs.max(0).min() >= _COPIED
        )
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


def _seen(values: pd.Series, column: ModelColumn) -> Feature:
    if column.kind in ("number", "time"):
        return Feature.number(column.name, _moderate(values.to_numpy(dtype=np.float64)))
    return Feature.of(values, column)


def _moderate(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers near the ends of floating point, whose squares are none, in another unit: they tell the same."""
    largest = np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0)
    return numbers / largest if largest and not 1e-100 < largest < 1e100 else numbers


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
            one_sided = share >= 0.25 and others * _ONE_SIDED <= share and (~within).sum() >= _ONE_SIDED
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
    features: Sequence[Feature], outcomes: Outcomes, limits: "_Limits", *, past: set[str], allowed: set[str]
) -> list[_Doubt]:
    """Small sets with which a simple fit reproduces the outcome, as they are or as products (by their logarithms).

    A set of features from the past, or of allowed ones, is taken away and the rest looked at again.
    """
    found: list[_Doubt] = []
    every = np.ones(len(outcomes.numbers), dtype=bool)
    for design, way in ((as_they_are(features, outcomes), "sum"), (as_logarithms(features, outcomes), "product")):
        rest = design.without([name for doubt in found for name in doubt.leak.features]) if design else None
        while rest and (least := rest.few_that_reproduce(limits.together)):
            names, strength = least
            rest = rest.without(names)
            if set(names) <= past | allowed and (len(names) == 1 or not set(names) <= allowed):
                continue
            many = len(names) > 1
            if not many and strength < limits.alone:
                continue
            quoted = " and ".join(f"'{name}'" for name in names)
            told = limits.told(strength, limits.together, way=f", in a simple fit (of a {way})", many=many)
            why = f"{quoted} {'together' if many else 'alone'} {told}"
            found.append(_Doubt(Leak(names, "together" if many else "alone", strength, why), every))
    return found
