"""Which types a stored model may hold: an allow-list of ours, by exact name.

skops trusts every scikit-learn estimator by itself, and MLflow reads its list from the very files it loads. Here a
model is loaded only when every type and function that its file names stands in `ALLOWED`. Own features are source
text inside the model, which no list of types can judge: check the digest of the files first.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile, ZipFile

import skops.io

from contender.errors import UntrustedModel

ALLOWED: frozenset[str] = frozenset(
    {
        "builtins.bool",
        "builtins.dict",
        "builtins.float",
        "builtins.int",
        "builtins.list",
        "builtins.slice",
        "builtins.str",
        "builtins.tuple",
        "contender.calibration.Calibrated",
        "contender.estimator.LogTarget",
        "contender.record_features.OwnFeatures",
        "contender.record_features.RecordFeatures",
        "functools.partial",
        "sklearn.utils.validation.check_array",
        "numpy.dtype",
        "numpy.float64",
        "numpy.int64",
        "numpy.ndarray",
        "numpy.uint64",
        "numpy.random._generator.Generator",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfMultinomialLoss",
        "sklearn._loss._loss.CyHalfPoissonLoss",
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss.link.IdentityLink",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogLink",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.link.MultinomialLogit",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn._loss.loss.HalfMultinomialLoss",
        "sklearn._loss.loss.HalfPoissonLoss",
        "sklearn._loss.loss.HalfSquaredError",
        "sklearn.compose._column_transformer.ColumnTransformer",
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._forest.RandomForestRegressor",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.impute._base.MissingIndicator",
        "sklearn.impute._base.SimpleImputer",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.linear_model._ridge.Ridge",
        "sklearn.model_selection._split.KFold",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._data.QuantileTransformer",
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing._encoders.OneHotEncoder",
        "sklearn.preprocessing._encoders.OrdinalEncoder",
        "sklearn.preprocessing._function_transformer.FunctionTransformer",
        "sklearn.preprocessing._label.LabelEncoder",
        "sklearn.preprocessing._target_encoder.TargetEncoder",
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.DecisionTreeRegressor",
        "sklearn.tree._tree.Tree",
    }
)
"""Every name that a model of `estimator.build` needs, with its calibration, and no other.

Histogram gradient boosting keeps its own preprocessor in the model: a FunctionTransformer around
`partial(check_array)`. That one function is all that such a wrapper may hold here.
"""


def dumps(model: Any) -> bytes:
    """The model as bytes in the skops format.

    Raises:
        UntrustedModel: it holds a type that `load` would refuse.
    """
    data = cast(bytes, skops.io.dumps(model))
    _refuse(untrusted_types(data), "The model")
    return data


def load(path: Path) -> Any:
    """The model in a skops file.

    Raises:
        UntrustedModel: the file names a type or a function outside `ALLOWED`, or is not a skops file.
    """
    data = path.read_bytes()
    _refuse(untrusted_types(data, named=str(path)), str(path))
    return skops.io.loads(data, trusted=sorted(ALLOWED))


def untrusted_types(source: Path | bytes, named: str = "") -> list[str]:
    """Names outside `ALLOWED` in a skops file or its bytes, sorted; nothing is imported or built.

    Raises:
        UntrustedModel: not a skops file.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    named = named or (str(source) if isinstance(source, Path) else "The model")
    try:
        with ZipFile(io.BytesIO(data)) as file:
            schema = json.loads(file.read("schema.json"))
    except (BadZipFile, KeyError, ValueError):
        raise UntrustedModel(f"{named} is not a model in the skops format; log it again with 'retrain'.") from None
    return sorted(set(_names_in(schema)) - ALLOWED)


def _names_in(node: Any) -> Iterator[str]:
    """Every type and function that a part of the schema names."""
    if isinstance(node, dict):
        if "__class__" in node or "__module__" in node:
            yield f"{node.get('__module__')}.{node.get('__class__')}"
        for child in node.values():
            yield from _names_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from _names_in(child)


def _refuse(foreign: list[str], named: str) -> None:
    if foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        raise UntrustedModel(
            f"{named} holds {', '.join(foreign[:5])}{more}, which no model of ours needs; "
            "it is not loaded: retrain, or roll back to a version that is approved."
        )
