"""Challenger and champion on the same rows: loaded, asked, measured and judged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender.contracts.contract import Contract
from contender.evaluation import evidence, metrics
from contender.evaluation.bootstrap import Contest
from contender.evaluation.exhibits import CalibrationBin, ColumnFairness, Flips
from contender.evaluation.guardrails import Checked
from contender.evaluation.judge import JudgedRows, Occasion, judge
from contender.evaluation.non_inferiority import Leniency, leniency
from contender.features import dataset
from contender.lake import tables
from contender.promotion import judging_window, ledger, model_inputs
from contender.promotion.verdict_document import VerdictDocument, finite, plain_verdict
from contender.registry import model_versions
from contender.settings import Settings
from contender.values import KEY, TARGET, Decision, ModelVersion, Rows, Scorecard, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from contender.registry.mlflow_evaluation import Measured
    from contender.registry.model_files import Loaded


def measure(
    settings: Settings, contract: Contract, model: ModelVersion, rows: Rows
) -> "tuple[Scorecard, Measured, Measured]":
    """The scorecard of a model on rows, and what MLflow's evaluator found for it and for the dummy."""
    from contender.registry import mlflow_evaluation
    from contender.training import trainer

    loaded = model_versions.load(settings, model, model.digest)
    whole, _ = known_rows(contract, dataset.load(settings, contract, rows), classes_of(loaded))
    frame, y, slices = judging_rows(contract, whole)
    name = dataset.name_of(rows, rows.versions[-1])
    mine, dummy = mlflow_evaluation.evaluate(settings, contract, loaded, frame, y, rows=name)
    scores, indices = scores_and_outcomes(contract, loaded, frame, y, classes_of(loaded))
    scorecard = Scorecard(
        model=model,
        rows=len(y),
        metrics=metrics.metrics(contract.kind, indices, scores, contract.scoring.threshold),
        slices=metrics.per_slice(contract.kind, indices, scores, contract.scoring.threshold, slices),
        latency_ms=trainer.latency_ms(loaded.pyfunc.predict, frame, settings.seed),
    )
    model_versions.log_document(settings, mine.run_id, asdict(scorecard), "scorecard.json")
    return scorecard, mine, dummy


_NAMED = 12


@dataclass(frozen=True)
class Answers:
    """What both models say of the same rows, and all else that the judge needs to know of them.

    `y` and the scores are as evaluation wants them, by the order of `classes`; `champion_scores` is None where nobody
    holds the title. `frame` holds the rows with all that they are grouped by. `looks` count this comparison too.
    `left_out` names the classes of rows that neither model was trained on, and that no verdict is about.
    """

    challenger: Scorecard
    champion: ModelVersion | None
    rows: Rows
    frame: "pd.DataFrame"
    y: NDArray[Any]
    challenger_scores: NDArray[np.float64]
    champion_scores: NDArray[np.float64] | None
    classes: NDArray[Any]
    leniency: Leniency
    looks: int
    looks_in_year: int
    left_out: str = ""


def compare(
    settings: Settings,
    contract: Contract,
    challenger: Scorecard,
    champion: ModelVersion | None,
    rows: Rows,
    failures: Sequence[str],
    *,
    decayed: bool = False,
    revision: str | None = None,
    absent: str = "",
) -> Verdict:
    """Both models' fresh scores on the same rows, judged; a threshold that MLflow found broken keeps the champion.

    Args:
        decayed: the monitor has confirmed that the champion decays.
        revision: commit of the code and the contract.
        absent: why there is a champion that is not asked; told beside the verdict.

    Raises:
        TooFewOutcomes: the rows are too few, or their window has been looked at too often.
        SeenRows: one of the models was trained on some of the rows.
    """
    answered = gather(settings, contract, challenger, champion, rows, decayed=decayed)
    verdict, groups = decide(contract, answered, failures, settings.seed)
    if absent:
        verdict = replace(verdict, reasons=(*verdict.reasons, absent))
    record(settings, contract, answered, verdict, groups, revision)
    return verdict


