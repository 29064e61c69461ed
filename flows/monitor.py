"""The flow that compares what arrives, and what became of it, with what the champion was trained on."""

from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import flow

from contender.contracts.contract import Contract
from contender.drift.drift_check import DriftCheck
from contender.performance.quality_readings import Readings
from contender.promotion import model_inputs
from contender.promotion.locks import at_work
from contender.retraining.diagnoses import Kept
from contender.settings import Settings
from flows.runtime.flow_runs import UseCase, in_one_sentence, name_of_run, patience_seconds
from flows.runtime.warm_up import begin_on_worker
from tasks.monitoring import (
    act,
    bring_samples,
    diagnose,
    log_report,
    look_at_window,
    look_for_stop,
    measure_performance,
    moment_of,
)
from tasks.promotion import find_champion
from tasks.retraining import ask_for_retraining


@dataclass(frozen=True)
class Checked:
    """What a look at the newest window gave; only the sentence where there was nothing to compare, or nothing with."""

    sentence: str
    check: DriftCheck | None = None
    quality: Readings | None = None
    done: Kept | None = None


@in_one_sentence
@flow(flow_run_name=name_of_run)
def monitor(use_case: UseCase, as_of: datetime | None = None) -> Checked:
    """Compare the newest window with the champion's training, name what is found, and act on it.

    A broken feed is held out of training, a shift is told, decay calls for a retrain when the contract's policy has
    room for one.

    Args:
        use_case: name of the folder that holds the contract.
        as_of: moment (UTC) before which the newest whole days are looked at; without it, now, or where nothing came
            since, the end of the newest day.
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    with at_work(settings, use_case, wait_seconds=patience_seconds()):
        held = find_champion(settings, contract)
        if held is None:
            return Checked(f"Nobody holds the title of {use_case} yet, so there is nothing to compare with.")
        if why := model_inputs.why_unable(held[0], contract):
            due = ask_for_retraining(settings, contract)
            then = "a retrain is due at once" if due.urgent else due.reason
            return Checked(f"{why[0].upper()}{why[1:]}: {then}.")
        begin_on_worker(settings, contract)
        newest = bring_samples(settings, contract)
        if newest is None:
            return Checked(f"{use_case} has no records yet, so there is nothing to compare.")
        entry, champion = held
        at = moment_of(settings, contract, as_of, newest)
        stopped = look_for_stop(settings, contract) if as_of is None else None

        looked = look_at_window(settings, contract, entry, champion, at)
        log_report(settings, champion, looked)
        quality = measure_performance(settings, contract, champion, at if as_of else datetime.now(UTC))

        diagnosis = diagnose(contract, looked, quality)
        done = act(settings, contract, champion, looked, diagnosis, quality, at)
    told = f"{stopped} {diagnosis.sentence}" if stopped else diagnosis.sentence
    return Checked(told, looked.check, quality, done)
