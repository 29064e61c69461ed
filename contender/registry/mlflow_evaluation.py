"""Measuring a model through MLflow's evaluation, and holding the result against the contract's thresholds."""

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from contender.contracts.contract import Contract
from contender.contracts.sections import LOWER_IS_BETTER
from contender.errors import ModelError, TooFewOutcomes
from contender.evaluation import metrics
from contender.registry import mlflow_figures
from contender.registry.model_files import Loaded
from contender.registry.model_versions import connected
from contender.registry.tracking import experiment
from contender.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import EvaluationResult

Floats = NDArray[np.float64]
_TARGET = "_target"

_ONE_AT_A_TIME = threading.Lock()
"""MLflow draws with pyplot, which has one state for all threads."""


@dataclass(frozen=True)
class Measured:
    """Metrics by MLflow's names (and `brier`), of a model or of the dummy, on named rows, as run `run_id` has them."""

    who: str
    rows: str
    metrics: Mapping[str, float]
    run_id: str


class _Known:
    """Answers already given, in the shape of the scikit-learn estimator that MLflow's evaluator asks."""

    def __init__(self, said: NDArray[Any], probabilities: Floats | None, score: float) -> None:
        self._said, self._score = said, score
        if probabilities is not None:
            self.predict_proba = lambda _: probabilities

    def predict(self, _: Any, params: Any = None) -> NDArray[Any]:
        return self._said

    def score(self, _: Any, y: Any, sample_weight: Any = None) -> float:
        return self._score

    def get_raw_model(self) -> "_Known":
        return self


def evaluate(
    settings: Settings,
    contract: Contract,
    loaded: Loaded,
    frame: "pd.DataFrame",
    y: NDArray[Any],
    *,
    rows: str,
) -> tuple[Measured, Measured]:
    """Metrics of a loaded model, and of the dummy, on rows with outcomes, in an MLflow run below the training's.

    The model is asked once, through its signature; MLflow's evaluator is given these answers, so that labels are cut
    at the contract's threshold and nothing but the files that we checked is loaded. The metrics are linked to the
    logged model by its id.

    The dummy is the best constant answer for these very rows: their shares of the classes, or their mean. It knows more
    than a dummy of the training rows, so beating it means more. Its metrics are in the same run as `dummy_…`, by our
    own formulas, which agree with MLflow's: the evaluator would draw the plots of a constant, at which nobody looks.

    Args:
        frame: the model's input.
        y: shape (rows,), what came true, as the model was fitted on it.
        rows: name of the rows, such as "payments judging 2026-04-01..2026-05-01 as of …".

    Raises:
        TooFewOutcomes: there are no rows, or their outcomes are all the same.
        ModelError: the model's answers are not finite.
        Unavailable: MLflow does not answer.
    """
    classes = None if contract.kind == "regression" else np.asarray(loaded.model.classes_)
    _check_enough(y, classes, rows)
    predicted = np.asarray(loaded.pyfunc.predict(frame), dtype=np.float64)
    if not np.isfinite(predicted).all():
        raise ModelError(f"{loaded.version} gives answers that are not finite numbers on {rows}.")
    constant = _of_dummy(contract, y, classes)
    with connected(settings) as client, _ONE_AT_A_TIME:
        import mlflow

        run = mlflow.start_run(
            experiment_id=experiment(client, settings, contract.name),
            run_name=f"judging {loaded.version} on {rows}",
            tags={
                "mlflow.parentRunId": loaded.version.run_id,
                "use_case": contract.name,
                "judged": str(loaded.version),
                "model_version": str(loaded.version.version),
            },
        )
        with run:
            found = _measure(contract, loaded, frame, y, classes, predicted, rows)
            mlflow.log_metrics({f"dummy_{name}": value for name, value in constant.items()})
        run_id = run.info.run_id
        return Measured(str(loaded.version), rows, found, run_id), Measured("dummy", rows, constant, run_id)


def validate(contract: Contract, challenger: Measured, dummy: Measured) -> list[str]:
    """What speaks against the challenger, a sentence each; nothing when it meets every threshold and beats the dummy.

    A metric that is missing or not a number counts as a failure.
    """
    absolute = {
        _mlflow_name(name): {
            "threshold": limit.max if limit.min is None else limit.min,
            "greater_is_better": limit.max is None,
        }
        for name, limit in contract.judging.thresholds.items()
    }
    deciding = contract.judging.metric
    beating = {
        # The smallest step that MLflow takes; a tie with the dummy is a failure.
        _mlflow_name(deciding): {
            "min_absolute_change": 1e-9,
            "greater_is_better": deciding not in LOWER_IS_BETTER,
        }
    }
    broken = [
        f"{name} is {_told(challenger, name)}, needed is {side} {limit:g}: give the model more to learn from (rows, or "
        "columns that tell of the target), or set judging.thresholds in the contract otherwise"
        for name, rule in contract.judging.thresholds.items()
        for side, limit in (("at least", rule.min), ("at most", rule.max))
        if limit is not None and _fails({_mlflow_name(name): absolute[_mlflow_name(name)]}, challenger, None)
    ]
    if not _fails(beating, challenger, dummy):
        return broken
    better = "lower" if deciding in LOWER_IS_BETTER else "higher"
    return [
        *broken,
        f"{deciding} is {_told(challenger, deciding)}, where the best constant answer has {_told(dummy, deciding)}; "
        f"needed is a {better} one: nothing in the columns was found to tell of the target, so land more rows, or "
        "columns that do",
    ]


def _told(measured: Measured, metric: str) -> str:
    value = measured.metrics.get(_mlflow_name(metric))
    return "missing, or no number" if value is None or not np.isfinite(value) else f"{value:.4f}"


