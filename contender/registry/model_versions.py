"""The registry: which versions of a use case's model there are, which aliases they bear, and the models themselves."""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from contender.errors import NoSuchVersion, OtherRelease, Unavailable, UntrustedModel
from contender.features.training_keys import Hashes
from contender.redact import without_logins
from contender.registry.first_database import make_database
from contender.registry.model_files import STAMP, Loaded, check_folder, digest_of, load_folder
from contender.registry.moved_home import follow_home
from contender.settings import Settings
from contender.timing import clock
from contender.values import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

Status = Literal["pending", "approved", "rejected"]

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    # MLflow asks GitPython for the commit, which tells at length where there is no git; we read the commit ourselves.
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # With a server MLflow prints where each run can be seen: on standard output, with user and password.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Together at most 11 s for a server that hangs; MLflow's own defaults retry for minutes. What these leave open,
    # such as an answer that never ends or many calls in a row, has its limit in contender.registry.http_limits.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
    # A busy server may ask for an hour.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
# Told at INFO: each migration of the database; as a warning: that pip itself is not installed, which nobody needs; as
# an error, with a traceback: what is raised as well.
_LEVELS = {
    "alembic": logging.WARNING,
    "mlflow": logging.WARNING,
    "mlflow.utils.environment": logging.ERROR,
    "mlflow.store.db.utils": logging.CRITICAL,
    # Each second attempt; what comes of it is told.
    "urllib3.connectionpool": logging.ERROR,
}
_SILENT_CODES = {"TEMPORARILY_UNAVAILABLE", "SERVICE_UNDER_MAINTENANCE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}
_LOCKED_CODES = {"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}
_TROUBLE = re.compile(r"(?:too many|failed with error code) (5\d\d)\b")
_MISSING = "RESOURCE_DOES_NOT_EXIST"

FORM, FORM_VERSION = "form", "1"
"""Of a registered model with its tags and documents: it goes up with what the release before would read wrongly."""

_KEYS_FILE, TRAINING_KEYS = "training_keys.npy", "training_keys"


@contextmanager
def connected(settings: Settings) -> Iterator["MlflowClient"]:
    """A client of the tracking server, which also the functions of `mlflow` use inside the block.

    The server is `MLFLOW_TRACKING_URI` where that is set, else SQLite in the home.

    Raises:
        Unavailable: it does not answer, within 15 s, or says that it cannot work, or does not let us in.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow
    import requests
    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    from contender.registry import http_limits

    for noisy, level in _LEVELS.items():
        logging.getLogger(noisy).setLevel(level)
    try:
        with clock.spending("mlflow"):
            http_limits.limit_requests()
            http_limits.start_anew()
            _point(mlflow, settings)
            if not _is_served(mlflow.get_tracking_uri()):
                http_limits.limit_database()
            yield mlflow.MlflowClient()
            http_limits.refuse_silence()
    except (MlflowException, requests.RequestException, sqlalchemy.exc.DatabaseError) as error:
        if not _is_silence(error):
            raise
        address = mlflow.get_tracking_uri()
        advice = "Start it, or correct MLFLOW_TRACKING_URI," if _is_served(address) else "See to its file and disk,"
        if status := _trouble(error):
            raise Unavailable(
                f"MLflow at {without_logins(address)} runs, and answers {status} ({_said(error)}): it cannot work, "
                "mostly since its database is away. Look into its log and see to its database, and run the same "
                "command again."
            ) from error
        raise Unavailable(
            f"MLflow at {without_logins(address)} does not answer ({_said(error)}). {advice} and run the same command "
            "again."
        ) from error


def _point(mlflow: Any, settings: Settings) -> None:
    told, given = os.environ.get("MLFLOW_TRACKING_URI"), settings.tracking
    if not given:
        try:
            settings.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"The folder {settings.state} for MLflow's database cannot be made ({error}).") from error
        make_database(settings.state / "mlflow.db")
        follow_home(settings.state / "mlflow.db")
    mlflow.set_tracking_uri(given or f"sqlite:///{settings.state / 'mlflow.db'}")
    # MLflow exports what it is told; kept, other settings in this process would take it for the user's wish.
    if told is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = told


def _is_silence(error: BaseException) -> bool:
    """Whether an error of MLflow's means that nobody answered, and not that the answer was no."""
    import requests
    import sqlalchemy.exc

    if getattr(error, "error_code", "") in _SILENT_CODES | _LOCKED_CODES:
        return True
    status = getattr(error, "get_http_status_code", lambda: 0)()
    if type(error).__name__ == "RestException" and status >= 500:
        return True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, requests.RequestException | sqlalchemy.exc.OperationalError):
            return True
        # Itself, not one of its kinds, such as a violated constraint: the file is damaged, or something else.
        if type(cause) is sqlalchemy.exc.DatabaseError:
            return True
        cause = cause.__cause__ or cause.__context__
    return str(error).startswith("API request to ")


def _trouble(error: BaseException) -> int | None:
    """The status by which a server says that it runs and cannot work; None where nobody answers at all."""
    # MLflow tries it again, and keeps of the answers the sentence only.
    if said := _TROUBLE.search(str(error)):
        return int(said[1])
    status = getattr(error, "get_http_status_code", lambda: 0)()
    return int(status) if type(error).__name__ == "RestException" and status >= 500 else None


def _is_served(uri: str) -> bool:
    return uri.startswith(("http:", "https:"))


def _said(error: BaseException) -> str:
    # SQLAlchemy puts the statement and its own advice around what the database said.
    said = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
    lines = str(said).strip().splitlines() or ["no reason given"]
    return without_logins(lines[0])[:200]


def find(settings: Settings, use_case: str, version: int) -> ModelVersion:
    """A registered version.

    Raises:
        NoSuchVersion: MLflow answers that there is none.
        UntrustedModel: it was not logged by Contender.
        OtherRelease: it was, by another release.
        Unavailable: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    with connected(settings) as client:
        try:
            found = client.get_model_version(settings.name_of(use_case), str(version))
        except MlflowException as error:
            if error.error_code != _MISSING:
                raise
            raise NoSuchVersion(
                f"{use_case} has no version {version}; 'contender history {use_case}' lists those that held the title."
            ) from None
    tags = found.tags
    if not {"digest", "trained_until"} <= set(tags):
        raise UntrustedModel(f"{use_case} version {version} has no digest: it was not registered by Contender.")
    if (form := tags.get(FORM, "")) != FORM_VERSION:
        told, newer = f"the form {form}" if form else "no form", form > FORM_VERSION
        raise OtherRelease.of(f"{use_case} version {version}", told, f"the form {FORM_VERSION}", newer=newer)
    return ModelVersion(
        name=found.name,
        version=int(found.version),
        run_id=found.run_id or "",
        model_id=tags.get("model_id", ""),
        digest=tags["digest"],
        trained_until=datetime.fromisoformat(tags["trained_until"]),
        family=tags.get("family", ""),
    )


def is_there(settings: Settings, use_case: str, version: int) -> bool:
    """Whether MLflow has a version; False only where it answers that it has not."""
    try:
        find(settings, use_case, version)
    except NoSuchVersion:
        return False
    return True


def use_up(settings: Settings, use_case: str, highest: int) -> None:
    """Let the next version's number be above one, also where the model was deleted whole and would count anew."""
    from mlflow.exceptions import MlflowException

    name = settings.name_of(use_case)
    with connected(settings) as client:
        try:
            client.get_registered_model(name)
            return
        except MlflowException as error:
            if error.error_code != _MISSING:
                raise
        client.create_registered_model(name)
        number = 0
        while number < highest:
            number = int(client.create_model_version(name, "s3://none/none").version)
            client.delete_model_version(name, str(number))


def aliases(settings: Settings, use_case: str) -> dict[str, int]:
    """Version by alias; empty when nothing was ever registered for the use case."""
    from mlflow.exceptions import MlflowException

    with connected(settings) as client:
        try:
            found = client.get_registered_model(settings.name_of(use_case)).aliases
        except MlflowException as error:
            if error.error_code != _MISSING:
                raise
            return {}
    return {alias: int(version) for alias, version in found.items()}


def set_aliases(
    settings: Settings, use_case: str, *, champion: int | None, previous: int | None, challenger: int | None
) -> None:
    """Make the aliases point at these versions, and remove those that are None. Repeating it changes nothing.

    The last writer wins in MLflow; who holds the title is decided by the ledger, before this.
    """
    wanted = {"champion": champion, "previous": previous, "challenger": challenger}
    found, name = aliases(settings, use_case), settings.name_of(use_case)
    with connected(settings) as client:
        for alias, version in wanted.items():
            if version is not None and found.get(alias) != version:
                client.set_registered_model_alias(name, alias, str(version))
            elif version is None and alias in found:
                client.delete_registered_model_alias(name, alias)


def mark(
    settings: Settings, version: ModelVersion, *, validation_status: Status, tags: Mapping[str, str] | None = None
) -> None:
    """Tag a version with what became of it, for people who look into MLflow."""
    with connected(settings) as client:
        for key, value in {**(tags or {}), "validation_status": validation_status}.items():
            client.set_model_version_tag(version.name, str(version.version), key, value)


def log_document(settings: Settings, run_id: str, document: Mapping[str, Any], name: str) -> None:
    """Keep what JSON can hold as an artifact of a run."""
    with connected(settings) as client:
        client.log_dict(run_id, {"form": FORM_VERSION, **json.loads(json.dumps(document, default=str))}, name)


def log_page(settings: Settings, run_id: str, html: str, name: str) -> None:
    """Keep a page as an artifact of a run."""
    with connected(settings) as client:
        client.log_text(run_id, html, name)


def trained_from(settings: Settings, version: ModelVersion) -> datetime | None:
    """Oldest record time that a version was trained on (naive UTC); None where it does not say."""
    with connected(settings) as client:
        tags = client.get_model_version(version.name, str(version.version)).tags
    return datetime.fromisoformat(tags["trained_from"]) if "trained_from" in tags else None


def log_training_keys(client: "MlflowClient", run_id: str, seen: Hashes) -> str:
    """Keep with a run what its model was trained on; the SHA-256 of what was kept."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / _KEYS_FILE
        np.save(path, seen, allow_pickle=False)
        client.log_artifact(run_id, str(path))
        return hashlib.sha256(path.read_bytes()).hexdigest()


def training_keys(settings: Settings, version: ModelVersion) -> Hashes:
    """Hashes of the keys of all records that a version was trained on.

    Raises:
        UntrustedModel: it does not say, or what it says was changed.
        Unavailable: MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    with connected(settings) as client, tempfile.TemporaryDirectory() as folder:
        stamp = client.get_model_version(version.name, str(version.version)).tags.get(TRAINING_KEYS)
        try:
            path = Path(client.download_artifacts(version.run_id, _KEYS_FILE, folder)) if stamp else None
        except (OSError, MlflowException) as error:
            raise Unavailable(f"What {version} was trained on cannot be fetched ({_said(error)}).") from error
        if path is None or hashlib.sha256(path.read_bytes()).hexdigest() != stamp:
            raise UntrustedModel(
                f"{version} does not say, or no longer as it did, which records it was trained on, so that no unseen "
                "ones can be chosen; restore its run's artifacts, or let another version hold the title."
            )
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.uint64)


