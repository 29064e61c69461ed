"""A title that waits for a person's answer: what is kept of it, and what is said of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contender.errors import ContenderError, TitleError, UsageError

WAITING, APPROVED, REJECTED, EXPIRED, SUPERSEDED = "waiting", "approved", "rejected", "expired", "superseded"
NOBODY = "contender"


@dataclass(frozen=True)
class Request:
    """Whether a version may take the title, asked of a person.

    `use_case` is the ledger's name of it, `follows` the seq of the title's entry that the verdict was made against
    (0: none), `evidence` JSON text. Moments are ISO 8601 in UTC, all of one length, so that they compare as texts.
    `reason` and `decided_by` belong to the answer.
    """

    use_case: str
    version: int
    follows: int
    asked_at: str
    expires_at: str
    state: str
    evidence: str
    reason: str
    decided_at: str | None
    decided_by: str | None
    flow_run: str | None


def what_became_of(use_case: str, request: Request) -> str:
    """What became of a request, in one sentence."""
    about = f"Version {request.version} of {use_case}"
    when = f"{(request.decided_at or request.expires_at)[:16].replace('T', ' ')} UTC"
    until = f"{request.expires_at[:16].replace('T', ' ')} UTC"
    if request.state == WAITING:
        return f"{about} waits for approval until {until}: contender approve {use_case} --reason …"
    if request.state == EXPIRED:
        return f"The request to approve version {request.version} of {use_case} expired at {until}; the champion stays."
    if request.state == SUPERSEDED:
        return f"The request to approve version {request.version} of {use_case} is void since {when}: {request.reason}."
    return f"{about} was {request.state} by {request.decided_by} at {when}: {request.reason}"


def refusal(use_case: str, request: Request | None, version: int | None = None) -> ContenderError:
    """The error for an answer to what does not wait, or not any more."""
    if request is None:
        about = "A version" if version is None else f"Version {version}"
        return UsageError(
            f"{about} of {use_case} was never put to a person, so there is nothing to answer; 'contender promote "
            f"{use_case} --to {version or 'VERSION'} --reason …' gives the title by your own decision."
        )
    said = what_became_of(use_case, request).rstrip(".")
    if request.state == APPROVED:
        return TitleError(f"{said}; nothing to do.")
    return TitleError(
        f"{said}; 'contender retrain {use_case}' trains the next challenger, 'contender promote {use_case} --to "
        f"{request.version} --reason …' gives this one the title by your own decision."
    )


def document_of(use_case: str, request: Request | None) -> Mapping[str, Any] | None:
    """What `--json` has of a request that waits."""
    if request is None:
        return None
    names = ("version", "follows", "asked_at", "expires_at", "flow_run")
    return {name: getattr(request, name) for name in names} | {"sentence": what_became_of(use_case, request)}
