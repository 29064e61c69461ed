"""`contender predictions`: each record's prediction beside its own columns, on the screen or as a file."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from contender.contracts.contract import Contract
from contender.settings import Settings
from flows.cli.options import as_json, command, moment, use_case_argument
from flows.runtime.output import print_json

_SHOWN = 10


@command()
@use_case_argument
@click.option("--since", type=moment, metavar="TIME", help="Only those made from then on, in UTC.")
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Write all: .csv, .csv.gz or .parquet.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@as_json
def predictions(use_case: str, since: datetime | None, to: Path | None, overwrite: bool, json_: bool) -> None:
    """Show the newest predictions, or write all of them to a file.

    Each has the record's own columns, its score, prediction and band, the
    version that scored it, and when. Times are UTC. A file appears when it is
    whole; writing takes 512 MB of memory at most, and disk for the rest.

    \b
    Example: contender predictions payments
             contender predictions payments --since 2026-05-01 --to may.csv
    """
    from contender.scoring import prediction_export

    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    names = prediction_export.names_of(contract)
    if to is not None:
        written = prediction_export.write(settings, contract, to, since, overwrite=overwrite)
        renamed = {ours: name for ours, name in names.items() if ours != name}
        if json_:
            told = {"file": str(to), "rows": written.rows, "bytes": written.size, "renamed": renamed}
            print_json({"use_case": use_case, **told})
            return
        click.echo(f"Wrote {written.rows:,} predictions to {to}.")
        for ours, name in renamed.items():
            click.echo(f"The records have a column '{ours}' of their own; the prediction's is '{name}'.")
        return
    found = prediction_export.newest(settings, contract, _SHOWN, since)
    if json_:
        print_json({"use_case": use_case, "predictions": found.total, "newest": found.rows})
        return
    made = f" since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    if not found.rows:
        click.echo(f"No prediction of {use_case} was made{made}.")
        return
    _tell(contract, found.rows, names)
    click.echo(f"{found.total:,} predictions{made}. All, with every column: contender predictions {use_case} --to FILE")


def _tell(contract: Contract, rows: list[dict[str, Any]], names: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(contract.records.key or "key", box=None, header_style="bold")
    for name in ("score", "prediction", "band", "version", "when (UTC)"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        score = row[names["score"]]
        table.add_row(
            Text(str(row[contract.records.key or "key"]), overflow="ellipsis", no_wrap=True),
            "none" if score is None else f"{score:.4g}",
            Text(str(row[names["prediction"]])),
            str(row[names["band"]]),
            str(row[names["model_version"]]),
            f"{row[names['scored_at']]:%Y-%m-%d %H:%M}",
        )
    Console().print(table)
