"""Addresses in MLflow's own pages, for whoever reads of a run or a version elsewhere."""

import json
from urllib.parse import quote

from contender.redact import without_login
from contender.settings import Settings
from contender.values import ModelVersion


def mlflow(settings: Settings) -> str | None:
    """Where a browser finds MLflow: the server that is configured, else the one that `up` has running; else None."""
    address = settings.tracking
    if not address:
        try:
            address = json.loads((settings.running / "up.json").read_text(encoding="utf-8"))["mlflow"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
    if not isinstance(address, str) or not address.startswith(("http://", "https://")):
        return None
    return without_login(address).rstrip("/")


def of_run(settings: Settings, run_id: str) -> str | None:
    """The page of a run, which sends the browser on to its experiment; None where MLflow has no pages."""
    base = mlflow(settings)
    return base and f"{base}/#/runs/{quote(run_id)}"


def of_version(settings: Settings, model: str, version: int) -> str | None:
    """The page of a registered version; None where MLflow has no pages."""
    base = mlflow(settings)
    return base and f"{base}/#/models/{quote(model)}/versions/{version}"


def version_line(settings: Settings, model: ModelVersion) -> str:
    """A line of Markdown on where a version and its run are: with links where there are pages, else by name."""
    version = of_version(settings, model.name, model.version)
    names = (f"{model}", version), (f"run {model.run_id}", of_run(settings, model.run_id))
    return "MLflow: " + ", ".join(f"[{name}]({link})" if link else name for name, link in names) + "."
