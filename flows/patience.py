"""How long a flow waits for another one that is at work on the same use case."""

WORKER_SECONDS = 3600


def patience_seconds() -> float:
    """An hour on a worker, where nobody looks on; nothing in a terminal, where a person would rather hear of it."""
    from prefect.runtime import deployment

    return WORKER_SECONDS if deployment.id else 0
