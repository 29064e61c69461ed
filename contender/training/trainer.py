"""From records with outcomes to a trained, calibrated model."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from contender.contracts.sections import METRICS, Kind, Training
from contender.cores import count_cores
from contender.errors import TooFewOutcomes
from contender.evaluation.metrics import sign
from contender.evaluation.ranking_metrics import Floats
from contender.features.row_transformers import OwnFeatures
from contender.training.calibration import Calibrated
from contender.training.folds import Fold, folds_of
from contender.training.search import Task, Trial, search
from contender.values import ModelColumn

_RARE = 0.1
"""The search wants this share of a rare class, and thins the others for it."""


_NAMED = 12


@dataclass(frozen=True)
class TrainedModel:
    """A model, and how it was found.

    `folds` holds every metric of the chosen setting on each fold of the training rows, before
    calibration, with `rows` tested; `trials` all settings that were tried, best first; `classes` are in the order of
    the model's probabilities, empty for regression; `seconds` the time it took.
    """

    model: Any
    candidate: str
    params: Mapping[str, Any]
    folds: tuple[Mapping[str, float], ...]
    trials: tuple[Trial, ...]
    rows: int
    classes: tuple[Any, ...]
    columns: tuple[ModelColumn, ...]
    seconds: float


@dataclass(frozen=True)
class Assignment:
    """What is to be learnt, and how.

    Args:
        candidates: families that may win.
        metric: what decides, one of `contract.METRICS[kind]`.
        own: source text of the use case's `features.py`, if it has one.
        gap: newest rows of each fold's training left out, as outcomes of the last rows before a moment were not
            known at that moment.
        drawn: the rows are in drawn order, and none came before another.
        n_jobs: fits that run at once.
    """

    kind: Kind
    columns: Sequence[ModelColumn]
    candidates: Sequence[str]
    rules: Training
    metric: str
    seed: int
    own: str | None = None
    gap: int = 0
    drawn: bool = False
    n_jobs: int = 2


def train(
    frame: pd.DataFrame, y: NDArray[Any], asked: Assignment, progress: Callable[[str], None] = lambda _: None
) -> TrainedModel:
    """The best candidate with its best setting, fitted on the newest rows that the rules allow.

    The same rows and seed give the same model, whatever the machine does meanwhile: nothing is bounded by time.

    Args:
        frame: shape (rows, columns), oldest record first; a record's features are as known at its time.
        y: shape (rows,), outcomes: two values, some classes, or numbers, by the kind.
        progress: told one line per candidate.

    Raises:
        TooFewOutcomes: too few rows, or outcomes too much alike to learn from.
        ModelError: the use case's own features fail.
    """
    began = time.perf_counter()
    y = np.asarray(y)
    rules, metric, drawn = asked.rules, asked.metric, asked.drawn
    refuse_too_little(y, asked.kind, rules)
    frame, y = frame.iloc[-rules.max_rows :], y[-rules.max_rows :]
    given = tuple(asked.columns)
    hook = OwnFeatures(asked.own).fit(frame[[column.name for column in given]]) if asked.own else None
    task = Task(asked.kind, given, hook, metric, asked.seed, asked.n_jobs)
    frame = frame[[column.name for column in given]]

    chosen = rows_to_search(y, asked.kind, rules.search_rows)
    thinned_gap = round(asked.gap * len(chosen) / len(y))
    cuts = folds_of(y[chosen], rules.folds, gap=thinned_gap, drawn=drawn)
    if not cuts:
        raise TooFewOutcomes(
            f"In {'drawn' if drawn else 'time'} order, none of {rules.folds} folds of {len(chosen):,} records holds "
            "two outcomes that differ; wait for more outcomes, or ask for fewer folds in the contract."
        )
    count_cores()
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        # A search may try settings that lbfgs leaves early; their score says what they are worth.
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Of fewer rows than quantiles there are as many quantiles as rows.
        warnings.filterwarnings("ignore", message="n_quantiles")
        tried = search(
            task,
            asked.candidates,
            frame.iloc[chosen],
            y[chosen],
            cuts=cuts,
            trials=rules.trials,
            progress=progress,
        )
        classes = None if asked.kind == "regression" else np.unique(y)
        whole = len(chosen) == len(y)
        cuts = folds_of(y, rules.folds, gap=asked.gap, drawn=drawn)
        rounds = [_face(task, trial, frame, y, classes, cuts) for trial in finalists(tried, whole, metric)]
        last = max(rounds, key=lambda one: sign(metric) * float(np.mean([fold[metric] for fold in one.folds])))
        best, folds = last.trial, last.folds
        model: Any = task.fit(best.candidate, best.params, frame, y)
        if classes is not None:
            # The newest fold's model has seen almost as much as the final one; those before it were weaker, and what
            # they overstated would shrink the final model's scores. Drawn folds have all seen as much.
            newest = slice(None if drawn else -int(folds[-1]["rows"]), None)
            if set(np.unique(y[last.tested[newest]])) != set(classes):
                newest = slice(None)
            model = Calibrated.on(model, last.predicted[newest], y[last.tested[newest]])
    reached = np.mean([fold[metric] for fold in folds])
    progress(f"{best.candidate} wins: {metric} {reached:.4g} over {len(folds)} folds; fitted on {len(y):,} rows")
    return TrainedModel(
        model=model,
        candidate=best.candidate,
        params=best.params,
        folds=tuple(folds),
        trials=tuple(tried),
        rows=len(y),
        classes=() if classes is None else tuple(classes.tolist()),
        columns=given,
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True)
class _Round:
    """One setting on the folds of all rows: metrics per fold, and predictions for rows its models had not seen."""

    trial: Trial
    folds: list[dict[str, float]]
    tested: NDArray[np.int64]
    predicted: Floats


def _face(
    task: Task,
    trial: Trial,
    frame: pd.DataFrame,
    y: NDArray[Any],
    classes: NDArray[Any] | None,
    cuts: Sequence[Fold],
) -> _Round:
    models = task.fit_all(trial.candidate, trial.params, frame, y, [train_rows for train_rows, _ in cuts])
    tests = [test_rows for _, test_rows in cuts]
    predictions = [task.predict(model, frame.iloc[rows], classes) for model, rows in zip(models, tests, strict=True)]
    measured = [
        {name: task.measure(y[rows], predicted, classes, name) for name in METRICS[task.kind]}
        | {"rows": float(len(rows))}
        for predicted, rows in zip(predictions, tests, strict=True)
    ]
    return _Round(trial, measured, np.concatenate(tests), np.concatenate(predictions))


def finalists(tried: Sequence[Trial], whole: bool, metric: str) -> list[Trial]:
    """The trials to be measured on all rows: the best one, and of each other candidate the best that is in doubt.

    On few rows small models look better than they are on many, so a search that saw only a part decides nothing
    between candidates of which each won a fold.

    Args:
        tried: best first.
        whole: the search saw all rows, and its order stands.
    """
    best, better = tried[0], sign(metric)
    found = [best]
    for trial in () if whole else tried[1:]:
        known = any(trial.candidate == other.candidate for other in found)
        doubtful = any(better * mine >= better * its for mine, its in zip(trial.values, best.values, strict=True))
        close = abs(trial.mean - best.mean) <= best.std
        if not known and (doubtful or close):
            found.append(trial)
    return found


def rows_to_search(y: NDArray[Any], kind: Kind, most: int) -> NDArray[np.int64]:
    """Positions of at most `most` rows for the search, in time order and spread evenly over all of them.

    Spread, because a few months of neighbouring rows share one season and one run of weather, and settings chosen on
    them lost on real flights. A rare class of two fills a tenth, where there are enough: with one positive in a
    hundred, 30,000 rows would hold 300, and the search would choose by luck.
    """
    if len(y) <= most:
        return np.arange(len(y))
    if kind != "binary":
        return _spread(np.arange(len(y)), most)
    classes, counts = np.unique(y, return_counts=True)
    rare = np.flatnonzero(y == classes[counts.argmin()])
    kept = _spread(rare, round(most * max(_RARE, len(rare) / len(y))))
    others = np.flatnonzero(y != classes[counts.argmin()])
    return np.sort(np.concatenate([kept, _spread(others, most - len(kept))]))


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(np.int64)]


@dataclass(frozen=True)
class Learnable:
    """Which rows are learnt from, shape (rows,), and how many outcomes each class has that is left out."""

    rows: NDArray[np.bool_]
    left_out: Mapping[str, int]

    @property
    def sentence(self) -> str:
        """What was left out and why, in one line; empty where nothing was."""
        named = ", ".join(f"{name} ({count:,})" for name, count in list(self.left_out.items())[:_NAMED])
        more = f" and {len(self.left_out) - _NAMED:,} more" if len(self.left_out) > _NAMED else ""
        return f"left out of training, as too few to learn from: {named}{more}" if named else ""


def learnable(y: NDArray[Any], kind: Kind, rules: Training) -> Learnable:
    """All rows but those of a class of several that has fewer outcomes than `rules.fewest_of_a_class`.

    A class that nothing can be learnt about must not keep the others waiting. Of two classes neither can be left out.
    """
    every = np.ones(len(y), dtype=bool)
    if kind != "multiclass":
        return Learnable(every, {})
    values, counts = np.unique(y, return_counts=True)
    few = counts < rules.fewest_of_a_class
    return Learnable(~np.isin(y, values[few]), dict(zip(map(str, values[few]), counts[few].tolist(), strict=True)))


def refuse_too_little(y: NDArray[Any], kind: Kind, rules: Training) -> None:
    """Pass if the outcomes suffice to learn from.

    Raises:
        TooFewOutcomes: fewer rows than `rules.min_rows`, fewer than two classes with `rules.fewest_of_two`, or one
            number only.
    """
    if len(y) < rules.min_rows:
        raise TooFewOutcomes(
            f"Training has {len(y):,} records with outcomes and needs {rules.min_rows:,}; "
            "land more files, or wait for more outcomes."
        )
    values, counts = np.unique(y, return_counts=True)
    if len(values) < 2:
        kind_of = "number" if kind == "regression" else "class"
        raise TooFewOutcomes(
            f"All {len(y):,} outcomes are one {kind_of} ({values[0]}), and training needs at least two; "
            "check the target in the contract, or wait for other outcomes."
        )
    if kind == "regression":
        return
    second = np.argsort(-counts, kind="stable")[1]
    if counts[second] < rules.fewest_of_two:
        raise TooFewOutcomes(
            f"Of {len(y):,} outcomes too few are {values[second]} ({counts[second]:,}); training needs "
            f"{rules.fewest_of_two:,} of at least two classes: wait for more outcomes, or widen or merge the classes "
            "in the contract's target."
        )


def importance(
    model: Any, frame: pd.DataFrame, y: NDArray[Any], metric: str, seed: int, rows: int = 2000
) -> dict[str, float]:
    """How much of the metric is lost when a column is shuffled, by column, most first; in the metric's own units.

    Args:
        frame: shape (rows, columns), a model's input that it was not trained on, ideally.
        rows: newest rows used, at most.

    Source: Breiman (2001), Random Forests, Machine Learning 45(1).
    """
    from sklearn.inspection import permutation_importance

    frame, y = frame.iloc[-rows:], np.asarray(y)[-rows:]
    classes = getattr(model, "classes_", None)
    kind: Kind = "regression" if classes is None else "binary" if len(classes) == 2 else "multiclass"
    better = sign(metric)
    task = Task(kind, (), None, metric, seed, 1)

    def score(fitted: Any, records: pd.DataFrame, truth: NDArray[Any]) -> float:
        return better * task.measure(truth, task.predict(fitted, records, classes), classes)

    shuffled = permutation_importance(model, frame, y, scoring=score, n_repeats=1, random_state=seed)
    lost = zip(map(str, frame.columns), shuffled.importances_mean.tolist(), strict=True)
    return dict(sorted(lost, key=lambda item: -item[1]))


def latency_ms(
    model_predict: Callable[[pd.DataFrame], Any], frame: pd.DataFrame, seed: int, repeats: int = 60
) -> dict[str, float]:
    """Median (`p50`) and 95th percentile (`p95`) of the time to answer for a single record, in milliseconds.

    Args:
        frame: shape (rows, columns), at least one row; records are drawn from it.
    """
    random = np.random.default_rng(seed)
    model_predict(frame.iloc[[0]])
    taken = []
    for place in random.integers(len(frame), size=repeats):
        record = frame.iloc[[place]]
        began = time.perf_counter()
        model_predict(record)
        taken.append((time.perf_counter() - began) * 1000)
    return {"p50": float(np.percentile(taken, 50)), "p95": float(np.percentile(taken, 95))}
