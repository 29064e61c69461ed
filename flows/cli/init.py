"""`contender init`: a contract from a user's own files."""

from dataclasses import asdict
from pathlib import Path

import click

from contender.settings import Settings
from flows.cli.options import as_json, command
from flows.runtime.output import print_json


@command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the use case.")
@click.option("--target", required=True, help="Column, or SQL expression over the outcome's columns.")
@click.option("--outcomes", multiple=True, type=click.Path(path_type=Path), help="File with outcomes; may be repeated.")
@click.option("--key", help="Column that names a record.")
@click.option("--time", help="Column that says when a record happened.")
@click.option("--lookup", "lookups", multiple=True, metavar="NAME=FILE:KEY…", help="Table of facts, joined by key.")
@click.option("--overwrite", is_flag=True, help="Replace a contract that is there.")
@as_json
def init(
    files: tuple[Path, ...],
    name: str,
    target: str,
    outcomes: tuple[Path, ...],
    key: str | None,
    time: str | None,
    lookups: tuple[str, ...],
    overwrite: bool,
    json_: bool,
) -> None:
    """Write a contract from your own files: CSV, JSON lines or Parquet.

    \b
    Example: contender init landing/sales/*.csv --name sales --target churned
             contender init flights-*.csv.gz --name flights \\
               --outcomes outcomes-2013-01.csv.gz --target "arr_delay > 15" \\
               --lookup planes=planes.csv.gz:tailnum
    """
    from contender.drafting import contract_draft

    settings = Settings()
    draft = contract_draft.draft(
        files,
        name=name,
        target=target,
        outcomes=outcomes,
        key=key,
        time=time,
        lookups=lookups,
        folder=settings.use_cases,
    )
    path = contract_draft.write(draft, settings.use_cases, overwrite)
    if json_:
        print_json({"contract": str(path), "guesses": [asdict(guess) for guess in draft.guesses]})
        return
    click.echo(f"Wrote {path}\n\nGuessed:")
    for guess in draft.guesses:
        click.echo(f"  {guess.what} = {guess.value}  ({guess.why})") if not guess.check else None
    doubtful = [guess for guess in draft.guesses if guess.check]
    if doubtful:
        click.echo("\nPlease check:")
    for guess in doubtful:
        click.echo(f"  {guess.what} = {guess.value}  ({guess.why})")
    click.echo(f"\nNext: contender run {name}")
