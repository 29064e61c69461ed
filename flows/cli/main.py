"""The command line. A command exits 0 only when it did what it says, 2 on wrong use, 1 with one sentence otherwise."""

from datetime import datetime
from pathlib import Path

import click

from flows.runtime.exits import exit_with_sentence

as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON document for programs, and nothing else.")
landing = click.option("--landing", type=click.Path(path_type=Path), help="Folder of the files; else the contract's.")
use_case_argument = click.argument("use_case", metavar="USE_CASE")
reason_option = click.option("--reason", required=True, help="Why; kept in the ledger.")
queue_option = click.option("--queue", is_flag=True, help="Let a worker of 'contender up' do it; return at once.")
by_option = click.option("--by", metavar="NAME", help="Who decides; else your login name.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="contender")
def main() -> None:
    """Keep the best machine-learning model in production.

    Data lands, a challenger is trained and has to beat the champion on rows
    that neither has seen, the winner takes the title and scores every batch.

    \b
    Example: contender run payments
    """


@main.command()
@click.argument("use_case", metavar="[USE_CASE]", default="payments")
@landing
@as_json
@exit_with_sentence
def run(use_case: str, landing: Path | None, json_: bool) -> None:
    """Do the whole job once: ingest, train, judge, promote, score.

    \b
    Example: contender run payments
             contender run flights --landing ~/flights
    """
    from flows.cli import run as cli_run

    cli_run.run_pipeline(use_case, landing, json_)


@main.command()
@use_case_argument
@landing
@queue_option
@as_json
@exit_with_sentence
def ingest(use_case: str, landing: Path | None, queue: bool, json_: bool) -> None:
    """Take new files into the lake, once each.

    On a worker it goes on to score them.

    \b
    Example: contender ingest payments
             contender ingest payments --queue
    """
    from flows.cli import queue as cli_queue
    from flows.cli import run as cli_run

    if queue:
        folder = str(landing.expanduser().absolute()) if landing else None
        cli_queue.queue("ingest", use_case, {"landing": folder}, json_)
    else:
        cli_run.run_ingest(use_case, landing, json_)


@main.command()
@use_case_argument
@click.option("--reason", default="by hand", help="Why now; kept with the run.")
@click.option("--decayed", is_flag=True, help="The champion decays: a challenger that is not worse is enough.")
@queue_option
@as_json
@exit_with_sentence
def retrain(use_case: str, reason: str, decayed: bool, queue: bool, json_: bool) -> None:
    """Train a challenger now and let it face the champion.

    \b
    Example: contender retrain payments --reason "new merchant category"
    """
    from flows.cli import queue as cli_queue
    from flows.cli import run as cli_run

    if queue:
        cli_queue.queue("retrain", use_case, {"reason": reason, "decayed": decayed}, json_)
    else:
        cli_run.run_retrain(use_case, reason, decayed, json_)


@main.command()
@use_case_argument
@queue_option
@as_json
@exit_with_sentence
def score(use_case: str, queue: bool, json_: bool) -> None:
    """Score every record that has no prediction yet.

    \b
    Example: contender score payments
    """
    from flows.cli import queue as cli_queue
    from flows.cli import run as cli_run

    if queue:
        cli_queue.queue("score", use_case, {}, json_)
    else:
        cli_run.run_score(use_case, json_)


@main.command()
@use_case_argument
@click.option("--as-of", type=click.DateTime(), metavar="DATE", help="Look at the whole days before it; else now.")
@queue_option
@as_json
@exit_with_sentence
def monitor(use_case: str, as_of: datetime | None, queue: bool, json_: bool) -> None:
    """Compare what arrives with what the champion was trained on.

    It names what it finds: a broken feed, whose rows are held out of
    training; a shift, to be watched; decay, which calls for a retrain; the
    season; or nothing.

    \b
    Example: contender monitor payments
             contender monitor payments --as-of 2026-04-30
    """
    from flows.cli import queue as cli_queue
    from flows.cli import run as cli_run

    if queue:
        cli_queue.queue("monitor", use_case, {"as_of": as_of.isoformat()} if as_of else {}, json_)
    else:
        cli_run.run_monitor(use_case, as_of, json_)


@main.command()
@click.argument("use_cases", metavar="[USE_CASE]...", nargs=-1)
@click.option("--detach", is_flag=True, help="Return when it is ready; 'contender down' ends it.")
@as_json
@exit_with_sentence
def up(use_cases: tuple[str, ...], detach: bool, json_: bool) -> None:
    """Run everything: servers, worker, deployments, watcher. Ctrl-C ends it.

    From then on batches are taken in and scored as they land, champions are
    watched, and challengers are trained when they are due.

    \b
    Example: contender up payments
    """
    from flows.up import startup as everything

    everything.bring_up(use_cases, json_, detach)


@main.command()
@as_json
@exit_with_sentence
def down(json_: bool) -> None:
    """End what 'contender up' runs, also what it left behind when killed.

    \b
    Example: contender down
    """
    from flows.up import shutdown as everything

    everything.bring_down(json_)


@main.command()
@as_json
@exit_with_sentence
def status(json_: bool) -> None:
    """Show every use case: rows, champion, last verdict.

    \b
    Example: contender status --json
    """
    from flows.cli import show

    show.tell_status(json_)


@main.command()
@use_case_argument
@as_json
@exit_with_sentence
def history(use_case: str, json_: bool) -> None:
    """Show who held the title, when and why.

    \b
    Example: contender history payments
    """
    from flows.cli import show

    show.tell_history(use_case, json_)


@main.command()
@use_case_argument
@as_json
@exit_with_sentence
def why(use_case: str, json_: bool) -> None:
    """Explain the last verdict: scores, interval, reasons, guardrails.

    \b
    Example: contender why payments
    """
    from flows.cli import show

    show.tell_why(use_case, json_)


@main.command()
@use_case_argument
@click.argument("key", metavar="KEY")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Reasons to show.")
@as_json
@exit_with_sentence
def explain(use_case: str, key: str, top: int, json_: bool) -> None:
    """Show one record's prediction and the top reasons for it.

    \b
    Example: contender explain payments 2026-04-30-001666 --top 3
    """
    from flows.cli import explain as cli_explain

    cli_explain.tell_explanation(use_case, key, top, json_)


@main.command()
@click.argument("use_case", metavar="[USE_CASE]", required=False)
@click.option("--to", type=click.Path(path_type=Path, dir_okay=False), help="File to write; else one in the home.")
@as_json
@exit_with_sentence
def report(use_case: str | None, to: Path | None, json_: bool) -> None:
    """Write one page to open offline: a title and its evidence, or all.

    Without a use case it is the dashboard of every one, as 'contender up'
    serves it.

    \b
    Example: contender report payments --to payments.html
             contender report
    """
    from flows.cli import report as cli_report

    if use_case is None:
        cli_report.write_dashboard(to, json_)
    else:
        cli_report.write_report(use_case, to, json_)


@main.command()
@use_case_argument
@click.option("--to", type=click.IntRange(min=1), required=True, help="Version that gets the title.")
@reason_option
@by_option
@as_json
@exit_with_sentence
def promote(use_case: str, to: int, reason: str, by: str | None, json_: bool) -> None:
    """Give the title to a version by your own decision.

    It is recorded as a person's, and only a version that loads and predicts
    its own input example gets it.

    \b
    Example: contender promote payments --to 7 --reason "agreed with the bank"
    """
    from flows.cli import title

    title.promote(use_case, to, reason, by, json_)


@main.command()
@use_case_argument
@click.option("--to", type=click.IntRange(min=1), help="Earlier champion; else the last one that still stands.")
@reason_option
@by_option
@as_json
@exit_with_sentence
def rollback(use_case: str, to: int | None, reason: str, by: str | None, json_: bool) -> None:
    """Give the title back to an earlier champion.

    Only to one that loads and predicts its own input example. A version that
    was rolled back from is passed over until it takes the title again.

    \b
    Example: contender rollback payments --reason "too many false alarms"
             contender rollback payments --to 3 --reason "as in March"
    """
    from flows.cli import title

    title.rollback(use_case, to, reason, by, json_)


@main.command()
@use_case_argument
@click.option("--version", type=click.IntRange(min=1), help="Version that is meant; else the one that waits.")
@reason_option
@by_option
@as_json
@exit_with_sentence
def approve(use_case: str, version: int | None, reason: str, by: str | None, json_: bool) -> None:
    """Agree that the challenger which won takes the title.

    Asked for where the contract says so. Nothing changes when the request has
    expired, or the title changed since the verdict.

    \b
    Example: contender approve payments --reason "looked at the report"
    """
    from flows.cli import title

    title.approve(use_case, version, reason, by, json_)


@main.command()
@use_case_argument
@click.option("--version", type=click.IntRange(min=1), help="Version that is meant; else the one that waits.")
@reason_option
@by_option
@as_json
@exit_with_sentence
def reject(use_case: str, version: int | None, reason: str, by: str | None, json_: bool) -> None:
    """Refuse the title to the challenger which won; the champion stays.

    \b
    Example: contender reject payments --reason "too many alarms in group b"
    """
    from flows.cli import title

    title.reject(use_case, version, reason, by, json_)


moment = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])


