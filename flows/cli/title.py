"""The commands by which a person rules over the title: no Spark session, no Prefect, done in seconds."""

from collections.abc import Callable
from typing import Any

import click

from contender.contracts.contract import Contract, known_use_cases
from contender.errors import UsageError
from contender.promotion import approval_decisions, approval_requests, ledger, title
from contender.promotion.approval_request import told
from contender.promotion.ledger import LedgerEntry
from contender.settings import Settings
from flows.cli.person import person
from flows.prefect_api import events, suspended_runs
from flows.runtime.output import print_json


def promote(use_case: str, to: int, reason: str, by: str | None, json_: bool) -> None:
    """`contender promote`."""
    _rule(lambda settings: title.promote(settings, use_case, to=to, reason=reason, by=person(by)), use_case, json_)


def rollback(use_case: str, to: int | None, reason: str, by: str | None, json_: bool) -> None:
    """`contender rollback`."""
    _rule(lambda settings: title.rollback(settings, use_case, to=to, reason=reason, by=person(by)), use_case, json_)


def approve(use_case: str, version: int | None, reason: str, by: str | None, json_: bool) -> None:
    """`contender approve`."""

    def decide(settings: Settings) -> LedgerEntry:
        entry = approval_decisions.approve(settings, use_case, version=version, reason=reason, by=person(by))
        suspended_runs.end(settings, use_case, approval_requests.find(settings, use_case, entry.version))
        return entry

    _rule(decide, use_case, json_)


def reject(use_case: str, version: int | None, reason: str, by: str | None, json_: bool) -> None:
    """`contender reject`."""
    settings = Settings()
    Contract.of(use_case, settings.use_cases)
    request = approval_decisions.reject(settings, use_case, version=version, reason=reason, by=person(by))
    suspended_runs.end(settings, use_case, request)
    if json_:
        names = ("version", "state", "decided_at", "reason", "decided_by")
        print_json({"use_case": use_case} | {name: getattr(request, name) for name in names})
        return
    click.echo(f"{told(use_case, request)}. The champion stays.")
    click.echo("Next: contender status")


def reconcile(use_case: str | None, json_: bool) -> None:
    """`contender reconcile`: the ledger's chain checked, the aliases set as it has them."""
    settings = Settings()
    names = [use_case] if use_case else known_use_cases(settings.use_cases)
    if not names:
        raise UsageError(f"{settings.use_cases} holds no contract; write one with 'contender init'.")
    for name in names:
        Contract.of(name, settings.use_cases)
    done = [_reconciled(settings, name) for name in names]
    if json_:
        print_json({"use_cases": done})
    for found in done if not json_ else []:
        holder = f"version {found['champion']} holds the title" if found["champion"] else "nobody holds the title"
        repaired = [
            f"alias {alias} pointed at {_shown(was)}, now at {_shown(now)}"
            for alias, (was, now) in found["repaired"].items()
        ]
        click.echo(
            f"{found['use_case']}: {found['entries']:,} entries, none of them changed; {holder}; "
            f"{'; '.join(repaired) or 'the aliases are as the ledger has them'}."
        )


def _reconciled(settings: Settings, use_case: str) -> dict[str, Any]:
    ledger.verify(settings, use_case)
    approval_decisions.finish(settings, use_case)
    entries = ledger.verify(settings, use_case)
    repaired = title.repair(settings, use_case)
    head = ledger.head(settings, use_case)
    return {
        "use_case": use_case,
        "entries": entries,
        "champion": head.version if head else None,
        "repaired": repaired,
    }


def _rule(decide: Callable[[Settings], LedgerEntry], use_case: str, json_: bool) -> None:
    settings = Settings()
    Contract.of(use_case, settings.use_cases)
    entry = decide(settings)
    events.tell_title(settings, use_case, entry)
    if json_:
        names = ("use_case", "seq", "at", "action", "version", "previous_version", "reason", "by")
        print_json({name: getattr(entry, name) for name in names})
        return
    before = f" after version {entry.previous_version}" if entry.previous_version else ""
    click.echo(f"Version {entry.version} of {use_case} holds the title{before}: {entry.action} by {entry.by}.")
    click.echo(f"Next: contender history {use_case}")


def _shown(version: int | None) -> str:
    return "nothing" if version is None else f"version {version}"
