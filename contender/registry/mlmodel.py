"""MLflow's files beside a model: nothing of ours obeys them, but whoever loads the version through MLflow does."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from contender.errors import UntrustedModel

DESCRIPTION = "MLmodel"
MODEL_FILE = "model.skops"
ARRAYS_FILE = "scorer.arrays"

FILES = frozenset(
    {
        DESCRIPTION,
        MODEL_FILE,
        "conda.yaml",
        "input_example.json",
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    }
)
"""All that a logged model of ours consists of, but for its arrays, which versions of before have not."""

_FLAVORS: Mapping[str, Mapping[str, Any]] = {
    "python_function": {
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "loader_module": "mlflow.sklearn",
        "model_path": MODEL_FILE,
        "predict_fn": ("predict", "predict_proba"),
        "python_version": None,
    },
    "sklearn": {
        "code": (None,),
        "pickled_model": MODEL_FILE,
        "serialization_format": "skops",
        "sklearn_version": None,
        "skops_trusted_types": None,
    },
}
"""What each key must say; any of a tuple; None where a later check, or nobody, minds."""

_PLAIN = re.compile(r"([A-Za-z0-9_-]+)(?:(?:==?|<=)[\w.+!]+)?", re.ASCII)
PACKAGES = ("mlflow", "scikit-learn", "skops", "numpy", "pandas", "scipy", "contender")
"""What our models need; `tracking` pins these, and no description may name another."""

_INSTALLERS = {"python", "pip", "setuptools", "wheel"}


def check_description(files: Mapping[str, bytes], allowed: frozenset[str], name: str) -> dict[str, Any]:
    """The content of `MLmodel`, if it and the environment beside it are as Contender logs them.

    Args:
        files: contents by name.
        allowed: the types that it may tell MLflow to trust.
        name: how an error calls the model.

    Raises:
        UntrustedModel: there are other files, or they say something else; names what.
    """
    if strange := sorted((set(files) - {ARRAYS_FILE}) ^ FILES):
        state = "has the file" if strange[0] in files else "lacks the file"
        raise _refused(name, f"{state} '{strange[0]}'")
    description = _read(files[DESCRIPTION], DESCRIPTION, name)
    flavors, signature = description.get("flavors"), description.get("signature")
    if not isinstance(flavors, dict) or set(flavors) != set(_FLAVORS) or not isinstance(signature, dict):
        raise _refused(name, f"has an {DESCRIPTION} without our two flavors and a signature, or with others")
    for flavor, wanted in _FLAVORS.items():
        for key in sorted(set(flavors[flavor]) | set(wanted)):
            said, ours = flavors[flavor].get(key), wanted.get(key, ())
            if ours is not None and said not in (ours if isinstance(ours, tuple) else (ours,)):
                raise _refused(name, f"has an {DESCRIPTION} whose flavor {flavor} has '{key}: {str(said)[:80]}'")
    if foreign := sorted(set(map(str, flavors["sklearn"].get("skops_trusted_types") or ())) - allowed):
        raise _refused(name, f"has an {DESCRIPTION} that trusts {foreign[0]}")
    for wish in _wishes(files, name):
        plain = _PLAIN.fullmatch(wish)
        if not plain or plain[1] not in {*PACKAGES, *_INSTALLERS}:
            raise _refused(name, f"asks for '{wish[:80]}' to be installed")
    return description


def _wishes(files: Mapping[str, bytes], name: str) -> Iterator[str]:
    """Everything that MLflow would hand to pip or conda to make the model's environment."""
    yield from files["requirements.txt"].decode(errors="replace").splitlines()
    conda, python = (_read(files[file], file, name) for file in ("conda.yaml", "python_env.yaml"))
    if conda.get("channels") != ["conda-forge"] or python.get("dependencies") != ["-r requirements.txt"]:
        raise _refused(name, "takes its environment from elsewhere than conda-forge and its requirements.txt")
    for wish in [*conda.get("dependencies", ()), *python.get("build_dependencies", ())]:
        yield from map(str, wish.get("pip", ["nothing"]) if isinstance(wish, dict) else [wish])


def content_of(description: bytes, name: str) -> dict[str, Any]:
    """What an `MLmodel` says, whose digest was approved.

    Raises:
        UntrustedModel: it is none.
    """
    return _read(description, DESCRIPTION, name)


def _read(content: bytes, file: str, name: str) -> dict[str, Any]:
    import yaml

    try:
        if any(isinstance(token, yaml.AliasToken | yaml.TagToken) for token in yaml.scan(content)):
            raise _refused(name, f"has a file {file} with tags or aliases")
        found = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused(name, f"has a file {file} that is not YAML ({str(error).splitlines()[0][:100]})") from None
    if not isinstance(found, dict):
        raise _refused(name, f"has a file {file} that is not a mapping")
    return found


def _refused(name: str, found: str) -> UntrustedModel:
    return UntrustedModel(
        f"{name} {found}, which no model of ours does; it is not loaded: retrain, or roll back to a version that is "
        "approved."
    )
