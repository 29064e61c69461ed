"""Whether a run would find anything to do, told from logs and the ledger alone: no Spark, no Prefect."""

from pathlib import Path

from contender.contracts.contract import Contract
from contender.features import feature_tables
from contender.features.transforms import definition_of
from contender.ingestion import batches, kept_meaning
from contender.lake import tables
from contender.operations import notices
from contender.promotion import approval_requests, ledger
from contender.retraining import next_action
from contender.settings import Settings


def is_pending(settings: Settings, contract: Contract, landing: Path) -> bool:
    """Whether a run of the whole job would take in, train, score, ask or mend anything.

    Look-ups and sources are part of it: a contract that has some is looked at by a run.
    """
    name = contract.name
    return bool(
        contract.lookups
        or contract.has_sources
        or ledger.head(settings, name) is None
        or notices.failing(settings, name)
        or approval_requests.waiting(settings, name)
        or kept_meaning.changes(settings, contract)
        or batches.is_cut_off(settings, contract)
        or batches.unseen(settings, contract, landing)
        or next_action.due(settings, contract).now
        or not _is_scored(settings, contract)
    )


def _is_scored(settings: Settings, contract: Contract) -> bool:
    """Whether every record has its features under this contract, a prediction, and its alert where it needs one."""
    name = contract.name
    note = tables.note_of(settings, name, "features")
    records = tables.last_transaction(settings, name, "records", "ingest")
    scored = tables.last_transaction(settings, name, "predictions", "score")
    return (
        note.get("definition") == definition_of(contract)
        and records <= feature_tables.newest_batch(settings, name) <= scored
        and scored <= tables.last_transaction(settings, name, "alerts", "alert")
    )
