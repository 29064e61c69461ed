"""Which types a stored model may hold: an allow-list of ours, by exact name, and by which part of skops builds them.

skops trusts every scikit-learn estimator by itself, and MLflow reads its list from the very files it loads. Here a
model is loaded only when every type and function that its file names stands in `ALLOWED`, under the loader that makes
it there. Own features are source text inside the model, which no list of types can judge: loading does not run it,
predicting does, so a model is used only when its digest comes from the ledger or from our own training.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import skops.io

from contender.errors import OtherRelease, UntrustedModel
from contender.registry.skops_file import read_schema, walk

_PROTOCOL = 2
"""Of skops' format; it reads older ones with other code, in which names stand elsewhere."""

_BUILT_BY: Mapping[str, frozenset[str]] = {
    "DTypeNode": frozenset({"numpy.dtype"}),
    "DictNode": frozenset({"builtins.dict"}),
    "FunctionNode": frozenset({"sklearn.utils.validation.check_array"}),
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": frozenset(
        {
            "sklearn._loss._loss.CyHalfBinomialLoss",
            "sklearn._loss._loss.CyHalfMultinomialLoss",
            "sklearn._loss._loss.CyHalfPoissonLoss",
            "sklearn._loss._loss.CyHalfSquaredError",
        }
    ),
    "NdArrayNode": frozenset({"numpy.float64", "numpy.int64", "numpy.ndarray", "numpy.uint64"}),
    "ObjectNode": frozenset(
        {
            "contender.training.calibration.Calibrated",
            "contender.training.candidates.LogTarget",
            "contender.training.candidates.ManyRates",
            "contender.features.row_transformers.CategoryCodes",
            "contender.features.row_transformers.OwnFeatures",
            "contender.features.row_transformers.RecordFeatures",
            "contender.features.word_scores.WordScores",
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
        }
    ),
    "PartialNode": frozenset({"functools.partial"}),
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "TreeNode": frozenset({"sklearn.tree._tree.Tree"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": frozenset({"builtins.bool", "builtins.float", "builtins.int", "builtins.str", "numpy.float64"}),
}
"""Every name that a model of `estimator.build` needs, with its calibration, and no other.

skops has further loaders, which call a constructor, a method or an operator that the file names. Histogram gradient
boosting keeps its own preprocessor in the model: a FunctionTransformer around `partial(check_array)`. That one
function is all that such a wrapper may hold here.
"""

ALLOWED: frozenset[str] = frozenset().union(*_BUILT_BY.values())

_MODELS = {"contender.training.calibration.Calibrated", "sklearn.pipeline.Pipeline"}

_OLD = re.compile(r"contender\.(calibration\.Calibrated|estimator\.LogTarget|record_features\.\w+)$", re.ASCII)
"""Where those types were that stand in models of before."""


def dumps(model: Any) -> bytes:
    """The model as bytes in the skops format.

    Raises:
        UntrustedModel: it holds a type that `load` would refuse.
    """
    data = cast(bytes, skops.io.dumps(model))
    check(data, "The model")
    return data


def load(path: Path) -> Any:
    """The model in a skops file.

    Raises:
        UntrustedModel: as `check`.
    """
    return loads(path.read_bytes(), str(path))


def loads(data: bytes, name: str) -> Any:
    """The model in the bytes of a skops file.

    Args:
        name: how an error calls the model.

    Raises:
        UntrustedModel: as `check`.
    """
    check(data, name)
    try:
        return skops.io.loads(data, trusted=sorted(ALLOWED))
    except Exception as error:  # skops and numpy raise whatever the file makes them raise
        raise UntrustedModel(
            f"{name} cannot be put together from its file ({type(error).__name__}: {str(error)[:160]}); retrain, or "
            "roll back to a version that is approved."
        ) from error


def check(data: bytes, name: str) -> None:
    """Return only if the bytes are a model of ours; nothing is imported or built.

    Raises:
        UntrustedModel: the file names a type or a function outside `ALLOWED`, or is not a skops file as we write it.
    """
    schema = read_schema(data, name)
    _refuse(sorted(set(_foreign(schema))), name)
    top = f"{schema.get('__module__')}.{schema.get('__class__')}"
    if top not in _MODELS:
        _refuse([f"{top} in place of a model"], name)
    if (protocol := schema.get("protocol")) != _PROTOCOL or not isinstance(protocol, int):
        _refuse([f"protocol {protocol} of skops in place of {_PROTOCOL}"], name)


def _foreign(schema: Any) -> Iterator[str]:
    """What a schema names that no model of ours needs."""
    for node in walk(schema):
        loader, module, made = (node.get(key) for key in ("__loader__", "__module__", "__class__"))
        if loader is None and module is None and made is None:
            continue
        if f"{module}.{made}" not in _BUILT_BY.get(str(loader), ()):
            yield f"{module}.{made}" + (f" by {loader}" if f"{module}.{made}" in ALLOWED else "")


def _refuse(foreign: list[str], name: str) -> None:
    if old := [one for one in foreign if _OLD.match(one)]:
        raise OtherRelease.of(name, old[0], f"{old[0].rpartition('.')[2]} in the module where it is now")
    if foreign:
        more = f" and {len(foreign) - 5} more" if len(foreign) > 5 else ""
        raise UntrustedModel(
            f"{name} holds {', '.join(foreign[:5])}{more}, which no model of ours needs; "
            "it is not loaded: retrain, or roll back to a version that is approved."
        )
