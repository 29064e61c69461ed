"""Who holds the title: decided by the ledger, mirrored by the aliases of the registry."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contender.contracts.contract import Contract
from contender.errors import ChampionGone, NoSuchVersion, TitleError, Unavailable, UsageError
from contender.promotion import ledger, model_inputs
from contender.promotion.database import alone
from contender.promotion.eligibility import Proven, check_digest, prove
from contender.promotion.ledger import LedgerEntry
from contender.registry import model_versions
from contender.settings import Settings
from contender.values import Decision, ModelVersion

BY_HAND, ROLLED_BACK = "promoted by hand", "rolled back"


def holder(settings: Settings, use_case: str) -> tuple[LedgerEntry, ModelVersion] | None:
    """The last entry of the ledger and its version; None when nobody was ever crowned.

    Raises:
        ChampionGone: the registry answers that it has that version no more.
        Unavailable: ledger or registry do not answer, which is not the same as nobody.
        UntrustedModel: the registry's digest of that version is not the one that was approved.
    """
    entry = ledger.head(settings, use_case)
    if entry is None:
        return None
    return entry, _approved(settings, use_case, entry)


@dataclass(frozen=True)
class Rival:
    """Whose title a challenger is to take, and the version that it has to beat.

    Without a version the challenger has to beat the dummy; `why` says so where there is a champion that cannot answer.
    """

    entry: LedgerEntry | None = None
    version: ModelVersion | None = None
    why: str = ""


def to_beat(settings: Settings, contract: Contract) -> Rival:
    """Whom a challenger has to beat: no version where that is gone for good, or cannot be asked under the contract.

    A number that stood in the ledger names no other version afterwards.

    Raises:
        Unavailable: ledger or registry do not answer.
        UntrustedModel: the registry's digest of the champion is not the one that was approved.
    """
    use_case, instead = contract.name, "the challenger was judged against the dummy, as a first champion is"
    try:
        entry, version = holder(settings, use_case) or (None, None)
    except ChampionGone:
        entries = ledger.history(settings, use_case)
        model_versions.use_up(settings, use_case, max(entry.version for entry in entries))
        gone = f"version {entries[-1].version}, the champion, is gone from MLflow"
        return Rival(entries[-1], None, f"{gone}; {instead}")
    if entry is not None and (why := model_inputs.why_unable(entry, contract)):
        return Rival(entry, None, f"{why}; {instead}")
    return Rival(entry, version)


def crown(
    settings: Settings,
    use_case: str,
    version: ModelVersion,
    *,
    after: LedgerEntry | None,
    reason: str,
    by: str,
    evidence: Mapping[str, Any],
) -> LedgerEntry:
    """Write the entry that makes a version the champion; the registry shows it by `follow_verdict`.

    Raises:
        TitleError: somebody else took the title since `after`.
    """
    return ledger.take_title(
        settings,
        use_case,
        version=version,
        after=after,
        reason=reason,
        by=by,
        evidence=evidence,
        action="promoted" if after else "crowned",
    )


def follow_verdict(settings: Settings, use_case: str, challenger: ModelVersion, decision: Decision | None) -> None:
    """Show in the registry what became of a challenger, by aliases and its validation status; repeating it is harmless.

    Who lost is rejected and challenges no more. Who was not judged yet, is in doubt, or won and waits for a person's
    approval, is pending and challenges on. Who holds the title, and who held it before, is as the ledger says.

    Args:
        decision: None while nobody has judged it.
    """
    # One at a time: who read the ledger before a change of the title must not write the aliases after it.
    with alone(settings, use_case):
        head = ledger.head(settings, use_case)
        crowned, lost = head is not None and head.version == challenger.version, decision is Decision.KEEP
        if decision is Decision.PROMOTE:
            # Somebody may have been so fast that it is the champion before already.
            crowned = ledger.approved_digest(settings, use_case, challenger.version) is not None
        waiting: int | None = challenger.version
        if crowned or lost:
            waiting = model_versions.aliases(settings, use_case).get("challenger")
            waiting = None if waiting == challenger.version else waiting
        if not crowned:
            model_versions.mark(settings, challenger, validation_status="rejected" if lost else "pending")
        wanted = _aliases_after(settings, use_case, head, waiting)
        try:
            _show(settings, use_case, head, wanted)
        except ChampionGone:
            # Its place is for the challenger to win, which is shown all the same.
            model_versions.set_aliases(
                settings, use_case, champion=None, previous=wanted["previous"], challenger=wanted["challenger"]
            )


def promote(settings: Settings, use_case: str, *, to: int, reason: str, by: str) -> LedgerEntry:
    """Give the title to a version because a person wants it, after it has shown that it loads and predicts.

    Raises:
        UsageError: there is no reason, or no such version.
        TitleError: the version is the champion already, or somebody else took the title in the meantime.
        ModelError: its files are not those that were logged, or it does not predict its own input example.
    """
    _need(reason, by)
    head = ledger.head(settings, use_case)
    if head is not None and head.version == to:
        raise _holds_it_already(head)
    approved = ledger.approved_digest(settings, use_case, to)
    version, proven = _proven(settings, use_case, to, approved)
    verdict = next((v for v in ledger.verdicts(settings, use_case, newest=None) if v.challenger == to), None)
    note = (
        f"the last verdict on it was {verdict.decision}, at {verdict.at:%Y-%m-%d %H:%M} UTC"
        if verdict
        else "no verdict backs it"
    )
    evidence = {
        "note": note,
        "verdict": verdict.for_programs() if verdict else None,
        "data": dict(verdict.versions) if verdict else None,
        "run_id": version.run_id,
        "example_rows": proven.rows,
        model_inputs.INPUTS: proven.inputs,
    }
    return _hand_over(settings, use_case, version, head, BY_HAND, reason, by, evidence)


def rollback(settings: Settings, use_case: str, *, to: int | None, reason: str, by: str) -> LedgerEntry:
    """Give the title back to an earlier champion, after it has shown that it loads and predicts.

    The evidence is that of the entry which is restored.

    Args:
        to: any version that held the title before; None: the one that `fallback` names of those still in MLflow.

    Raises:
        UsageError: there is no reason, nobody to go back to, or `to` never held the title.
        TitleError: `to` is the champion already, or somebody else took the title in the meantime.
        ModelError: its files are not those that were approved, or it does not predict its own input example.
    """
    _need(reason, by)
    entries = ledger.history(settings, use_case)
    if not entries:
        raise UsageError(
            f"Nobody has held the title of {use_case} yet, so there is nothing to roll back; "
            f"'contender run {use_case}' trains a first champion."
        )
    gone: list[int] = []
    target = fallback(entries) if to is None else to
    while to is None and target is not None and not model_versions.is_there(settings, use_case, target):
        gone.append(target)
        target = fallback(entries, gone)
    if target is None:
        deleted = f" (version {', '.join(map(str, gone))} was deleted in MLflow)" if gone else ""
        raise UsageError(
            f"There is no champion of {use_case} before version {entries[-1].version} that was not rolled back from"
            f"{deleted}; name one with --to, or use 'contender promote'."
        )
    if target == entries[-1].version:
        raise _holds_it_already(entries[-1])
    restored = next((entry for entry in reversed(entries) if entry.version == target), None)
    if restored is None:
        model_versions.find(settings, use_case, target)
        raise UsageError(
            f"Version {target} of {use_case} never held the title, so there is nothing to go back to; to give it the "
            f"title use 'contender promote {use_case} --to {target} --reason …'."
        )
    version, proven = _proven(settings, use_case, target, restored.model_digest)
    evidence = json.loads(restored.evidence) | {"restores": restored.seq, "example_rows": proven.rows}
    return _hand_over(settings, use_case, version, entries[-1], ROLLED_BACK, reason, by, evidence)


def fallback(entries: Sequence[LedgerEntry], gone: Collection[int] = ()) -> int | None:
    """The champion before the present one that still stands, and is none of those gone; None when there is none.

    Being rolled back from costs a version its standing until it takes the title again. So a second rollback goes
    further back, and never to a version that somebody found bad.
    """
    standing: dict[int, None] = {}
    for entry in entries:
        if entry.action == ROLLED_BACK and entry.previous_version is not None:
            standing.pop(entry.previous_version, None)
        standing.pop(entry.version, None)
        standing[entry.version] = None
    passed = {entries[-1].version, *gone}
    return next((version for version in reversed(standing) if version not in passed), None)


def repair(settings: Settings, use_case: str) -> dict[str, tuple[int | None, int | None]]:
    """Set the aliases as the ledger has them, where a command was cut off before it had; what each pointed at before
    and points at now.

    A challenger that holds the title, or that the last verdict refused, challenges no more.
    """
    with alone(settings, use_case):
        head = ledger.head(settings, use_case)
        found = model_versions.aliases(settings, use_case)
        waiting = _still_challenging(settings, use_case, found.get("challenger"), head)
        wanted = _aliases_after(settings, use_case, head, waiting)
        changed = {
            alias: (found.get(alias), version) for alias, version in wanted.items() if found.get(alias) != version
        }
        if changed:
            _show(settings, use_case, head, wanted)
    return changed


def _aliases_after(
    settings: Settings, use_case: str, head: LedgerEntry | None, challenger: int | None
) -> dict[str, int | None]:
    before = head.previous_version if head else None
    if before is not None and not model_versions.is_there(settings, use_case, before):
        before = None
    return {
        "champion": head.version if head else None,
        "previous": before,
        "challenger": challenger,
    }


def _show(settings: Settings, use_case: str, head: LedgerEntry | None, aliases: Mapping[str, int | None]) -> None:
    if head is not None:
        # Before the aliases: where they are right, nothing is left to be done.
        version = _of_champion(settings, use_case, head)
        model_versions.mark(settings, version, validation_status="approved")
    model_versions.set_aliases(
        settings,
        use_case,
        champion=aliases["champion"],
        previous=aliases["previous"],
        challenger=aliases["challenger"],
    )


def _still_challenging(settings: Settings, use_case: str, waiting: int | None, head: LedgerEntry | None) -> int | None:
    if waiting is None or (head is not None and waiting == head.version):
        return None
    verdict = ledger.last_verdict(settings, use_case)
    refused = verdict is not None and (verdict.challenger, verdict.decision) == (waiting, Decision.KEEP)
    return None if refused else waiting


def _approved(settings: Settings, use_case: str, entry: LedgerEntry) -> ModelVersion:
    version = _of_champion(settings, use_case, entry)
    check_digest(version, entry.model_digest)
    return version


def _of_champion(settings: Settings, use_case: str, entry: LedgerEntry) -> ModelVersion:
    try:
        return model_versions.find(settings, use_case, entry.version)
    except NoSuchVersion:
        raise ChampionGone.of(use_case, entry.version) from None


def _proven(settings: Settings, use_case: str, number: int, approved: str | None) -> tuple[ModelVersion, Proven]:
    version = model_versions.find(settings, use_case, number)
    return version, prove(settings, version, approved)


def _hand_over(
    settings: Settings,
    use_case: str,
    version: ModelVersion,
    after: LedgerEntry | None,
    action: str,
    reason: str,
    by: str,
    evidence: Mapping[str, Any],
) -> LedgerEntry:
    entry = ledger.take_title(
        settings,
        use_case,
        version=version,
        after=after,
        action=action,
        reason=reason.strip(),
        by=by.strip(),
        evidence=evidence,
    )
    try:
        repair(settings, use_case)
    except Unavailable as error:
        raise Unavailable(
            f"{version} holds the title by {entry}, but its aliases are not set yet ({error}); 'contender reconcile "
            f"{use_case}' sets them."
        ) from error
    return entry


def _need(reason: str, by: str) -> None:
    for option, text in (("--reason", reason), ("--by", by)):
        if not text.strip():
            raise UsageError(f"{option} is blank; the ledger keeps why and by whom the title changed, so give a text.")


def _holds_it_already(entry: LedgerEntry) -> TitleError:
    return TitleError(
        f"Version {entry.version} of {entry.use_case} is the champion already, by {entry}; nothing to do."
    )
