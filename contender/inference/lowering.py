"""From a fitted pipeline to plain arrays, or the reason why there are none.

What encoders answer is not computed anew but asked of them: each column of categories has finitely many codes, so each
encoder is given all of them once, and its answers are the table. Trees and weights are copied.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer, StandardScaler

from contender.features.row_transformers import CategoryCodes, RecordFeatures
from contender.features.word_scores import WordScores
from contender.inference import arrays
from contender.inference.arrays import Lowered, dtype_of
from contender.inference.kernels import leaf_place
from contender.training.calibration import Calibrated
from contender.training.candidates import LogTarget
from contender.values import ModelColumn

_PARTS = {
    "hour": arrays.HOUR,
    "weekday": arrays.WEEKDAY,
    "weekend": arrays.WEEKEND,
    "day_of_year": arrays.DAY_OF_YEAR,
    "month": arrays.MONTH,
    "year": arrays.YEAR,
}
_CIRCLES = {"hour": (24, 3), "weekday": (7, 2), "day_of_year": (366, 2)}
_MOST_CODES = 255
"""Categories of one input of boosted trees, one of them for what is missing: their codes are bytes."""
_ALL = 2**64 - 1


class NotLowered(Exception):
    """A step has no lowering; the message says which and why."""


def lower(model: Any, columns: Sequence[ModelColumn]) -> Lowered:
    """A fitted model of `candidates.build`, with its calibration or without, as plain arrays.

    Args:
        columns: what the model is given, in order.

    Raises:
        NotLowered: it has a step that cannot be; names it.
    """
    slopes, intercepts = np.empty(0), np.empty(0)
    classes = getattr(model, "classes_", None)
    if type(model) is Calibrated:
        slopes, intercepts = np.array(model.slopes, float), np.array(model.intercepts, float)
        model = model.model
    steps = dict(getattr(model, "steps", ()))
    if type(model) is not Pipeline or "own" in steps:
        raise NotLowered(
            "The use case's features.py is a program of its own and runs as it is."
            if "own" in steps
            else f"{type(model).__name__} is not a pipeline of ours."
        )
    if set(steps) - {"places"} != {"features", "columns", "model"}:
        raise NotLowered(f"Its steps are {', '.join(steps)}, of which some are not known.")
    last, logarithm = steps["model"], False
    if type(last) is LogTarget:
        last, logarithm = last.regressor_, True
    made = _Made.of(_of(steps["features"], RecordFeatures), steps.get("places"), columns)
    inputs = _inputs(_of(steps["columns"], ColumnTransformer), made)
    family = _FAMILIES.get(type(last))
    if family is None:
        raise NotLowered(f"{type(last).__name__} has no lowering.")
    kernel, link, found = family(last, inputs, made)
    found = {**found, **made.arrays, "slopes": slopes, "intercepts": intercepts}
    return Lowered(
        kernel=kernel,
        columns=tuple(columns),
        classes=None if classes is None else tuple(np.asarray(classes).tolist()),
        categories={name: made.categories[name] for name in made.coded},
        words=tuple(made.words),
        link=link,
        logarithm=logarithm,
        arrays={name: _as_stored(name, array) for name, array in found.items()},
    )


def _as_stored(name: str, array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=dtype_of(name))


def _of(step: Any, kind: type) -> Any:
    if type(step) is not kind:
        raise NotLowered(f"{type(step).__name__} stands where {kind.__name__} is known.")
    return step


@dataclass
class _Made:
    """What `RecordFeatures` and `CategoryCodes` make of a record: numbers by name, and codes by column."""

    parts: dict[str, list[int]]
    coded: list[str]
    categories: dict[str, tuple[str, ...]]
    words: list[str]
    numbers: int
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, features: RecordFeatures, places: Any, columns: Sequence[ModelColumn]) -> "_Made":
        kinds = {column.name: column.kind for column in columns}
        if dict(features.kinds) != kinds:
            raise NotLowered("The pipeline's columns are not those of the model's signature.")
        numbers = [name for name, kind in kinds.items() if kind in ("number", "time")]
        at = {name: place for place, name in enumerate(numbers)}
        parts: dict[str, list[int]] = {}
        for name in numbers:
            if kinds[name] == "number":
                parts[name] = [arrays.VALUE, at[name], 0, arrays.AS_IS, 0, 0]
            else:
                parts |= _calendar(features, name, at[name])
        for one, other in features.spans_:
            name = features._unlike_a_column(f"{one} - {other}")
            parts[name] = [arrays.SPAN, at[one], at[other], arrays.AS_IS, 0, 0]
        seen = _of(places, CategoryCodes).seen_ if places is not None else {}
        coded = [name for name, kind in kinds.items() if kind == "category"]
        if set(coded) != set(seen):
            raise NotLowered("CategoryCodes knows other columns than the pipeline has.")
        return cls(
            {name: part for name, part in parts.items() if name not in features.empty_},
            coded,
            {name: tuple(map(str, seen[name])) for name in coded},
            [name for name, kind in kinds.items() if kind == "words"],
            len(numbers),
            {"word_weights": np.empty((0, 0)), "word_levels": np.empty(0), "word_counts": np.empty(0)},
        )

    @property
    def table(self) -> NDArray[np.int64]:
        return np.array(list(self.parts.values()), dtype=np.int64).reshape(-1, 6)

    def place(self, name: str) -> int:
        return list(self.parts).index(name)

    def frame(self, column: str, others: Sequence[str]) -> pd.DataFrame:
        """All codes of one column, from the unseen on; those of others unseen."""
        codes = np.arange(-1, len(self.categories[column]))
        return pd.DataFrame({name: codes if name == column else np.full(len(codes), -1) for name in others})


def _calendar(features: RecordFeatures, name: str, at: int) -> dict[str, list[int]]:
    parts = ["hour", "weekday", "weekend"]
    if name in features.yearly_:
        parts += ["day_of_year", "month", "year"]
    found = {}
    for part in parts:
        if not (features.cyclic and part in (*_CIRCLES, "month")):
            found[part] = [_PARTS[part], at, 0, arrays.AS_IS, 0, 0]
    for part, (period, harmonics) in _CIRCLES.items():
        for k in range(1, harmonics + 1) if features.cyclic and part in parts else ():
            found[f"{part}_sin{k}"] = [_PARTS[part], at, 0, arrays.SINE, k, period]
            found[f"{part}_cos{k}"] = [_PARTS[part], at, 0, arrays.COSINE, k, period]
    return {features._unlike_a_column(f"{name}.{part}"): what for part, what in found.items()}


@dataclass(frozen=True)
class _Input:
    """One column of what the last estimator is given: a made number by its name, or a table over a column's codes."""

    number: str | None = None
    column: str | None = None
    table: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False)
    scaling: Any = None