def gather(
    settings: Settings,
    contract: Contract,
    challenger: Scorecard,
    champion: ModelVersion | None,
    rows: Rows,
    *,
    decayed: bool,
) -> Answers:
    """Both models loaded and asked, and the look at their window counted."""
    assert challenger.model is not None
    judging_window.refuse_seen_rows(settings, contract, rows, filter(None, (challenger.model, champion)))
    earlier = ledger.verdicts(settings, contract.name, newest=None)
    mine = model_versions.load(settings, challenger.model, challenger.model.digest)
    other = model_versions.load(settings, champion, champion.digest) if champion is not None else None
    classes = classes_of(mine) if other is None else np.union1d(classes_of(mine), classes_of(other))
    whole, left_out = known_rows(contract, dataset.load(settings, contract, rows), classes)
    frame, y, _ = judging_rows(contract, whole)
    scores, indices = scores_and_outcomes(contract, mine, frame, y, classes)
    theirs = scores_and_outcomes(contract, other, frame, y, classes)[0] if other is not None else None
    # Both have answered and nothing was seen yet: a registry that is away costs no look.
    looks = judging_window.looks_at(settings, contract, rows)
    return Answers(
        challenger=challenger,
        champion=champion,
        rows=rows,
        frame=whole,
        y=indices,
        challenger_scores=scores,
        champion_scores=theirs,
        classes=classes,
        leniency=leniency(
            contract.judging, earlier, decayed=decayed, age=rows.as_of - champion.trained_until if champion else None
        ),
        looks=looks,
        looks_in_year=1 + judging_window.of_a_year(earlier, rows.as_of),
        left_out=left_out,
    )


def decide(
    contract: Contract, answered: Answers, failures: Sequence[str], seed: int
) -> tuple[Verdict, tuple[ColumnFairness, ...]]:
    """The verdict, and how the challenger treats the contract's groups; reads and writes nothing."""
    whole, scores = answered.frame, answered.challenger_scores
    cluster = contract.judging.cluster
    clusters = whole[f"by:{cluster}"].to_numpy().astype(str) if cluster else None
    fair, too_small, groups = _fairness(contract, whole, answered.y, scores, clusters, seed)
    rows = JudgedRows(
        contract.kind,
        answered.y,
        champion=answered.champion_scores,
        challenger=scores,
        dummy=metrics.dummy_scores(contract.kind, answered.y, len(answered.y), len(answered.classes) or None),
        threshold=contract.scoring.threshold,
        slices=judging_rows(contract, whole)[2],
        clusters=clusters,
    )
    occasion = Occasion(answered.looks, answered.looks_in_year, answered.leniency.allowed_loss)
    latency_ms = answered.challenger.latency_ms
    verdict = judge(rows, contract.judging, occasion, latency_ms=latency_ms, seed=seed, fairness=fair)
    more = (*too_small, *filter(None, [answered.left_out, answered.leniency.reason]))
    verdict = replace(verdict, reasons=(*verdict.reasons, *more))
    if failures:
        verdict = replace(verdict, decision=Decision.KEEP, reasons=(*failures, *verdict.reasons))
    return verdict, groups


def record(
    settings: Settings,
    contract: Contract,
    answered: Answers,
    verdict: Verdict,
    groups: tuple[ColumnFairness, ...],
    revision: str | None,
) -> None:
    """Keep the verdict with all that people look at, in the ledger and beside the challenger's run."""
    challenger = answered.challenger.model
    assert challenger is not None
    bins, flips = _exhibits(contract, answered)
    document = VerdictDocument(
        **vars(verdict),
        at=datetime.now(UTC),
        challenger=challenger.version,
        champion=answered.champion.version if answered.champion else None,
        run_id=challenger.run_id,
        model_digest=challenger.digest,
        window=judging_window.name_of(answered.rows),
        as_of=answered.rows.as_of,
        versions={table.table: table.version for table in answered.rows.versions},
        git_revision=revision,
        outcomes=tables.count(settings, contract.name, "outcomes"),
        mode=answered.leniency.mode,
        min_gain=contract.judging.min_gain,
        allowed_loss=answered.leniency.allowed_loss,
        looks=answered.looks,
        metrics=finite(answered.challenger.metrics),
        slices={name: finite(values) for name, values in answered.challenger.slices.items()},
        latency_ms=finite(answered.challenger.latency_ms),
        calibration=bins,
        flips=flips,
        fairness=groups,
        leaks_allowed=dict(contract.leaks.allow),
    )
    ledger.record_verdict(settings, contract.name, document)
    model_versions.log_document(settings, challenger.run_id, document.for_programs(), "verdict.json")


