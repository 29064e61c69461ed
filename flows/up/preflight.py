"""Before `contender up` starts anything: which use cases, and whether the machine is well."""

from collections.abc import Sequence

import click

from contender.contracts.contract import Contract, known_use_cases
from contender.errors import ContenderError, Unavailable, UsageError
from contender.operations import doctor
from contender.operations.findings import healthy
from contender.settings import Settings
from flows.up import display


class Refused(ContenderError):
    """`up` does not start, for reasons that were told already."""


def read_contracts(settings: Settings, names: Sequence[str]) -> tuple[Contract, ...]:
    """The contracts of the named use cases; of all, where none is named.

    Raises:
        UsageError: there is none, or one of that name is unknown or at fault.
    """
    wanted = tuple(dict.fromkeys(names)) or tuple(known_use_cases(settings.use_cases))
    if not wanted:
        raise UsageError(f"{settings.use_cases} holds no contract; write one with 'contender init'.")
    return tuple(Contract.of(name, settings.use_cases) for name in wanted)


def examine(settings: Settings, names: Sequence[str], teller: display.Teller) -> None:
    """Look at the machine first: each failure is told with what mends it.

    Raises:
        Refused: something failed.
        Unavailable: a server that is not ours is in the place of one that is to be started.
    """
    ports = {
        f"port {settings.prefect_port}": "CONTENDER_PREFECT_PORT",
        f"port {settings.mlflow_port}": "CONTENDER_MLFLOW_PORT",
        f"port {settings.dashboard_port}": "CONTENDER_DASHBOARD_PORT",
    }
    found = doctor.examine(settings)
    others = {f"contract {name}" for name in known_use_cases(settings.use_cases) if name not in names}
    ill = [one for one in found if one.status != "ok" and one.name not in others]
    for finding in ill:
        if finding.status == "warning":
            teller.note(f"Warning: {finding.sentence}")
            continue
        other = f", or export {ports[finding.name]}=another port" if finding.name in ports else ""
        click.echo(f"{finding.sentence}\n  {finding.mend}{other}", err=True)
    if not healthy(ill):
        failed = sum(one.status == "failed" for one in ill)
        raise Refused(f"{failed} of {len(found)} checks failed; mend what is told above, then 'contender up' again.")
    # It is healthy, or it would have failed; but what it shows is not what flows write here.
    if any((one.name, one.found) == (f"port {settings.mlflow_port}", "MLflow answers") for one in found):
        raise Unavailable(
            f"An MLflow server that is not ours answers on port {settings.mlflow_port}; use it by export "
            f"MLFLOW_TRACKING_URI=http://127.0.0.1:{settings.mlflow_port}, or choose another CONTENDER_MLFLOW_PORT."
        )
