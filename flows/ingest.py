"""The flow from landed files to features, and on to predictions."""

from datetime import UTC, datetime
from pathlib import Path

from prefect import flow

from contender.contracts.contract import Contract
from contender.errors import BatchRefused, ContenderError
from contender.promotion.locks import at_work
from contender.settings import Settings
from contender.values import Ingested
from flows.runtime.flow_runs import UseCase, in_one_sentence, name_of_run, patience_seconds, settled_seconds
from flows.runtime.warm_up import begin_on_worker
from flows.score import score_what_is_new
from tasks.announcements import tell_ingested, tell_refused
from tasks.approvals import expire_requests, finish_approval
from tasks.ingestion import fetch_sources, find_batch, refresh_features, take_in
from tasks.retraining import ask_for_retraining


@in_one_sentence
@flow(flow_run_name=name_of_run)
def ingest(use_case: UseCase, landing: str | None = None, go_on: bool = True) -> list[Ingested]:
    """Take all new files of a use case into its tables, once each, and go on to score what is new.

    It can be run at any time: files that were taken in before are left alone. Rows that break the contract go to
    quarantine with their reasons; a batch with too many of them is refused as a whole.

    Args:
        use_case: name of the folder that holds the contract.
        landing: folder where the files are; without it the contract's own.
        go_on: score what has no prediction yet, and ask for a retrain when enough outcomes are new.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    folder = Path(landing or contract.records.landing).expanduser().absolute()
    ingested, refused, unfetched = list[Ingested](), None, None
    with at_work(settings, use_case, wait_seconds=patience_seconds()):
        begin_on_worker(settings, contract, folder)
        if contract.has_sources:
            try:
                fetch_sources(settings, contract, folder)
            except ContenderError as error:
                # What has landed all the same is taken in first.
                unfetched = error
        while refused is None and (
            batch := find_batch(settings, contract, folder, datetime.now(UTC), settled_seconds())
        ):
            try:
                ingested.append(take_in(settings, contract, batch))
                tell_ingested(settings, contract, ingested[-1])
            except BatchRefused as error:
                # What is in the lake is sound all the same, and is served first.
                refused = error
                tell_refused(settings, contract, batch.batch, error)
        refresh_features(settings, contract, folder)
        if go_on:
            score_what_is_new(settings, contract)
            ask_for_retraining(settings, contract)
            if contract.approval.required:
                finish_approval(settings, contract)
                expire_requests(settings)
        if refused or unfetched:
            raise refused or unfetched
    return ingested
