"""Fitted pipelines of every kind on small made rows, and the rows."""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from contender.features.row_transformers import OwnFeatures
from contender.training.calibration import Calibrated
from contender.training.candidates import build
from contender.training.search import set_inner
from contender.values import ModelColumn

COLUMNS = (
    ModelColumn("amount", "number"),
    ModelColumn("shop", "category"),
    ModelColumn("count", "number"),
    ModelColumn("at", "time"),
    ModelColumn("born", "time"),
    ModelColumn("kind of thing", "category"),
    ModelColumn("flat", "number"),
)
WORDED = (*COLUMNS, ModelColumn("note", "words"))
ROWS = 1_200

HOOK = "def features(records):\n    return records[['amount']].rename(columns={'amount': 'twice'}) * 2\n"


@dataclass(frozen=True)
class Case:
    candidate: str
    kind: str
    params: tuple[tuple[str, Any], ...] = ()
    words: bool = False
    calibrated: bool = True

    def __str__(self) -> str:
        told = [f"{name}={value}" for name, value in self.params]
        return " ".join([self.candidate, self.kind, *told, *(["words"] if self.words else [])])


CASES = (
    Case("logistic", "binary"),
    Case("logistic", "binary", (("scale", "quantile"),), words=True),
    Case("random_forest", "binary"),
    Case("boosting", "binary"),
    Case("boosting", "binary", (("rates", True),), calibrated=False),
    Case("logistic", "multiclass", (("scale", "quantile"),)),
    Case("random_forest", "multiclass"),
    Case("boosting", "multiclass", (("rates", True),), words=True),
    Case("ridge", "regression"),
    Case("ridge", "regression", (("target", "log"), ("scale", "standard"))),
    Case("random_forest", "regression", (("target", "log"),)),
    Case("boosting", "regression", (("target", "poisson"), ("max_leaf_nodes", 48))),
    Case("boosting", "regression", (("target", "log"),)),
)


def rows(count: int, seed: int = 0) -> pd.DataFrame:
    """A model's input: numbers, times over two years, categories of few and of many texts, some of each missing."""
    random = np.random.default_rng(seed)
    at = random.uniform(1.50e9, 1.57e9, count).round(3)
    found = pd.DataFrame(
        {
            "amount": random.lognormal(size=count).round(2),
            "shop": random.choice([f"shop {k}" for k in range(90)], count).astype(object),
            "count": random.integers(0, 9, count).astype(np.float64),
            "at": at,
            "born": at - random.uniform(1e8, 2e9, count),
            "kind of thing": random.choice(["a", "b", "", "ü"], count).astype(object),
            "flat": random.normal(size=count),
            "note": random.choice(["good cheap thing", "bad dear thing", "odd", "none at all"], count).astype(object),
        }
    )
    for name in ("amount", "count", "born"):
        found.loc[random.random(count) < 0.1, name] = np.nan
    for name in ("shop", "kind of thing", "note"):
        found.loc[random.random(count) < 0.1, name] = None
    return found


@lru_cache
def fitted(case: Case) -> Any:
    """The model of a case, small."""
    frame, columns = rows(ROWS), WORDED if case.words else COLUMNS
    outcomes = outcomes_of(case.kind, frame)
    params = dict(case.params)
    if case.candidate == "boosting":
        params = {"max_iter": 20, **params}
    model = build(case.candidate, case.kind, columns, None, params, 0)  # type: ignore[arg-type]
    if case.candidate == "random_forest":
        set_inner(model, n_estimators=8)
    frame = frame[[column.name for column in columns]]
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(frame, outcomes)
    if case.kind == "regression" or not case.calibrated:
        return model
    return Calibrated.on(model, model.predict_proba(frame), outcomes)


@lru_cache
def fitted_with_hook() -> Any:
    frame = rows(ROWS)[[column.name for column in COLUMNS]]
    own = OwnFeatures(HOOK).fit(frame)
    model = build("logistic", "binary", COLUMNS, own, {}, 0)
    return model.fit(frame, outcomes_of("binary", frame))


def outcomes_of(kind: str, frame: pd.DataFrame) -> Any:
    random = np.random.default_rng(1)
    moved = frame["kind of thing"].isin(["a", "ü"]) + (frame["shop"].str.len() > 6).fillna(False)
    hidden = frame["amount"].fillna(2.0) + frame["flat"] + moved + random.normal(size=len(frame))
    if kind == "binary":
        return (hidden > hidden.median()).to_numpy().astype(np.int64)
    if kind == "multiclass":
        return pd.cut(hidden, [-99, 1.5, 3, 99], labels=["x", "y", "z"]).astype(str).to_numpy()
    return np.exp(hidden / 2).to_numpy()


def columns_of(case: Case) -> tuple[ModelColumn, ...]:
    return WORDED if case.words else COLUMNS


def answer_of(model: Any, frame: pd.DataFrame) -> Any:
    """What scikit-learn answers."""
    with threadpool_limits(1), np.errstate(all="ignore"):
        return np.asarray(getattr(model, "predict_proba", model.predict)(frame))
