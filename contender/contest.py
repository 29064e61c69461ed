"""Challenger and champion on the same rows: loaded, asked, measured and judged."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender import dataset, evaluation, lake, ledger, registry, title
from contender.contract import Contract
from contender.errors import TooFewOutcomes
from contender.judge import judge
from contender.settings import Settings
from contender.values import TARGET, Decision, ModelVersion, Rows, Scorecard, Verdict

if TYPE_CHECKING:
    import pandas as pd

    from contender.evaluating import Measured
    from contender.model_files import Loaded


def unseen(contract: Contract, rows: Rows, champion: ModelVersion | None) -> Rows:
    """The judging rows that the champion has not seen either: an embargo after the end of its own training."""
    if champion is None:
        return rows
    start = champion.trained_until + timedelta(microseconds=1) + contract.judging.embargo
    if start >= rows.end:
        raise TooFewOutcomes.to_judge(found=0, needed=contract.judging.min_rows)
    return replace(rows, start=max(rows.start, start))


def measure(
    settings: Settings, contract: Contract, model: ModelVersion, rows: Rows
) -> "tuple[Scorecard, Measured, Measured]":
    """The scorecard of a model on rows, and what MLflow's evaluator found for it and for the dummy."""
    from contender import evaluating, training

    frame, y, slices = judging_rows(contract, dataset.load(settings, contract, rows))
    loaded = registry.load(settings, model, model.digest)
    name = dataset.name_of(rows, rows.versions[-1])
    mine = evaluating.evaluate(settings, contract, loaded, frame, y, rows=name)
    dummy = evaluating.evaluate(settings, contract, loaded, frame, y, rows=name, dummy=True)
    scores, indices = answers(contract, loaded, frame, y, classes_of(loaded))
    scorecard = Scorecard(
        model=model,
        rows=len(y),
        metrics=evaluation.metrics(contract.kind, indices, scores, contract.scoring.threshold),
        slices=evaluation.per_slice(contract.kind, indices, scores, contract.scoring.threshold, slices),
        latency_ms=training.latency_ms(loaded.pyfunc.predict, frame, settings.seed),
    )
    registry.log_document(settings, mine.run_id, asdict(scorecard), "scorecard.json")
    return scorecard, mine, dummy


def compare(
    settings: Settings, contract: Contract, challenger: Scorecard, champion: ModelVersion | None, rows: Rows,
    failures: Sequence[str],
) -> Verdict:  # fmt: skip
    """Both models' fresh scores on the same rows, judged; a threshold that MLflow found broken keeps the champion.

    Raises:
        TooFewOutcomes: the rows are too few, or their window has been looked at too often.
    """
    assert challenger.model is not None
    frame, y, slices = judging_rows(contract, whole := dataset.load(settings, contract, rows))
    window = f"{rows.start:%Y-%m-%d %H:%M}..{rows.end:%Y-%m-%d %H:%M}"
    looks = ledger.count_comparison(settings, contract.name, window)
    if looks > contract.judging.max_comparisons:
        raise TooFewOutcomes.window_spent(looks=looks - 1, allowed=contract.judging.max_comparisons, window=window)
    mine = registry.load(settings, challenger.model, challenger.model.digest)
    classes = classes_of(mine)
    scores, indices = answers(contract, mine, frame, y, classes)
    theirs = None
    if champion is not None:
        theirs = answers(contract, registry.load(settings, champion, champion.digest), frame, y, classes)[0]
    cluster = contract.judging.cluster
    verdict = judge(
        kind=contract.kind, y=indices, champion=theirs, challenger=scores,
        dummy=evaluation.dummy_scores(contract.kind, indices, len(indices), len(classes) or None),
        rules=contract.judging, threshold=contract.scoring.threshold, latency_ms=challenger.latency_ms,
        seed=settings.seed, slices=slices, looks=looks,
        clusters=whole[f"by:{cluster}"].to_numpy().astype(str) if cluster else None,
    )  # fmt: skip
    if failures:
        verdict = replace(verdict, decision=Decision.KEEP, reasons=(*failures, *verdict.reasons))
    document = document_of(verdict, challenger, champion, rows, window)
    document["outcomes"] = lake.count(settings, contract.name, "outcomes")
    ledger.record_verdict(
        settings, contract.name, challenger=challenger.model.version, run_id=challenger.model.run_id, window=window,
        document=document,
    )  # fmt: skip
    registry.log_document(settings, challenger.model.run_id, document, "verdict.json")
    if not verdict.promotes:
        rejected = verdict.decision is Decision.KEEP
        title.mirror(settings, contract.name, challenger=None if rejected else challenger.model.version)
        registry.mark(settings, challenger.model, validation_status="rejected" if rejected else "pending")
    return verdict


def document_of(
    verdict: Verdict, challenger: Scorecard, champion: ModelVersion | None, rows: Rows, window: str
) -> dict[str, Any]:
    """The verdict as `contender why --json` prints it and the ledger keeps it."""
    assert challenger.model is not None
    return asdict(verdict) | {
        "decision": verdict.decision.value,
        "interval": [verdict.interval.low, verdict.interval.high],
        "interval_level": verdict.interval.level,
        "challenger": challenger.model.version,
        "champion": champion.version if champion else None,
        "window": window,
        "as_of": rows.as_of.isoformat(),
        "versions": {table.table: table.version for table in rows.versions},
        "metrics": dict(challenger.metrics),
        "slices": {name: dict(values) for name, values in challenger.slices.items()},
        "latency_ms": dict(challenger.latency_ms),
    }


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


def classes_of(loaded: "Loaded") -> NDArray[Any]:
    """The classes in the order of the model's probabilities; empty for regression."""
    return np.asarray(getattr(loaded.model, "classes_", []))


def answers(
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


def evidence_of(verdict: Verdict, rows: Rows, revision: str | None) -> dict[str, Any]:
    """What the ledger keeps beside a change of the title."""
    return {
        "verdict": asdict(verdict) | {"decision": verdict.decision.value},
        "data": {table.table: table.version for table in rows.versions},
        "git_revision": revision,
        "as_of": datetime.isoformat(rows.as_of),
    }
