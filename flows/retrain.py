"""The flow in which a challenger is trained and faces the champion."""

from datetime import UTC, datetime

from prefect import flow

from contender.contract import Contract
from contender.locks import at_work
from contender.settings import Settings
from contender.values import Verdict
from flows.patience import patience_seconds
from tasks.judging import compare, crown, evaluate, find_champion, hold_out, publish_report
from tasks.training import split_rows, train_challenger


@flow(flow_run_name="retrain {use_case}: {reason}")
def retrain(use_case: str, reason: str = "by hand", as_of: datetime | None = None, decayed: bool = False) -> Verdict:
    """Train on all that was known by `as_of`, and let the challenger face the champion.

    Args:
        use_case: name of the folder that holds the contract.
        reason: why now; people read it in the list of runs.
        as_of: moment (UTC) whose knowledge counts; without it, now.
        decayed: the champion is known to decay; then a challenger that is not worse takes the title.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case, "training", wait_seconds=patience_seconds()):
        held = find_champion(settings, contract)
        entry, champion = held or (None, None)
        rows = split_rows(settings, contract, as_of or datetime.now(UTC))
        judging = hold_out(settings, contract, rows.judging, champion)

        challenger = train_challenger(settings, contract, rows)
        scorecard, failures = evaluate(settings, contract, challenger, judging)
        verdict = compare(settings, contract, scorecard, champion, judging, failures, decayed)
        if verdict.promotes:
            crown(settings, contract, challenger, entry, verdict, judging)
        publish_report(settings, contract, challenger)
    return verdict
