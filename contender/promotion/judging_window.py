"""The judging rows: who has seen them, and how often they were looked at.

A hold-out is spent by looking at it. Each model that is measured on these rows counts as a look; candidates of a
search that lost on folds of the training rows never came here, and do not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from contender.contracts.contract import Contract
from contender.errors import TooFewOutcomes
from contender.features import dataset
from contender.features.training_keys import hashes_of, refuse_seen
from contender.promotion import ledger
from contender.registry import model_versions
from contender.settings import Settings
from contender.values import KEY, ModelVersion, Rows

_SAME_WINDOW = 0.5
"""Windows that share this much of their time have most of their luck in common."""


def unseen(contract: Contract, rows: Rows, champion: ModelVersion | None) -> Rows:
    """The judging rows that the champion has not seen either: an embargo after the end of its own training."""
    if champion is None:
        return rows
    start = champion.trained_until + timedelta(microseconds=1) + contract.judging.embargo
    if start >= rows.end:
        raise TooFewOutcomes.to_judge(found=0, needed=contract.judging.min_rows)
    return replace(rows, start=max(rows.start, start))


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
    looked = ledger.windows_looked_at(settings, contract.name)
    looks = sum(count for other, count in looked.items() if _shared(other, rows) >= _SAME_WINDOW)
    if looks > contract.judging.max_comparisons:
        raise TooFewOutcomes.window_spent(looks=looks - 1, allowed=contract.judging.max_comparisons, window=window)
    return looks


def of_a_year(verdicts: Sequence[Mapping[str, Any]], as_of: datetime) -> int:
    """How many of these verdicts are less than a year old in the eyes of `as_of`."""
    return sum(as_of - timedelta(days=365) < datetime.fromisoformat(verdict["as_of"]) for verdict in verdicts)


def name_of(rows: Rows) -> str:
    """What the ledger calls this window."""
    return f"{rows.start:%Y-%m-%d %H:%M}..{rows.end:%Y-%m-%d %H:%M}"


def _shared(window: str, rows: Rows) -> float:
    """Which share of the rows' time lies in a window."""
    start, end = (datetime.fromisoformat(text) for text in window.split(".."))
    both = min(end, rows.end) - max(start, rows.start)
    return both / (rows.end - rows.start)