def _fails(limits: Mapping[str, Mapping[str, Any]], candidate: Measured, baseline: Measured | None) -> bool:
    import mlflow
    from mlflow.models.evaluation.validation import ModelValidationFailedException

    models: Any = mlflow.models  # has no types
    thresholds = {name: models.MetricThreshold(**limit) for name, limit in limits.items()}
    try:
        mlflow.validate_evaluation_results(
            thresholds, _result(candidate), None if baseline is None else _result(baseline)
        )
    except ModelValidationFailedException:
        return True
    return False


def _result(measured: Measured) -> "EvaluationResult":
    import mlflow

    models: Any = mlflow.models
    # Comparing with a NaN fails inside MLflow; without it the metric is reported as missing.
    finite = {name: value for name, value in measured.metrics.items() if np.isfinite(value)}
    made: EvaluationResult = models.EvaluationResult(metrics=finite, artifacts={}, run_id=measured.run_id)
    return made


def _check_enough(y: NDArray[Any], classes: NDArray[Any] | None, rows: str) -> None:
    if len(y) == 0:
        raise TooFewOutcomes(f"{rows} holds no rows with outcomes; judging on nothing is refused.")
    if classes is None:
        return
    if not (y != y[0]).any():
        raise TooFewOutcomes(
            f"All {len(y):,} outcomes of {rows} are '{y[0]}'; widen the judging window in the contract, or wait for "
            "other outcomes."
        )


def _of_dummy(contract: Contract, y: NDArray[Any], classes: NDArray[Any] | None) -> dict[str, float]:
    """The metrics of the best constant answer for these rows, by MLflow's names."""
    truth = _truth(y, classes)
    scores = metrics.dummy_scores(contract.kind, truth, len(truth), None if classes is None else len(classes))
    return _by_our_formulas(contract, truth, scores)


def _by_our_formulas(contract: Contract, truth: NDArray[Any], scores: Floats) -> dict[str, float]:
    found = metrics.metrics(contract.kind, truth, scores, contract.scoring.threshold)
    return {_mlflow_name(name): value for name, value in found.items()}


def _truth(y: NDArray[Any], classes: NDArray[Any] | None) -> NDArray[Any]:
    """Outcomes as evaluation wants them, classes by their index."""
    return y if classes is None else (y[:, None] == classes).argmax(axis=1)


def _mlflow_name(metric: str) -> str:
    return metrics.MLFLOW_NAMES.get(metric, metric)


def _measure(
    contract: Contract,
    loaded: Loaded,
    frame: "pd.DataFrame",
    y: NDArray[Any],
    classes: NDArray[Any] | None,
    predicted: Floats,
    rows: str,
) -> dict[str, float]:
    import mlflow

    if contract.kind == "multiclass" and classes is not None and len(np.unique(y)) < len(classes):
        # MLflow's evaluator fails where a class does not come up, as a rare one may.
        ours = _by_our_formulas(contract, _truth(y, classes), predicted)
        mlflow.log_metrics(ours, model_id=loaded.version.model_id or None)
        return ours
    import matplotlib
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.pyfunc import PyFuncModel
    from sklearn.exceptions import UndefinedMetricWarning

    models: Any = mlflow.models
    kind: Literal["classifier", "regressor"] = "regressor" if classes is None else "classifier"
    config: dict[str, Any] = {"log_model_explainability": False, "log_explainer": False}
    extra = []
    if classes is None:
        said, score = predicted, 1 - float(np.mean((y - predicted) ** 2) / max(np.var(y), 1e-300))
    else:
        said = _labels(contract, predicted, classes)
        score = float((said == y).mean())
        config |= {"label_list": list(classes), "average": "macro"}
    if classes is not None and contract.kind == "binary":
        config["pos_label"] = classes[1]
        brier = float(np.mean((predicted[:, 1] - (y == classes[1])) ** 2))
        extra.append(
            models.make_metric(eval_fn=lambda predictions, targets: brier, greater_is_better=False, name="brier")
        )
    known = _Known(said, None if classes is None else predicted, score)
    with warnings.catch_warnings(), matplotlib.rc_context({"savefig.dpi": 80}), _quiet():
        # A model that never says "1" has a precision of 0, which is the right number to judge it by.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        # Outcomes are whole numbers and never missing: MLflow's hint about integers in schemas does not apply.
        warnings.filterwarnings("ignore", message=".*integer column.*")
        result = models.evaluate(
            PyFuncModel(model_meta=loaded.pyfunc.metadata, model_impl=known),
            from_pandas(frame.assign(**{_TARGET: y}), name=rows, targets=_TARGET),
            model_type=kind,
            evaluators="default",
            evaluator_config=config,
            extra_metrics=extra or None,
            model_id=loaded.version.model_id or None,
        )
    if classes is None:
        mlflow.log_figure(mlflow_figures.residuals(y, predicted), "residuals.png")
    return {name: float(value) for name, value in result.metrics.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow from guessing aloud, and in vain, whether outcomes of 0 and 1 are classes."""
    guessing = logging.getLogger("mlflow.models.evaluation.evaluators.classifier")
    level = guessing.level
    guessing.setLevel(logging.ERROR)
    try:
        yield
    finally:
        guessing.setLevel(level)


def _labels(contract: Contract, predicted: Floats, classes: NDArray[Any]) -> NDArray[Any]:
    binary = contract.kind == "binary"
    chosen = (predicted[:, 1] >= contract.scoring.threshold).astype(int) if binary else predicted.argmax(axis=1)
    return np.asarray(classes[chosen])
