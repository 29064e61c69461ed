"""The flow in which the champion scores what it has not scored."""

from datetime import UTC, datetime

from prefect import flow

from contender.contract import Contract
from contender.locks import at_work
from contender.settings import Settings
from contender.values import Scored
from flows.patience import patience_seconds
from tasks.judging import find_champion
from tasks.scoring import score_records


@flow(flow_run_name="score {use_case}")
def score(use_case: str) -> Scored | None:
    """Write a prediction for every record without one; nothing while nobody holds the title.

    Args:
        use_case: name of the folder that holds the contract.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case, wait_seconds=patience_seconds()):
        held = find_champion(settings, contract)
        return score_records(settings, contract, held[1], datetime.now(UTC)) if held else None