def _fairness(
    contract: Contract,
    whole: "pd.DataFrame",
    y: NDArray[Any],
    scores: NDArray[np.float64],
    clusters: NDArray[Any] | None,
    seed: int,
) -> tuple[list[Checked], list[str], tuple[ColumnFairness, ...]]:
    """How the challenger treats the contract's groups: limits checked, groups too small to tell, and all rates."""
    rules = contract.fairness
    if not rules.columns:
        return [], [], ()
    from contender.evaluation import fairness, group_rates

    groups = {name: whole[f"by:{name}"].fillna("missing").to_numpy().astype(str) for name in rules.columns}
    threshold = contract.scoring.threshold
    checked, too_small = fairness.check_fairness(y, scores, threshold, groups, rules, seed, clusters=clusters)
    rates = group_rates.measure_fairness(y, scores, threshold, groups, rules)
    return checked, too_small, fairness.by_column(rates, checked)


def _exhibits(contract: Contract, answered: Answers) -> tuple[dict[str, tuple[CalibrationBin, ...]], Flips | None]:
    """What people look at beside the numbers: calibration of both, and decisions that a promotion would turn."""
    y, challenger, champion = answered.y, answered.challenger_scores, answered.champion_scores
    bins = {"challenger": tuple(evidence.calibration_bins(contract.kind, y, challenger))}
    if champion is None:
        return bins, None
    bins["champion"] = tuple(evidence.calibration_bins(contract.kind, y, champion))
    columns = [column.name for column in contract.model_columns]
    flips = evidence.flip_examples(
        Contest(contract.kind, y, champion, challenger, contract.scoring.threshold),
        answered.frame[KEY].to_numpy(),
        answered.frame[columns],
        columns,
        classes=answered.classes.tolist(),
    )
    return bins, flips


def judging_rows(
    contract: Contract, frame: "pd.DataFrame"
) -> "tuple[pd.DataFrame, NDArray[Any], Mapping[str, NDArray[Any]]]":
    """The model's input, the outcomes as the model was fitted on them, and the slices' columns."""
    y = frame[TARGET].to_numpy()
    outcomes: NDArray[Any] = y.astype(
        {"binary": np.int64, "multiclass": np.str_, "regression": np.float64}[contract.kind]
    )
    slices = {name: frame[f"by:{name}"].fillna("missing").to_numpy().astype(str) for name in contract.judging.slices}
    return frame[[column.name for column in contract.model_columns]], outcomes, slices


def known_rows(contract: Contract, frame: "pd.DataFrame", classes: NDArray[Any]) -> "tuple[pd.DataFrame, str]":
    """The rows of classes that were trained on, and one line that names the others: no model can say what they are."""
    if contract.kind != "multiclass":
        return frame, ""
    known = frame[TARGET].astype(str).isin(classes.tolist())
    others = frame.loc[~known, TARGET].value_counts()
    named = ", ".join(f"{name} ({count:,})" for name, count in others.head(_NAMED).items())
    more = f" and {len(others) - _NAMED:,} more" if len(others) > _NAMED else ""
    return frame[known], f"not judged on, as no model was trained on them: {named}{more}" if named else ""


def classes_of(loaded: "Loaded") -> NDArray[Any]:
    """The classes in the order of the model's probabilities; empty for regression."""
    return np.asarray(getattr(loaded.model, "classes_", []))


def scores_and_outcomes(
    contract: Contract, loaded: "Loaded", frame: "pd.DataFrame", y: NDArray[Any], classes: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Scores and outcomes as evaluation wants them, by the order of `classes` whatever the model's own is.

    Raises:
        ModelError: the model needs a column that features no longer have.
    """
    answer = loaded.answer(frame)
    if contract.kind == "regression":
        return answer, y
    if contract.kind == "binary":
        return answer[:, 1], y
    own = classes_of(loaded)
    aligned = np.zeros((len(answer), len(classes)))
    for place, name in enumerate(classes):
        found = np.flatnonzero(own == name)
        if len(found):
            aligned[:, place] = answer[:, found[0]]
    return aligned, np.searchsorted(classes, y)


def evidence_of(contract: Contract, verdict: Verdict, rows: Rows, revision: str | None) -> dict[str, Any]:
    """What the ledger keeps beside a change of the title."""
    return {
        "verdict": plain_verdict(verdict),
        "data": {table.table: table.version for table in rows.versions},
        "git_revision": revision,
        "as_of": datetime.isoformat(rows.as_of),
        model_inputs.INPUTS: model_inputs.inputs_of(contract),
    }
