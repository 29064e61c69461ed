"""Whether a registered version is fit to hold the title: its files are the approved ones, and it predicts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contender.errors import ContenderError, ModelError, UntrustedModel
from contender.registry import model_versions
from contender.settings import Settings
from contender.values import ModelVersion


@dataclass(frozen=True)
class Proven:
    """How many rows a version has answered, and its columns with what their cells are to it: numbers or texts."""

    rows: int
    inputs: Mapping[str, str]


def prove(settings: Settings, version: ModelVersion, approved: str | None) -> Proven:
    """What is known of a version that was loaded and has answered each row of its own input example with a number.

    Args:
        approved: digest with which it held the title before; None when it never did.

    Raises:
        UntrustedModel: its files are not those that were approved, or logged.
        ModelError: it does not predict, or answers with what is not a number.
        Unavailable: MLflow does not answer.
    """
    import numpy as np

    check_digest(version, approved)
    try:
        loaded = model_versions.load(settings, version, version.digest)
        example: Any = loaded.pyfunc.metadata.load_input_example(str(loaded.folder))
        answer = None if example is None else loaded.answer(example)
    except ContenderError:
        raise
    except Exception as error:
        # Whatever a model raises on its own example, it cannot be champion.
        said = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise ModelError(f"{version} cannot predict its own input example ({said}); choose another version.") from error
    if answer is None:
        raise ModelError(f"{version} was logged without an input example to try it on; choose another version.")
    if not len(answer) or len(answer) != len(example) or not np.isfinite(answer).all():
        raise ModelError(
            f"{version} does not answer each of the {len(example)} rows of its own input example with a number; "
            "choose another version."
        )
    wanted = json.loads(loaded.described["signature"]["inputs"])
    return Proven(len(example), {one["name"]: "text" if one["type"] == "string" else "number" for one in wanted})


def check_digest(version: ModelVersion, approved: str | None) -> None:
    """Return only if the registry's digest of a version is the one that took the title.

    Raises:
        UntrustedModel: it is another one.
    """
    if approved not in (None, version.digest):
        raise UntrustedModel(
            f"{version} is registered with the digest {version.digest[:12]}…, but {approved[:12]}… took the title; "
            "roll back with 'contender rollback USE_CASE --to VERSION --reason …', or restore the registry."
        )
