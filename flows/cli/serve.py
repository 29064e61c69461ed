"""`contender serve`: the champion answers live. No Spark, no Prefect; MLflow only to fetch a model."""

from pathlib import Path

import click

from contender.settings import Settings
from flows.cli.options import command


@command()
@click.argument("use_cases", metavar="USE_CASE...", nargs=-1, required=True)
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8000, show_default=True, help="Port; 0 takes a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that answer.")
@click.option("--certificate", type=click.Path(path_type=Path, exists=True), help="Of TLS, with its chain; PEM.")
@click.option("--private-key", type=click.Path(path_type=Path, exists=True), help="Of the certificate; PEM.")
@click.option("--behind-proxy", is_flag=True, help="A proxy before it ends TLS.")
def serve(
    use_cases: tuple[str, ...],
    port: int,
    host: str,
    workers: int,
    certificate: Path | None,
    private_key: Path | None,
    behind_proxy: bool,
) -> None:
    """Answer with live scores over HTTP, by the champion. Ctrl-C ends it.

    A new champion, or a rollback, takes over within a second; before there is
    one, requests are answered with 503. Other machines may ask only with API
    keys ('contender keys') and TLS.

    \b
    Example: contender serve payments --workers 2
    """
    import os

    # Each worker computes with one thread; the libraries read this when they are loaded.
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    from contender.contracts.contract import Contract
    from contender.serving.workers import Listening, serve

    settings = Settings()
    contracts = [Contract.of(name, settings.use_cases) for name in dict.fromkeys(use_cases)]
    serve(settings, contracts, Listening(host, port, workers, certificate, private_key, behind_proxy))
