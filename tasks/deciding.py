"""The step that decides whether a new challenger is worth its training."""

from prefect import task

from contender import lake, ledger, policy
from contender.contract import Contract
from contender.policy import Due
from contender.settings import Settings
from tasks.telling import working


@task
def decide_retraining(settings: Settings, contract: Contract) -> Due:
    """Whether enough outcomes are new since the last verdict."""
    with working() as tell:
        last = ledger.last_verdict(settings, contract.name)
        due = policy.retraining_due(
            contract.retraining,
            outcomes=lake.count(settings, contract.name, "outcomes"),
            seen=int(last["outcomes"]) if last else None,
        )
        tell(f"a challenger is {'due' if due.now else 'not due'}: {due.reason}")
        return due
