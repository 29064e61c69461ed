"""`contender init`: a contract from a user's own files."""

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from contender.contracts.contract import Contract
from contender.settings import Settings
from flows.cli.options import as_json, command
from flows.runtime.output import print_json

if TYPE_CHECKING:
    from contender.drafting.contract_draft import Draft
    from contender.drafting.contract_merge import KeptChange
    from contender.drafting.draft_check import Checked

_QUIET_SECONDS = 3.0
_MOST_FINDINGS = 8


@command()
@click.argument("files", metavar="FILE...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the use case.")
@click.option("--target", help="Column, or expression over the outcome's columns (DuckDB's SQL).")
@click.option("--outcomes", multiple=True, type=click.Path(path_type=Path), help="File with outcomes; may be repeated.")
@click.option("--key", help="Column that names a record; RECORDS=OUTCOMES where the outcomes call it otherwise.")
@click.option("--time", help='Column that says when a record happened; "Date Time" for two.')
@click.option(
    "--kind", type=click.Choice(["binary", "multiclass", "regression"]), help="Of the target, if guessed wrongly."
)
@click.option("--format", "formats", multiple=True, metavar="COLUMN=FORM", help="Date pattern or type of a column.")
@click.option("--decimal", type=click.Choice([".", ","]), help="Decimal sign, where nothing else tells it.")
@click.option("--header/--no-header", default=None, help="Whether the first row holds names, if guessed wrongly.")
@click.option("--lookup", "lookups", multiple=True, metavar="NAME=FILE:KEY…", help="Table of facts, joined by key.")
@click.option("--overwrite", is_flag=True, help="Replace a contract that is there.")
@click.option("--again", is_flag=True, help="Draft it anew, and keep what you changed in it.")
@as_json
def init(
    files: tuple[Path, ...],
    name: str,
    target: str | None,
    outcomes: tuple[Path, ...],
    key: str | None,
    time: str | None,
    kind: Literal["binary", "multiclass", "regression"] | None,
    formats: tuple[str, ...],
    decimal: str | None,
    header: bool | None,
    lookups: tuple[str, ...],
    overwrite: bool,
    again: bool,
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
             contender init --again --name air
    """
    from contender.drafting import contract_draft, contract_merge

    settings = Settings()
    folder = settings.use_cases / name
    before = contract_merge.LastDraft.read(folder) if again else None
    if before is None and not files:
        raise click.UsageError("Missing argument 'FILE...'.")
    if before is None and target is None:
        raise click.UsageError("Missing option '--target'.")
    given = {
        "files": tuple(map(str, files)),
        "target": target,
        "outcomes": tuple(map(str, outcomes)),
        "key": key,
        "time": time,
        "kind": kind,
        "formats": formats,
        "decimal": decimal,
        "lookups": lookups,
        "header": header,
    }
    last = asdict(before.asked.now(Contract.of(name, settings.use_cases))) if before else {}
    asked = contract_merge.DraftRequest(
        **last | {entry: value for entry, value in given.items() if value not in (None, ())}
    )
    draft = contract_draft.draft(
        [Path(one) for one in asked.files],
        name=name,
        target=asked.target,
        outcomes=[Path(one) for one in asked.outcomes],
        key=asked.key,
        time=asked.time,
        kind=asked.kind,
        formats=asked.formats,
        decimal=asked.decimal,
        header=asked.header,
        progress=_progress(),
        lookups=asked.lookups,
        folder=settings.use_cases,
    )
    drafted, kept = draft.toml, list[contract_merge.KeptChange]()
    if before:
        changed = (folder / "contract.toml").read_text(encoding="utf-8-sig")
        text, kept = contract_merge.merged(before.toml, changed, drafted)
        contract_merge.refuse_unsound(folder, text)
        draft = replace(draft, toml=text)
    path = contract_draft.write(draft, settings.use_cases, overwrite or again)
    contract_merge.LastDraft(asked, drafted).write(folder)
    if json_:
        guesses = [asdict(guess) for guess in draft.guesses]
        more = {"kept": [asdict(one) for one in kept]} if before else {}
        print_json({"contract": str(path), "guesses": guesses, "checked": asdict(draft.checked)} | more)
        return
    click.echo(f"Wrote {path}\n\nGuessed:")
    _show(draft)
    if before:
        _show_kept(kept)
    _show_check(draft.checked, "the draft" if kept else "it")
    if kept:
        click.echo(f"\nWhat your changes make of files: contender check {name} FILE...")
    click.echo(f"\nNext: contender run {name}")


def _show_kept(kept: "Sequence[KeptChange]") -> None:
    """What stays as a person has it."""
    click.echo("\nKept as you have it:" if kept else "\nNothing had been changed since the draft before.")
    for one in kept:
        drafted = f"the draft has {one.drafted}" if one.drafted is not None else "the draft has none"
        click.echo(f"  {one.entry} {f'= {one.kept}' if one.kept is not None else 'left out'}  ({drafted})")


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


def _show_check(checked: "Checked", what: str) -> None:
    """What the contract would do to the files' own rows."""
    if not checked.quarantined:
        click.echo(f"\nChecked all {checked.rows:,} rows against {what}: none would be quarantined.")
        return
    share = f"{checked.share:.1%}" if checked.share >= 0.001 else "less than 0.1 %"
    click.echo(
        f"\nChecked all {checked.rows:,} rows against {what}: {checked.quarantined:,} would be quarantined ({share}):"
    )
    for finding in checked.findings[:_MOST_FINDINGS]:
        click.echo(f"  {finding.rows:,} x {finding.reason}: {', '.join(finding.samples)}\n    {finding.remedy}")
    if (more := len(checked.findings) - _MOST_FINDINGS) > 0:
        click.echo(f"  and {more:,} reasons more, against the same rows or fewer others")
