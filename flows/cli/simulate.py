"""`contender simulate`: card payments to try everything with."""

from dataclasses import asdict
from pathlib import Path

import click

from contender.contracts.contract import Contract
from contender.settings import Settings
from flows.cli.options import as_json, command
from flows.runtime.output import print_json


@command()
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
    from contender.replay import payments_simulator

    settings = Settings()
    folder = to or Path(Contract.of("payments", settings.use_cases).records.landing)
    simulation = payments_simulator.Simulation(
        seed=settings.seed if seed is None else seed,
        payments=payments,
        days=days,
        drift=drift,
        drift_from=drift_from,
        outcome_delay=outcome_delay,
        dirty_share=dirty_share,
    )
    written = payments_simulator.write(simulation, folder)
    if json_:
        print_json(asdict(written))
        return
    click.echo(
        f"{written.payments:,} payments, {written.frauds:,} of them fraud, and {written.outcomes:,} outcomes in "
        f"{written.files:,} files in {folder}, {written.files - written.unchanged:,} of them new."
    )
