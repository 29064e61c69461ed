"""Which steps are tried again: those that ask the registry or the ledger, and can be repeated without a trace.

Not among them: training (a second try would register a second challenger), comparing (each look at the judging rows
is counted), crowning (the ledger may have taken the entry whose answer was lost), and all that works on the lake.
"""

from typing import Any

from prefect.runtime import deployment
from prefect.tasks import exponential_backoff

from contender.errors import Unavailable


def was_unavailable(_task: Any, _run: Any, state: Any) -> bool:
    """Whether an outside system did not answer, on a worker: in a terminal a person would rather hear of it at once."""
    return deployment.id is not None and isinstance(state.data, Unavailable)


TRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": was_unavailable,
}
