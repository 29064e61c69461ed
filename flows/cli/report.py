"""The command that writes the report of a title, or the dashboard of all: no Spark, no Prefect."""

from pathlib import Path

import click

from contender.contracts.contract import Contract
from contender.errors import ContenderError
from contender.promotion import ledger
from contender.settings import Settings
from contender.values import ModelVersion
from flows.cli.options import any_use_case, as_json, command
from flows.runtime.output import print_json


@command()
@any_use_case
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="File to write; else one in the home.")
@as_json
def report(use_case: str | None, to: Path | None, json_: bool) -> None:
    """Write one page to open offline: a title and its evidence, or all.

    Without a use case it is the dashboard of every one, as 'contender up'
    serves it.

    \b
    Example: contender report payments --to payments.html
             contender report
    """
    from contender.reports import dashboard, publication

    settings = Settings()
    if use_case is None:
        path = to.expanduser().absolute() if to else dashboard.path_of(settings)
        text, causes = dashboard.page(settings, beside=path.parent)
        publication.write(path, text)
        for cause in causes:
            click.echo(f"contender: the dashboard lacks something: {cause}", err=True)
    else:
        path = to.expanduser().absolute() if to else publication.path_of(settings, use_case)
        publication.write(path, _report(settings, use_case))
    if json_:
        print_json({"report": str(path)})
        return
    click.echo(str(path))


def _report(settings: Settings, use_case: str) -> str:
    from contender.reports import publication

    contract = Contract.of(use_case, settings.use_cases)
    head = ledger.head(settings, use_case)
    champion = _champion(settings, use_case, head.version) if head else None
    return publication.page(settings, contract, champion)


def _champion(settings: Settings, use_case: str, version: int) -> ModelVersion | None:
    """What the registry adds to the ledger; a report is wanted all the more when the registry is down."""
    from contender.registry import model_versions

    try:
        return model_versions.find(settings, use_case, version)
    except ContenderError as error:
        click.echo(f"contender: the report lacks the champion's family: {error}", err=True)
        return None
