"""The registry, with a real MLflow on SQLite: what is logged comes back, and only what was approved is opened."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score, log_loss, r2_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from contender.contracts.contract import Contract
from contender.contracts.sections import Kind
from contender.errors import ModelError, TooFewOutcomes, Unavailable, UntrustedModel, UsageError
from contender.evaluation.metrics import MLFLOW_NAMES, metrics
from contender.features.training_keys import hashes_of
from contender.registry import mlflow_evaluation, model_files, model_versions, tracking
from contender.scoring import batch_scoring
from contender.settings import Settings
from contender.values import ModelVersion, TableVersion

ROWS = 400

# MLflow warns of its own type hints on import; it hides that from people, but not from "warnings are errors".
pytestmark = pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")


class Foreign(ClassifierMixin, BaseEstimator):
    """A type that nobody put on the list."""

    def __init__(self) -> None:
        self.classes_ = np.array([0, 1])

    def predict_proba(self, frame: Any) -> Any:
        return np.tile([0.5, 0.5], (len(frame), 1))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


def contract(name: str, kind: Kind, **thresholds: dict[str, float]) -> Contract:
    deciding = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}[kind]
    columns = {"a": {"type": "number"}, "b": {"type": "number"}, "c": {"type": "category"}}
    return Contract.model_validate(
        {
            "name": name,
            "question": "Which one?",
            "kind": kind,
            "records": {"files": "*.csv", "landing": "landing", "columns": columns},
            "outcome": {"target": "y", "known_after": "1 day", "columns": {"y": {"type": "number"}}},
            "judging": {"metric": deciding, "newest": "20 %", "min_gain": 0.01, "thresholds": thresholds},
            "scoring": {"warning": 0.5, "critical": 0.8},
            "folder": Path("nowhere"),
        }
    )


def rows(kind: Kind) -> tuple[pd.DataFrame, Any]:
    random = np.random.default_rng(7)
    frame = pd.DataFrame({"a": random.normal(size=ROWS), "b": random.normal(size=ROWS)})
    frame["c"] = random.choice(["x", "y"], ROWS)
    signal = (frame.a + (frame.c == "x") + 0.3 * random.normal(size=ROWS)).to_numpy()
    if kind == "regression":
        return frame, signal
    frame.loc[::9, "c"], frame.loc[::7, "b"] = None, np.nan
    if kind == "binary":
        return frame, (signal > 0.7).astype(np.int64)
    return frame, np.array(["low", "mid", "top"])[np.digitize(signal, [0, 1])]


def fitted(kind: Kind, weak: bool = False) -> Pipeline:
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = ColumnTransformer([("n", "passthrough", ["b"] if weak else ["a", "b"]), ("c", encode, ["c"])])
    last = Ridge() if kind == "regression" else HistGradientBoostingClassifier(max_iter=15)
    return make_pipeline(prepare, last).fit(*rows(kind))


def log(settings: Settings, of: Contract, model: Any) -> ModelVersion:
    frame, y = rows(of.kind)
    return tracking.log_challenger(
        settings,
        of,
        tracking.FittedModel(
            model,
            "boosting",
            {"max_iter": 15},
            [{"roc_auc": 0.7}, {"roc_auc": 0.8}],
            {"search_roc_auc": 0.75},
            {"a": 0.5, "b": -0.1},
            seed=5,
        ),
        tracking.LearntRows(
            datetime.fromisoformat("2026-04-01"),
            frame.head(3),
            frame.assign(y=y).head(50),
            hashes_of(["p-1", "p-2"]),
            [
                (TableVersion(of.name, "records", 0), "/lake/records"),
                (TableVersion(of.name, "outcomes", 7), "/lake/outcomes"),
            ],
        ),
        git_revision="abc123",
        tags={"trigger": "test"},
    )


@pytest.fixture(scope="module")
def first(settings: Settings) -> ModelVersion:
    return log(settings, contract("payments", "binary"), fitted("binary"))


@pytest.fixture(scope="module")
def second(settings: Settings, first: ModelVersion) -> ModelVersion:
    return log(settings, contract("payments", "binary"), fitted("binary", weak=True))


def stored(settings: Settings, version: ModelVersion) -> Path:
    return settings.home / "artifacts" / version.name / "models" / version.model_id / "artifacts"


def test_a_challenger_is_registered_with_all_that_tells_how_it_came_about(
    settings: Settings, first: ModelVersion
) -> None:
    assert (first.name, first.version, first.family) == ("payments", 1, "boosting")
    assert model_versions.find(settings, "payments", 1) == first
    with model_versions.connected(settings) as client:
        run = client.get_run(first.run_id)
        tags = client.get_model_version("payments", "1").tags
        folds = client.get_metric_history(first.run_id, "fold_roc_auc")
        drawn = {file.path for file in client.list_artifacts(first.run_id)}
    assert run.info.run_name == "boosting 2026-04-01"
    assert run.data.params == {"max_iter": "15", "family": "boosting", "seed": "5"}
    assert run.data.tags["mlflow.source.git.commit"] == "abc123"
    assert [(fold.step, fold.value) for fold in folds] == [(0, 0.7), (1, 0.8)]
    assert {used.dataset.name for used in run.inputs.dataset_inputs} == {
        "payments.records@v0",
        "payments.outcomes@v7",
        "payments.training-sample",
    }
    assert {"importance.png", "importance.json"} <= drawn
    assert tags["validation_status"] == "pending"
    assert (tags["digest"], tags["model_id"], tags["trigger"]) == (first.digest, first.model_id, "test")


def test_nothing_is_pickled_and_nothing_lands_in_the_working_directory(
    settings: Settings, first: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model_versions.load(settings, first, first.digest)
    assert not list(tmp_path.iterdir())
    files = {path.name for path in stored(settings, first).iterdir()}
    assert "model.skops" in files
    assert not any(name.endswith((".pkl", ".pickle")) for name in files)
    assert "scikit-learn==" in (stored(settings, first) / "requirements.txt").read_text()


def test_a_loaded_model_answers_as_the_one_that_was_logged(settings: Settings, first: ModelVersion) -> None:
    frame, _ = rows("binary")
    loaded = model_versions.load(settings, first, first.digest)
    expected = fitted("binary").predict_proba(frame)
    np.testing.assert_allclose(loaded.pyfunc.predict(frame), expected)
    np.testing.assert_allclose(loaded.model.predict_proba(frame), expected)
    assert loaded.version == first
    shipped = model_files.load_folder(loaded.folder, first.digest)
    np.testing.assert_allclose(shipped.pyfunc.predict(frame), expected)


def test_a_spark_worker_keeps_no_copy_of_the_model_on_disk(
    settings: Settings, first: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(batch_scoring, "_ready", {})
    frame, _ = rows("binary")
    loaded = batch_scoring._scorer(batch_scoring.pack(stored(settings, first)), first.digest)
    assert not list(tmp_path.iterdir())
    np.testing.assert_allclose(loaded.answer(frame), fitted("binary").predict_proba(frame))
    with pytest.raises(ModelError, match="was trained with 'a', which the contract does not have any more"):
        loaded.answer(frame.drop(columns="a"))


WITHOUT_GIT = """
from contender.registry import model_versions
from contender.settings import Settings

