"""`contender init`: a contract from a user's own files."""

import time as clock
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from contender.settings import Settings
from flows.cli.options import as_json, command
from flows.runtime.output import print_json

if TYPE_CHECKING:
    from contender.drafting.contract_draft import Draft
    from contender.drafting.draft_check import Checked

_QUIET_SECONDS = 3.0
_MOST_FINDINGS = 8


@command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the use case.")
@click.option("--target", required=True, help="Column, or expression over the outcome's columns (DuckDB's SQL).")
@click.option("--outcomes", multiple=True, type=click.Path(path_type=Path), help="File with outcomes; may be repeated.")
@click.option("--key", help="Column that names a record.")
@click.option("--time", help='Column that says when a record happened; "Date Time" for two.')
@click.option(
    "--kind", type=click.Choice(["binary", "multiclass", "regression"]), help="Of the target, if guessed wrongly."
)
@click.option("--format", "formats", multiple=True, metavar="COLUMN=FORM", help="Date pattern or type of a column.")
@click.option("--decimal", type=click.Choice([".", ","]), help="Decimal sign, where nothing else tells it.")
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
    kind: Literal["binary", "multiclass", "regression"] | None,
    formats: tuple[str, ...],
    decimal: str | None,
    lookups: tuple[str, ...],
    overwrite: bool,
    json_: bool,
) -> None:
    """Write a contract from all rows of your files: CSV, JSON or Parquet.

    \b
    Example: contender init landing/sales/*.csv --name sales --target churned
             contender init flights-*.csv.gz --name flights \\
               --outcomes outcomes-2013-01.csv.gz --target "arr_delay > 15" \\
               --lookup planes=planes.csv.gz:tailnum
             contender init air.csv --name air --target "CO(GT)" \\
               --time "Date Time" --decimal , --format "Date=dd/MM/yyyy"
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
        kind=kind,
        formats=formats,
        decimal=decimal,
        progress=_progress(),
        lookups=lookups,
        folder=settings.use_cases,
    )
    path = contract_draft.write(draft, settings.use_cases, overwrite)
    if json_:
        guesses = [asdict(guess) for guess in draft.guesses]
        print_json({"contract": str(path), "guesses": guesses, "checked": asdict(draft.checked)})
        return
    click.echo(f"Wrote {path}\n\nGuessed:")
    _show(draft)
    _show_check(draft.checked)
    click.echo(f"\nNext: contender run {name}")


def _progress() -> Callable[[str], None]:
    """Tells what is being done, with the seconds since the start, where it takes long enough to wonder."""
    started = clock.monotonic()

    def tell(text: str) -> None:
        seconds = clock.monotonic() - started
        if seconds > _QUIET_SECONDS:
            click.echo(f"{seconds:6.1f} s  {text}", err=True)

    return tell


def _show(draft: "Draft") -> None:
    """Every guess, those that a person should look at last."""
    doubtful = [guess for guess in draft.guesses if guess.check]
    for guess in draft.guesses:
        if not guess.check:
            click.echo(f"  {guess.what} = {guess.value}{f'  ({guess.why})' if guess.why else ''}")
    if doubtful:
        click.echo("\nPlease check:")
    for guess in doubtful:
        click.echo(f"  {guess.what} = {guess.value}  ({guess.why})")


def _show_check(checked: "Checked") -> None:
    """What the contract would do to the files' own rows."""
    if not checked.quarantined:
        click.echo(f"\nChecked all {checked.rows:,} rows against it: none would be quarantined.")
        return
    share = f"{checked.share:.1%}" if checked.share >= 0.001 else "less than 0.1 %"
    click.echo(
        f"\nChecked all {checked.rows:,} rows against it: {checked.quarantined:,} would be quarantined ({share}):"
    )
    for finding in checked.findings[:_MOST_FINDINGS]:
        click.echo(f"  {finding.rows:,} x {finding.reason}: {', '.join(finding.samples)}\n    {finding.remedy}")
    if (more := len(checked.findings) - _MOST_FINDINGS) > 0:
        click.echo(f"  and {more:,} reasons more, against the same rows or fewer others")
