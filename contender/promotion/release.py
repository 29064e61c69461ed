"""From one environment to another: the approved version with its evidence, as a challenger that has to prove itself."""

import json
from typing import Any

from contender.contracts.contract import Contract
from contender.errors import TitleError, UsageError
from contender.promotion import ledger, title
from contender.promotion.compliance import candidates_in, proofs_of, refuse_missing_proofs
from contender.promotion.ledger import LedgerEntry
from contender.registry import model_versions, tracking
from contender.settings import Settings
from contender.values import ModelVersion

FROM = "released_from"


def approved(source: Settings, target: Settings, contract: Contract) -> tuple[LedgerEntry, ModelVersion]:
    """The version that holds the title in `source`, if it may go to `target`.

    Raises:
        UsageError: both are the same environment, or the target may not have such a model.
        TitleError: nobody holds the title there.
        ContractError: proofs that the contract makes mandatory are missing.
    """
    if source.environment == target.environment:
        raise UsageError(f"A release goes from one environment to another, not from {source.environment} to itself.")
    held = title.holder(source, contract.name)
    if held is None:
        raise TitleError(
            f"Nobody holds the title of {contract.name} in {source.environment}, so there is nothing to release; run "
            f"'CONTENDER_ENVIRONMENT={source.environment} contender run {contract.name}' first."
        )
    champion = held[1]
    if champion.family not in candidates_in(contract, target.environment):
        raise UsageError(
            f"{champion} is of the family '{champion.family}', which training.approved in the contract does not name "
            f"for {target.environment}; approve it there, or let an approved candidate win in {source.environment}."
        )
    refuse_missing_proofs(contract, proofs_of(contract, signature=_is_signed(source, champion)))
    return held


def copy_version(
    source: Settings, target: Settings, contract: Contract, entry: LedgerEntry, champion: ModelVersion
) -> ModelVersion:
    """The champion of `source` as a registered version of `target`, byte for byte, and made only once.

    With it go the entry of the ledger that approved it, its verdict and what it was trained on.

    Raises:
        UntrustedModel: the files that arrived are not those that were approved.
    """
    if (there := _released_before(target, contract, champion)) is not None:
        return there
    import mlflow

    folder = model_versions.fetch_approved(source, champion, entry.model_digest)
    keys = model_versions.training_keys(source, champion)
    origin = f"{source.environment}: {champion}"
    with model_versions.connected(target) as client:
        run = mlflow.start_run(
            experiment_id=tracking.experiment(client, target, contract.name),
            run_name=f"release of {champion}",
            tags={"use_case": contract.name, FROM: origin},
        )
        with run:
            run_id = run.info.run_id
            client.log_artifacts(run_id, str(folder), "model")
            client.log_dict(run_id, evidence_of(source, contract, entry), "evidence.json")
            stamp = model_versions.log_training_keys(client, run_id, keys)
            uri = mlflow.get_artifact_uri("model")
        number = tracking.register(
            client,
            target.name_of(contract.name),
            contract.question,
            uri,
            run_id,
            "",
            {
                "validation_status": "pending",
                "digest": entry.model_digest,
                "family": champion.family,
                "trained_until": champion.trained_until.isoformat(),
                "model_id": "",
                "use_case": contract.name,
                FROM: origin,
                model_versions.TRAINING_KEYS: stamp,
            },
        )
    arrived = model_versions.find(target, contract.name, number)
    model_versions.fetch_approved(target, arrived, entry.model_digest)
    return arrived


def evidence_of(source: Settings, contract: Contract, entry: LedgerEntry) -> dict[str, Any]:
    """What speaks for a version: the entry that gave it the title, with its verdict, data versions and revision."""
    return {
        "environment": source.environment,
        "entry": {**vars(entry), "evidence": json.loads(entry.evidence)},
        "entries_verified": ledger.verify(source, contract.name),
    }


def _released_before(target: Settings, contract: Contract, champion: ModelVersion) -> ModelVersion | None:
    name = target.name_of(contract.name)
    with model_versions.connected(target) as client:
        found = client.search_model_versions(f"name = '{name}'")
    same = [int(one.version) for one in found if one.tags.get("digest") == champion.digest]
    return model_versions.find(target, contract.name, max(same)) if same else None


def _is_signed(source: Settings, champion: ModelVersion) -> bool:
    """Whether the model declares its input and its output."""
    signature = model_versions.load(source, champion, champion.digest).pyfunc.metadata.signature
    return signature is not None and bool(signature.inputs) and bool(signature.outputs)
