"""`contender deployments`: what Prefect is told to run, printed, written or compared."""

from pathlib import Path

import click

from contender.errors import ContractError, UsageError
from contender.settings import Settings
from flows.prefect_api import deployments
from flows.runtime.output import print_json


def tell_deployments(use_cases: tuple[str, ...], write: bool, check: bool, file: Path, json_: bool) -> None:
    """Print the deployments, or write them to a file, or compare it.

    Raises:
        UsageError: to write and to compare at once.
        ContractError: the file does not say what the contracts do.
    """
    if write and check:
        raise UsageError("--write and --check exclude each other; choose one.")
    settings = Settings()
    text = deployments.render(settings, use_cases)
    stale = deployments.out_of_date(text, file)
    if check and stale:
        raise ContractError(
            f"{file} does not say what the contracts in {settings.use_cases} do; 'contender deployments --write' does."
        )
    if write and stale:
        file.write_text(text, encoding="utf-8")
    if json_:
        found = deployments.documents(settings, use_cases)
        print_json({"file": str(file), "up_to_date": not stale or write, "deployments": found})
    elif check:
        click.echo(f"{file} is up to date.")
    elif write:
        click.echo(f"{file} {'was written' if stale else 'was up to date'}.")
    else:
        click.echo(text, nl=False)
