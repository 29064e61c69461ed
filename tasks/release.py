"""The steps by which an approved version goes from one environment to another."""

from contender.contracts.contract import Contract
from contender.errors import ModelError
from contender.promotion import comparison, judging_window, release, title
from contender.registry import mlflow_evaluation
from contender.settings import Settings
from contender.values import Decision, ModelVersion, Rows, Scorecard
from tasks.retries import TRIES
from tasks.run_log import step_log
from tasks.steps import step


@step(task_run_name="copy the champion of {source.environment} to {target.environment}", **TRIES)
def copy_champion(source: Settings, target: Settings, contract: Contract) -> ModelVersion:
    """The approved version as a version of the target, with its evidence."""
    with step_log() as tell:
        entry, champion = release.approved(source, target, contract)
        arrived = release.copy_version(source, target, contract, entry, champion)
        tell(f"{champion} of {source.environment} is {arrived} in {target.environment}, byte for byte")
        return arrived


@step(task_run_name="validate {model}", **TRIES)
def validate_there(target: Settings, contract: Contract, model: ModelVersion, rows: Rows) -> Scorecard:
    """The model's scorecard on the target's own rows; it becomes a challenger if every absolute limit holds.

    Raises:
        ModelError: a limit does not hold.
        SeenRows: it was trained on some of these rows.
    """
    with step_log() as tell:
        judging_window.refuse_seen_rows(target, contract, rows, [model])
        scorecard, mine, dummy = comparison.measure(target, contract, model, rows)
        if failures := mlflow_evaluation.validate(contract, mine, dummy):
            title.follow_verdict(target, contract.name, model, Decision.KEEP)
            raise ModelError(
                f"{model} does not hold on the {scorecard.rows:,} newest rows of {target.environment}: "
                f"{'; '.join(failures)}; it is registered there as rejected."
            )
        title.follow_verdict(target, contract.name, model, None)
        metric = contract.judging.metric
        tell(f"{model} on {scorecard.rows:,} rows of {target.environment}: {metric} {scorecard.metrics[metric]:.4f}")
        return scorecard
