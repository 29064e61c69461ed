"""Features of one record alone, computed inside the pipeline, so that the registered model carries them."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from contender.errors import ModelError
from contender.values import ModelColumn

_FEW = 100
"""Values that Python is done with before pandas has found out what they are."""

_DAY_SECONDS = 86_400.0
_YEAR_SECONDS = 366 * _DAY_SECONDS
_MOST_TIMES = 6
"""Of more times not each pair is a feature."""


class OwnFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Adds the columns that a use case's own `features.py` computes from the records.

    The source text itself is the parameter: it travels with the model, so that a rollback brings the old features
    back. It is executed when first needed, once per process, so a model's files must be known by their digest before
    they are used.

    Args:
        source: Python text that defines `features(records: pd.DataFrame) -> pd.DataFrame`: one row per record, new
            columns only. Numbers and booleans become numbers, strings become categories.

    Raises:
        ModelError: the text, or what its function returns, is not as promised.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn names and kinds of the new columns from records, shape (rows, columns)."""
        found = self._call(X)
        self.kinds_ = {str(name): _kind_of(name, found[name]) for name in found}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """The records with the new columns after their own; names and kinds are those seen at fit."""
        found = self._call(X)
        if list(map(str, found)) != list(self.kinds_):
            raise ModelError(
                f"The hook features.py returned the columns {_listed(found)}; the model was trained with "
                f"{_listed(self.kinds_)}: return the same columns, in the same order, whatever the records hold."
            )
        added = {name: _as_kind(name, found[name], kind) for name, kind in self.kinds_.items()}
        return pd.concat([X, pd.DataFrame(added).set_axis(X.index)], axis=1)

    @property
    def columns(self) -> tuple[ModelColumn, ...]:
        """The new columns, once fitted."""
        return tuple(ModelColumn(name, kind) for name, kind in self.kinds_.items())

    def _call(self, records: pd.DataFrame) -> pd.DataFrame:
        try:
            found = _features_of(self.source)(records.copy())
        except ModelError:
            raise
        except Exception as error:  # the hook is the user's code: whatever it raises is its own broken promise
            raise ModelError(f"The hook features.py failed with {type(error).__name__}: {error}; mend it.") from error
        if not isinstance(found, pd.DataFrame) or len(found) != len(records):
            size = f"{len(found):,} rows" if isinstance(found, pd.DataFrame) else f"a {type(found).__name__}"
            raise ModelError(
                f"The hook features.py returned {size} for {len(records):,} records; "
                "it must return a pandas DataFrame with one row per record."
            )
        if not found.columns.is_unique or any(name in records for name in found):
            raise ModelError(
                f"The hook features.py returned the columns {_listed(found)}, of which some are there already; "
                "it must return new columns only, each once."
            )
        return found


@lru_cache(maxsize=16)
def _features_of(source: str) -> Callable[[pd.DataFrame], Any]:
    namespace: dict[str, Any] = {"__name__": "features"}
    try:
        exec(compile(source, "features.py", "exec"), namespace)
    except Exception as error:
        raise ModelError(f"The hook features.py cannot be run ({type(error).__name__}: {error}); mend it.") from error
    function = namespace.get("features")
    if not callable(function):
        raise ModelError("The hook features.py defines no 'features(records)'; define it, or remove the file.")
    return function  # type: ignore[no-any-return]


def _kind_of(name: Any, column: pd.Series) -> Any:
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return "number"
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_object_dtype(column):
        return "category"
    if pd.api.types.is_string_dtype(column):
        return "category"
    raise ModelError(
        f"The hook features.py returned '{name}' as {column.dtype}; it must return numbers, booleans or strings."
    )


def _as_kind(name: str, column: pd.Series, kind: str) -> np.ndarray[Any, Any]:
    if kind == "category":
        return _as_strings(column)
    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        raise ModelError(
            f"The hook features.py returned '{name}' as {column.dtype}; the model was trained with numbers there."
        ) from None


def _as_strings(column: pd.Series) -> np.ndarray[Any, Any]:
    """Strings, missing as the empty one: encoders then treat it as a category of its own."""
    values = column.to_numpy(dtype=object)
    if len(values) > _FEW and pd.api.types.infer_dtype(values) in ("string", "empty"):
        places, found = pd.factorize(values)
        # Strings of NumPy's own type too, which no stored model may hold; the place of a missing one is -1.
        return np.array([*map(str, found), ""], dtype=object)[places]
    return np.array(["" if pd.isna(value) else str(value) for value in values], dtype=object)


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


class RecordFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns a model's input into numbers and categories that scikit-learn's encoders take.

    Numbers pass, infinite ones as missing; categories and texts whose words are learnt from become strings, missing
    ones empty; other texts are dropped; a time becomes its calendar parts in UTC, and any two times the days between
    them, such as an age. Year, month and day of year are used only where the training times span a year: on less, each
    is seen once and only says which rows are the newest.

    Args:
        kinds: kind of every column by name, as in `ModelColumn`.
        cyclic: give hour, weekday and day of year as points on a circle, for linear models.
    """

    def __init__(self, kinds: dict[str, str], cyclic: bool = False) -> None:
        self.kinds = kinds
        self.cyclic = cyclic

    spans_: Sequence[tuple[str, str]] = ()
    """Pairs of times; a model that was stored before there were any has none."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn which times span a year and which features hold nothing, from records of shape (rows, columns)."""
        self.yearly_ = []
        times = [name for name, kind in self.kinds.items() if kind == "time"]
        for name in times:
            seconds = X[name].to_numpy(dtype=np.float64)
            seconds = seconds[np.isfinite(seconds)]
            if len(seconds) and float(np.ptp(seconds)) >= _YEAR_SECONDS:
                self.yearly_.append(name)
        self.spans_ = list(combinations(times[:_MOST_TIMES], 2))
        # Histogram gradient boosting cannot bin a feature without a single value, and there is nothing in it to learn.
        self.empty_: list[str] = []
        self.empty_ = [name for name, values in self._numbers(X).items() if np.isnan(values).all()]
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Features, shape (rows, features): float64, and strings for the categories."""
        categories = {name: _as_strings(X[name]) for name, kind in self.kinds.items() if kind in ("category", "words")}
        return pd.DataFrame(categories | self._numbers(X), index=X.index)

    def _numbers(self, X: pd.DataFrame) -> dict[str, np.ndarray[Any, Any]]:
        features: dict[str, np.ndarray[Any, Any]] = {}
        for name, kind in self.kinds.items():
            if kind in ("number", "time"):
                values = X[name].to_numpy(dtype=np.float64)
                values = np.where(np.isfinite(values), values, np.nan)
                features |= self._calendar(name, values) if kind == "time" else {name: values}
        for one, other in self.spans_:
            seconds = X[one].to_numpy(dtype=np.float64) - X[other].to_numpy(dtype=np.float64)
            days = np.where(np.isfinite(seconds), seconds / _DAY_SECONDS, np.nan)
            features[self._unlike_a_column(f"{one} - {other}")] = days
        return {name: values for name, values in features.items() if name not in self.empty_}

    def _calendar(self, name: str, seconds: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
        hour = np.mod(seconds, _DAY_SECONDS) / 3600
        weekday = np.mod(np.floor(seconds / _DAY_SECONDS) + 3, 7)  # 1 January 1970 was a Thursday; Monday is 0
        weekend = np.where(np.isnan(weekday), np.nan, weekday >= 5)
        parts = {"hour": hour, "weekday": weekday, "weekend": weekend}
        circles = {"hour": (24, 3), "weekday": (7, 2)}
        if name in self.yearly_:
            missing = np.isnan(seconds)
            day = np.where(missing, 0, seconds).astype("datetime64[s]").astype("datetime64[D]")
            month, year = day.astype("datetime64[M]"), day.astype("datetime64[Y]")
            yearly = {
                "day_of_year": (day - year).astype(np.float64) + 1,
                "month": (month - year.astype("datetime64[M]")).astype(np.float64) + 1,
                "year": year.astype(np.float64) + 1970,
            }
            parts |= {part: np.where(missing, np.nan, values) for part, values in yearly.items()}
            circles["day_of_year"] = (366, 2)
        if self.cyclic:
            for part, (period, harmonics) in circles.items():
                angle = 2 * np.pi * parts.pop(part) / period
                for k in range(1, harmonics + 1):
                    parts |= {f"{part}_sin{k}": np.sin(k * angle), f"{part}_cos{k}": np.cos(k * angle)}
            parts.pop("month", None)
        return {self._unlike_a_column(f"{name}.{part}"): values for part, values in parts.items()}

    def _unlike_a_column(self, name: str) -> str:
        """A feature's name that no column has, of whatever names users think."""
        while name in self.kinds:
            name += "'"
        return name


class CategoryCodes(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns strings into their places among those seen in training, in alphabetic order; others become -1.

    scikit-learn's encoders count and compare strings one by one in Python, and numbers in C. What they learn of the
    places is what they would learn of the strings.

    Args:
        columns: the names of the columns that hold strings.
    """

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns

    def fit(self, X: pd.DataFrame, y: Any = None) -> Self:
        """Learn the strings of each column, from features of shape (rows, features)."""
        self.seen_ = {name: np.array(sorted(set(X[name])), dtype=object) for name in self.columns}
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """The features, shape (rows, features), with int64 codes in place of strings."""
        codes = {name: pd.Index(self.seen_[name], dtype=object).get_indexer(pd.Index(X[name])) for name in self.columns}
        return X.assign(**codes)
