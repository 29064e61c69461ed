"""How long a flow waits for another one that is at work on the same use case."""

WORKER_SECONDS, SETTLED_SECONDS = 3600, 1.5


def patience_seconds() -> float:
    """An hour on a worker, where nobody looks on; nothing in a terminal, where a person would rather hear of it."""
    from prefect.runtime import deployment

    return WORKER_SECONDS if deployment.id else 0


def settled_seconds() -> float:
    """How long a file must be unchanged: on a worker as others may be writing it, in a terminal a person says when."""
    from prefect.runtime import deployment

    return SETTLED_SECONDS if deployment.id else 0