def load(settings: Settings, version: ModelVersion, expected_digest: str) -> Loaded:
    """A version's model, downloaded anew, checked against the digest and only then opened.

    Args:
        expected_digest: what the ledger approved; for a challenger, what was computed when it was logged.

    Raises:
        UntrustedModel: the files are not those; names the version, the digest found and the one needed.
        Unavailable: MLflow does not answer, or the artifacts are gone.
    """
    opened = load_folder(fetch(settings, version.name, version.uri), expected_digest, name=str(version))
    return Loaded(
        model=opened.model,
        folder=opened.folder,
        described=opened.described,
        arrays=opened.arrays,
        version=version,
    )


def fetch_approved(settings: Settings, version: ModelVersion, expected_digest: str) -> Path:
    """The folder of a version's files, downloaded anew and checked as by `load`, but not opened.

    Raises:
        UntrustedModel: the files are not those.
        Unavailable: MLflow does not answer, or the artifacts are gone.
    """
    folder = fetch(settings, version.name, version.uri)
    check_folder(folder, expected_digest, name=str(version))
    return folder


def fetch(settings: Settings, use_case: str, uri: str) -> Path:
    """A fresh copy of a model's files, in a folder named by their digest.

    The copy is made every time: one kept from before would hide that the stored files were exchanged.

    Raises:
        Unavailable: MLflow does not answer, or the artifacts are gone.
        UntrustedModel: they hold links or special files.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    kept = settings.scratch_of(use_case) / "models"
    kept.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(prefix="coming-", dir=kept))
    try:
        with connected(settings):
            try:
                mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(copy))
            except (OSError, MlflowException) as error:
                place = without_logins(mlflow.get_tracking_uri())
                raise Unavailable(
                    f"The artifacts of {uri} cannot be fetched from MLflow at {place} ({_said(error)}). See that they "
                    "are still there and that it runs, and run the same command again."
                ) from error
        (copy / STAMP).unlink(missing_ok=True)
        digest = digest_of(copy, name=f"{use_case} at {uri}")
        folder = kept / digest
        _clear_unless(folder, digest)
        if not folder.exists():
            try:
                copy.rename(folder)
            except OSError:
                # Another process was faster with the same files.
                if not folder.exists():
                    raise
        return folder
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _clear_unless(folder: Path, digest: str) -> None:
    """Make room where something else than the files of that digest was put."""
    try:
        if not folder.is_symlink() and (not folder.exists() or digest_of(folder) == digest):
            return
    except UntrustedModel:
        pass
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
    else:
        shutil.rmtree(folder)
