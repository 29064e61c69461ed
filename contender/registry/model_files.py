"""A model's files on this machine: trusted by their digest first, then loaded with our own list of types."""

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender.cores import count_cores
from contender.errors import ModelError, UntrustedModel
from contender.registry.mlmodel import ARRAYS_FILE, MODEL_FILE, check_description
from contender.values import ModelVersion

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

STAMP = "registered_model_meta"
"""What MLflow writes beside a model that is downloaded by its registered name; nothing that loads a model reads it."""

_LARGEST_BYTES = 1 << 32
"""Where a zip file would need its second format, which we do not read."""


@dataclass(frozen=True)
class Opened:
    """A model whose files were the approved ones.

    `model` is the scikit-learn estimator, `folder` where it was read, `described` what its file `MLmodel` said then,
    and `arrays` the content of its file of arrays, which versions of before have not.
    """

    model: Any
    folder: Path
    described: Mapping[str, Any] = field(repr=False)
    arrays: bytes | None = field(repr=False)

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

        meta = Model.from_dict(dict(self.described))
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
            refuse_missing_columns(wanted_by(self.described), frame.columns, f"The model in {self.folder.name[:12]}")
            said = str(error).splitlines()[0]
            raise ModelError(
                f"The model in {self.folder.name[:12]} cannot be asked with today's features ({said[:160]}). Restore "
                "the contract's columns, or promote another version by hand."
            ) from None


def wanted_by(described: Mapping[str, Any]) -> dict[str, str]:
    """The columns that a model asks for, in order, with MLflow's types, by what its file `MLmodel` says."""
    return {one["name"]: one["type"] for one in json.loads(described["signature"]["inputs"])}


def refuse_missing_columns(wanted: Iterable[str], columns: Iterable[str], name: str) -> None:
    """Refuse to ask a model that was trained with a column which the contract has taken away since.

    Args:
        wanted: the columns that it asks for.
        columns: those that it could be given.
        name: how the sentence calls the model.

    Raises:
        ModelError: names the columns, and the ways out.
    """
    if missing := sorted(set(wanted) - set(columns)):
        listed, more = ", ".join(f"'{one}'" for one in missing[:5]), len(missing) - 5
        raise ModelError(
            f"{name} was trained with {listed}{f' and {more} more' if more > 0 else ''}, which the contract does not "
            "have any more, so that it cannot be asked. Put that back, not excluded; or train without it ('contender "
            "retrain'): the new version has to beat the dummy alone."
        )


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
        count_cores()
        # `params` is MLflow's; handed on, a Pipeline would take it for metadata of its last step.
        if len(data) > _FEW:
            return self._answer(data)
        # Trees wait for all threads after each tree: for few rows on a busy machine that takes a second, not 5 ms.
        with _threads().limit(limits=1, user_api="openmp"):
            return self._answer(data)

    def get_raw_model(self) -> Any:
        return self._model


def digest_of(folder: Path, name: str = "The model") -> str:
    """SHA-256 over the sorted relative names and the contents of all files, whatever their times are.

    Args:
        name: how an error calls the model.

    Raises:
        UntrustedModel: there is a link or a special file, which could show something else the next time.
    """
    contents = {}
    for file, path in plain_files(folder, name):
        with path.open("rb") as opened:
            contents[file] = hashlib.file_digest(opened, "sha256").hexdigest()
    return _whole(contents)


def plain_files(folder: Path, name: str = "The model") -> Iterator[tuple[str, Path]]:
    """The files of a model by name, in order; none of what loading leaves aside.

    Raises:
        UntrustedModel: one is a link or a special file.
    """
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        file, state = path.relative_to(folder).as_posix(), path.lstat()
        regular = stat.S_ISREG(state.st_mode)
        # A second name of the same file is a way to change it from outside of the folder.
        if not (regular or stat.S_ISDIR(state.st_mode)) or (regular and state.st_nlink > 1):
            raise UntrustedModel(
                f"{name} has '{file}' as a link or a special file; a model consists of plain files: restore its "
                "artifacts, or roll back to another version."
            )
        if regular and file != STAMP:
            yield file, path


def _whole(contents: Mapping[str, str]) -> str:
    whole = hashlib.sha256()
    for file, content in contents.items():
        whole.update(json.dumps([file, content]).encode())
    return whole.hexdigest()


def load_folder(folder: Path, digest: str, name: str = "The model") -> Opened:
    """The model in a folder, for instance one that was shipped to a Spark worker.

    Args:
        digest: what the ledger approved; nothing is read beyond the bytes before it fits.
        name: how an error calls the model.

    Raises:
        UntrustedModel: as `check_folder`.
    """
    files = _approved(folder, digest, name)
    from contender.registry import trusted_types

    described = check_description(files, trusted_types.ALLOWED, name)
    return Opened(
        model=trusted_types.loads(files[MODEL_FILE], name),
        folder=folder,
        described=described,
        arrays=files.get(ARRAYS_FILE),
    )


def arrays_in(folder: Path, digest: str, name: str = "The model") -> bytes | None:
    """A model's file of arrays, if all its files are the approved ones; None where it has none.

    Raises:
        UntrustedModel: they are not.
    """
    return _approved(folder, digest, name).get(ARRAYS_FILE)


def check_folder(folder: Path, digest: str, name: str = "The model") -> None:
    """Return only if the files in a folder are the approved ones, and would be loaded.

    Raises:
        UntrustedModel: they are not, or hold, name or ask for what no model of ours needs.
    """
    files = _approved(folder, digest, name)
    from contender.registry import trusted_types

    check_description(files, trusted_types.ALLOWED, name)
    trusted_types.check(files[MODEL_FILE], name)


def _approved(folder: Path, digest: str, name: str) -> dict[str, bytes]:
    """Contents by name, each read once: what was compared with the digest is what is used."""
    if not (folder / MODEL_FILE).is_file():
        raise UntrustedModel(f"{name} has no file '{MODEL_FILE}' in {folder}; only models stored as skops are loaded.")
    found, size = {}, 0
    for file, path in plain_files(folder, name):
        size += path.stat().st_size
        if size > _LARGEST_BYTES:
            raise UntrustedModel(
                f"{name} is larger than {_LARGEST_BYTES:,} bytes, which no model of ours is; roll back to another "
                "version, or retrain on fewer records."
            )
        found[file] = path.read_bytes()
    known = _whole({file: hashlib.sha256(content).hexdigest() for file, content in found.items()})
    if known != digest:
        raise UntrustedModel(
            f"{name} is not the approved one: its files have the digest {known[:12]}…, needed is {digest[:12]}…. "
            "Restore its artifacts, or roll back to another version."
        )
    return found
