"""The proof that a model's arrays answer as scikit-learn does, or the reason why its pipeline must answer itself."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from numba.core.errors import NumbaError
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from contender.errors import ContenderError
from contender.inference import arrays, lowering
from contender.inference.arrays import Lowered
from contender.inference.scorer import LoweredScorer
from contender.values import ModelColumn

LIMIT = 1e-9
"""Greatest difference of an answer; of its share, where the answer is a number above one."""

_TROUBLE = (
    ArithmeticError,
    AttributeError,
    ContenderError,
    LookupError,
    NumbaError,
    RuntimeError,
    TypeError,
    ValueError,
)

_MOST_TEXTS, _MOST_LIMITS = 5_000, 6_000
"""Categories of one column, and limits of all trees, that get rows of their own; of more, ones spread evenly."""
_MANY = 100_000
_ALONE = 25
_UNSEEN = "no text of any record\u2007"
_NUMBERS = (np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 2.2e-308, -2.2e-308, 1e30, -1e30)


@dataclass(frozen=True)
class Evidence:
    """What was compared, and what came of it.

    Args:
        why_plain: why the pipeline itself answers, in one sentence; None where arrays do.
        judging_rows: rows that the version is judged on; `made_rows` were made to be hard.
        limits: of trees' limits, how many got rows of their own and how many there are.
        greatest_difference: of an answer; of its share, where the answer is a number above one.
    """

    why_plain: str | None
    judging_rows: int
    made_rows: int
    limits: tuple[int, int]
    greatest_difference: float | None
    scikit_learn: str
    numpy: str

    def __str__(self) -> str:
        if self.why_plain:
            return f"answers by its pipeline: {self.why_plain}"
        return (
            f"answers by arrays equal to scikit-learn {self.scikit_learn} (numpy {self.numpy}) on "
            f"{self.judging_rows:,} judging and {self.made_rows:,} made rows; "
            f"greatest difference {self.greatest_difference:.1e}"
        )


def lower_and_prove(
    model: Any, columns: Sequence[ModelColumn], judging: pd.DataFrame, cuts: Sequence[float]
) -> tuple[bytes, Evidence]:
    """The file of a model's arrays, or of the reason why it has none, and the evidence that lies in it.

    Args:
        model: a fitted model of `candidates.build`, with its calibration or without.
        columns: what it is given, in order.
        judging: rows that it is judged on, shape (rows, columns).
        cuts: scores at which a decision changes: the threshold, and where bands begin.
    """
    try:
        lowered = lowering.lower(model, columns)
    except lowering.NotLowered as reason:
        return _packed(None, str(reason))
    except _TROUBLE as error:  # a pipeline of another make; its own answers are right
        return _packed(None, f"It cannot be lowered ({type(error).__name__}: {str(error)[:120]}).")
    return prove(model, lowered, judging, cuts)


def prove(model: Any, lowered: Lowered, judging: pd.DataFrame, cuts: Sequence[float]) -> tuple[bytes, Evidence]:
    """The file of the arrays where they answer as the model does, else of the reason; as `lower_and_prove`."""
    try:
        read = arrays.unpack(arrays.pack(lowered, {}))  # what will be read, and not what was meant
        assert read is not None
        scorer = LoweredScorer(read)
        made, limits = made_rows(lowered, judging)
        names = [column.name for column in lowered.columns]
        rows = pd.concat([judging[names], made], ignore_index=True) if len(judging) else made
        with warnings.catch_warnings(), threadpool_limits(1), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            wanted = np.asarray(getattr(model, "predict_proba", model.predict)(rows), dtype=np.float64)
            why, greatest = _compare(scorer, rows, wanted, cuts)
    except _TROUBLE as error:  # whatever goes wrong with a proof, it is none
        return _packed(None, f"Its arrays cannot be compared ({type(error).__name__}: {str(error)[:120]}).")
    return _packed(None if why else lowered, why, len(judging), len(made), limits, greatest)


def _packed(
    lowered: Lowered | None,
    why: str | None,
    judging_rows: int = 0,
    made_rows: int = 0,
    limits: tuple[int, int] = (0, 0),
    greatest_difference: float | None = None,
) -> tuple[bytes, Evidence]:
    learn, numbers = version("scikit-learn"), version("numpy")
    found = Evidence(why, judging_rows, made_rows, limits, greatest_difference, learn, numbers)
    return arrays.pack(lowered, asdict(found)), found


def _compare(
    scorer: LoweredScorer, rows: pd.DataFrame, wanted: NDArray[np.float64], cuts: Sequence[float]
) -> tuple[str | None, float]:
    """Why the answers are not equal, and the greatest difference."""
    import pyarrow as pa

    given = scorer.answer(rows)
    if given.shape != wanted.shape:
        return f"Its arrays answer in the shape {given.shape}, the pipeline in {wanted.shape}.", np.inf
    same = (given == wanted) | (np.isnan(given) & np.isnan(wanted))
    with np.errstate(all="ignore"):
        apart = np.where(same, 0.0, np.abs(given - wanted) / np.maximum(1.0, np.abs(wanted)))
    greatest = float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
    if greatest > LIMIT:
        row = int(np.nan_to_num(apart, nan=np.inf).reshape(len(rows), -1).max(axis=1).argmax())
        return f"Its arrays differ from the pipeline by {greatest:.1e}, first in row {row:,} of the proof.", greatest
    if scorer.classes is not None and (given.argmax(axis=1) != wanted.argmax(axis=1)).any():
        return "Its arrays name another class than the pipeline.", greatest
    scores, aims = (_score(answer, scorer.classes) for answer in (given, wanted))
    if any(((scores >= cut) != (aims >= cut)).any() for cut in cuts):
        return "Its arrays put a row into another band than the pipeline.", greatest
    alone = np.unique(np.linspace(0, len(rows) - 1, _ALONE).round().astype(np.int64))
    for row in alone.tolist():
        record = scorer.answer_record([_cell(value) for value in rows.iloc[row]])
        if not np.array_equal(record[0], given[row], equal_nan=True):
            return "Its arrays answer a record alone in another way than among others.", greatest
    many = np.resize(np.arange(len(rows)), _MANY)
    columns = {str(name): pa.array(rows[name].iloc[many], from_pandas=True) for name in rows}
    if not np.array_equal(scorer.answer_columns(columns), given[many], equal_nan=True):
        return f"Its arrays answer {_MANY:,} rows in another way than fewer.", greatest
    return None, greatest


def _cell(value: Any) -> object:
    return value.item() if isinstance(value, np.generic) else value


def _score(answer: NDArray[np.float64], classes: NDArray[Any] | None) -> NDArray[np.float64]:
    """What bands are cut from, as batch scoring takes it."""
    if classes is None:
        return answer
    return answer[:, 1] if len(classes) == 2 else answer.max(axis=1)


def made_rows(lowered: Lowered, judging: pd.DataFrame) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Hard rows: drawn judging rows with single cells changed; and how many of the trees' limits are among them.

    Every column missing alone, and all together; every category, an unseen one and an empty one; infinities, zeros and
    denormal numbers; each limit of a tree, and its neighbours in float64 and float32.
    """
    random = np.random.default_rng(0)
    changes: list[tuple[str | None, Any]] = [(None, None)]
    numeric = set(lowered.numbers)
    for column in lowered.columns:
        changes += [(column.name, np.nan if column.name in numeric else None)] * 3
        if column.name in numeric:
            changes += [(column.name, value) for value in _NUMBERS]
        else:
            texts = lowered.categories.get(column.name, ())
            changes += [(column.name, text) for text in (*_spread(texts, _MOST_TEXTS), _UNSEEN, "")]
    every = _limits(lowered)
    limits = _spread(every, _MOST_LIMITS)
    for name, value in limits:
        near = np.float32(value)
        around = {value, np.nextafter(value, -np.inf), np.nextafter(value, np.inf)}
        around |= {
            float(near),
            float(np.nextafter(near, np.float32(-np.inf))),
            float(np.nextafter(near, np.float32(np.inf))),
        }
        changes += [(name, one) for one in sorted(around)]
    names = [column.name for column in lowered.columns]
    columns = {
        name: _base(judging, name, name in numeric, random.integers(1 << 31, size=len(changes))) for name in names
    }
    for row, (name, value) in enumerate(changes):
        for one in [name] if name is not None else names:
            columns[one][row] = value if name is not None else (np.nan if one in numeric else None)
    return pd.DataFrame(columns), (len(limits), len(every))


