"""`contender deployments`: what Prefect is told to run, printed, written or compared."""

from pathlib import Path

import click

from contender.errors import ContractError, UsageError
from contender.settings import Settings
from flows.cli.options import as_json, command, many_use_cases
from flows.prefect_api.deployments import documents, out_of_date, render
from flows.runtime.output import print_json


@command()
@many_use_cases
@click.option("--write", is_flag=True, help="Write the file instead of printing it.")
@click.option("--check", is_flag=True, help="Exit with 1 when the file is out of date.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default="prefect.yaml",
    show_default=True,
    help="File to write or to compare.",
)
@as_json
def deployments(use_cases: tuple[str, ...], write: bool, check: bool, file: Path, json_: bool) -> None:
    """Print Prefect's deployments, as the contracts have them.

    Schedules, triggers and limits for every flow of every use case; 'contender
    up' installs them, and so does 'prefect deploy --all'.

    \b
    Example: contender deployments --write
    """
    if write and check:
        raise UsageError("--write and --check exclude each other; choose one.")
    settings = Settings()
    text = render(settings, use_cases)
    stale = out_of_date(text, file)
    if check and stale:
        raise ContractError(
            f"{file} does not say what the contracts in {settings.use_cases} do; 'contender deployments --write' does."
        )
    if write and stale:
        file.write_text(text, encoding="utf-8")
    if json_:
        found = documents(settings, use_cases)
        print_json({"file": str(file), "up_to_date": not stale or write, "deployments": found})
    elif check:
        click.echo(f"{file} is up to date.")
    elif write:
        click.echo(f"{file} {'was written' if stale else 'was up to date'}.")
    else:
        click.echo(text, nl=False)
