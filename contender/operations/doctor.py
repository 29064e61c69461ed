"""The examination of this machine and this installation: every check by itself and side by side, in about a second."""

import os
import platform
import re
import shlex
import threading
import time
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from contender.contracts.contract import Contract, known_use_cases
from contender.errors import ContenderError
from contender.operations import database_checks, machine_checks, port_checks, server_checks, storage_checks
from contender.operations.findings import Finding, checkout, reinstall_command, setup_command
from contender.settings import Environment, Settings

DEADLINE_SECONDS = 10
"""For all checks together; probes of a network give up after 2 s, but looking up a name has no limit."""

Check = Callable[[], Finding | list[Finding]]


def examine(settings: Settings) -> tuple[Finding, ...]:
    """What is well and what is not, in a fixed order; a check that crashes or hangs is a failed finding itself.

    The ports of Prefect and MLflow are not looked at where an address names another server.
    """
    checks: dict[str, Check] = {"Python": python_fits, "packages": packages_fit, **_of_the_machine()}
    checks |= {
        "memory": partial(machine_checks.memory_suffices, settings),
        "disk": partial(storage_checks.room_is_left, settings),
        "home": partial(storage_checks.may_be_written, settings),
        "file system": partial(storage_checks.is_local, settings),
        "clock": partial(storage_checks.clock_agrees, settings),
        "locks": partial(storage_checks.locks_are_held, settings),
        "settings": variables_are_known,
        "use cases": partial(storage_checks.may_be_read, settings),
        "contracts": partial(contracts_hold, settings),
        "ledger": partial(database_checks.ledger_answers, settings),
        "MLflow server": partial(database_checks.mlflow_answers, settings),
        "Prefect server": server_checks.prefect_answers,
        "Spark master": partial(server_checks.spark_answers, settings),
    }
    if not os.environ.get("PREFECT_API_URL"):
        checks["port of Prefect"] = partial(port_checks.port_is_usable, "Prefect", settings.prefect_port)
    if not settings.tracking:
        checks["port of MLflow"] = partial(port_checks.port_is_usable, "MLflow", settings.mlflow_port)
    checks["port of the dashboard"] = partial(port_checks.port_is_usable, "dashboard", settings.dashboard_port)
    return _side_by_side(checks)


def examine_here() -> tuple[Finding, ...]:
    """As `examine`, by the variables of this process; where they cannot be read, all checks that do without."""
    try:
        settings = Settings()
    except ValidationError as error:
        checks: dict[str, Check] = {"Python": python_fits, "packages": packages_fit, **_of_the_machine()}
        return (*_side_by_side(checks), *(_refused(part["loc"], part["input"], part["msg"]) for part in error.errors()))
    return examine(settings)


def python_fits() -> Finding:
    """The range of Python that this distribution asks for."""
    from packaging.specifiers import SpecifierSet

    from contender.operations.package_checks import fits

    needed, found = metadata.metadata("contender")["Requires-Python"], platform.python_version()
    if fits(found, SpecifierSet(needed)):
        return Finding("Python", "ok", found, needed)
    mend = reinstall_command("") if checkout() else f"install Contender with a Python {needed}"
    return Finding("Python", "failed", found, needed, mend)


def packages_fit() -> list[Finding]:
    """Every package against the range in this distribution's metadata, which has it from pyproject.toml."""
    from contender.operations.package_checks import misfits

    requirements = metadata.requires("contender") or []
    found = misfits(requirements, _installed)
    if not found:
        return [Finding("packages", "ok", f"{len(requirements)} as pinned")]
    return [
        Finding(
            misfit.name,
            "failed",
            (misfit.found or "not installed") + (f": {misfit.breaks}" if misfit.breaks else ""),
            misfit.needed,
            reinstall_command(misfit.requirement),
        )
        for misfit in found
    ]