def _inputs(step: ColumnTransformer, made: _Made) -> list[_Input]:
    """The last estimator's columns, in order; those that are imputed and scaled come as one for all."""
    found: list[_Input] = []
    given = list(step.feature_names_in_)
    for name, transformer, chosen in step.transformers_:
        names = [given[one] if isinstance(one, (int, np.integer)) else str(one) for one in chosen]
        if not names or transformer == "drop":
            continue
        if set(names) <= set(made.coded):
            found += _tables(name, transformer, names, made)
        elif set(names) <= set(made.words):
            found += _word_scores(_of(transformer, WordScores), made)
        elif set(names) <= set(made.parts):
            passes = transformer == "passthrough" or (
                type(transformer) is FunctionTransformer and transformer.func is None
            )
            found += [_Input(one) for one in names] if passes else [_Input(one, scaling=transformer) for one in names]
        else:
            raise NotLowered(f"The encoder '{name}' takes columns of several kinds.")
    return found


def _tables(name: str, transformer: Any, names: Sequence[str], made: _Made) -> list[_Input]:
    """What an encoder answers to every code of every column, one table for each column that it gives."""
    told = []
    for column in names:
        answers = transformer.transform(made.frame(column, names))
        told.append(np.asarray(answers.toarray() if hasattr(answers, "toarray") else answers, dtype=np.float64))
    found = []
    for output in range(told[0].shape[1]):
        moved = [k for k, answers in enumerate(told) if len(np.unique(answers[:, output])) > 1]
        if len(moved) > 1:
            raise NotLowered(f"The encoder '{name}' makes one feature of several columns.")
        of = moved[0] if moved else 0
        found.append(_Input(column=names[of], table=told[of][:, output]))
    return found


def _word_scores(scores: WordScores, made: _Made) -> list[_Input]:
    """The scores as numbers that follow the record's own: words are hashed outside of the kernels, as in training."""
    weights, levels, counts, found = [], [], [], []
    if set(scores.weights_) - set(made.words):
        raise NotLowered("WordScores knows columns that the pipeline has not.")
    if list(scores.weights_) != [name for name in made.words if name in scores.weights_]:
        raise NotLowered("WordScores has its columns in another order.")
    for name in made.words:
        own = scores.weights_.get(name, np.empty((0, 0), np.float32))
        counts.append(len(own))
        for k in range(len(own)):
            weights.append(own[k])
            levels.append(scores.levels_[name][k])
            part = f"{name}#{k}#words"
            made.parts[part] = [arrays.VALUE, made.numbers + len(levels) - 1, 0, arrays.AS_IS, 0, 0]
            found.append(_Input(part))
    made.arrays |= {
        "word_weights": np.array(weights, dtype=np.float32).reshape(len(weights), -1 if weights else 0),
        "word_levels": np.array(levels),
        "word_counts": np.array(counts),
    }
    return found