def _base(judging: pd.DataFrame, name: str, number: bool, drawn: NDArray[np.int64]) -> NDArray[Any]:
    """Cells of drawn rows; the same drawn numbers give the same rows in each column."""
    if len(judging):
        return judging[name].to_numpy(dtype=np.float64 if number else object)[drawn % len(judging)].copy()
    return np.zeros(len(drawn)) if number else np.full(len(drawn), None, dtype=object)


def _spread(every: Sequence[Any], most: int) -> list[Any]:
    places = np.linspace(0, len(every) - 1, min(len(every), most)).round().astype(np.int64)
    return [every[place] for place in places]


def _limits(lowered: Lowered) -> list[tuple[str, float]]:
    """What trees compare a record's own number with, by column, each once."""
    found = lowered.arrays
    places, values = {
        "boost": ("split_inputs", "split_limits"),
        "forest": ("node_inputs", "node_limits"),
    }.get(lowered.kernel, ("term_parts", "fills"))
    made = found["term_parts"] if lowered.kernel == "linear" else found[places]
    limits: set[tuple[str, float]] = set()
    for place, value in zip(made.tolist(), found[values].tolist(), strict=True):
        if lowered.kernel != "linear":
            source, table = found["inputs"][place].tolist()
            if table >= 0:
                continue
            place = source
        kind, column = found["parts"][place, :2].tolist()
        if column >= len(lowered.numbers) or not np.isfinite(value):
            continue
        if kind == arrays.VALUE:
            limits.add((lowered.numbers[column], value))
        elif kind == arrays.HOUR:
            limits.add((lowered.numbers[column], value * 3600))
    if lowered.kernel == "linear":
        for place, ranks in zip(found["term_parts"], found["quantiles"], strict=False):
            kind, column = found["parts"][place, :2].tolist()
            if kind == arrays.VALUE and column < len(lowered.numbers):
                limits |= {(lowered.numbers[column], value) for value in ranks.tolist()}
    return sorted(limits)
