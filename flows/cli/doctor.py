"""`contender doctor`: what is well here, what is not, and the commands that mend it."""

from dataclasses import asdict

import click

from contender.operations.doctor import examine_here
from contender.operations.findings import Finding, healthy
from flows.cli.options import as_json, command
from flows.runtime.output import print_json


@command()
@as_json
def doctor(json_: bool) -> None:
    """Check this machine, and name the command that mends what is not well.

    \b
    Example: contender doctor
    """
    findings = examine_here()
    if json_:
        print_json({"healthy": healthy(findings), "findings": [asdict(finding) for finding in findings]})
    else:
        _tell(findings)
    if not healthy(findings):
        raise click.exceptions.Exit(1)


def _tell(findings: tuple[Finding, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # The word says it; colour only helps to find it.
    shown = {"ok": Text("ok"), "warning": Text("warning", "yellow"), "failed": Text("FAILED", "bold red")}
    table = Table("check", "status", "found", box=None, header_style="bold")
    table.columns[0].overflow = table.columns[2].overflow = "fold"
    for finding in findings:
        table.add_row(Text(finding.name), shown[finding.status], Text(finding.found))
    console = Console(highlight=False)
    console.print(table)
    ill = sorted((one for one in findings if one.status != "ok"), key=lambda one: one.status != "failed")
    for finding in ill:
        console.print()
        console.print(shown[finding.status], Text(finding.sentence))
        # Never folded, so that it can be copied.
        click.echo(f"  {finding.mend}")
    failed = sum(one.status == "failed" for one in ill)
    click.echo(f"\n{len(findings)} checks: {failed} failed, {len(ill) - failed} with a warning.")
