"""`contender keys`: who may ask the live server."""

from datetime import UTC, datetime

import click

from contender.settings import Settings
from flows.cli.options import SentenceCommand, as_json
from flows.runtime.output import print_json


@click.group()
def keys() -> None:
    """Make, list and revoke API keys of 'contender serve'.

    \b
    Example: contender keys add shop --role score --days 90
    """


@keys.command(cls=SentenceCommand)
@click.argument("name", metavar="NAME")
@click.option(
    "--role", type=click.Choice(["score", "operate"]), default="score", show_default=True, help="What it opens."
)
@click.option("--days", type=click.IntRange(min=1), help="After so many it opens nothing; without, it never ends.")
@click.option("--per-minute", type=click.IntRange(min=0), default=0, help="Requests let through; 0, any number.")
def add(name: str, role: str, days: int | None, per_minute: int) -> None:
    """Make a key and print it: it is stored as a hash, and shown this once.

    \b
    Example: contender keys add shop --days 90 --per-minute 6000
    """
    from datetime import timedelta

    from contender.serving import api_keys

    found = api_keys.add(
        Settings(),
        name,
        "operate" if role == "operate" else "score",
        timedelta(days=days) if days else None,
        per_minute,
    )
    click.echo(found)


@keys.command(name="list", cls=SentenceCommand)
@as_json
def list_(json_: bool) -> None:
    """Show all keys, without their secrets.

    \b
    Example: contender keys list
    """
    from contender.serving import api_keys

    now = datetime.now(UTC)
    found = [
        {name: value for name, value in vars(one).items() if name != "hashed"} | {"stands": one.stands(now)}
        for one in api_keys.read(Settings())
    ]
    if json_:
        print_json({"keys": found})
        return
    for one in found:
        state = "stands" if one["stands"] else "revoked" if one["revoked_at"] else "expired"
        until = f", until {one['expires_at']}" if one["expires_at"] else ""
        rate = f", {one['per_minute']:,} a minute" if one["per_minute"] else ""
        click.echo(f"{one['name']} ({one['id']}): {one['role']}, {state}{until}{rate}")
    if not found:
        click.echo("There are no keys; 'contender keys add NAME' makes one.")


@keys.command(cls=SentenceCommand)
@click.argument("name", metavar="NAME")
def revoke(name: str) -> None:
    """Let a key open nothing any more, at once.

    \b
    Example: contender keys revoke shop
    """
    from contender.serving import api_keys

    gone = api_keys.revoke(Settings(), name)
    click.echo(f"The key '{gone.name}' ({gone.id}) opens nothing any more.")