with model_versions.connected(Settings()):
    from mlflow.tracking.context.registry import resolve_tags

    assert "mlflow.source.name" in resolve_tags()
"""


@pytest.mark.slow
def test_where_there_is_no_git_a_run_starts_without_a_word(tmp_path: Path) -> None:
    told = {name: value for name, value in os.environ.items() if name != "GIT_PYTHON_REFRESH"}
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_GIT],
        env=told | {"PATH": str(tmp_path), "CONTENDER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_mlflow_itself_gives_the_same_answers(settings: Settings, first: ModelVersion) -> None:
    frame, _ = rows("binary")
    with model_versions.connected(settings):
        plain = mlflow.pyfunc.load_model(first.uri)
    np.testing.assert_allclose(plain.predict(frame), fitted("binary").predict_proba(frame))


def test_the_signature_is_enforced(settings: Settings, first: ModelVersion) -> None:
    frame, _ = rows("binary")
    loaded = model_versions.load(settings, first, first.digest)
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs"):
        loaded.pyfunc.predict(frame.drop(columns="a"))
    with pytest.raises(mlflow.exceptions.MlflowException, match="convert column a"):
        loaded.pyfunc.predict(frame.assign(a="many"))


def test_a_column_that_is_missing_in_every_row_is_still_scored(settings: Settings, first: ModelVersion) -> None:
    frame, _ = rows("binary")
    loaded = model_versions.load(settings, first, first.digest)
    assert loaded.pyfunc.predict(frame.head(2).assign(b=np.nan, c=None)).shape == (2, 2)


def test_the_digest_knows_names_and_contents_and_no_times(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "model").write_bytes(b"abc")
        time.sleep(0.01)
    digest = model_files.digest_of(tmp_path / "one")
    assert digest == model_files.digest_of(tmp_path / "two")
    (tmp_path / "two" / "registered_model_meta").write_text("written by MLflow on download, never read")
    assert digest == model_files.digest_of(tmp_path / "two")
    (tmp_path / "two" / "sub" / "model").rename(tmp_path / "two" / "sub" / "other")
    assert digest != model_files.digest_of(tmp_path / "two")
    (tmp_path / "one" / "link").symlink_to(tmp_path / "two")
    with pytest.raises(UntrustedModel, match="link"):
        model_files.digest_of(tmp_path / "one")


@pytest.mark.parametrize("file", ["model.skops", "MLmodel", "input_example.json", "added.py"])
def test_files_exchanged_after_approval_are_refused(
    settings: Settings, first: ModelVersion, file: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    shutil.copytree(stored(settings, first), kept)
    target = stored(settings, first) / file
    try:
        target.write_bytes((target.read_bytes() if target.exists() else b"") + b"\n")
        with pytest.raises(UntrustedModel, match=rf"payments version 1 .*needed is {first.digest[:12]}"):
            model_versions.load(settings, first, first.digest)
    finally:
        shutil.rmtree(stored(settings, first))
        shutil.copytree(kept, stored(settings, first))
    assert model_versions.load(settings, first, first.digest).version == first


def test_another_digest_than_the_approved_one_is_refused(settings: Settings, first: ModelVersion) -> None:
    with pytest.raises(UntrustedModel, match="not the approved one"):
        model_versions.load(settings, first, "0" * 64)


def test_a_type_that_is_not_on_the_list_is_neither_logged_nor_loaded(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not list"):
        log(settings, contract("strangers", "binary"), Foreign())
    assert model_versions.aliases(settings, "strangers") == {}
    skops.io.dump(Foreign(), tmp_path / "model.skops")
    with pytest.raises(UntrustedModel):
        model_files.load_folder(tmp_path, model_files.digest_of(tmp_path))


def test_no_champion_yet_is_an_answer(settings: Settings, first: ModelVersion) -> None:
    assert model_versions.aliases(settings, "nobody") == {}
    assert model_versions.aliases(settings, "payments") == {}
    with pytest.raises(UsageError, match="no version 99"):
        model_versions.find(settings, "payments", 99)


def test_aliases_follow_and_may_be_set_twice(settings: Settings, first: ModelVersion, second: ModelVersion) -> None:
    model_versions.set_aliases(settings, "payments", champion=1, previous=None, challenger=2)
    assert model_versions.aliases(settings, "payments") == {"champion": 1, "challenger": 2}
    for _ in range(2):
        model_versions.set_aliases(settings, "payments", champion=2, previous=1, challenger=None)
        assert model_versions.aliases(settings, "payments") == {"champion": 2, "previous": 1}
    model_versions.mark(settings, second, validation_status="approved", tags={"verdict": "PROMOTE"})
    with model_versions.connected(settings) as client:
        tags = client.get_model_version("payments", "2").tags
    assert (tags["validation_status"], tags["verdict"]) == ("approved", "PROMOTE")
    model_versions.set_aliases(settings, "payments", champion=None, previous=None, challenger=None)


class Broken(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("how", ["closed port", "answers 503"])
def test_a_server_that_does_not_answer_is_not_a_missing_champion(
    how: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), Broken) as server:
        port = server.server_address[1]
        if how == "closed port":
            server.server_close()
        else:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{port}")
        start = time.monotonic()
        said = "does not answer" if how == "closed port" else "runs, and answers 503"
        with pytest.raises(Unavailable, match=rf"MLflow at http://127.0.0.1:{port} {said}") as caught:
            model_versions.aliases(settings, "payments")
        assert time.monotonic() - start < 15
        assert "secret" not in str(caught.value)
        assert ("Start it" in str(caught.value)) == (how == "closed port")
        assert ("see to its database" in str(caught.value)) == (how != "closed port")
        if how != "closed port":
            server.shutdown()


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_evaluation_agrees_with_ours_and_validation_names_what_fails(settings: Settings, kind: Kind) -> None:
    frame, y = rows(kind)
    strict = {"binary": {"brier": {"max": 0.0}}, "multiclass": {"f1": {"min": 1.0}}, "regression": {"r2": {"min": 1.0}}}
    of, impossible = contract(f"of_{kind}", kind), contract(f"of_{kind}", kind, **strict[kind])
    version = log(settings, of, fitted(kind))
    loaded = model_versions.load(settings, version, version.digest)
    found, dummy = mlflow_evaluation.evaluate(settings, of, loaded, frame, y, rows="judging rows")

    scores = np.asarray(loaded.pyfunc.predict(frame))
    if kind == "binary":
        ours = metrics(kind, y, scores[:, 1], of.scoring.threshold)
    elif kind == "multiclass":
        ours = metrics(kind, np.searchsorted(loaded.model.classes_, y), scores, 0.5, list(loaded.model.classes_))
    else:
        ours = metrics(kind, y, scores, 0.5)
    assert {name: found.metrics[MLFLOW_NAMES.get(name, name)] for name in ours} == pytest.approx(ours, rel=1e-3)

    assert mlflow_evaluation.validate(of, found, dummy) == []
    (told,) = mlflow_evaluation.validate(impossible, found, dummy)
    (metric,) = strict[kind]
    side = "at most 0" if kind == "binary" else "at least 1"
    assert f"{metric} is {found.metrics[MLFLOW_NAMES.get(metric, metric)]:.4f}, needed is {side}: give" in told
    (tie,) = [one for one in mlflow_evaluation.validate(of, dummy, dummy) if "constant answer" in one]
    assert re.search(rf"{of.judging.metric} is (\S+), where the best constant answer has \1; needed is a", tie)
    with model_versions.connected(settings) as client:
        linked = {metric.dataset_name for metric in client.get_logged_model(version.model_id).metrics or []}
        assert client.get_run(found.run_id).data.tags["mlflow.parentRunId"] == version.run_id
        drawn = {file.path for file in client.list_artifacts(found.run_id)}
    assert "judging rows" in linked
    assert {"roc_curve_plot.png", "confusion_matrix.png"} <= drawn or "residuals.png" in drawn


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_the_dummy_is_measured_as_scikit_learn_measures_a_constant(settings: Settings, kind: Kind) -> None:
    frame, y = rows(kind)
    of = contract(f"of_{kind}", kind)
    loaded = model_versions.load(settings, version := log(settings, of, fitted(kind)), version.digest)
    found, dummy = mlflow_evaluation.evaluate(settings, of, loaded, frame, y, rows="judging rows")

    simple = DummyRegressor() if kind == "regression" else DummyClassifier(strategy="prior")
    simple.fit(np.zeros((len(y), 1)), y)
    answers = (simple.predict if kind == "regression" else simple.predict_proba)(np.zeros((len(y), 1)))
    names = [str(name) for name in getattr(simple, "classes_", [])]
    expected = {
        "binary": lambda: {"roc_auc": 0.5, "precision_recall_auc": average_precision_score(y, answers[:, 1])},
        "multiclass": lambda: {"roc_auc": 0.5, "accuracy_score": np.mean(y == simple.predict(np.zeros((len(y), 1))))},
        "regression": lambda: {"root_mean_squared_error": float(np.std(y)), "r2_score": r2_score(y, answers)},
    }[kind]()
    if kind != "regression":
        expected["log_loss"] = log_loss(y, answers, labels=names if kind == "multiclass" else None)
    assert {name: dummy.metrics[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    with model_versions.connected(settings) as client:
        logged = client.get_run(found.run_id).data.metrics
    assert {name: logged[f"dummy_{name}"] for name in dummy.metrics} == pytest.approx(dict(dummy.metrics))


def test_judging_on_nothing_or_on_a_class_too_few_is_refused(settings: Settings, first: ModelVersion) -> None:
    frame, y = rows("binary")
    loaded = model_versions.load(settings, first, first.digest)
    of = contract("payments", "binary")
    with pytest.raises(TooFewOutcomes, match="no rows"):
        mlflow_evaluation.evaluate(settings, of, loaded, frame.head(0), y[:0], rows="none")
    with pytest.raises(TooFewOutcomes, match="outcomes of one class are '0'"):
        mlflow_evaluation.evaluate(settings, of, loaded, frame[y == 0], y[y == 0], rows="one class")


def test_a_class_that_no_judging_row_has_is_measured_around(settings: Settings) -> None:
    frame, y = rows("multiclass")
    of = contract("of_multiclass", "multiclass", accuracy={"min": 0.1})
    version = log(settings, of, fitted("multiclass"))
    loaded = model_versions.load(settings, version, version.digest)
    few = y != "top"
    found, dummy = mlflow_evaluation.evaluate(settings, of, loaded, frame[few], y[few], rows="without the best")

    said = loaded.model.classes_[np.asarray(loaded.pyfunc.predict(frame[few])).argmax(axis=1)]
    assert found.metrics["accuracy_score"] == pytest.approx(np.mean(said == y[few]))
    assert mlflow_evaluation.validate(of, found, dummy) == []
    with model_versions.connected(settings) as client:
        assert client.get_run(found.run_id).data.metrics["accuracy_score"] == found.metrics["accuracy_score"]


def test_a_metric_that_is_not_a_number_fails(settings: Settings) -> None:
    of = contract("payments", "binary", roc_auc={"min": 0.1})
    broken = mlflow_evaluation.Measured("payments version 1", "rows", {"roc_auc": float("nan")}, "")
    dummy = mlflow_evaluation.Measured("dummy", "rows", {"roc_auc": 0.5}, "")
    assert all("missing" in failure for failure in mlflow_evaluation.validate(of, broken, dummy))
    assert len(mlflow_evaluation.validate(of, broken, dummy)) == 2


def test_the_importance_is_kept_in_order(settings: Settings, first: ModelVersion) -> None:
    with model_versions.connected(settings):
        kept = mlflow.artifacts.load_text(f"runs:/{first.run_id}/importance.json")
    assert list(json.loads(kept)) == ["a", "b"]
