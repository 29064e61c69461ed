"""What texts say of the outcome: one score per text column, learnt from hashed words and pairs of words."""

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

_PLACES = 2**15
_LONGEST = 1_000
"""Characters of a text that are read."""
_MOST_ROWS = 20_000
"""Rows, spread over all of them, that the words are learnt from."""
_LEAST_SHARE = 0.005
"""Share of the outcome's variance that scores must explain on unseen rows, or the column gives none."""
_FOLDS = 5


class WordScores(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Scores of text columns by a ridge regression on hashed words: one per class, or one in all for two or a number.

    In training each block of rows is scored by a model of the other blocks, so that no row sees its own outcome. A
    column whose words say nothing on unseen rows gives no score.

    Args:
        regression: the outcomes are numbers, not classes.
    """

    def __init__(self, regression: bool) -> None:
        self.regression = regression

    def fit(self, X: pd.DataFrame, y: NDArray[Any]) -> Self:
        """Learn the weights from texts, shape (rows, columns), missing ones empty, and outcomes, shape (rows,)."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: pd.DataFrame, y: NDArray[Any]) -> NDArray[np.float64]:
        """Learn the weights, and give the scores of the training rows, each by a model that had not seen it."""
        aims = self._aims(np.asarray(y))
        learnt = np.linspace(0, len(X) - 1, min(len(X), _MOST_ROWS)).round().astype(np.int64)
        self.weights_: dict[str, NDArray[np.float32]] = {}
        self.levels_: dict[str, NDArray[np.float64]] = {}
        found = [np.empty((len(X), 0))]
        for name in map(str, X):
            words = _hashed(X[name])
            some, aim = words[learnt], aims[learnt]
            unseen = np.empty_like(aim)
            for others, block in KFold(min(_FOLDS, len(learnt))).split(learnt):
                unseen[block] = _ridge(some[others], aim[others]).predict(some[block]).reshape(len(block), -1)
            if np.square(aim - unseen).sum() > (1 - _LEAST_SHARE) * np.square(aim - aim.mean(axis=0)).sum():
                continue
            model = _ridge(some, aim)
            self.weights_[name] = np.asarray(model.coef_, dtype=np.float32).reshape(aim.shape[1], -1)
            self.levels_[name] = np.asarray(model.intercept_, dtype=np.float64).reshape(-1)
            scores = self._scores(name, words)
            scores[learnt] = unseen
            found.append(scores)
        return np.hstack(found)

    def transform(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """The scores, shape (rows, columns that say something, times the classes if there are more than two)."""
        return np.hstack([np.empty((len(X), 0)), *[self._scores(name, _hashed(X[name])) for name in self.weights_]])

    def _scores(self, name: str, words: Any) -> NDArray[np.float64]:
        return np.asarray(words @ self.weights_[name].T + self.levels_[name], dtype=np.float64)

    def _aims(self, y: NDArray[Any]) -> NDArray[np.float64]:
        if self.regression:
            return np.asarray((y - np.mean(y)) / (float(np.std(y)) or 1.0), dtype=np.float64)[:, None]
        classes = np.unique(y)
        asked = classes[1:] if len(classes) == 2 else classes
        return np.asarray(y[:, None] == asked, dtype=np.float64)


def _hashed(texts: pd.Series) -> Any:
    vectorizer = HashingVectorizer(
        n_features=_PLACES, ngram_range=(1, 2), token_pattern=r"\w+", alternate_sign=False, dtype=np.float32
    )
    return vectorizer.transform([text[:_LONGEST] for text in texts])


def _ridge(words: Any, aims: NDArray[np.float64]) -> Ridge:
    return Ridge(alpha=1.0, solver="sparse_cg", tol=1e-3).fit(words, aims)
