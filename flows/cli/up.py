"""The commands that begin and end everything."""

import click

from flows.cli.options import as_json, command, many_use_cases


@command()
@many_use_cases
@click.option("--detach", is_flag=True, help="Return when it is ready; 'contender down' ends it.")
@as_json
def up(use_cases: tuple[str, ...], detach: bool, json_: bool) -> None:
    """Run everything: servers, worker, deployments, watcher. Ctrl-C ends it.

    From then on batches are taken in and scored as they land, champions are
    watched, and challengers are trained when they are due.

    \b
    Example: contender up payments
    """
    from flows.up import startup

    startup.bring_up(use_cases, json_, detach)


@command()
@as_json
def down(json_: bool) -> None:
    """End what 'contender up' runs, also what it left behind when killed.

    \b
    Example: contender down
    """
    from flows.up import shutdown

    shutdown.bring_down(json_)
