"""The commands that tell how things stand: no Spark, no Prefect, an answer at once."""

import textwrap
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

import click

from contender.contracts.contract import Contract, known_use_cases
from contender.errors import ContractError, UnknownUseCase, UsageError
from contender.features import exclusions
from contender.ingestion import retries
from contender.lake import tables
from contender.operations import notices
from contender.promotion import approval_requests, ledger
from contender.promotion.approval_request import document_of
from contender.promotion.verdict_document import Texts
from contender.retraining import triggers
from contender.settings import Settings
from contender.values import Decision
from flows.cli import held
from flows.cli.options import any_use_case, as_json, command, use_case_argument
from flows.prefect_api import discovery
from flows.runtime.output import print_json
from flows.up import display

_SHOWN, _TOLD = 50, 12
"""So many triggers and notices are in the document, and so many lines of them are told."""


def status_of(settings: Settings, use_case: str) -> dict[str, Any]:
    """Rows, champion, challenger and last decision of one use case."""
    entry, verdict = ledger.head(settings, use_case), ledger.last_verdict(settings, use_case)
    waiting = verdict is not None and verdict.decision is Decision.INCONCLUSIVE
    # What went through again later is quarantined no more; without any, nothing is looked up.
    quarantined = tables.count(settings, use_case, "quarantine")
    return {
        "name": use_case,
        "records": tables.count(settings, use_case, "records"),
        "quarantined": retries.held_rows(settings, use_case) if quarantined else 0,
        "outcomes": tables.count(settings, use_case, "outcomes"),
        "predictions": tables.count(settings, use_case, "predictions"),
        "alerts": tables.count(settings, use_case, "alerts"),
        "champion": {"version": entry.version, "since": entry.at} if entry else None,
        "challenger": {"version": verdict.challenger} if verdict and waiting else None,
        "last_verdict": verdict.decision.value if verdict else None,
        "approval": document_of(use_case, approval_requests.waiting(settings, use_case)),
        "held_out": held.documents_of(exclusions.held_out(settings, use_case)),
        "released": held.documents_of(exclusions.released(settings, use_case)),
        "next": next_of(settings, use_case),
        "failing": [asdict(one) for one in notices.failing(settings, use_case)],
        "triggers": [asdict(trigger) for trigger in triggers.newest(settings, use_case, _SHOWN)],
        "notices": [asdict(notice) for notice in notices.newest(settings, use_case, _SHOWN)],
    }


def next_of(settings: Settings, use_case: str) -> dict[str, Any]:
    """What the loop would do now, and why."""
    from contender.retraining import next_action

    try:
        contract = Contract.of(use_case, settings.use_cases)
    except ContractError as error:
        # The other use cases are told of all the same.
        return {"name": "wait", "sentence": f"Wait: its contract cannot be read: {error}", "reasons": []}
    found = next_action.next_action(settings, contract, datetime.now(UTC))
    return {"name": found.name, "sentence": found.sentence, "reasons": list(found.reasons)}


@command()
@any_use_case
@as_json
def status(use_case: str | None, json_: bool) -> None:
    """Show every use case, or one: rows, champion, last verdict.

    \b
    Example: contender status
             contender status payments --json
    """
    settings = Settings()
    names = known_use_cases(settings.use_cases)
    if use_case is not None:
        if use_case not in names:
            raise UnknownUseCase.named(use_case, known=names)
        names = [use_case]
    found = [status_of(settings, name) for name in names]
    running = discovery.find_running(settings)
    if json_:
        print_json({"use_cases": found, **({"up": asdict(running)} if running else {})})
        return
    if not found:
        raise UsageError(f"{settings.use_cases} holds no contract; write one with 'contender init'.")
    from rich.console import Console
    from rich.table import Table

    table = Table("use case", "records", "quarant.", "outcomes", "predict.", "champion", "last verdict", box=None)
    for row in found:
        champion = f"v{row['champion']['version']} {row['champion']['since'][:10]}" if row["champion"] else "none"
        counts = [f"{row[name]:,}" for name in ("records", "quarantined", "outcomes", "predictions")]
        table.add_row(row["name"], *counts, champion, row["last_verdict"] or "none")
    Console().print(table)
    for row in found:
        _tell_what_happened(row)
    if running:
        display.tell_running(running)


