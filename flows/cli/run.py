"""The commands that run flows, and the last lines they print."""

import textwrap
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contender.contracts.contract import Contract
from contender.operations.findings import activation_command
from contender.promotion.approval_request import document_of
from contender.promotion.locks import at_work
from contender.settings import Settings
from contender.timing import clock
from flows.cli.options import as_json, command, landing_option, queue_option, use_case_argument
from flows.cli.queue import enqueue
from flows.runtime.output import print_json
from flows.runtime.warm_up import engines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contender.values import Verdict
    from flows.pipeline import Done


@command()
@click.argument("use_case", metavar="[USE_CASE]", default="payments")
@landing_option
@as_json
def run(use_case: str, landing: Path | None, json_: bool) -> None:
    """Do the whole job once: ingest, train, judge, promote, score.

    \b
    Example: contender run payments
             contender run flights --landing ~/flights
    """
    began = time.perf_counter()
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    _make_sure_there_is_data(settings, contract, landing)
    if _has_nothing_to_do(settings, contract, landing):
        document = _document(settings, contract, began)
        if json_:
            print_json(document)
            return
        click.echo(f"Nothing new for {use_case}: no file has landed, no challenger is due, every record is scored.")
        tell_summary(settings, contract, document, None)
        click.echo(f"{document['seconds']:.0f} s in all.")
        return
    # Asked here as well as in the flow, because a second command should hear 'busy' before it starts Spark.
    with at_work(settings, use_case), engines(settings, contract, landing) as started:
        from flows.pipeline import pipeline
        from flows.runtime.flow_runs import tags_of

        flow_began = time.perf_counter()
        with tags_of(settings, use_case):
            done = pipeline(use_case, str(landing) if landing else None)
        flow_seconds = time.perf_counter() - flow_began
    spent = {
        "start": started.seconds,
        "prefect": flow_seconds - sum(clock.seconds.values()),
        "mlflow": clock.seconds["mlflow"],
    }
    document = _document(settings, contract, began, done, spent)
    if json_:
        print_json(document)
        return
    tell_summary(settings, contract, document, done.verdict)
    click.echo(f"{document['seconds']:.0f} s in all; outside the work {document['overhead_seconds']:.1f} s:")
    click.echo(
        f"  starting Spark and Prefect {spent['start']:.1f}, Prefect's runs {spent['prefect']:.1f}, "
        f"MLflow {spent['mlflow']:.1f}"
    )


@command()
@use_case_argument
@landing_option
@queue_option
@as_json
def ingest(use_case: str, landing: Path | None, queue: bool, json_: bool) -> None:
    """Take new files into the lake, once each.

    On a worker it goes on to score them.

    \b
    Example: contender ingest payments
             contender ingest payments --queue
    """
    if queue:
        folder = str(landing.expanduser().absolute()) if landing else None
        enqueue("ingest", use_case, {"landing": folder}, json_)
        return
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case), engines(settings, contract, landing):
        import flows.ingest
        from flows.runtime.flow_runs import tags_of

        with tags_of(settings, use_case):
            batches = flows.ingest.ingest(contract.name, str(landing) if landing else None, go_on=False)
    if json_:
        print_json([asdict(batch) for batch in batches])
    elif not batches:
        click.echo(f"Nothing new has landed for {use_case}.")
    for batch in batches if not json_ else []:
        click.echo(
            f"Batch {batch.batch}: {batch.received:,} received, {batch.accepted:,} accepted, {batch.quarantined:,} "
            f"quarantined{f', {batch.repeated:,} came before' if batch.repeated else ''}.\n"
            f"Checks: {_short(batch.report)}"
        )
        for reason in batch.unread.values():
            click.echo(f"Not taken in: {reason}")
        if batch.quarantined:
            click.echo(f"Why: contender quarantine {use_case}")


