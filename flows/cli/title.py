"""The commands by which a person rules over the title: no Spark session, no Prefect, done in seconds."""

from collections.abc import Callable
from typing import Any

import click

from contender.contracts.contract import Contract, known_use_cases
from contender.errors import UsageError
from contender.promotion import approval_decisions, approval_requests, ledger, title
from contender.promotion.approval_request import what_became_of
from contender.promotion.ledger import LedgerEntry
from contender.settings import Settings
from flows.cli.options import any_use_case, as_json, by_option, command, reason_option, use_case_argument
from flows.cli.person import person
from flows.prefect_api import events, suspended_runs
from flows.runtime.output import print_json


@command()
@use_case_argument
@click.option("--to", type=click.IntRange(min=1), required=True, help="Version that gets the title.")
@reason_option
@by_option
@as_json
def promote(use_case: str, to: int, reason: str, by: str | None, json_: bool) -> None:
    """Give the title to a version by your own decision.

    It is recorded as a person's, and only a version that loads and predicts
    its own input example gets it.

    \b
    Example: contender promote payments --to 7 --reason "agreed with the bank"
    """
    _rule(lambda settings: title.promote(settings, use_case, to=to, reason=reason, by=person(by)), use_case, json_)


@command()
@use_case_argument
@click.option("--to", type=click.IntRange(min=1), help="Earlier champion; else the last one that still stands.")
@reason_option
@by_option
@as_json
def rollback(use_case: str, to: int | None, reason: str, by: str | None, json_: bool) -> None:
    """Give the title back to an earlier champion.

    Only to one that loads and predicts its own input example. A version that
    was rolled back from is passed over until it takes the title again.

    \b
    Example: contender rollback payments --reason "too many false alarms"
             contender rollback payments --to 3 --reason "as in March"
    """
    _rule(lambda settings: title.rollback(settings, use_case, to=to, reason=reason, by=person(by)), use_case, json_)


@command()
@use_case_argument
@click.option("--version", type=click.IntRange(min=1), help="Version that is meant; else the one that waits.")
@reason_option
@by_option
@as_json
def approve(use_case: str, version: int | None, reason: str, by: str | None, json_: bool) -> None:
    """Agree that the challenger which won takes the title.

    Asked for where the contract says so. Nothing changes when the request has
    expired, or the title changed since the verdict.

    \b
    Example: contender approve payments --reason "looked at the report"
    """

    def decide(settings: Settings) -> LedgerEntry:
        entry = approval_decisions.approve(settings, use_case, version=version, reason=reason, by=person(by))
        suspended_runs.end(settings, use_case, approval_requests.find(settings, use_case, entry.version))
        return entry

    _rule(decide, use_case, json_)


@command()
@use_case_argument
@click.option("--version", type=click.IntRange(min=1), help="Version that is meant; else the one that waits.")
@reason_option
@by_option
@as_json
def reject(use_case: str, version: int | None, reason: str, by: str | None, json_: bool) -> None:
    """Refuse the title to the challenger which won; the champion stays.

    \b
    Example: contender reject payments --reason "too many alarms in group b"
    """
    settings = Settings()
    Contract.of(use_case, settings.use_cases)
    request = approval_decisions.reject(settings, use_case, version=version, reason=reason, by=person(by))
    suspended_runs.end(settings, use_case, request)
    if json_:
        names = ("version", "state", "decided_at", "reason", "decided_by")
        print_json({"use_case": use_case} | {name: getattr(request, name) for name in names})
        return
    click.echo(f"{what_became_of(use_case, request)}. The champion stays.")
    click.echo("Next: contender status")


@command()
@any_use_case
@as_json
def reconcile(use_case: str | None, json_: bool) -> None:
    """Check the ledger, and set MLflow's aliases as it has them.

    \b
    Example: contender reconcile
    """
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
