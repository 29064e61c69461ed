"""A model's files on this machine: trusted by their digest first, then loaded with our own list of types."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender.errors import ModelError, UntrustedModel
from contender.values import ModelVersion

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

MODEL_FILE = "model.skops"

STAMP = "registered_model_meta"
"""What MLflow writes beside a model that is downloaded by its registered name; nothing that loads a model reads it."""


@dataclass(frozen=True)
class Opened:
    """A model whose files were the approved ones. `model` is the scikit-learn estimator, `folder` where it was read."""

    model: Any
    folder: Path

    @cached_property
    def pyfunc(self) -> "PyFuncModel":
        """The model under MLflow's contract: `predict` enforces the signature.

        It returns probabilities of shape (rows, classes) for a classifier, in the order of `model.classes_`, and
        predictions of shape (rows,) otherwise, as `mlflow.pyfunc.load_model` of the same version would. It is made
        from the estimator that we loaded: neither the loader nor the list of types in the file `MLmodel` has a say.
        It is made when asked for: a Spark worker that needs the estimator alone is spared importing MLflow.
        """
        from mlflow.models import Model
        from mlflow.pyfunc import PyFuncModel

        meta = Model.load(str(self.folder))
        return PyFuncModel(model_meta=meta, model_impl=Answering(self.model), model_id=meta.model_id)

    def answer(self, frame: "pd.DataFrame") -> NDArray[np.float64]:
        """What the model says of rows, through its signature: probabilities (rows, classes), or values (rows,).

        Raises:
            ModelError: the rows lack a column that the signature asks for.
        """
        from mlflow.exceptions import MlflowException

        try:
            return np.asarray(self.pyfunc.predict(frame), dtype=np.float64)
        except MlflowException as error:
            said = str(error).splitlines()[0]
            raise ModelError(
                f"The model in {self.folder.name[:12]} cannot be asked with today's features ({said[:160]}). Restore "
                "the contract's columns, or promote another version by hand."
            ) from None


@dataclass(frozen=True)
class Loaded(Opened):
    """A registered version, opened."""

    version: ModelVersion


_FEW = 1_000


@lru_cache(maxsize=1)
def _threads() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class Answering:
    """A scikit-learn estimator as MLflow's pyfunc wants it."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._answer = getattr(model, "predict_proba", model.predict)

    def predict(self, data: Any, params: Any = None) -> Any:
        # `params` is MLflow's; handed on, a Pipeline would take it for metadata of its last step.
        if len(data) > _FEW:
            return self._answer(data)
        # Trees wait for all threads after each tree: for few rows on a busy machine that takes a second, not 5 ms.
        with _threads().limit(limits=1, user_api="openmp"):
            return self._answer(data)

    def get_raw_model(self) -> Any:
        return self._model


def digest_of(folder: Path) -> str:
    """SHA-256 over the sorted relative names and the contents of all files, whatever their times are.

    Raises:
        UntrustedModel: there is a link or a special file, which could show something else the next time.
    """
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UntrustedModel(f"{path} is a link or a special file; a model consists of plain files.")
        if path.is_file() and name != STAMP:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(json.dumps([name, content]).encode())
    return whole.hexdigest()


def load_folder(folder: Path, digest: str, name: str = "The model") -> Opened:
    """The model in a folder, for instance one that was shipped to a Spark worker.

    Args:
        digest: what the ledger approved; nothing is read beyond the bytes before it fits.
        name: how an error calls the model.

    Raises:
        UntrustedModel: the files are not the approved ones, or hold a type that is not on our list.
    """
    check_folder(folder, digest, name)
    from contender import trust

    return Opened(model=trust.load(folder / MODEL_FILE), folder=folder)


def check_folder(folder: Path, digest: str, name: str = "The model") -> None:
    """Return only if the files in a folder are the approved ones.

    Raises:
        UntrustedModel: they are not, or they are not a model of ours.
    """
    if not (folder / MODEL_FILE).is_file():
        raise UntrustedModel(f"{name} has no file '{MODEL_FILE}' in {folder}; only models stored as skops are loaded.")
    if (found := digest_of(folder)) != digest:
        raise UntrustedModel(
            f"{name} is not the approved one: its files have the digest {found[:12]}…, needed is {digest[:12]}…. "
            "Restore its artifacts, or roll back to another version."
        )
