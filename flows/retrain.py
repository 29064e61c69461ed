"""The flow in which a challenger is trained and faces the champion."""

from datetime import UTC, datetime

from prefect import flow

from contender.contest import unseen
from contender.contract import Contract
from contender.locks import at_work
from contender.settings import Settings
from contender.values import Verdict
from tasks.judging import compare, crown, evaluate, find_champion
from tasks.training import split_rows, train_challenger


@flow(flow_run_name="retrain {use_case}: {reason}")
def retrain(use_case: str, reason: str = "by hand", as_of: datetime | None = None) -> Verdict:
    """Train on all that was known by `as_of`, and let the challenger face the champion.

    Args:
        use_case: name of the folder that holds the contract.
        reason: why now; people read it in the list of runs.
        as_of: moment (UTC) whose knowledge counts; without it, now.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case):
        held = find_champion(settings, contract)
        entry, champion = held or (None, None)
        rows = split_rows(settings, contract, as_of or datetime.now(UTC))
        judging = unseen(contract, rows.judging, champion)

        challenger = train_challenger(settings, contract, rows)
        scorecard, failures = evaluate(settings, contract, challenger, judging)
        verdict = compare(settings, contract, scorecard, champion, judging, failures)
        if verdict.promotes:
            crown(settings, contract, challenger, entry, verdict, judging)
    return verdict
