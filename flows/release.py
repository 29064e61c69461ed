"""The flow that takes an approved model to another environment, where it becomes a challenger."""

from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import flow

from contender.contracts.contract import Contract
from contender.promotion.judging_window import unseen
from contender.promotion.locks import at_work
from contender.settings import Environment, Settings
from contender.values import ModelVersion, Scorecard
from flows.runtime.flow_runs import UseCase, in_one_sentence, patience_seconds
from tasks.release import copy_champion, validate_there
from tasks.training import split_rows


@dataclass(frozen=True)
class Released:
    """The version in the target, and how it did on the target's rows."""

    model: ModelVersion
    scorecard: Scorecard


@in_one_sentence
@flow(flow_run_name="release {use_case} from {source} to {target}")
def release(use_case: UseCase, source: Environment, target: Environment) -> Released:
    """Copy the champion with its evidence, validate it on the target's rows, and make it a challenger there.

    Args:
        use_case: name of the folder that holds the contract.
        source: environment whose champion is released.
        target: environment in which it becomes a challenger; never at once the champion.
    """
    there = Settings(environment=target)
    contract = Contract.of(use_case, there.use_cases)
    with at_work(there, use_case, "training", wait_seconds=patience_seconds()):
        model = copy_champion(Settings(environment=source), there, contract)
        rows = split_rows(there, contract, datetime.now(UTC)).judging
        return Released(model, validate_there(there, contract, model, unseen(contract, rows, model)))
