"""The flow from landed files to features."""

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from contender.contract import Contract
from contender.locks import at_work
from contender.settings import Settings
from contender.values import Ingested
from flows.patience import patience_seconds
from tasks.ingesting import find_batch, refresh_features, take_in


@flow(flow_run_name="ingest {use_case}")
def ingest(use_case: str, landing: str | None = None) -> list[Ingested]:
    """Take all new files of a use case into its tables, once each, and bring its features up to date.

    Args:
        use_case: name of the folder that holds the contract.
        landing: folder where the files are; without it the contract's own.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    folder = Path(landing or contract.records.landing).expanduser().absolute()
    ingested = []
    with at_work(settings, use_case, wait_seconds=patience_seconds()):
        while batch := find_batch(settings, contract, folder, datetime.now(UTC)):
            ingested.append(take_in(settings, contract, batch))
        refresh_features(settings, contract, folder)
    return ingested
