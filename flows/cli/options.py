"""What commands share: how they are made, and the options that several of them have."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from flows.runtime.exits import ending_in_a_sentence


class SentenceCommand(click.Command):
    """A command whose every error becomes one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, and end the process where it breaks."""
        with ending_in_a_sentence(f"'contender {ctx.info_name}'"):
            return super().invoke(ctx)


command = partial(click.command, cls=SentenceCommand)

as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON document for programs, and nothing else.")
landing_option = click.option(
    "--landing", type=click.Path(path_type=Path), help="Folder of the files; else the contract's."
)
use_case_argument = click.argument("use_case", metavar="USE_CASE")
any_use_case = click.argument("use_case", metavar="[USE_CASE]", required=False)
many_use_cases = click.argument("use_cases", metavar="[USE_CASE]...", nargs=-1)
reason_option = click.option("--reason", required=True, help="Why; kept in the ledger.")
queue_option = click.option("--queue", is_flag=True, help="Let a worker of 'contender up' do it; return at once.")
by_option = click.option("--by", metavar="NAME", help="Who decides; else your login name.")
moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
"""A point in time; without a time of day, the day's beginning."""