@command()
@use_case_argument
@click.option("--reason", default="by hand", help="Why now; kept with the run.")
@click.option("--decayed", is_flag=True, help="The champion decays: a challenger that is not worse is enough.")
@queue_option
@as_json
def retrain(use_case: str, reason: str, decayed: bool, queue: bool, json_: bool) -> None:
    """Train a challenger now and let it face the champion.

    \b
    Example: contender retrain payments --reason "new merchant category"
    """
    if queue:
        enqueue("retrain", use_case, {"reason": reason, "decayed": decayed}, json_)
        return
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case, "training"), engines(settings, contract):
        import flows.retrain
        from flows.runtime.flow_runs import tags_of

        with tags_of(settings, use_case):
            verdict = flows.retrain.retrain(use_case, reason, decayed=decayed)
    if json_:
        print_json(summary(settings, contract))
    else:
        tell_summary(settings, contract, summary(settings, contract), verdict)


def _has_nothing_to_do(settings: Settings, contract: Contract, landing: Path | None) -> bool:
    """Whether no run is needed; the registry is looked at all the same. A server that runs is to see every run."""
    from contender.promotion import title
    from flows.prefect_api import prefect_server
    from flows.runtime.pending_work import is_pending

    folder = (landing or Path(contract.records.landing)).expanduser().absolute()
    if prefect_server.find_server(settings) or is_pending(settings, contract, folder):
        return False
    with at_work(settings, contract.name):
        title.repair(settings, contract.name)
        title.holder(settings, contract.name)
    return True


def _document(
    settings: Settings,
    contract: Contract,
    began: float,
    done: "Done | None" = None,
    spent: "Mapping[str, float] | None" = None,
) -> dict[str, Any]:
    """How things stand, and what a run did since `began`; None where there was nothing to do."""
    from contender.retraining import next_action

    spent = spent or {}
    return summary(settings, contract) | {
        "ingested": [asdict(batch) for batch in done.ingested] if done else [],
        "due": asdict(done.due if done else next_action.due(settings, contract)),
        "scored": done.scored.predictions if done and done.scored else 0,
        "seconds": time.perf_counter() - began,
        "overhead_seconds": sum(spent.values()),
        "overhead": dict(spent),
    }


environment = click.Choice(["dev", "staging", "prod"])


@command()
@use_case_argument
@click.option("--from", "source", type=environment, required=True, help="Environment whose champion is released.")
@click.option("--to", "target", type=environment, required=True, help="Environment in which it becomes a challenger.")
@as_json
def release(use_case: str, source: str, target: str, json_: bool) -> None:
    """Take the champion of one environment to another, as a challenger.

    It is copied byte for byte with its evidence and validated on the target's
    own rows. It takes the title there by 'contender promote', never at once.

    \b
    Example: contender release payments --from staging --to prod
    """
    from contender.promotion.release import approved

    origin = Settings.model_validate({"environment": source})
    there = Settings.model_validate({"environment": target})
    contract = Contract.of(use_case, there.use_cases)
    approved(origin, there, contract)
    with at_work(there, use_case, "training"), engines(there, contract):
        import flows.release
        from flows.runtime.flow_runs import tags_of

        with tags_of(there, use_case):
            released = flows.release.release(use_case, origin.environment, there.environment)
    model, card = released.model, released.scorecard
    if json_:
        print_json(
            {
                "model": model.name,
                "version": model.version,
                "environment": target,
                "rows": card.rows,
                "metrics": dict(card.metrics),
                "digest": model.digest,
            }
        )
        return
    metric = contract.judging.metric
    quality = f"{metric} {card.metrics[metric]:.4f}"
    click.echo(f"{model} is a challenger in {target}: {quality} on {card.rows:,} of its rows.")
    click.echo(f"Next: CONTENDER_ENVIRONMENT={target} contender promote {use_case} --to {model.version} --reason …")


