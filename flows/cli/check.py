"""`contender check`: what would become of files, told by the steps that take them in."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contender.contracts.contract import Contract
from contender.settings import Settings
from flows.cli.options import as_json, command, landing_option, use_case_argument
from flows.runtime.output import print_json

if TYPE_CHECKING:
    from contender.ingestion.preview import FilePreview

_SHOWN = 20


@command()
@use_case_argument
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(path_type=Path))
@landing_option
@as_json
def check(use_case: str, files: tuple[Path, ...], landing: Path | None, json_: bool) -> None:
    """Say what would happen to files, and write nothing.

    Without files it is about all that has landed and was not looked at yet.

    \b
    Example: contender check payments
             contender check sales ~/Downloads/sales-may.csv
    """
    from contender.lake import java, shared_spark, spark_session

    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    folder = Path(landing or contract.records.landing).expanduser().absolute()
    java.require_java()
    java.jar_paths()
    with shared_spark.answering():
        from contender.ingestion.preview import preview

        size = sum(path.stat().st_size for path in files if path.is_file())
        spark_session.session(settings, small=size < 64 << 20, tiny=size < 4 << 20)
        found = preview(settings, contract, folder, files, datetime.now(UTC), lambda _: None)
    if json_:
        print_json({"use_case": use_case, **asdict(found)})
        return
    if found.files:
        _tell(found.files)
        if found.reasons:
            from flows.cli.quarantine import tell_reasons

            click.echo("\nWhy rows would be held:")
            tell_reasons(found.reasons, _SHOWN)
    for file in found.files:
        if file.refusal:
            click.echo(f"Refused: {file.refusal}")
    if found.refusal:
        click.echo(found.refusal)
    for note in found.notes:
        click.echo(note)
    if found.known:
        click.echo(f"Looked at before, so nothing would happen: {_names(found.known)}.")
    if found.unfinished:
        click.echo(f"Still being written by their names, or hidden: {_names(found.unfinished)}.")
    if found.unmatched:
        patterns = [contract.records.files, *([contract.outcome.files] if contract.outcome.files else [])]
        click.echo(f"For no part of the contract, which takes {' and '.join(patterns)}: {_names(found.unmatched)}.")
    if not found.files:
        click.echo(f"Nothing would be taken in for {use_case}.")
    click.echo("Nothing was written.")


def _tell(files: "tuple[FilePreview, ...]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    table.add_column("file", overflow="fold")
    for name in ("kind", "rows", "taken in", "held", "repeated"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    for file in files[:_SHOWN]:
        counts = [f"{number:,}" for number in (file.rows, file.taken, file.quarantined, file.repeated)]
        table.add_row(Text(Path(file.path).name), file.source, *(["refused", "", "", ""] if file.refusal else counts))
    if len(files) > 1:
        sums = [sum(getattr(file, name) for file in files) for name in ("rows", "taken", "quarantined", "repeated")]
        more = f"{len(files):,} files" if len(files) <= _SHOWN else f"{len(files):,} files, {_SHOWN} of them above"
        table.add_row(more, "", *[f"{number:,}" for number in sums])
    Console().print(table)


def _names(paths: tuple[str, ...]) -> str:
    names = [Path(path).name for path in paths]
    return ", ".join(names[:8]) + (f" and {len(names) - 8:,} more" if len(names) > 8 else "")
