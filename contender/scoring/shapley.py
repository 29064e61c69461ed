"""Why one row got its score: how much each column of the model's input pushes it away from the average."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

METHOD = "SHAP values by permutation"

_ROUNDS = 20
"""Orders of the columns at least, each walked forwards and backwards: exact where columns interact in pairs at most."""

_EVALUATIONS = 600
"""Few columns are walked more often, up to so many steps."""

_CELLS = 20_000_000
"""What shap fills at once, in numbers of 8 bytes; more columns have to do with fewer background rows."""


@dataclass(frozen=True)
class Reason:
    """What one column has to do with one score.

    `value` is the row's and `usual` the background's: the median of numbers, the most frequent category. Either is
    None where it is missing, and `usual` also where no text comes twice. `contribution` is in units of the score.
    """

    feature: str
    value: Any
    usual: Any
    contribution: float


@dataclass(frozen=True)
class Reasons:
    """The reasons for a score, strongest first; their contributions add up to `score - average`.

    `average` is the mean score of the `background` rows that were used.
    """

    score: float
    average: float
    background: int
    reasons: tuple[Reason, ...]


def reasons_for(
    answer: Callable[[pd.DataFrame], Floats], row: pd.DataFrame, background: pd.DataFrame, seed: int
) -> Reasons:
    """How much each column moved the score of `row` from the average score of `background`.

    The columns are those of the model's input, so whatever a pipeline makes of one (one-hot columns, features of its
    own) counts for the column it comes from. The same arguments give the same answer.

    Args:
        answer: scores, shape (rows,), of a frame with the columns of `row`.
        row: shape (1, columns).
        background: shape (rows, columns), at least one row, columns as in `row`.

    Source: Strumbelj & Kononenko (2014), Explaining prediction models and individual predictions with feature
    contributions, Knowledge and Information Systems 41(3); Lundberg & Lee (2017), A Unified Approach to Interpreting
    Model Predictions, NeurIPS 30.
    """
    names, width = list(row.columns), len(row.columns)
    background = background[names].iloc[: max(1, _CELLS // (width * (2 * width + 1)))]
    columns = [_Coded.of(row[name], background[name]) for name in names]
    codes = np.column_stack([column.codes for column in columns]).astype(np.float64)

    def score(coded: Floats) -> Floats:
        places = coded.astype(np.int64)
        return answer(
            pd.DataFrame({name: columns[at].values[places[:, at]] for at, name in enumerate(names)}, columns=names)
        )

    with _shap() as shap:
        masker = shap.maskers.Independent(codes[1:], max_samples=len(background))
        explain = shap.PermutationExplainer(score, masker, seed=seed)
        found = explain(codes[:1], max_evals=max(_ROUNDS * (2 * width + 1), _EVALUATIONS), silent=True)
    pushed = np.asarray(found.values, dtype=np.float64)[0]
    reasons = [
        Reason(name, _or_none(row[name].iloc[0]), usual(background[name]), float(pushed[at]))
        for at, name in enumerate(names)
    ]
    average = float(np.ravel(found.base_values)[0])
    return Reasons(
        score=float(answer(row)[0]),
        average=average,
        background=len(background),
        reasons=tuple(sorted(reasons, key=lambda reason: -abs(reason.contribution))),
    )


def usual(values: "pd.Series[Any]") -> Any:
    """The median of numbers, the most frequent of texts; None where most are missing or no text comes twice."""
    present = values.dropna()
    if 2 * len(present) < len(values):
        return None
    if pd.api.types.is_numeric_dtype(values):
        return float(present.median())
    counts = present.value_counts()
    most = sorted(counts[counts == counts.iloc[0]].index)
    return most[0] if counts.iloc[0] > 1 or len(present) == 1 else None


@dataclass(frozen=True)
class _Coded:
    """A column's values by number, the row's first: shap takes numbers, and sees two large ones close together as one.

    `values[codes]` is the row's value and then the background's, missing ones as they were.
    """

    codes: NDArray[np.int64]
    values: NDArray[Any]

    @classmethod
    def of(cls, row: "pd.Series[Any]", background: "pd.Series[Any]") -> "_Coded":
        every = np.concatenate([row.to_numpy(), background.to_numpy()])
        codes, _ = pd.factorize(every, use_na_sentinel=False)
        return cls(codes, every[np.unique(codes, return_index=True)[1]])


@contextmanager
def _shap() -> Iterator[Any]:
    """The library shap, kept from compiling, from warning and from leaving its seed behind.

    Compiled for a single row its loops would cost 5 s to save a tenth of one. Only while shap is imported is compiling
    off: numba could not finish what another importer had left to be compiled.
    """
    import numba

    compiling, state = numba.config.DISABLE_JIT, np.random.get_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            numba.config.DISABLE_JIT = True
            import shap
        finally:
            numba.config.DISABLE_JIT = compiling
        try:
            yield shap
        finally:
            np.random.set_state(state)


def _or_none(value: Any) -> Any:
    if value is None or pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