@command()
@use_case_argument
@queue_option
@as_json
def score(use_case: str, queue: bool, json_: bool) -> None:
    """Score every record that has no prediction yet.

    \b
    Example: contender score payments
    """
    from contender.errors import UsageError

    if queue:
        enqueue("score", use_case, {}, json_)
        return
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case), engines(settings, contract):
        import flows.score
        from flows.runtime.flow_runs import tags_of

        with tags_of(settings, use_case):
            scored = flows.score.score(contract.name)
    if scored is None:
        raise UsageError(
            f"Nobody holds the title of {use_case} yet; 'contender run {use_case}' trains a first champion."
        )
    if json_:
        print_json({"predictions": scored.predictions, "alerts": scored.alerts, "version": scored.model.version})
    else:
        click.echo(f"{scored.predictions:,} new predictions by {scored.model}, {scored.alerts:,} alerts.")


def summary(settings: Settings, contract: Contract) -> dict[str, Any]:
    """What a use case stands at, as `status --json` has it, with the last verdict in full."""
    from contender.promotion import approval_requests, ledger
    from flows.cli.show import status_of

    verdict = ledger.last_verdict(settings, contract.name)
    return status_of(settings, contract.name) | {
        "verdict": verdict.for_programs() if verdict else None,
        "approval": document_of(contract.name, approval_requests.waiting(settings, contract.name)),
    }


def tell_summary(settings: Settings, contract: Contract, document: dict[str, Any], verdict: "Verdict | None") -> None:
    """The last lines: version, verdict, metric, how to get the predictions, where the report is, what comes next."""
    from contender.reports import publication

    champion = document["champion"]
    click.echo()
    if verdict is None:
        click.echo(_within_80(f"No challenger this time: {document['due']['reason']}."))
    else:
        click.echo(_within_80(f"Verdict: {verdict.decision.value}. {verdict.reasons[0]}"))
        against = "" if verdict.champion_score is None else f", {verdict.against} {verdict.champion_score:.4f}"
        click.echo(
            f"  {verdict.metric}: challenger {verdict.challenger_score:.4f}{against}, on {verdict.rows:,} unseen rows"
        )
    if document["approval"]:
        click.echo(document["approval"]["sentence"])
    if champion:
        click.echo(f"Champion: {contract.name} version {champion['version']}, since {champion['since'][:16]} UTC")
    else:
        click.echo("Nobody holds the title yet.")
    if document["predictions"]:
        name = contract.name
        click.echo(f"Predictions: {document['predictions']:,}; as a file: contender predictions {name} --to {name}.csv")
    if held := _held_back(document.get("ingested", [])):
        click.echo(f"Held back: {held}; why: contender quarantine {contract.name}")
    if (report := publication.path_of(settings, contract.name)).is_file():
        click.echo(f"Report: {_short(str(report))}")
    click.echo(f"Next: contender why {contract.name}    contender status    contender --help")
    if command := activation_command():
        click.echo(f"Once in each terminal, so that it finds contender: {command}")


def _held_back(ingested: "Sequence[Mapping[str, Any]]") -> str:
    """How many rows and files of a run were not taken in; empty where all were."""
    rows, files = sum(batch["quarantined"] for batch in ingested), sum(len(batch["unread"]) for batch in ingested)
    told = [f"{rows:,} of {sum(batch['received'] for batch in ingested):,} rows"] if rows else []
    told += [f"{files:,} file{'s' * (files > 1)} that cannot be read"] if files else []
    return " and ".join(told)


def _within_80(sentence: str) -> str:
    return textwrap.fill(sentence, 80, subsequent_indent="  ", break_on_hyphens=False)


def _make_sure_there_is_data(settings: Settings, contract: Contract, landing: Path | None) -> None:
    """The built-in use case makes its own data the first time."""
    from contender.replay import payments_simulator

    folder = Path(contract.records.landing).absolute()
    if contract.name != "payments" or landing is not None or any(folder.glob(contract.records.files)):
        return
    click.echo(f"Simulating 200,000 card payments of 120 days into {_short(str(folder))} …", err=True)
    payments_simulator.write(payments_simulator.Simulation(seed=settings.seed), folder)


def _short(path: str) -> str:
    """A path relative to the working directory where that is shorter."""
    here = f"{Path.cwd()}/"
    return path.removeprefix(here)
