"""The command line. A command exits 0 only when it did what it says, 2 on wrong use, 1 with one sentence otherwise."""

from importlib import import_module

import click

from flows.runtime.exits import ending_in_a_sentence

COMMANDS = {
    "run": ("run", "Do the whole job once: ingest, train, judge, promote, score."),
    "ingest": ("run", "Take new files into the lake, once each."),
    "check": ("check", "Say what would happen to files, and write nothing."),
    "quarantine": ("quarantine", "Show what is held back and why, or send it through again."),
    "retrain": ("run", "Train a challenger now and let it face the champion."),
    "score": ("run", "Score every record that has no prediction yet."),
    "monitor": ("monitor", "Compare what arrives with what the champion was trained on."),
    "release": ("run", "Take the champion of one environment to another, as a challenger."),
    "up": ("up", "Run everything: servers, worker, deployments, watcher. Ctrl-C ends it."),
    "down": ("up", "End what 'contender up' runs, also what it left behind when killed."),
    "status": ("show", "Show every use case, or one: rows, champion, last verdict."),
    "history": ("show", "Show who held the title, when and why."),
    "why": ("show", "Explain the last verdict: scores, interval, reasons, guardrails."),
    "predictions": ("predictions", "Show the newest predictions, or write all of them to a file."),
    "explain": ("explain", "Show one record's prediction and the top reasons for it."),
    "report": ("report", "Write one page to open offline: a title and its evidence, or all."),
    "promote": ("title", "Give the title to a version by your own decision."),
    "rollback": ("title", "Give the title back to an earlier champion."),
    "approve": ("title", "Agree that the challenger which won takes the title."),
    "reject": ("title", "Refuse the title to the challenger which won; the champion stays."),
    "release-held": ("held", "Learn again from rows that were held out as broken."),
    "reconcile": ("title", "Check the ledger, and set MLflow's aliases as it has them."),
    "serve": ("serve", "Answer with live scores over HTTP, by the champion. Ctrl-C ends it."),
    "keys": ("keys", "Make, list and revoke API keys of 'contender serve'."),
    "init": ("init", "Write a contract from all rows of your files: CSV, JSON or Parquet."),
    "simulate": ("simulate", "Write the built-in payments data, day by day."),
    "replay": ("replay", "Play a history again, and compare policies of when to retrain."),
    "doctor": ("doctor", "Check this machine, and name the command that mends what is not well."),
    "deployments": ("deployments", "Print Prefect's deployments, as the contracts have them."),
}
"""The module of each command, and the first line of its help: who lists the commands imports none of them."""


class LazyGroup(click.Group):
    """Lists its commands by their first lines, and imports the one that is called."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command itself in place of its line."""
        name, line, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, line, rest
        with ending_in_a_sentence(f"'contender {name}'"):
            return name, command_of(name), rest


def command_of(name: str) -> click.Command:
    """A command, with its options and its help."""
    found: click.Command = getattr(import_module(f"flows.cli.{COMMANDS[name][0]}"), name.replace("-", "_"))
    return found


@click.group(
    cls=LazyGroup,
    commands={name: click.Command(name, help=line) for name, (_, line) in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(package_name="contender")
def main() -> None:
    """Keep the best machine-learning model in production.

    Data lands, a challenger is trained and has to beat the champion on rows
    that neither has seen, the winner takes the title and scores every batch.

    \b
    Example: contender run payments
    """


if __name__ == "__main__":
    main()