def _tell_what_happened(row: dict[str, Any]) -> None:
    """What waits for a person, what called for a retrain and what came of it, and what people should know of."""
    failing = [notices.Failing(**one) for one in row["failing"]]
    lines = [one.in_words for one in failing] + ([row["approval"]["sentence"]] if row["approval"] else [])
    # Of a burst, one line: the events that were skipped for the same reason are counted.
    for (event, outcome, why), alike in groupby(row["triggers"], key=itemgetter("event", "outcome", "why")):
        first, *more = alike
        times = f" ({len(more) + 1} times)" if more else ""
        said = f"{outcome}{f', {why}' if why else ''}"
        lines.append(f"{first['at']:%Y-%m-%d %H:%M}  {event}{times}: {first['reason'] or 'no reason given'}; {said}")
    told = {one.sentence for one in failing}
    lines += [
        f"{notice['at']:%Y-%m-%d %H:%M}  {notice['kind']}: {notice['sentence']}"
        for notice in row["notices"]
        if notice["sentence"] not in told
    ]
    lines[:0] = [f"Next: {row['next']['sentence']}", *_exclusions_told(row)]
    click.echo(f"\n{row['name']}")
    for line in lines[:_TOLD]:
        click.echo(textwrap.fill(line, 80, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))


def _exclusions_told(row: dict[str, Any]) -> list[str]:
    """What is held out, in one line, and the newest release."""
    lines = [
        f"{one['at']:%Y-%m-%d %H:%M}  released: {one['what']} by {one['by']}, {one['reason']}"
        for one in row["released"][-1:]
    ]
    if not row["held_out"]:
        return lines
    *more, newest = row["held_out"]
    others = f", and {len(more):,} more" if more else ""
    command = f"contender release-held {row['name']}"
    return [f"Held out of training: {newest['what']} ({newest['reason']}){others}; see '{command}'.", *lines]


@command()
@use_case_argument
@as_json
def history(use_case: str, json_: bool) -> None:
    """Show who held the title, when and why.

    \b
    Example: contender history payments
    """
    settings = Settings()
    Contract.of(use_case, settings.use_cases)
    names = ("seq", "at", "action", "version", "previous_version", "reason", "by")
    entries = [{name: getattr(entry, name) for name in names} for entry in ledger.history(settings, use_case)]
    if json_:
        print_json(entries)
        return
    if not entries:
        click.echo(f"Nobody has held the title of {use_case} yet; 'contender run {use_case}' trains a first champion.")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("entry", "when (UTC)", "champion", box=None, header_style="bold", padding=(0, 2, 1, 0))
    table.add_column("what and who", max_width=18, overflow="fold")
    # The reason gets what the others leave; a text of a person's is not markup.
    table.add_column("why", ratio=1, overflow="fold")
    for entry in entries:
        before = entry["previous_version"]
        table.add_row(
            str(entry["seq"]),
            f"{entry['at'][:10]}\n{entry['at'][11:16]}",
            f"version {entry['version']}" + (f"\nafter {before}" if before else ""),
            Text(f"{entry['action']}\nby {entry['by']}"),
            Text(entry["reason"]),
        )
    Console().print(table)


@command()
@use_case_argument
@as_json
def why(use_case: str, json_: bool) -> None:
    """Explain the last verdict: scores, interval, reasons, guardrails.

    \b
    Example: contender why payments
    """
    settings = Settings()
    Contract.of(use_case, settings.use_cases)
    verdict = ledger.last_verdict(settings, use_case)
    if verdict is None:
        raise UsageError(f"No challenger of {use_case} has been judged yet; 'contender run {use_case}' trains one.")
    if json_:
        print_json(verdict.for_programs())
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    texts = Texts.of(verdict)
    against = verdict.opponent
    console = Console(highlight=False)
    console.print(f"{verdict.decision}: challenger version {verdict.challenger} against {against}", style="bold")
    console.print(f"on {texts.rows} rows that neither has seen, {verdict.window_in_words}\n")
    table = Table(texts.metric, "", box=None)
    table.add_row(against, texts.champion)
    table.add_row("challenger", texts.challenger)
    table.add_row("gain", f"{texts.gain}, {texts.level} interval {texts.interval}")
    console.print(table)
    console.print("\nReasons", style="bold")
    reasons = Table.grid(padding=(0, 1, 0, 0))
    for reason in verdict.reasons:
        reasons.add_row("  -", Text(reason, overflow="fold"))
    console.print(reasons)
    guardrails = Table(Column("guardrail", overflow="fold"), "value", "limit", "holds", box=None)
    for name, *rest in texts.guardrails:
        guardrails.add_row(Text(name), *rest)
    if texts.guardrails:
        console.print()
        console.print(guardrails)
    head = ledger.head(settings, use_case)
    if head is not None and head.by.startswith("person: "):
        console.print()
        console.print(Text(f"The title was given by a person: version {head.version} was {head.action}: {head.reason}"))
