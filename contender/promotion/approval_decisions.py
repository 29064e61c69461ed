"""A person's answer turned into what follows from it: the title for the challenger, or its refusal."""

import json
from datetime import datetime

from contender.errors import TitleError, Unavailable, UntrustedModel, UsageError
from contender.promotion import approval_requests, ledger, title
from contender.promotion.approval_request import APPROVED, NOBODY, REJECTED, WAITING, Request, refusal
from contender.promotion.eligibility import prove
from contender.promotion.ledger import LedgerEntry
from contender.registry import model_versions
from contender.settings import Settings
from contender.values import Decision, ModelVersion


def approve(
    settings: Settings, use_case: str, *, version: int | None, reason: str, by: str, at: datetime | None = None
) -> LedgerEntry:
    """The entry by which a version that a person was asked about holds the title, after it has shown that it predicts.

    The answer is kept before the title changes; where a command was cut off in between, the next one finishes it.

    Args:
        version: the one that is meant; None: the one that was asked about last.

    Raises:
        UsageError: there is no reason, or nobody was asked.
        TitleError: the request was answered, has expired, or the title changed since the verdict.
        ModelError: the version's files are not those that were judged, or it does not predict its own input example.
    """
    _need(reason, by)
    request = _asked(settings, use_case, version, at)
    done = _entry_of(settings, use_case, request)
    if done or request.state not in (WAITING, APPROVED):
        raise refusal(use_case, request)
    challenger, rows = _proven(settings, use_case, request)
    if request.state == WAITING:
        request = approval_requests.decide(
            settings, use_case, request, APPROVED, reason=reason.strip(), by=by.strip(), at=at
        )
    entry = _crown(settings, use_case, request, challenger, rows, at)
    try:
        title.repair(settings, use_case)
    except Unavailable as error:
        raise Unavailable(
            f"{challenger} holds the title by {entry}, but its aliases are not set yet ({error}); 'contender reconcile "
            f"{use_case}' sets them."
        ) from error
    return entry


def finish(settings: Settings, use_case: str) -> LedgerEntry | None:
    """The entry of an approval that was cut off before the title changed; None when there is nothing to finish.

    Raises:
        ModelError: the version's files are not those that were judged, or it does not predict its own input example.
    """
    request = approval_requests.newest(settings, use_case)
    if request is None or request.state != APPROVED or _entry_of(settings, use_case, request):
        return None
    try:
        return approve(
            settings, use_case, version=request.version, reason=request.reason, by=request.decided_by or NOBODY
        )
    except TitleError:
        # The title went elsewhere in the meantime, or another command has just finished it.
        return None


def reject(
    settings: Settings, use_case: str, *, version: int | None, reason: str, by: str, at: datetime | None = None
) -> Request:
    """The request with the refusal of a person; the champion stays, and the version challenges no more.

    Raises:
        UsageError: there is no reason, or nobody was asked.
        TitleError: the request was answered, has expired, or the title changed since the verdict.
    """
    _need(reason, by)
    request = _asked(settings, use_case, version, at)
    if request.state != WAITING:
        raise refusal(use_case, request)
    request = approval_requests.decide(
        settings, use_case, request, REJECTED, reason=reason.strip(), by=by.strip(), at=at
    )
    try:
        refused = model_versions.find(settings, use_case, request.version)
        title.follow_verdict(settings, use_case, refused, Decision.KEEP)
    except Unavailable as error:
        raise Unavailable(
            f"Version {request.version} of {use_case} is rejected and does not take the title, but the registry still "
            f"shows it as a challenger ({error}); the next challenger takes its place there."
        ) from error
    return request


def _asked(settings: Settings, use_case: str, version: int | None, at: datetime | None) -> Request:
    if version is None:
        found = approval_requests.newest(settings, use_case, at)
    else:
        found = approval_requests.find(settings, use_case, version, at)
    if found is None:
        raise refusal(use_case, None, version)
    return found


def _proven(settings: Settings, use_case: str, request: Request) -> tuple[ModelVersion, int]:
    """The version, and the rows of its input example that it has answered."""
    found, judged = (
        model_versions.find(settings, use_case, request.version),
        json.loads(request.evidence)["model_digest"],
    )
    if found.digest != judged:
        raise UntrustedModel(
            f"{found} is registered with the digest {found.digest[:12]}…, but {judged[:12]}… was judged; restore the "
            f"registry, or let 'contender retrain {use_case}' train another challenger."
        )
    return found, prove(settings, found, judged).rows


def _crown(
    settings: Settings, use_case: str, request: Request, challenger: ModelVersion, rows: int, at: datetime | None
) -> LedgerEntry:
    entries = ledger.history(settings, use_case)
    after = entries[-1] if entries else None
    evidence = json.loads(request.evidence) | {"asked_at": request.asked_at, "example_rows": rows}
    try:
        if (after.seq if after else 0) != request.follows:
            raise TitleError(f"{after} came after the verdict")
        return ledger.take_title(
            settings,
            use_case,
            version=challenger,
            after=after,
            action="promoted" if after else "crowned",
            reason=request.reason,
            by=request.decided_by or "",
            evidence=evidence,
        )
    except TitleError as error:
        # Another command may have finished this very answer.
        done = _entry_of(settings, use_case, request)
        if done is None:
            head = ledger.head(settings, use_case)
            void = approval_requests.void(settings, request, f"the title changed after the verdict, by {head}", at)
            raise refusal(use_case, void) from error
        return done


def _entry_of(settings: Settings, use_case: str, request: Request) -> LedgerEntry | None:
    """The entry by which an approved request took the title."""
    if request.state != APPROVED:
        return None
    followers = (e for e in ledger.history(settings, use_case) if e.follows == request.follows)
    entry = next(followers, None)
    return entry if entry and (entry.version, entry.by) == (request.version, request.decided_by) else None


def _need(reason: str, by: str) -> None:
    for option, text in (("--reason", reason), ("--by", by)):
        if not text.strip():
            raise UsageError(f"{option} is blank; the ledger keeps why and by whom it was decided, so give a text.")