def variables_are_known() -> list[Finding]:
    """Variables that look like one of ours and are read by nobody."""
    prefixes = ["", *(f"{name.upper()}_" for name in get_args(Environment))]
    known = {f"CONTENDER_{prefix}{name.upper()}" for prefix in prefixes for name in Settings.model_fields}
    found = []
    for name in sorted(name for name in os.environ if name.startswith("CONTENDER_") and name not in known):
        if near := get_close_matches(name, known, n=1, cutoff=0.85):
            mend = f'export {near[0]}="${name}" && unset {name}'
            found.append(Finding("settings", "warning", f"{name} is read by nobody", near[0], mend))
    return found or [Finding("settings", "ok", "every variable is known")]


def contracts_hold(settings: Settings) -> list[Finding]:
    """Every use case's contract can be read, and its landing folder too."""
    found = []
    for name in known_use_cases(settings.use_cases):
        try:
            found.append(_landing_is_there(Contract.of(name, settings.use_cases)))
        except ContenderError as error:
            path = settings.use_cases / name / "contract.toml"
            told = str(error).removeprefix(f"{path}, ").rstrip(".")
            found.append(Finding(f"contract {name}", "failed", told, "a contract without faults", f"edit {path}"))
    return found


def _landing_is_there(contract: Contract) -> Finding:
    folder = Path(contract.records.landing).expanduser().absolute()
    name, needed, quoted = f"contract {contract.name}", "a landing folder that can be read", shlex.quote(str(folder))
    try:
        next(folder.iterdir(), None)
    except FileNotFoundError:
        mend = "contender simulate" if contract.name == "payments" else f"mkdir -p {quoted}"
        return Finding(name, "warning", f"holds, but {folder} is not there", needed, mend)
    except OSError as error:
        mend = f"chmod u+rx {quoted}" if folder.is_dir() else f"mv {quoted} {shlex.quote(f'{folder}.old')}"
        return Finding(name, "failed", f"{folder} cannot be read ({error.strerror})", needed, mend)
    return Finding(name, "ok", f"holds; files land in {folder}", needed)


def _of_the_machine() -> dict[str, Check]:
    return {
        "Java": machine_checks.java_is_new_enough,
        "Delta JARs": machine_checks.jars_are_intact,
        "cores": machine_checks.cores_suffice,
        "open files": machine_checks.handles_suffice,
        "temporary files": machine_checks.temporary_folder_is_writable,
        "locale": machine_checks.locale_is_utf8,
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _refused(location: tuple[int | str, ...], value: object, needed: str) -> Finding:
    variable = f"CONTENDER_{'_'.join(map(str, location)).upper()}"
    return Finding(
        "settings", "failed", f"{variable} is {value!r}", f"{needed[0].lower()}{needed[1:]}", f"unset {variable}"
    )


def _side_by_side(checks: dict[str, Check]) -> tuple[Finding, ...]:
    until, found = time.monotonic() + DEADLINE_SECONDS, dict[str, list[Finding]]()
    # Threads that nobody waits for at the end of the process, unlike those of an executor.
    threads = [threading.Thread(target=_run, args=(*item, found), daemon=True) for item in checks.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))
    hangs = f"did not end within {DEADLINE_SECONDS} s"
    again = "contender doctor, when the machine or the network is less busy"
    return tuple(
        finding for name in checks for finding in found.get(name, [Finding(name, "failed", hangs, "an answer", again)])
    )


def _run(name: str, check: Check, found: dict[str, list[Finding]]) -> None:
    try:
        answer = check()
        found[name] = answer if isinstance(answer, list) else [answer]
    except Exception as error:  # noqa: BLE001 - whatever is broken here is what was looked for
        told = (str(error).strip().splitlines() or ["without a word"])[0]
        # An address in it may hold a login.
        told = f"the check itself failed ({type(error).__name__}: {re.sub('//[^ ]*@', '//', told)})"
        found[name] = [Finding(name, "failed", told, "an installation that is whole", setup_command())]
