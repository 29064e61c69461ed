"""The commands that run flows, and the last lines they print."""

import textwrap
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contender.contracts.contract import Contract
from contender.operations.findings import activation_command
from contender.promotion.approval_request import document_of
from contender.promotion.locks import at_work
from contender.settings import Settings
from contender.timing import clock
from flows.runtime.output import print_json
from flows.runtime.warm_up import engines

if TYPE_CHECKING:
    from contender.values import Verdict


def run_pipeline(use_case: str, landing: Path | None, json_: bool) -> None:
    """`contender run`: the whole job, then what a person wants to know of it."""
    began = time.perf_counter()
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    _make_sure_there_is_data(settings, contract, landing)
    # Asked here as well as in the flow, because a second command should hear 'busy' before it starts Spark.
    with at_work(settings, use_case), engines(settings, contract, landing) as started:
        from flows.pipeline import pipeline
        from flows.runtime.flow_runs import tags_of

        flow_began = time.perf_counter()
        with tags_of(settings, use_case):
            done = pipeline(use_case, str(landing) if landing else None)
        flow_seconds = time.perf_counter() - flow_began
    total = time.perf_counter() - began
    spent = {
        "start": started.seconds,
        "prefect": flow_seconds - sum(clock.seconds.values()),
        "mlflow": clock.seconds["mlflow"],
    }
    document = summary(settings, contract) | {
        "ingested": [asdict(batch) for batch in done.ingested],
        "due": asdict(done.due),
        "scored": done.scored.predictions if done.scored else 0,
        "seconds": total,
        "overhead_seconds": sum(spent.values()),
        "overhead": spent,
    }
    if json_:
        print_json(document)
        return
    tell_summary(settings, contract, document, done.verdict)
    click.echo(f"{total:.0f} s in all; outside the work {sum(spent.values()):.1f} s:")
    click.echo(
        f"  starting Spark and Prefect {spent['start']:.1f}, Prefect's runs {spent['prefect']:.1f}, "
        f"MLflow {spent['mlflow']:.1f}"
    )


def run_ingest(use_case: str, landing: Path | None, json_: bool) -> None:
    """`contender ingest`: new files into the lake."""
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case), engines(settings, contract, landing):
        from flows.ingest import ingest
        from flows.runtime.flow_runs import tags_of

        with tags_of(settings, use_case):
            batches = ingest(contract.name, str(landing) if landing else None, go_on=False)
    if json_:
        print_json([asdict(batch) for batch in batches])
    elif not batches:
        click.echo(f"Nothing new has landed for {use_case}.")
    for batch in batches if not json_ else []:
        click.echo(
            f"Batch {batch.batch}: {batch.received:,} received, {batch.accepted:,} accepted, {batch.quarantined:,} "
            f"quarantined.\nChecks: {_short(batch.report)}"
        )


def run_retrain(use_case: str, reason: str, decayed: bool, json_: bool) -> None:
    """`contender retrain`: a challenger, judged."""
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case, "training"), engines(settings, contract):
        from flows.retrain import retrain
        from flows.runtime.flow_runs import tags_of

        with tags_of(settings, use_case):
            verdict = retrain(use_case, reason, decayed=decayed)
    if json_:
        print_json(summary(settings, contract))
    else:
        tell_summary(settings, contract, summary(settings, contract), verdict)


def run_release(use_case: str, source: str, target: str, json_: bool) -> None:
    """`contender release`: an approved version in another environment."""
    from contender.promotion import release as promotion_release

    origin = Settings.model_validate({"environment": source})
    there = Settings.model_validate({"environment": target})
    contract = Contract.of(use_case, there.use_cases)
    promotion_release.approved(origin, there, contract)
    with at_work(there, use_case, "training"), engines(there, contract):
        from flows.release import release
        from flows.runtime.flow_runs import tags_of

        with tags_of(there, use_case):
            released = release(use_case, origin.environment, there.environment)
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


def run_score(use_case: str, json_: bool) -> None:
    """`contender score`: predictions for what has none.

    Raises:
        UsageError: nobody holds the title, so there is nothing to score with.
    """
    from contender.errors import UsageError

    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case), engines(settings, contract):
        from flows.runtime.flow_runs import tags_of
        from flows.score import score

        with tags_of(settings, use_case):
            scored = score(contract.name)
    if scored is None:
        raise UsageError(
            f"Nobody holds the title of {use_case} yet; 'contender run {use_case}' trains a first champion."
        )
    if json_:
        print_json({"predictions": scored.predictions, "alerts": scored.alerts, "version": scored.model.version})
    else:
        click.echo(f"{scored.predictions:,} new predictions by {scored.model}, {scored.alerts:,} alerts.")


def run_monitor(use_case: str, as_of: datetime | None, json_: bool) -> None:
    """`contender monitor`: what has moved, how good the champion is, and what comes of it."""
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case), engines(settings, contract):
        from flows.monitor import monitor
        from flows.runtime.flow_runs import tags_of

        with tags_of(settings, use_case):
            checked = monitor(use_case, as_of)
    from flows.cli import monitor as cli_monitor

    if json_:
        print_json(cli_monitor.document_of(use_case, checked))
    else:
        cli_monitor.tell(checked)


def summary(settings: Settings, contract: Contract) -> dict[str, Any]:
    """What a use case stands at, as `status --json` has it, with the last verdict in full."""
    from contender.promotion import approval_requests, ledger
    from flows.cli.show import status_of

    return status_of(settings, contract.name) | {
        "verdict": ledger.last_verdict(settings, contract.name),
        "approval": document_of(contract.name, approval_requests.waiting(settings, contract.name)),
    }


def tell_summary(settings: Settings, contract: Contract, document: dict[str, Any], verdict: "Verdict | None") -> None:
    """The last lines: version, verdict, metric, where the predictions are, and the next command."""
    from contender.lake import tables

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
    click.echo(
        f"Predictions: {document['predictions']:,} in {_short(tables.path_of(settings, contract.name, 'predictions'))}"
    )
    click.echo(f"Next: contender why {contract.name}    contender status    contender --help")
    if command := activation_command():
        click.echo(f"Once in each terminal, so that it finds contender: {command}")


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
