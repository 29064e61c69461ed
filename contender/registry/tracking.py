"""MLflow's record of a training: one run with all that a person needs to repeat or doubt it, and a registered model."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contender.contracts.contract import Contract
from contender.errors import ModelError
from contender.features.training_keys import Hashes
from contender.registry import mlflow_figures, model_versions
from contender.registry.mlmodel import ARRAYS_FILE, PACKAGES
from contender.registry.model_files import digest_of, load_folder
from contender.registry.model_versions import FORM, FORM_VERSION, connected, fetch
from contender.settings import Settings
from contender.values import ModelVersion, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature


def experiment(client: "MlflowClient", settings: Settings, use_case: str) -> str:
    """Id of the use case's experiment, made on first use.

    Without a server the artifacts go below the home: MLflow's own default is the working directory.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    name = f"contender/{settings.name_of(use_case)}"
    found = client.get_experiment_by_name(name)
    if found is None:
        served = mlflow.get_tracking_uri().startswith(("http:", "https:"))
        place = None if served else (settings.state / "artifacts" / use_case).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A model as the search left it.

    Args:
        model: a fitted scikit-learn estimator over the contract's model columns.
        folds: metrics of each fold; logged as `fold_…` with the fold as step.
        metrics: metrics of the whole search, logged beside the folds' and linked to the model.
        importance: what each column is worth, in units of the metric.
    """

    model: Any
    family: str
    params: Mapping[str, Any]
    folds: Sequence[Mapping[str, float]]
    metrics: Mapping[str, float]
    importance: Mapping[str, float]
    seed: int


@dataclass(frozen=True, eq=False)
class LearntRows:
    """What a model was trained on.

    Args:
        until: newest record time that it saw, naive UTC.
        example: a few rows of the model's input, columns as in `contract.model_columns`.
        sample: some of the rows with their outcomes.
        seen: hashes of the keys of all rows.
        datasets: each table at its version, with its path or address.
    """

    until: datetime
    example: "pd.DataFrame"
    sample: "pd.DataFrame"
    seen: Hashes
    datasets: Sequence[tuple[TableVersion, str]]


def log_challenger(
    settings: Settings,
    contract: Contract,
    fitted: FittedModel,
    learnt: LearntRows,
    *,
    git_revision: str | None,
    tags: Mapping[str, str] | None = None,
    arrays: bytes | None = None,
) -> ModelVersion:
    """A registered version of a fitted model, with the MLflow run that tells how it came about.

    Args:
        arrays: content of the file that lies beside the model, under the same digest; see `contender.inference`.

    Raises:
        ModelError: the model holds a type that is not on our list.
        Unavailable: MLflow does not answer.
    """
    import mlflow

    with connected(settings) as client:
        run = mlflow.start_run(
            experiment_id=experiment(client, settings, contract.name),
            run_name=f"{fitted.family} {learnt.until:%Y-%m-%d}",
            tags=_run_tags(contract, git_revision, tags or {}),
        )
        with run:
            mlflow.log_params({**fitted.params, "family": fitted.family, "seed": fitted.seed})
            for step, fold in enumerate(fitted.folds):
                mlflow.log_metrics({f"fold_{name}": value for name, value in fold.items()}, step=step)
            _log_datasets(contract, learnt.datasets, learnt.sample)
            info = _log_model(contract, fitted.model, learnt.example)
            if arrays is not None:
                _log_beside(client, info.model_id, arrays)
            mlflow.log_metrics(dict(fitted.metrics), model_id=info.model_id)
            mlflow.log_figure(mlflow_figures.importance(fitted.importance), "importance.png")
            largest = sorted(fitted.importance.items(), key=lambda item: -abs(item[1]))
            mlflow.log_dict(dict(largest), "importance.json")
            run_id = run.info.run_id
            stamp = model_versions.log_training_keys(client, run_id, learnt.seen)
    folder = fetch(settings, contract.name, info.model_uri)
    digest = digest_of(folder)
    # Our list is stricter than that of skops: what could not be opened later is not registered in the first place.
    load_folder(folder, digest, name=f"The {fitted.family} model of {contract.name}")
    with connected(settings) as client:
        name = settings.name_of(contract.name)
        number = register(
            client,
            name,
            contract.question,
            info.model_uri,
            run_id,
            info.model_id,
            {
                **(tags or {}),
                "validation_status": "pending",
                "digest": digest,
                "trained_until": learnt.until.isoformat(),
                "family": fitted.family,
                "model_id": info.model_id,
                "use_case": contract.name,
                model_versions.TRAINING_KEYS: stamp,
            },
        )
    return ModelVersion(name, number, run_id, info.model_id, digest, learnt.until, fitted.family)


def _run_tags(contract: Contract, git_revision: str | None, tags: Mapping[str, str]) -> dict[str, str]:
    found = {**tags, "use_case": contract.name, "question": contract.question}
    return found if git_revision is None else {**found, "mlflow.source.git.commit": git_revision}


def _log_datasets(contract: Contract, datasets: Sequence[tuple[TableVersion, str]], sample: "pd.DataFrame") -> None:
    import mlflow
    from mlflow.data import meta_dataset
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.pandas_dataset import from_pandas

    named: Any = meta_dataset.MetaDataset  # declared abstract, by mistake
    for position, (table, path) in enumerate(datasets):
        source = DeltaDatasetSource(path=path, delta_table_version=table.version)
        # The version stands in the name as well: MLflow drops a version of 0 from the source.
        dataset = named(source, name=str(table))
        mlflow.log_input(dataset, context="training", tags={"delta_version": str(table.version)})
        if position == 0:
            rows = from_pandas(sample, source=source, name=f"{contract.name}.training-sample")
            mlflow.log_input(rows, context="training sample", tags={"rows": str(len(sample))})


def signature_of(contract: Contract, outputs: int | None) -> "ModelSignature":
    """The model's input as the contract has it, and probabilities of `outputs` classes, or a number (None).

    It is not inferred from rows: a column that happens to be empty in them would get no type.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    strings = dict.fromkeys(("category", "text", "words"), "string")
    types: dict[str, str] = {"number": "double", "time": "double", **strings}
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(types[column.kind], column.name) for column in contract.model_columns
    ]
    shape = (-1,) if outputs is None else (-1, outputs)
    return ModelSignature(inputs=Schema(columns), outputs=Schema([TensorSpec(np.dtype("float64"), shape)]))


