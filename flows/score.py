"""The flow in which the champion scores what it has not scored."""

from datetime import UTC, datetime

from prefect import flow

from contender.contracts.contract import Contract
from contender.promotion.locks import at_work
from contender.settings import Settings
from contender.values import Scored
from flows.runtime.flow_runs import UseCase, in_one_sentence, name_of_run, patience_seconds
from flows.runtime.warm_up import begin_on_worker
from tasks.announcements import tell_scored
from tasks.promotion import find_champion, repair_aliases
from tasks.scoring import score_records


@in_one_sentence
@flow(flow_run_name=name_of_run)
def score(use_case: UseCase) -> Scored | None:
    """Write a prediction for every record without one; nothing while nobody holds the title.

    Args:
        use_case: name of the folder that holds the contract.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case, wait_seconds=patience_seconds()):
        begin_on_worker(settings, contract)
        repair_aliases(settings, contract)
        return score_what_is_new(settings, contract)


def score_what_is_new(settings: Settings, contract: Contract) -> Scored | None:
    """Predictions by the champion of now; None when nobody holds the title yet."""
    held = find_champion(settings, contract)
    if held is None:
        return None
    scored = score_records(settings, contract, held[1], datetime.now(UTC))
    tell_scored(settings, contract, scored)
    return scored