def _inputs_array(inputs: Sequence[_Input], made: _Made) -> dict[str, NDArray[Any]]:
    """Where a tree's inputs come from, for the arrays."""
    rows: list[list[int]] = []
    starts: list[int] = []
    values, filled = [np.empty(0)], 0
    for one in inputs:
        if one.scaling is not None:
            raise NotLowered(f"{type(one.scaling).__name__} before trees has no lowering.")
        if one.number is not None:
            rows.append([made.place(one.number), -1])
            continue
        rows.append([made.coded.index(str(one.column)), len(starts)])
        starts.append(filled)
        values.append(one.table)
        filled += len(one.table)
    return {
        "parts": made.table,
        "inputs": np.array(rows).reshape(-1, 2),
        "table_starts": np.array(starts),
        "table_values": np.concatenate(values),
    }


def _boosting(model: Any, inputs: list[_Input], made: _Made) -> tuple[str, int, dict[str, NDArray[Any]]]:
    categorical = np.zeros(len(inputs), dtype=bool) if model.is_categorical_ is None else model.is_categorical_
    first = int(categorical.sum())
    if not categorical[:first].all():
        raise NotLowered("Boosting has categorical features that do not come first.")
    known, place_of = model._bin_mapper.make_known_categories_bitsets()
    codes = [_codes(model, inputs, k) for k in range(first)]
    numeric = _inputs_array(inputs[first:], made)
    trees = [tree for iteration in model._predictors for tree in iteration]
    split_starts, set_starts = [0], [0]
    splits: list[tuple[int, bool, float, int]] = []
    sets: list[tuple[int, int]] = []
    masks: list[int] = []
    leaves = np.zeros((len(trees), arrays.LEAVES))
    for number, tree in enumerate(trees):
        nodes = tree.nodes
        if int(nodes["is_leaf"].sum()) > arrays.LEAVES:
            raise NotLowered(f"A boosted tree has {int(nodes['is_leaf'].sum())} leaves; {arrays.LEAVES} are known.")
        mine: list[tuple[int, bool, float, int]] = []
        tables: dict[int, list[int]] = {}
        for node, left in _splits(nodes, leaves[number]):
            feature, stays = int(node["feature_idx"]), _ALL & ~left
            if not node["is_categorical"]:
                if feature < first:
                    raise NotLowered("Boosting compares a categorical feature with a limit.")
                mine.append((feature - first, bool(node["missing_go_to_left"]), float(node["num_threshold"]), stays))
                continue
            bits = tree.raw_left_cat_bitsets[node["bitset_idx"]]
            table = tables.setdefault(feature, [_ALL] * (codes[feature].most + 1))
            for code in range(codes[feature].most + 1):
                there = code < codes[feature].most
                if there and _has(bits, code):
                    continue
                # To the left set or to the right one; else as what is missing.
                if (there and _has(known[place_of[feature]], code)) or not node["missing_go_to_left"]:
                    table[code] &= stays
        splits += sorted(mine)
        split_starts.append(len(splits))
        for feature, table in sorted(tables.items()):
            sets.append((feature, len(masks)))
            masks += table
        set_starts.append(len(sets))
    link = {
        "HalfSquaredError": arrays.IDENTITY,
        "HalfPoissonLoss": arrays.EXPONENTIAL,
        "HalfBinomialLoss": arrays.LOGISTIC,
        "HalfMultinomialLoss": arrays.SOFTMAX,
    }.get(type(model._loss).__name__)
    if link is None:
        raise NotLowered(f"The loss {type(model._loss).__name__} has no lowering.")
    lengths = [len(one.places) for one in codes]
    return (
        "boost",
        link,
        {
            **numeric,
            "split_starts": np.array(split_starts),
            "split_inputs": np.array([one[0] for one in splits]),
            "split_left": np.array([one[1] for one in splits]),
            "split_limits": np.array([one[2] for one in splits]),
            "split_masks": np.array([one[3] for one in splits], dtype=np.uint64),
            "set_starts": np.array(set_starts),
            "set_columns": np.array([made.coded.index(str(inputs[k].column)) for k in range(first)]),
            "set_tables": np.array(sets).reshape(-1, 2),
            "set_masks": np.array(masks, dtype=np.uint64),
            "place_starts": np.cumsum([0, *lengths])[:-1],
            "places": np.concatenate([np.empty(0), *[one.places for one in codes]]),
            "leaf_values": leaves,
            "base": np.ravel(model._baseline_prediction),
        },
    )


