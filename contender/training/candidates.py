"""The candidates: one scikit-learn Pipeline each, from a model's raw input to its prediction."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, QuantileTransformer, StandardScaler, TargetEncoder

from contender.contracts.sections import Kind
from contender.features.row_transformers import CategoryCodes, OwnFeatures, RecordFeatures
from contender.features.word_scores import WordScores
from contender.values import ModelColumn

_TREE_CATEGORIES = 250
"""Histogram gradient boosting takes 255 bins at most; rarer categories share one code."""

_LINEAR_CATEGORIES = 40

_MANY = 60
"""Trees cut codes of so many categories into groups by themselves; of more, a rate each says what they have to."""

_USUAL: Mapping[str, Mapping[str, Any]] = {
    "logistic": {"C": 0.1, "scale": "standard"},
    "ridge": {"alpha": 3.0, "scale": "quantile", "target": "plain"},
    "random_forest": {"n_estimators": 50, "min_samples_leaf": 5, "max_features": 0.35, "target": "plain"},
    "boosting": {
        "learning_rate": 0.06,
        "max_iter": 120,
        "max_leaf_nodes": 16,
        "min_samples_leaf": 30,
        "l2_regularization": 1.0,
        "max_features": 0.35,
        "rates": False,
        "target": "plain",
    },
}

_USUAL_REGRESSION: Mapping[str, Mapping[str, Any]] = {
    "random_forest": {"max_features": 0.7},
    "boosting": {"learning_rate": 0.08, "max_leaf_nodes": 31, "max_features": 0.6},
}
"""Numbers tell more per row than classes do, and bear larger trees."""


def usual(candidate: str, kind: Kind) -> dict[str, Any]:
    """Settings that do well on most tables, by name; the search tries them first."""
    return {**_USUAL[candidate], **(_USUAL_REGRESSION.get(candidate, {}) if kind == "regression" else {})}


class ManyRates(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Average target per category for columns of so many values that their places tell little; no column for others.

    In training each block of rows is encoded by the other blocks, so that no row sees its own outcome.

    Args:
        encoder: what encodes, unfitted.
        more_than: values from which on a column is one of many.
    """

    def __init__(self, encoder: TargetEncoder, more_than: int = _MANY) -> None:
        self.encoder = encoder
        self.more_than = more_than

    def fit(self, X: pd.DataFrame, y: NDArray[Any]) -> Self:
        """Learn the rates from codes, shape (rows, columns), and targets, shape (rows,)."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: pd.DataFrame, y: NDArray[Any]) -> NDArray[np.float64]:
        """Learn the rates, and give those of the training rows, each by the blocks that it is not in."""
        self.columns_ = [str(name) for name in X if X[name].nunique() > self.more_than]
        self.encoder_ = clone(self.encoder)
        if not self.columns_:
            return np.empty((len(X), 0))
        return np.asarray(self.encoder_.fit_transform(X[self.columns_], y), dtype=np.float64)

    def transform(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """The rates, shape (rows, columns of many values), times the classes if there are more than two."""
        if not self.columns_:
            return np.empty((len(X), 0))
        return np.asarray(self.encoder_.transform(X[self.columns_]), dtype=np.float64)


class LogTarget(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Learns log(1 + y) and answers in units of y, for targets that are never below zero.

    scikit-learn's TransformedTargetRegressor stores functions in the model, and a stored model of ours holds none.

    Args:
        regressor: what learns the logarithm.
    """

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, X: Any, y: NDArray[Any]) -> Self:
        """Fit to features, shape (rows, features), and targets, shape (rows,), none below zero."""
        self.regressor_ = clone(self.regressor).fit(X, np.log1p(y))
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Predictions, shape (rows,), in units of the target."""
        return np.asarray(np.expm1(self.regressor_.predict(X)), dtype=np.float64)


def build(
    candidate: str,
    kind: Kind,
    columns: Sequence[ModelColumn],
    own: OwnFeatures | None,
    params: Mapping[str, Any],
    seed: int,
    n_jobs: int = 1,
) -> Pipeline:
    """An unfitted pipeline of one candidate.

    Args:
        candidate: one of `contract.CANDIDATES[kind]`.
        columns: the model's input, in order.
        own: the use case's own features, already fitted on some records so that their names and kinds are known.
        params: settings by name, as in `usual`; those left out take their defaults. For regression `target` is
            "plain", "log" (learns log(1 + y), for y >= 0) or, for boosting, "poisson" (y >= 0).
        n_jobs: threads of a random forest; predictions then differ in their last bits from run to run.
    """
    settings = usual(candidate, kind) | dict(params)
    target, scale, rates = settings.pop("target", "plain"), settings.pop("scale", ""), settings.pop("rates", False)
    every = (*columns, *(own.columns if own else ()))
    categories = [column.name for column in every if column.kind == "category"]
    worded = [column.name for column in every if column.kind == "words"]
    regression = kind == "regression"

    encoders: list[tuple[str, Any, list[str]]]
    model: BaseEstimator
    if candidate in ("logistic", "ridge"):
        model = Ridge(**settings, random_state=seed) if regression else LogisticRegression(**settings, tol=1e-3)
        one_hot = OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=_LINEAR_CATEGORIES, min_frequency=10
        )
        centred = Pipeline([("rates", _rates(kind)), ("scale", StandardScaler())])
        encoders, rest = [("one_hot", one_hot, categories), ("rates", centred, categories)], _numbers(scale, seed)
    elif candidate == "random_forest":
        forest = RandomForestRegressor if regression else RandomForestClassifier
        model = forest(**settings, random_state=seed, n_jobs=n_jobs)
        encoders, rest = [("rates", _rates(kind), categories)], "passthrough"
    else:
        boosting = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        loss = {"loss": "poisson"} if target == "poisson" else {}
        first = list(range(len(categories))) or None  # the codes come first out of the ColumnTransformer
        model = boosting(**settings, **loss, early_stopping=False, categorical_features=first, random_state=seed)
        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=_TREE_CATEGORIES
        )
        encoders, rest = [("codes", codes, categories)], "passthrough"
        if rates:
            encoders.append(("rates", _rates(kind), categories))
        else:
            encoders.append(("many", ManyRates(_rates(kind)), categories))

    encoders = [one for one in encoders if one[2]]
    if worded:
        encoders.append(("words", WordScores(regression), worded))
    if target == "log":
        model = LogTarget(model)
    return Pipeline(
        [
            *([("own", clone(own))] if own else []),
            ("features", RecordFeatures({c.name: c.kind for c in every}, candidate in ("logistic", "ridge"))),
            *([("places", CategoryCodes(categories))] if categories else []),
            ("columns", ColumnTransformer(encoders, remainder=rest)),
            ("model", model),
        ]
    )


def _rates(kind: Kind) -> TargetEncoder:
    """Average target per category, each block of rows encoded by the other blocks, so that no row sees its own."""
    # By what is there: of several classes a fold may hold two.
    return TargetEncoder(target_type="continuous" if kind == "regression" else "auto", cv=KFold(5))


def _numbers(scale: str, seed: int) -> Pipeline:
    """Numbers for a linear model; their ranks on a bell curve tame skewed amounts and outliers."""
    scaler = (
        QuantileTransformer(n_quantiles=200, output_distribution="normal", subsample=20_000, random_state=seed)
        if scale == "quantile"
        else StandardScaler()
    )
    return Pipeline(
        [
            ("impute", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)),
            ("scale", scaler),
        ]
    )
