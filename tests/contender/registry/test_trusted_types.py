"""A stored model is loaded only when all that it names is on our own list."""

import os

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from contender.contracts.sections import CANDIDATES
from contender.errors import UntrustedModel
from contender.features.row_transformers import OwnFeatures
from contender.registry import trusted_types
from contender.training.calibration import Calibrated
from contender.training.candidates import build
from contender.values import ModelColumn

COLUMNS = (
    ModelColumn("at", "time"),
    ModelColumn("size", "number"),
    ModelColumn("shop", "category"),
    ModelColumn("note", "words"),
)
HOOK = "def features(records):\n    return records[['size']].assign(double=records['size'] * 2)[['double']]\n"


def records(rows: int = 400) -> pd.DataFrame:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "at": np.linspace(1.6e9, 1.65e9, rows),
            "size": random.lognormal(2, 1, rows),
            "shop": random.choice(["a", "b", "c"], rows),
        }
    )
    notes = np.where(frame["size"] > 8, "a large one", "one that is small")
    return frame.assign(note=notes).mask(random.random((rows, 4)) < 0.05).astype({"shop": object, "note": object})


@pytest.mark.parametrize(
    ("kind", "candidate", "params"),
    [
        *((kind, candidate, {}) for kind, candidates in CANDIDATES.items() for candidate in candidates),
        ("binary", "logistic", {"scale": "quantile"}),
        ("binary", "boosting", {"rates": True}),
        ("regression", "ridge", {"target": "log"}),
        ("regression", "random_forest", {"target": "log"}),
        ("regression", "boosting", {"target": "poisson"}),
    ],
)
def test_every_candidate_comes_back_with_the_same_predictions(tmp_path, kind, candidate, params):
    frame = records()
    number = np.nan_to_num(frame["size"].to_numpy()).round()
    y = {"binary": number > 8, "multiclass": np.array(["s", "m", "l"])[(number % 3).astype(int)], "regression": number}
    params = params | ({"n_estimators": 5} if candidate == "random_forest" else {})
    params |= {"max_iter": 5} if candidate == "boosting" else {}
    own = OwnFeatures(HOOK).fit(frame)
    model = build(candidate, kind, COLUMNS, own, params, seed=1).fit(frame, y[kind])
    if kind != "regression":
        model = Calibrated.on(model, model.predict_proba(frame), y[kind])

    path = tmp_path / "model.skops"
    path.write_bytes(trusted_types.dumps(model))
    again = trusted_types.load(path)

    assert (again.predict(frame) == model.predict(frame)).all()
    if kind != "regression":
        assert (again.predict_proba(frame) == model.predict_proba(frame)).all()


@pytest.mark.parametrize(
    ("model", "foreign"),
    [
        pytest.param(FunctionTransformer(os.system), "posix.system", id="a function that runs commands"),
        pytest.param(FunctionTransformer(np.save), "numpy.save", id="a function of a known package"),
        pytest.param(FunctionTransformer(np.log1p), "numpy.log1p", id="a function that skops itself trusts"),
        pytest.param(Pipeline([("a", StandardScaler()), ("b", LinearSVC())]), "LinearSVC", id="an estimator not ours"),
    ],
)
def test_a_model_with_a_foreign_type_is_refused_by_its_name(tmp_path, model, foreign):
    path = tmp_path / "model.skops"
    path.write_bytes(skops.io.dumps(model))

    with pytest.raises(UntrustedModel, match=foreign):
        trusted_types.load(path)
    with pytest.raises(UntrustedModel, match=foreign):
        trusted_types.dumps(model)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.skops"
    path.write_bytes(b"not a zip")
    with pytest.raises(UntrustedModel, match="skops format"):
        trusted_types.load(path)
