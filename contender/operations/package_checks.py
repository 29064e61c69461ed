"""Installed versions against the ranges in pyproject.toml, and what breaks outside of some of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion

BREAKS = {
    "delta-spark": "the JARs of other versions are not on Maven Central or do not fit: Spark does not start",
    "fastapi": "Prefect's server, and the temporary one of a command, crash while they are loaded",
    "mlflow": "models and their tables were tested with this release only, and 3.18.0 lacks parts of its own",
    "pandas": "Evidently cannot be loaded and SHAP fails on strings",
    "prefect": "flows, automations and the server were tested together with this release only",
    "pyspark": "Delta's JARs and Great Expectations do not fit other releases",
    "sqlalchemy": "Prefect's scheduler fails in its log only: no scheduled run is ever created",
}
"""What is known to break, measured, when a package is outside of its range."""


@dataclass(frozen=True)
class Misfit:
    """A package that is missing or outside of its range."""

    requirement: str
    name: str
    found: str
    needed: str
    breaks: str


def misfits(requirements: Iterable[str], installed: Callable[[str], str | None]) -> list[Misfit]:
    """The requirements that are not met, optional ones only where they are installed.

    Args:
        requirements: as in a distribution's metadata, such as `pandas<3,>=2.3` or `x>=1; extra == 'y'`.
        installed: the version of a package; None where there is none.
    """
    found = []
    for requirement in map(Requirement, requirements):
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        version = installed(requirement.name)
        if version is None and not applies:
            continue
        if version is None or not fits(version, requirement.specifier):
            extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            found.append(
                Misfit(
                    f"{requirement.name}{extras}{requirement.specifier}",
                    requirement.name,
                    version or "",
                    str(requirement.specifier) or "any version",
                    BREAKS.get(requirement.name, ""),
                )
            )
    return found


def fits(version: str, allowed: SpecifierSet) -> bool:
    """Whether a version lies in a range; one that cannot be read does not."""
    try:
        return allowed.contains(version, prereleases=True)
    except InvalidVersion:
        return False