@main.command("release-held")
@use_case_argument
@click.option("--batch", "batches", type=click.IntRange(min=1), multiple=True, help="Batch; may be repeated.")
@click.option("--from", "start", type=moment, metavar="TIME", help="Start of a window that is held out, in UTC.")
@click.option("--to", "end", type=moment, metavar="TIME", help="End of it.")
@click.option("--reason", help="Why; kept with what is released.")
@by_option
@as_json
@exit_with_sentence
def release_held(
    use_case: str,
    batches: tuple[int, ...],
    start: datetime | None,
    end: datetime | None,
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
    from flows.cli import held

    held.release(use_case, batches, (start, end), reason, by, json_)


@main.command()
@click.argument("use_case", metavar="[USE_CASE]", required=False)
@as_json
@exit_with_sentence
def reconcile(use_case: str | None, json_: bool) -> None:
    """Check the ledger, and set MLflow's aliases as it has them.

    \b
    Example: contender reconcile
    """
    from flows.cli import title

    title.reconcile(use_case, json_)


@main.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the use case.")
@click.option("--target", required=True, help="Column, or SQL expression over the outcome's columns.")
@click.option("--outcomes", multiple=True, type=click.Path(path_type=Path), help="File with outcomes; may be repeated.")
@click.option("--key", help="Column that names a record.")
@click.option("--time", help="Column that says when a record happened.")
@click.option("--lookup", "lookups", multiple=True, metavar="NAME=FILE:KEY…", help="Table of facts, joined by key.")
@click.option("--overwrite", is_flag=True, help="Replace a contract that is there.")
@as_json
@exit_with_sentence
def init(
    files: tuple[Path, ...],
    name: str,
    target: str,
    outcomes: tuple[Path, ...],
    key: str | None,
    time: str | None,
    lookups: tuple[str, ...],
    overwrite: bool,
    json_: bool,
) -> None:
    """Write a contract from your own files: CSV, JSON lines or Parquet.

    \b
    Example: contender init landing/sales/*.csv --name sales --target churned
             contender init flights-*.csv.gz --name flights \\
               --outcomes outcomes-2013-01.csv.gz --target "arr_delay > 15" \\
               --lookup planes=planes.csv.gz:tailnum
    """
    from flows.cli import show

    show.draft_contract(files, name, target, outcomes, key, time, lookups, overwrite, json_)


@main.command()
@click.option("--payments", default=200_000, show_default=True, help="Payments in the first 120 days.")
@click.option("--days", default=120, show_default=True, help="Days to write; more days leave earlier ones as they are.")
@click.option("--seed", type=int, help="Seed of every choice; else the installation's.")
@click.option("--to", type=click.Path(path_type=Path), help="Folder; else where 'run payments' looks.")
@click.option(
    "--drift",
    multiple=True,
    type=click.Choice(["new_scheme", "price_inflation", "new_category"]),
    help="What changes; may be repeated.",
)
@click.option("--drift-from", default=0, help="Day from which it changes.")
@click.option("--outcome-delay", default=1.0, show_default=True, help="Outcomes take so many times as long.")
@click.option("--dirty-share", default=0.0, show_default=True, help="Share of rows made dirty.")
@as_json
@exit_with_sentence
def simulate(
    payments: int,
    days: int,
    seed: int | None,
    to: Path | None,
    drift: tuple[str, ...],
    drift_from: int,
    outcome_delay: float,
    dirty_share: float,
    json_: bool,
) -> None:
    """Write the built-in payments data, day by day.

    \b
    Example: contender simulate --days 121
    """
    from flows.cli import show

    knobs = {"drift": drift, "drift_from": drift_from, "outcome_delay": outcome_delay, "dirty_share": dirty_share}
    show.simulate_payments(payments, days, seed, to, knobs, json_)


@main.command()
@use_case_argument
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First day; else the history's.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Day after the last; else the history's end.")
@click.option(
    "--policy",
    "policies",
    metavar="P",
    multiple=True,
    help="When to retrain: never, schedule, drift, performance, contender. Several may be given; else all.",
)
@click.option(
    "--inject",
    "scenarios",
    metavar="SCENARIO",
    multiple=True,
    help="What goes wrong in simulated payments: "
    "new-fraud-scheme, price-inflation, unit-bug, lost-column, campaign-weekend, late-outcomes, none. For "
    "each a replay of its own.",
)
@click.option("--every", metavar="LENGTH", help="Length of a period; else about a dozen in all, in whole weeks.")
@click.option("--seed", type=click.IntRange(min=0), help="Of all that is drawn; else CONTENDER_SEED.")
@landing
@click.option("--to-file", "page", type=click.Path(path_type=Path, dir_okay=False), help="File of the page.")
@click.option("--keep", is_flag=True, help="Keep the tables, ledgers and registries of the replay.")
@as_json
@exit_with_sentence
def replay(
    use_case: str,
    first: datetime | None,
    last: datetime | None,
    policies: tuple[str, ...],
    scenarios: tuple[str, ...],
    every: str | None,
    seed: int | None,
    landing: Path | None,
    page: Path | None,
    keep: bool,
    json_: bool,
) -> None:
    """Play a history again, and compare policies of when to retrain.

    The real steps run in scratch homes by a simulated clock; a page tells how
    well each policy did, what it cost, and why.

    \b
    Example: contender replay payments --inject unit-bug
             contender replay flights --policy schedule --policy contender
    """
    from flows.cli import replay as cli_replay

    asked = cli_replay.Asked(
        landing,
        first.date() if first else None,
        last.date() if last else None,
        policies,
        cli_replay.length_of(every),
        page,
    )
    cli_replay.run_replay(use_case, asked, scenarios, seed, keep, json_)


@main.command()
@as_json
@exit_with_sentence
def doctor(json_: bool) -> None:
    """Check this machine, and name the command that mends what is not well.

    \b
    Example: contender doctor
    """
    from flows.cli import doctor as cli_doctor

    cli_doctor.examine(json_)


@main.command()
@click.argument("use_cases", metavar="[USE_CASE]...", nargs=-1)
@click.option("--write", is_flag=True, help="Write the file instead of printing it.")
@click.option("--check", is_flag=True, help="Exit with 1 when the file is out of date.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default="prefect.yaml",
    show_default=True,
    help="File to write or to compare.",
)
@as_json
@exit_with_sentence
def deployments(use_cases: tuple[str, ...], write: bool, check: bool, file: Path, json_: bool) -> None:
    """Print Prefect's deployments, as the contracts have them.

    Schedules, triggers and limits for every flow of every use case; 'contender
    up' installs them, and so does 'prefect deploy --all'.

    \b
    Example: contender deployments --write
    """
    from flows.cli import deployments as cli_deployments

    cli_deployments.tell_deployments(use_cases, write, check, file, json_)


environment = click.Choice(["dev", "staging", "prod"])


@main.command()
@use_case_argument
@click.option("--from", "source", type=environment, required=True, help="Environment whose champion is released.")
@click.option("--to", "target", type=environment, required=True, help="Environment in which it becomes a challenger.")
@as_json
@exit_with_sentence
def release(use_case: str, source: str, target: str, json_: bool) -> None:
    """Take the champion of one environment to another, as a challenger.

    It is copied byte for byte with its evidence and validated on the target's
    own rows. It takes the title there by 'contender promote', never at once.

    \b
    Example: contender release payments --from staging --to prod
    """
    from flows.cli import run as cli_run

    cli_run.run_release(use_case, source, target, json_)


if __name__ == "__main__":
    main()