@dataclass(frozen=True)
class _Codes:
    """What boosting's own encoder makes of a column's codes: places, the last one (`most`) for what is missing."""

    places: NDArray[np.int64]
    most: int


def _codes(model: Any, inputs: Sequence[_Input], k: int) -> _Codes:
    one = inputs[k]
    if one.column is None or one.scaling is not None:
        raise NotLowered("Boosting has a categorical feature that is no category.")
    rows = np.zeros((len(one.table), len(inputs)))
    rows[:, k] = one.table
    inner = np.asarray(model._preprocessor.transform(rows), dtype=np.float64)[:, k]
    missing = np.isnan(inner) | (inner < 0)
    most = int(inner[~missing].max(initial=-1)) + 1
    if most > _MOST_CODES - 1 or (inner[~missing] % 1 != 0).any():
        raise NotLowered(f"A feature of boosting has {most} categories; {_MOST_CODES - 1} are known.")
    return _Codes(np.where(missing, most, np.where(missing, 0, inner)).astype(np.int64), most)


def _has(bitset: NDArray[Any], code: int) -> bool:
    return bool((int(bitset[code >> 5]) >> (code & 31)) & 1)


def _splits(nodes: NDArray[Any], values: NDArray[np.float64]) -> list[tuple[Any, int]]:
    """Each inner node with the bits of the leaves on its left; the leaves' values go into `values`."""
    found: list[tuple[Any, int]] = []
    leaves = 0

    def visit(place: int) -> int:
        nonlocal leaves
        node = nodes[place]
        if node["is_leaf"]:
            bit = 1 << leaves
            values[leaf_place(leaves)] = node["value"]
            leaves += 1
            return bit
        left = visit(int(node["left"]))
        found.append((node, left))
        return left | visit(int(node["right"]))

    visit(0)
    return found


def _forest(model: Any, inputs: list[_Input], made: _Made) -> tuple[str, int, dict[str, NDArray[Any]]]:
    starts, leaf_values = [0], []
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ("inputs", "limits", "left", "missing", "leaf")}
    leaves = 0
    for estimator in model.estimators_:
        tree = estimator.tree_
        if tree.value.shape[1] != 1:
            raise NotLowered("A forest of several targets has no lowering.")
        order, place = _by_level(tree.children_left, tree.children_right)
        leaf = tree.children_left[order] < 0
        here = np.arange(len(order))
        columns["inputs"].append(np.where(leaf, 0, tree.feature[order]))
        columns["limits"].append(np.where(leaf, np.inf, tree.threshold[order]))
        columns["left"].append(np.where(leaf, here, place[tree.children_left[order]]) + starts[-1])
        columns["missing"].append(~leaf & (tree.missing_go_to_left[order] == 0))
        columns["leaf"].append(np.where(leaf, np.cumsum(leaf) - 1 + leaves, 0))
        leaf_values.append(tree.value[order][leaf][:, 0, :])
        leaves += int(leaf.sum())
        starts.append(starts[-1] + len(order))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return (
        "forest",
        arrays.IDENTITY,
        {
            **_inputs_array(inputs, made),
            "tree_starts": np.array(starts),
            "node_inputs": joined["inputs"],
            "node_limits": joined["limits"],
            "node_left": joined["left"],
            "node_missing_right": joined["missing"],
            "node_leaf": joined["leaf"],
            "leaf_values": np.concatenate(leaf_values),
        },
    )


