"""`contender quarantine`: what is held and why, as a file, and once more through the checks."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from contender.contracts.contract import Contract
from contender.errors import BatchRefused, UsageError
from contender.settings import Settings
from flows.cli.options import as_json, command, use_case_argument
from flows.runtime.output import print_json

_SHOWN = 20


@command()
@use_case_argument
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Write all: .csv, .csv.gz or .parquet.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option("--retry", is_flag=True, help="Send all of it through the checks again.")
@as_json
def quarantine(use_case: str, to: Path | None, overwrite: bool, retry: bool, json_: bool) -> None:
    """Show what is held back and why, or send it through again.

    After you have mended the contract, --retry takes in what now passes: rows,
    files that could not be read, and batches that were refused. What fails
    again stays. Each row is taken in once, however often you retry.

    \b
    Example: contender quarantine payments
             contender quarantine payments --to held.csv
             contender quarantine payments --retry
    """
    from contender.ingestion import retries

    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    if retry and to is not None:
        raise UsageError("Either write what is held with --to, or send it through again with --retry.")
    if retry:
        _retry(settings, contract, json_)
        return
    held = retries.held_files(settings, use_case)
    if to is not None:
        written = retries.write(settings, use_case, held, to, overwrite=overwrite)
        if json_:
            print_json({"use_case": use_case, "file": str(to), "rows": written.rows, "bytes": written.size})
        else:
            click.echo(f"Wrote {written.rows:,} row{'s' * (written.rows != 1)} with their reasons to {to}.")
        return
    reasons = retries.held_reasons(settings, use_case, held)
    files = [one for one in held if one.whole]
    refused = [one for one in held if one.refusal and not one.whole]
    if json_:
        print_json(
            {
                "use_case": use_case,
                "rows": sum(one.rows for one in held),
                "reasons": [asdict(one) for one in reasons],
                "files": [_document(one) for one in files],
                "refused": [_document(one) for one in refused],
            }
        )
        return
    if not held:
        click.echo(f"Nothing of {use_case} is in quarantine.")
        return
    if rows := sum(one.rows for one in held):
        click.echo(f"{rows:,} {'row is' if rows == 1 else 'rows are'} held:")
        tell_reasons(reasons, _SHOWN)
    for one in files:
        click.echo(f"{one.file.name} is held, batch {one.batch}: {one.refusal}")
    told = dict.fromkeys((one.batch, one.file.source, one.refusal) for one in refused)
    for batch, source, why in told:
        click.echo(f"The {source} of batch {batch} were refused: {why}.")
    click.echo(f"All of it: contender quarantine {use_case} --to FILE")
    click.echo(f"Once the contract is mended: contender quarantine {use_case} --retry")


def tell_reasons(reasons: Any, shown: int) -> None:
    """A line for each reason: how many rows, and where the first of them stood with what."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("rows", box=None, header_style="bold")
    table.columns[0].justify = "right"
    table.add_column("reason", ratio=1, overflow="fold")
    table.add_column("for instance", ratio=1, overflow="fold")
    for one in reasons[:shown]:
        samples = [f"{sample.value[:40]!r} in {sample.file} row {sample.row}" for sample in one.samples[:2]]
        table.add_row(f"{one.rows:,}", Text(f"{one.reason} ({one.source})"), Text("\n".join(samples)))
    Console().print(table)
    if len(reasons) > shown:
        click.echo(f"and {len(reasons) - shown:,} more reasons.")


def _retry(settings: Settings, contract: Contract, json_: bool) -> None:
    from contender.ingestion import retries
    from contender.promotion.locks import at_work
    from flows.runtime.warm_up import engines

    with at_work(settings, contract.name):
        before = retries.held_rows(settings, contract.name)
        batch = retries.plan_again(settings, contract, datetime.now(UTC))
        if batch is None:
            if json_:
                print_json({"use_case": contract.name, "batch": None, "held": before, "ingested": []})
            else:
                click.echo(f"Nothing of {contract.name} is in quarantine that could be sent through again.")
            return
        with engines(settings, contract):
            import flows.ingest
            from flows.runtime.flow_runs import tags_of

            refused: BatchRefused | None = None
            ingested = []
            with tags_of(settings, contract.name):
                try:
                    ingested = flows.ingest.ingest(contract.name, go_on=False)
                except BatchRefused as error:
                    refused = error
        after = retries.held_rows(settings, contract.name)
        if json_:
            document = {"use_case": contract.name, "batch": batch.batch, "held_before": before, "held": after}
            print_json(document | {"ingested": [asdict(one) for one in ingested]})
        elif refused is None:
            click.echo(f"Of {before:,} that were held, {after:,} are held still; the others are taken in.")
            click.echo(f"Next: contender score {contract.name}    contender quarantine {contract.name}")
        if refused:
            raise refused


def _document(held: Any) -> dict[str, Any]:
    return {
        "batch": held.batch,
        "at": held.at,
        "file": held.file.path,
        "source": held.file.source,
        "rows": held.rows,
        "refusal": held.refusal,
    }