def _log_model(contract: Contract, model: Any, example: "pd.DataFrame") -> Any:
    import mlflow
    from mlflow.exceptions import MlflowException

    from contender.registry import trusted_types

    classifies = contract.kind != "regression"
    try:
        return mlflow.sklearn.log_model(
            model,
            name="model",
            signature=signature_of(contract, len(model.classes_) if classifies else None),
            input_example=example,
            pip_requirements=_pins(),
            # What scoring needs, and what anybody who loads the version through MLflow gets. The default evaluator
            # is not confused: it asks the estimator below for labels and probabilities itself.
            pyfunc_predict_fn="predict_proba" if classifies else "predict",
            serialization_format="skops",
            skops_trusted_types=sorted(trusted_types.ALLOWED),
        )
    except MlflowException as error:
        if "untrusted types" not in str(error):
            raise
        raise ModelError(
            f"The model of {contract.name} holds a type that contender.registry.trusted_types does not list: {error}"
        ) from error


def _log_beside(client: "MlflowClient", model_id: str, arrays: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ARRAYS_FILE
        path.write_bytes(arrays)
        client.log_model_artifact(model_id, str(path))


def _pins() -> list[str]:
    """The packages that the model needs, at their versions here; inferring them would cost MLflow 10 s."""
    pins = []
    for name in PACKAGES:
        try:
            pins.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return pins


def register(
    client: "MlflowClient", name: str, question: str, uri: str, run_id: str, model_id: str, tags: dict[str, str]
) -> int:
    """The number of a new version of a registered model, which is made when it is the first."""
    import json

    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=question)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # With its tags from the start: there is never a version without a digest.
    made = client.create_model_version(name, uri, run_id, tags={**tags, FORM: FORM_VERSION}, model_id=model_id)
    if model_id:
        link = [{"name": name, "version": made.version}]
        client.set_logged_model_tags(model_id, {"mlflow.modelVersions": json.dumps(link)})
    return int(made.version)
