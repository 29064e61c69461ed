"""The command that writes the report of a title, or the dashboard of all: no Spark, no Prefect."""

from pathlib import Path

import click

from contender.contracts.contract import Contract
from contender.errors import ContenderError
from contender.promotion import ledger
from contender.settings import Settings
from contender.values import ModelVersion
from flows.runtime.output import print_json


def write_report(use_case: str, to: Path | None, json_: bool) -> None:
    """`contender report`."""
    from contender.reports import publication

    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    head = ledger.head(settings, use_case)
    path = to.expanduser().absolute() if to else publication.path_of(settings, use_case)
    champion = _champion(settings, use_case, head.version) if head else None
    publication.write(path, publication.page(settings, contract, champion))
    if json_:
        print_json({"report": str(path)})
        return
    click.echo(str(path))


def write_dashboard(to: Path | None, json_: bool) -> None:
    """`contender report` without a use case."""
    from contender.reports import dashboard, publication

    settings = Settings()
    path = to.expanduser().absolute() if to else dashboard.path_of(settings)
    text, causes = dashboard.page(settings, beside=path.parent)
    publication.write(path, text)
    for cause in causes:
        click.echo(f"contender: the dashboard lacks something: {cause}", err=True)
    if json_:
        print_json({"report": str(path)})
        return
    click.echo(str(path))


def _champion(settings: Settings, use_case: str, version: int) -> ModelVersion | None:
    """What the registry adds to the ledger; a report is wanted all the more when the registry is down."""
    from contender.registry import model_versions

    try:
        return model_versions.find(settings, use_case, version)
    except ContenderError as error:
        click.echo(f"contender: the report lacks the champion's family: {error}", err=True)
        return None
