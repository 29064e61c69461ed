"""`contender monitor`: the diagnosis, the columns that moved, the quality, and what comes of it."""

import textwrap
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from contender.contracts.contract import Contract
from contender.promotion.locks import at_work
from contender.settings import Settings
from flows.cli.options import as_json, command, queue_option, use_case_argument
from flows.cli.queue import enqueue
from flows.runtime.output import print_json
from flows.runtime.warm_up import engines

if TYPE_CHECKING:
    from contender.drift.drift_check import ColumnDrift
    from contender.performance.quality_readings import Reading
    from flows.monitor import Checked


@command()
@use_case_argument
@click.option("--as-of", type=click.DateTime(), metavar="DATE", help="Look at the whole days before it; else now.")
@queue_option
@as_json
def monitor(use_case: str, as_of: datetime | None, queue: bool, json_: bool) -> None:
    """Compare what arrives with what the champion was trained on.

    It names what it finds: a broken feed, whose rows are held out of
    training; a shift, to be watched; decay, which calls for a retrain; the
    season; or nothing.

    \b
    Example: contender monitor payments
             contender monitor payments --as-of 2026-04-30
    """
    if queue:
        enqueue("monitor", use_case, {"as_of": as_of.isoformat()} if as_of else {}, json_)
        return
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case), engines(settings, contract):
        import flows.monitor
        from flows.runtime.flow_runs import tags_of

        with tags_of(settings, use_case):
            checked = flows.monitor.monitor(use_case, as_of)
    if json_:
        print_json(document_of(use_case, checked))
    else:
        tell(checked)


def document_of(use_case: str, checked: "Checked") -> dict[str, Any]:
    """All of it for programs; what was not looked at is null."""
    check, quality, done = checked.check, checked.quality, checked.done
    return {
        "name": use_case,
        "sentence": checked.sentence,
        "diagnosis": done
        and {
            "name": done.diagnosis.name,
            "reasons": list(done.diagnosis.reasons),
            "action": done.action,
            "why": done.why,
            "event": done.event or None,
            "told": done.told,
            "at": done.at,
        },
        "window": check and [str(check.start), str(check.end)],
        "model_version": check and check.model_version,
        "alarming": list(check.alarming) if check else [],
        "share_drifted": check and check.share_drifted,
        "columns": [asdict(column) | {"name": str(column)} for column in check.columns] if check else [],
        "quality": quality
        and {
            "metric": quality.metric,
            "how": quality.how,
            "measured": quality.measured and asdict(quality.measured),
            "estimated": quality.estimated and asdict(quality.estimated),
        },
    }


def tell(checked: "Checked") -> None:
    """The same in lines for people."""
    check, quality, done = checked.check, checked.quality, checked.done
    if check is None or quality is None or done is None:
        click.echo(checked.sentence)
        return
    _say(f"{done.diagnosis.name.capitalize()}: {checked.sentence}")
    for reason in done.diagnosis.reasons:
        _say(f"- {reason}", "  ")
    click.echo()
    _say(check.sentence)
    for column in check.columns:
        if column.drifted or column.season:
            _say(_moved(column), "  ")
    for column in check.columns:
        if column.new_values:
            _say(f"{column} has values that the training did not have: {column.new_values}", "  ")
    click.echo()
    for kind, reading in (("measured", quality.measured), ("estimated", quality.estimated)):
        _say(f"{kind.capitalize()} {quality.metric}: {_quality(reading)}")
    click.echo()
    _say(f"What comes of it: {done.why}")


def _moved(column: "ColumnDrift") -> str:
    return f"{column}: {column.why}" + (" (the season)" if column.season else "")


def _quality(reading: "Reading | None") -> str:
    if reading is None:
        return "not known yet"
    interval = f" ({reading.interval.low:.4f} to {reading.interval.high:.4f})" if reading.interval else ""
    past = f", before it {reading.past:.4f}" if reading.past is not None else ""
    return f"{reading.value:.4f}{interval} on {reading.rows:,} rows{past}"


def _say(text: str, indent: str = "") -> None:
    click.echo(textwrap.fill(text, 80, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False))
