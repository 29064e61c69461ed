"""`contender release-held`: what is held out of training, and a person's word that it may be learnt from."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from contender.contracts.contract import Contract
from contender.errors import UsageError
from contender.features import exclusions
from contender.features.exclusions import HeldOut
from contender.settings import Settings
from flows.cli.options import as_json, by_option, command, moment, use_case_argument
from flows.cli.person import person
from flows.runtime.output import print_json


@command("release-held")
@use_case_argument
@click.option("--batch", "batches", type=click.IntRange(min=1), multiple=True, help="Batch; may be repeated.")
@click.option("--from", "first", type=moment, metavar="TIME", help="Start of a window that is held out, in UTC.")
@click.option("--to", "last", type=moment, metavar="TIME", help="End of it.")
@click.option("--reason", help="Why; kept with what is released.")
@by_option
@as_json
def release_held(
    use_case: str,
    batches: tuple[int, ...],
    first: datetime | None,
    last: datetime | None,
    reason: str | None,
    by: str | None,
    json_: bool,
) -> None:
    """Learn again from rows that were held out as broken.

    Without a choice it shows what is held out, since when and why. What you
    release is not held out again.

    \b
    Example: contender release-held payments
             contender release-held payments --batch 14 --reason "a holiday"
    """
    settings = Settings()
    Contract.of(use_case, settings.use_cases)
    start, end = (one.replace(tzinfo=UTC) if one else None for one in (first, last))
    if (start is None) != (end is None):
        raise UsageError("A window has a --from and a --to; give both, as 'contender release-held' shows them.")
    if not batches and start is None:
        if reason is not None:
            raise UsageError("Say what to release: --batch N, or --from and --to.")
        _tell_held(settings, use_case, json_)
        return
    if reason is None:
        raise UsageError("Say why it may be learnt from again with --reason; it is kept.")
    released = _release(settings, use_case, batches, (start, end), reason, person(by))
    held = exclusions.held_out(settings, use_case)
    if json_:
        print_json({"name": use_case, "released": documents_of(released), "held_out": documents_of(held)})
        return
    for one in released:
        click.echo(f"Released by {one.by}: {one} of {use_case}, learnt from again from the next training on.")
    left = f"Still held out: {', '.join(map(str, held))}." if held else "Nothing is held out any more."
    click.echo(f"{left} Next: contender retrain {use_case}, or wait until one is due.")


def documents_of(held: Sequence[HeldOut]) -> list[dict[str, Any]]:
    """The same for programs; what a window has not, a batch has, and the other way round."""
    return [{"what": str(one)} | asdict(one) for one in held]


def _release(
    settings: Settings,
    use_case: str,
    batches: Sequence[int],
    window: tuple[datetime | None, datetime | None],
    reason: str,
    by: str,
) -> list[HeldOut]:
    start, end = window
    if batches and start is not None:
        raise UsageError("Release either batches or a window at a time: --batch N, or --from and --to.")
    now = datetime.now(UTC)
    if start is not None and end is not None:
        return exclusions.release_window(settings, use_case, start, end, reason=reason, by=by, at=now)
    return exclusions.release_batch(settings, use_case, batches, reason=reason, by=by, at=now)


def _tell_held(settings: Settings, use_case: str, json_: bool) -> None:
    held = exclusions.held_out(settings, use_case)
    if json_:
        print_json({"name": use_case, "released": [], "held_out": documents_of(held)})
        return
    if not held:
        click.echo(f"Nothing of {use_case} is held out of training and judging.")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("held out", "since (UTC)", "by", box=None, header_style="bold")
    table.add_column("why", ratio=1, overflow="fold")
    for one in held:
        table.add_row(str(one), f"{one.at:%Y-%m-%d %H:%M}", Text(one.by), Text(one.reason))
    Console().print(table)
    first = held[0]
    named = (
        f"--batch {first.batch}" if first.start is None else f"--from {_bound(first.start)} --to {_bound(first.end)}"
    )
    click.echo(f'Release: contender release-held {use_case} {named} --reason "…"')


def _bound(moment: datetime | None) -> str:
    """A bound as `--from` and `--to` take it."""
    return f"{moment:%Y-%m-%d}" if moment and not moment.hour + moment.minute else f"{moment:%Y-%m-%dT%H:%M}"
