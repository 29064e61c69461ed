"""The step from rows with outcomes to a registered challenger."""

import re
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np

from contender.contracts.contract import Contract
from contender.features import dataset
from contender.features.dataset import Split
from contender.features.training_keys import hashes_of
from contender.lake import tables
from contender.promotion.compliance import candidates_in
from contender.settings import Settings
from contender.values import KEY, TARGET, TIME, ModelVersion
from tasks.run_log import step_log
from tasks.steps import step


@step
def split_rows(settings: Settings, contract: Contract, as_of: datetime) -> Split:
    """The rows to train on and the newer ones to judge on."""
    with step_log() as tell:
        found = dataset.split(settings, contract, as_of)
        if contract.records.time is None:
            tell("records have no time: judging takes the newest delivery, or a part of it drawn by a hash")
        else:
            ends, starts = (f"{moment:%Y-%m-%d %H:%M}" for moment in (found.training.end, found.judging.start))
            tell(f"training ends {ends}, judging starts {starts}")
        return found


@step
def train_challenger(settings: Settings, contract: Contract, split: Split) -> ModelVersion:
    """Search the candidates, fit the best, and register it with all that tells how it came about."""
    from contender.inference import equality
    from contender.promotion import title
    from contender.registry import tracking
    from contender.training import leakage, trainer

    rows = split.training
    with step_log() as tell:
        frame = dataset.load(settings, contract, rows, newest=contract.training.max_rows)
        columns = contract.model_columns
        inputs, y = frame[[column.name for column in columns]], outcomes_of(contract, frame[TARGET].to_numpy())
        learnt = trainer.learnable(y, contract.kind, contract.training)
        inputs, y = inputs[learnt.rows], y[learnt.rows]
        tell(f"training on {len(y):,} rows x {len(columns)} columns")
        if learnt.sentence:
            tell(learnt.sentence)
        trainer.refuse_too_little(y, contract.kind, contract.training)
        suspects = leakage.refuse_leaks(
            inputs,
            y,
            kind=contract.kind,
            columns=columns,
            past={*contract.history, contract.records.time or ""},
            allowed=contract.leaks.allow,
            seed=settings.seed,
        )
        for suspect in suspects:
            tell(f"allowed by the contract: {suspect} ({suspect.reason})")
        own = contract.own_features.read_text(encoding="utf-8") if contract.own_features else None
        asked = trainer.Assignment(
            contract.kind,
            columns,
            candidates_in(contract, settings.environment),
            contract.training,
            contract.judging.metric,
            settings.seed,
            own=own,
            gap=_gap(contract, frame[TIME].to_numpy()),
            drawn=contract.records.time is None,
        )
        trained = trainer.train(inputs, y, asked, tell)
        weights = trainer.importance(trained.model, inputs, y, contract.judging.metric, settings.seed)
        names = trained.folds[0].keys() - {"rows"}
        means = {f"cv_{name}": float(np.mean([f[name] for f in trained.folds if name in f])) for name in sorted(names)}
        learnt_rows = tracking.LearntRows(
            until=frame[TIME].max().to_pydatetime(),
            example=inputs.tail(5),
            sample=frame.tail(200)[[*(column.name for column in columns), TARGET]],
            seen=hashes_of(frame[KEY]),
            datasets=[(table, tables.path_of(settings, contract.name, table.table)) for table in rows.versions],
        )
        cuts = [contract.scoring.threshold, contract.scoring.warning, contract.scoring.critical]
        judging = dataset.load(settings, contract, split.judging)
        arrays, evidence = equality.lower_and_prove(trained.model, columns, judging, cuts)
        challenger = tracking.log_challenger(
            settings,
            contract,
            tracking.FittedModel(
                trained.model,
                trained.candidate,
                trained.params,
                trained.folds,
                metrics=means,
                importance=weights,
                seed=settings.seed,
            ),
            learnt_rows,
            git_revision=git_revision(contract.folder),
            tags={
                "outcomes": str(split.outcomes),
                "rows": str(trained.rows),
                "trained_from": frame[TIME].min().isoformat(),
                "trained_on": ", ".join(map(str, rows.versions)),
                **({"left_out": learnt.sentence} if learnt.sentence else {}),
                **reasons_of(contract),
                "answers": str(evidence),
            },
            arrays=arrays,
        )
        title.follow_verdict(settings, contract.name, challenger, None)
        tell(f"challenger: {challenger} ({trained.candidate})")
        tell(f"it {evidence}")
        return challenger


def outcomes_of(contract: Contract, target: np.ndarray) -> np.ndarray:
    """Outcomes as an estimator wants them: 0 and 1, names of classes, or numbers."""
    if contract.kind == "regression":
        return target.astype(np.float64)
    return target.astype(np.int64) if contract.kind == "binary" else target.astype(str)


def reasons_of(contract: Contract) -> dict[str, str]:
    """Why each allowed feature is honest, as tags; MLflow's tags know fewer characters than columns do."""
    unknown = re.compile(r"[^-\w./: ]", re.ASCII)
    return {f"leak_allowed.{unknown.sub('_', name)}": why for name, why in contract.leaks.allow.items()}


def git_revision(folder: Path) -> str | None:
    """Commit of the code and contract; None outside a repository."""
    try:
        found = subprocess.run(["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _gap(contract: Contract, times: np.ndarray) -> int:
    """About how many rows of a fold's training lie in the time in which outcomes are still to come."""
    span = float((times.max() - times.min()) / np.timedelta64(1, "s")) if len(times) else 0.0
    wait = max(contract.judging.embargo, contract.outcome.matures_after).total_seconds()
    return round(len(times) * wait / span) if span > wait else 0
