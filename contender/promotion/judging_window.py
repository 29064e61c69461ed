"""The judging rows: who has seen them, and how often they were looked at.

A hold-out is spent by looking at it. Each model that is measured on these rows counts as a look; candidates of a
search that lost on folds of the training rows never came here, and do not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from contender.contracts.contract import Contract
from contender.errors import TooFewOutcomes
from contender.evaluation.bootstrap import Contest
from contender.evaluation.guardrails import check_entities
from contender.evaluation.metrics import check_enough, dummy_scores, metrics
from contender.features import dataset
from contender.features.training_keys import hashes_of, refuse_seen
from contender.promotion import ledger
from contender.promotion.verdict_document import VerdictDocument
from contender.registry import model_versions
from contender.settings import Settings
from contender.values import KEY, TARGET, ModelVersion, Rows

_SAME_WINDOW = 0.5
"""Windows that share this much of their time have most of their luck in common."""

_SHORT = timedelta(hours=1)
"""Minutes do not tell shorter windows apart."""


def unseen(contract: Contract, rows: Rows, champion: ModelVersion | None) -> Rows:
    """The judging rows that the champion has not seen either: an embargo after the end of its own training."""
    if champion is None:
        return rows
    start = champion.trained_until + timedelta(microseconds=1) + contract.judging.embargo
    if start >= rows.end:
        raise TooFewOutcomes.to_judge(found=0, needed=contract.judging.fewest_rows)
    return replace(rows, start=max(rows.start, start))


def refuse_too_little(settings: Settings, contract: Contract, rows: Rows) -> int:
    """How many rows will judge, if a verdict on them would mean something; asked before anything is trained for them.

    Raises:
        TooFewOutcomes: they are too few, too much alike, from too few entities, or were looked at too often.
    """
    frame = dataset.load(settings, contract, rows)
    if not len(frame):
        dataset.refuse_strangers(settings, contract, rows)
    looks, allowed = _looks_so_far(settings, contract, rows), contract.judging.max_comparisons
    if len(frame) and looks >= allowed:
        raise TooFewOutcomes.window_spent(looks=looks, allowed=allowed, window=name_of(rows))
    rules, target = contract.judging, frame[TARGET].to_numpy()
    y = np.unique(target, return_inverse=True)[1] if contract.kind == "multiclass" else target.astype(np.float64)
    check_enough(contract.kind, y, min_rows=rules.fewest_rows, min_per_class=rules.fewest_of_a_class)
    constant = dummy_scores(contract.kind, y, len(y))
    clusters = frame[f"by:{rules.cluster}"].to_numpy().astype(str) if rules.cluster else None
    check_entities(Contest(contract.kind, y, constant, constant, clusters=clusters))
    defined = metrics(contract.kind, y, constant, contract.scoring.threshold)
    for metric in (rules.metric, *rules.thresholds):
        if metric not in defined:
            raise TooFewOutcomes.to_measure(metric, rows=len(y))
    return len(y)


def refuse_seen_rows(settings: Settings, contract: Contract, rows: Rows, models: Iterable[ModelVersion]) -> None:
    """Return only if none of the models was trained on any of the rows, whatever their times say.

    Raises:
        SeenRows: says which model has seen how many.
    """
    judging = hashes_of(dataset.load(settings, contract, rows)[KEY])
    for model in models:
        refuse_seen(judging, model_versions.training_keys(settings, model), str(model))


def looks_at(settings: Settings, contract: Contract, rows: Rows) -> int:
    """Comparisons on these judging rows, this one included: those on windows that share half of the time count too.

    Raises:
        TooFewOutcomes: they are more than the contract allows.
    """
    window = name_of(rows)
    ledger.count_comparison(settings, contract.name, window)
    looks = _looks_so_far(settings, contract, rows)
    if looks > contract.judging.max_comparisons:
        raise TooFewOutcomes.window_spent(looks=looks - 1, allowed=contract.judging.max_comparisons, window=window)
    return looks


def _looks_so_far(settings: Settings, contract: Contract, rows: Rows) -> int:
    window, looked = name_of(rows), ledger.windows_looked_at(settings, contract.name)
    return sum(count for other, count in looked.items() if other == window or _shared(other, rows) >= _SAME_WINDOW)


def of_a_year(verdicts: Sequence[VerdictDocument], as_of: datetime) -> int:
    """How many of these verdicts are less than a year old in the eyes of `as_of`."""
    return sum(as_of - timedelta(days=365) < verdict.as_of for verdict in verdicts)


def name_of(rows: Rows) -> str:
    """What the ledger calls this window; a short one to the microsecond, as that of one delivery is."""
    if rows.end - rows.start < _SHORT:
        return f"{rows.start.isoformat(' ', 'microseconds')}..{rows.end.isoformat(' ', 'microseconds')}"
    return f"{rows.start:%Y-%m-%d %H:%M}..{rows.end:%Y-%m-%d %H:%M}"


def _shared(window: str, rows: Rows) -> float:
    """Which share of the rows' time lies in a window."""
    start, end = (datetime.fromisoformat(text) for text in window.split(".."))
    both = min(end, rows.end) - max(start, rows.start)
    return both / (rows.end - rows.start)
