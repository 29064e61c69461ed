"""The whole job: ingest, train, judge, promote, score."""

from dataclasses import dataclass

from prefect import flow

from contender.contracts.contract import Contract
from contender.errors import DataError, TooFewOutcomes, Unavailable
from contender.promotion.locks import at_work
from contender.retraining.policy import Due
from contender.settings import Settings
from contender.values import Ingested, Scored, Verdict
from flows.ingest import ingest
from flows.retrain import retrain
from flows.runtime.flow_runs import UseCase, in_one_sentence, patience_seconds, tags_of
from flows.score import score
from tasks.retraining import decide_retraining


@dataclass(frozen=True)
class Done:
    """What one run of the whole job did. Without a verdict, `due` says why nothing was trained."""

    ingested: list[Ingested]
    due: Due
    verdict: Verdict | None
    scored: Scored | None


@in_one_sentence
@flow(flow_run_name="run {use_case}")
def pipeline(use_case: UseCase, landing: str | None = None) -> Done:
    """Take in what has landed, train and judge a challenger when one is due, and score all that is not scored.

    Args:
        use_case: name of the folder that holds the contract.
        landing: folder where the files are; without it the contract's own.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case, wait_seconds=patience_seconds()), tags_of(settings, use_case):
        refused: DataError | Unavailable | None = None
        ingested, verdict = list[Ingested](), None
        try:
            ingested = ingest(use_case, landing, go_on=False)
        except (DataError, Unavailable) as error:
            # What is in the lake is sound all the same, and is served first.
            refused = error
        due = decide_retraining(settings, contract)
        try:
            verdict = retrain(use_case, due.reason) if due.now else None
        except TooFewOutcomes as error:
            # Whoever holds the title serves on.
            refused = refused or error
        scored = score(use_case)
        if refused:
            raise refused
    return Done(ingested, due, verdict, scored)