def _by_level(left: NDArray[Any], right: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nodes level by level, so that a right child follows its left one; and where each node then stands."""
    order, level = [0], [0]
    while level:
        level = [child for node in level if left[node] >= 0 for child in (left[node], right[node])]
        order += level
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return np.array(order), place


def _linear(model: Any, inputs: list[_Input], made: _Made) -> tuple[str, int, dict[str, NDArray[Any]]]:
    weights = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64)).T
    base = np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64))
    outputs = len(base)
    tables = {name: np.zeros((len(made.categories[name]) + 1, outputs)) for name in made.coded}
    terms: list[_Term] = []
    gaps: list[tuple[int, NDArray[np.float64]]] = []
    at = 0  # of the weights: an imputer gives more columns than it takes
    waiting = list(inputs)
    while waiting:
        one, used = waiting.pop(0), 1
        if one.column is not None:
            tables[one.column] += one.table[:, None] * weights[at]
        elif one.scaling is None:
            terms.append(_Term(made.place(str(one.number)), 0.0, 0.0, 1.0, weights[at]))
        else:
            numbers = [one, *(other for other in waiting if other.scaling is one.scaling)]
            waiting = waiting[len(numbers) - 1 :]
            places = [made.place(str(other.number)) for other in numbers]
            found, switches, used = _scaled(one.scaling, places, weights[at:])
            terms = [*found, *terms]
            gaps += switches
        at += used
    if at != len(weights):
        raise NotLowered(f"The linear model has {len(weights)} weights for {at} features.")
    ranked = [term for term in terms if term.quantiles is not None]
    if terms[: len(ranked)] != ranked:
        raise NotLowered("Ranked numbers do not come first.")
    references = ranked[0].references if ranked else np.empty(0)
    link = arrays.IDENTITY if isinstance(model, Ridge) else arrays.LOGISTIC if outputs == 1 else arrays.SOFTMAX
    lengths = [len(table) for table in tables.values()]
    return (
        "linear",
        link,
        {
            "parts": made.table,
            "term_parts": np.array([term.part for term in terms]),
            "fills": np.array([term.fill for term in terms]),
            "centres": np.array([term.centre for term in terms]),
            "widths": np.array([term.width for term in terms]),
            "quantiles": np.array([term.quantiles for term in ranked]).reshape(len(ranked), len(references)),
            "references": references,
            "weights": np.array([term.weights for term in terms]).reshape(-1, outputs),
            "gap_parts": np.array([part for part, _ in gaps]),
            "gap_weights": np.array([weight for _, weight in gaps]).reshape(-1, 2, outputs),
            "table_starts": np.cumsum([0, *lengths])[:-1],
            "table_weights": np.concatenate([np.empty((0, outputs)), *tables.values()]),
            "base": base,
        },
    )


@dataclass(frozen=True, eq=False)
class _Term:
    part: int
    fill: float
    centre: float
    width: float
    weights: NDArray[np.float64]
    quantiles: NDArray[np.float64] | None = None
    references: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


def _scaled(
    step: Any, parts: Sequence[int], weights: NDArray[np.float64]
) -> tuple[list[_Term], list[tuple[int, NDArray[np.float64]]], int]:
    """Terms of the numbers, what their indicators of missing ones add, and how many weights both take."""
    steps = [one for _, one in _of(step, Pipeline).steps]
    if len(steps) != 2 or type(steps[0]) is not SimpleImputer:
        raise NotLowered("Numbers of a linear model are not imputed and scaled as is known.")
    imputer, scaler = steps
    count = len(parts)
    nothing = pd.DataFrame(np.full((1, count), np.nan), columns=getattr(imputer, "feature_names_in_", None))
    fills = np.asarray(imputer.transform(nothing), dtype=np.float64)[0, :count]
    flagged = [] if imputer.indicator_ is None else [int(one) for one in imputer.indicator_.features_]
    used = count + len(flagged)
    # Each indicator is 0 or 1; the scaler itself says what becomes of both.
    states = np.zeros((2, used))
    states[1, count:] = 1
    states = np.asarray(scaler.transform(states), dtype=np.float64)
    gaps = [(parts[of], states[:, count + k, None] * weights[count + k]) for k, of in enumerate(flagged)]
    if type(scaler) is StandardScaler:
        centres, widths = np.asarray(scaler.mean_), np.asarray(scaler.scale_)
        return (
            [_Term(parts[k], fills[k], centres[k], widths[k], weights[k]) for k in range(count)],
            gaps,
            used,
        )
    if type(scaler) is not QuantileTransformer or scaler.output_distribution != "normal":
        raise NotLowered(f"{type(scaler).__name__} has no lowering.")
    ranks = np.asarray(scaler.references_, dtype=np.float64)
    return (
        [
            _Term(parts[k], fills[k], 0.0, 1.0, weights[k], np.asarray(scaler.quantiles_[:, k]), ranks)
            for k in range(count)
        ],
        gaps,
        used,
    )


_Family = Callable[[Any, list[_Input], _Made], tuple[str, int, dict[str, NDArray[Any]]]]

_FAMILIES: Mapping[type, _Family] = {
    HistGradientBoostingClassifier: _boosting,
    HistGradientBoostingRegressor: _boosting,
    RandomForestClassifier: _forest,
    RandomForestRegressor: _forest,
    LogisticRegression: _linear,
    Ridge: _linear,
}
