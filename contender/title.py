"""Who holds the title: decided by the ledger, mirrored by the aliases of the registry."""

from collections.abc import Mapping
from typing import Any

from contender import ledger, registry
from contender.errors import UntrustedModel
from contender.ledger import LedgerEntry
from contender.settings import Settings
from contender.values import ModelVersion


def holder(settings: Settings, use_case: str) -> tuple[LedgerEntry, ModelVersion] | None:
    """The last entry of the ledger and its version; None when nobody was ever crowned.

    Raises:
        Unavailable: ledger or registry do not answer, which is not the same as nobody.
        UntrustedModel: the registry's digest of that version is not the one that was approved.
    """
    entry = ledger.head(settings, use_case)
    if entry is None:
        return None
    champion = registry.find(settings, use_case, entry.version)
    if champion.digest != entry.model_digest:
        raise UntrustedModel(
            f"{champion} is registered with the digest {champion.digest[:12]}…, but {entry.model_digest[:12]}… took "
            f"the title; roll back with 'contender rollback {use_case} --reason …', or restore the registry."
        )
    return entry, champion


def crown(
    settings: Settings,
    version: ModelVersion,
    *,
    after: LedgerEntry | None,
    reason: str,
    by: str,
    evidence: Mapping[str, Any],
) -> LedgerEntry:
    """Write the entry that makes a version the champion, then mirror it in the registry.

    Raises:
        TitleError: somebody else took the title since `after`.
    """
    entry = ledger.take_title(
        settings, version.name, version=version, after=after, reason=reason, by=by, evidence=evidence,
        action="promoted" if after else "crowned",
    )  # fmt: skip
    mirror(settings, version.name, challenger=None)
    registry.mark(settings, version, validation_status="approved")
    return entry


def catch_up(settings: Settings, entry: LedgerEntry, champion: ModelVersion) -> bool:
    """Mirror the newest entry where a command was cut off between ledger and registry; whether that was so."""
    found = registry.aliases(settings, entry.use_case)
    if (found.get("champion"), found.get("previous")) == (entry.version, entry.previous_version):
        return False
    waiting = found.get("challenger")
    mirror(settings, entry.use_case, challenger=None if waiting == entry.version else waiting)
    registry.mark(settings, champion, validation_status="approved")
    return True


def mirror(settings: Settings, use_case: str, *, challenger: int | None) -> None:
    """Set the aliases as the ledger has them, whatever they were."""
    entry = ledger.head(settings, use_case)
    registry.set_aliases(
        settings, use_case, champion=entry.version if entry else None,
        previous=entry.previous_version if entry else None, challenger=challenger,
    )  # fmt: skip
