"""The search for the best candidate: bounded, seeded, judged on folds that each trial shares."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import pandas as pd
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from contender.contracts.sections import Kind
from contender.evaluation import metrics
from contender.evaluation.metrics import sign
from contender.evaluation.ranking_metrics import Floats
from contender.features.row_transformers import OwnFeatures
from contender.training.candidates import build, usual
from contender.training.folds import Fold
from contender.values import ModelColumn

_TREE_ROWS = 10_000
"""Rows per tree of a forest: more make it slow and large, and hardly better."""


@dataclass(frozen=True)
class Task:
    """What is to be learnt, and how it is measured. `n_jobs` fits run at once; their number changes no result."""

    kind: Kind
    columns: tuple[ModelColumn, ...]
    own: OwnFeatures | None
    metric: str
    seed: int
    n_jobs: int

    def fit(self, candidate: str, params: Mapping[str, Any], frame: pd.DataFrame, y: NDArray[Any]) -> Pipeline:
        """One candidate, fitted on all rows given."""
        pipeline = build(candidate, self.kind, self.columns, self.own, params, self.seed)
        if candidate == "random_forest":
            set_inner(pipeline, max_samples=min(1.0, _TREE_ROWS / len(y)))
        # One thread per fit: OpenMP's threads wait for each other by spinning, and on a busy machine (Spark is there
        # too) that takes twenty times as long as one thread alone.
        with threadpool_limits(1, user_api="openmp"):
            pipeline.fit(frame, y)
        return pipeline

    def fit_all(
        self,
        candidate: str,
        params: Mapping[str, Any],
        frame: pd.DataFrame,
        y: NDArray[Any],
        parts: Sequence[NDArray[np.int64]],
    ) -> list[Pipeline]:
        """One fitted pipeline for each of `parts`, positions of training rows; the largest is begun first."""
        largest = sorted(range(len(parts)), key=lambda k: -len(parts[k]))
        fitted = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self.fit)(candidate, params, frame.iloc[parts[k]], y[parts[k]]) for k in largest
        )
        return [fitted[largest.index(k)] for k in range(len(parts))]

    def predict(self, model: Any, frame: pd.DataFrame, classes: NDArray[Any] | None) -> Floats:
        """Predictions, shape (rows,), or probabilities, shape (rows, classes), of `classes` in their order."""
        if classes is None:
            return np.asarray(model.predict(frame), dtype=np.float64)
        found = model.predict_proba(frame)
        if len(model.classes_) == len(classes):
            return np.asarray(found, dtype=np.float64)
        wide = np.zeros((len(frame), len(classes)))
        wide[:, np.searchsorted(classes, model.classes_)] = found
        return wide

    def measure(
        self, y: NDArray[Any], predicted: Floats, classes: NDArray[Any] | None, metric: str | None = None
    ) -> float:
        """A metric of what `predict` gave, as the judge measures it; of two classes the likelier one is said.

        Args:
            y: shape (rows,), what came true.
            metric: without it, the one that decides.
        """
        if classes is not None:
            y = np.searchsorted(classes, y)
        scores = predicted[:, 1] if self.kind == "binary" else predicted
        return metrics.measure(self.kind, metric or self.metric, y, scores, 0.5)


def set_inner(pipeline: Pipeline, **params: Any) -> None:
    """Set parameters of the last estimator, be it wrapped for its target or not, before it is fitted."""
    model = pipeline.named_steps["model"]
    for inner in (getattr(model, "regressor", None), model):
        if inner is not None and set(params) <= set(inner.get_params(deep=False)):
            inner.set_params(**params)


@dataclass(frozen=True)
class Trial:
    """One setting of one candidate: mean and standard deviation of the metric over the folds."""

    candidate: str
    params: Mapping[str, Any]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        return float(np.std(self.values))


def search(
    task: Task,
    candidates: Sequence[str],
    frame: pd.DataFrame,
    y: NDArray[Any],
    *,
    cuts: Sequence[Fold],
    trials: int,
    progress: Callable[[str], None],
) -> list[Trial]:
    """Every trial, best first. Each candidate's usual setting comes first; one that is behind on every fold then
    gets half of the trials.

    Args:
        frame: shape (rows, columns), oldest first.
        y: shape (rows,).
        cuts: what is trained on and what is tested, at least one.
        trials: settings per candidate, at most.
    """
    classes = None if task.kind == "regression" else np.unique(y)
    better = sign(task.metric)

    def score(candidate: str, params: Mapping[str, Any]) -> Trial:
        values = []
        models = task.fit_all(candidate, params, frame, y, [train for train, _ in cuts])
        for model, (_, test) in zip(models, cuts, strict=True):
            predicted = task.predict(model, frame.iloc[test], classes)
            values.append(task.measure(y[test], predicted, classes))
        return Trial(candidate, dict(params), tuple(values))

    logging.getLogger("optuna").setLevel(logging.WARNING)
    positive = task.kind == "regression" and bool((y >= 0).all()) and float(y.sum()) > 0
    done = {}
    for candidate in candidates:
        done[candidate] = [score(candidate, usual(candidate, task.kind))]
        progress(f"{candidate}: {task.metric} {done[candidate][0].mean:.4g} with its usual setting")
    first = max((tried[0] for tried in done.values()), key=lambda trial: better * trial.mean)
    for candidate, tried in done.items():
        behind = all(better * mine < better * best for mine, best in zip(tried[0].values, first.values, strict=True))
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=task.seed), direction="maximize" if better > 0 else "minimize"
        )
        for _ in range((trials + 1) // 2 - 1 if behind else trials - 1):
            trial = study.ask()
            tried.append(score(candidate, suggest(trial, candidate, positive)))
            study.tell(trial, tried[-1].mean)
    return sorted((trial for tried in done.values() for trial in tried), key=lambda trial: -better * trial.mean)


def suggest(trial: optuna.Trial, candidate: str, positive: bool) -> dict[str, Any]:
    """A setting from a candidate's space; `positive` says that the target is a number never below zero."""
    if candidate in ("logistic", "ridge"):
        strength = (
            {"C": trial.suggest_float("C", 0.003, 10, log=True)}
            if candidate == "logistic"
            else {
                "alpha": trial.suggest_float("alpha", 0.1, 1000, log=True),
                "target": trial.suggest_categorical("target", ["plain", "log"] if positive else ["plain"]),
            }
        )
        return strength | {"scale": trial.suggest_categorical("scale", ["quantile", "standard"])}
    if candidate == "random_forest":
        return {
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 2, 30, log=True),
            "max_features": trial.suggest_float("max_features", 0.2, 0.9),
            "target": trial.suggest_categorical("target", ["plain", "log"] if positive else ["plain"]),
        }
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.03, 0.12, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 8, 48, log=True),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 10, 100, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 0.1, 30, log=True),
        "max_features": trial.suggest_float("max_features", 0.2, 0.8),
        "rates": trial.suggest_categorical("rates", [False, True]),
        "target": trial.suggest_categorical("target", ["plain", "log", "poisson"] if positive else ["plain"]),
    }
