"""The events by which the loop speaks: their names, whom they are about, and what they carry.

People's own automations and outside systems use the same names. An event may get lost, and may come twice: whatever
acts on one finds in the lake or the ledger what is still to be done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contender.settings import Settings

LANDED = "contender.batch.landed"
REFUSED = "contender.batch.refused"
RECORDS = "contender.records.ingested"
OUTCOMES = "contender.outcomes.ingested"
PREDICTIONS = "contender.predictions.written"
DRIFT = "contender.drift.detected"
DEGRADED = "contender.performance.degraded"
RETRAIN = "contender.retrain.requested"
APPROVAL = "contender.approval.requested"
PROMOTED = "contender.champion.promoted"
ROLLED_BACK = "contender.champion.rolled-back"

ALARMS = (DRIFT, DEGRADED)
"""Events by which the monitor calls for a retrain, as often as the contract allows."""

CALLS = (*ALARMS, RETRAIN)
"""All events that call for a retrain; a request, as when many outcomes are new, is no alarm."""

RESOURCE = "contender.use-case"


@dataclass(frozen=True)
class Event:
    """Something that happened to a use case.

    `sentence` tells it to people, and is in the payload under that name; `payload` is what JSON can hold.
    """

    name: str
    use_case: str
    sentence: str
    payload: Mapping[str, Any] = field(default_factory=dict)

    def document(self, settings: Settings) -> dict[str, Any]:
        """The event as Prefect's API takes it, but for the moment and the id."""
        return {
            "event": self.name,
            "resource": {"prefect.resource.id": resource_of(settings, self.use_case)},
            "payload": {"use_case": self.use_case, "sentence": self.sentence, **self.payload},
        }


def resource_of(settings: Settings, use_case: str) -> str:
    """Id of the resource that a use case's events are about; environments that share a server keep apart."""
    return f"{RESOURCE}.{settings.name_of(use_case)}"


def title_changed(
    name: str, use_case: str, *, version: int, previous: int | None, action: str, reason: str, by: str, **more: Any
) -> Event:
    """A new champion, or an earlier one again, as the ledger has it."""
    after = f" after version {previous}" if previous else ""
    sentence = f"Version {version} of {use_case} holds the title{after}, {action} by {by}: {reason}"
    payload = {"version": version, "previous_version": previous, "action": action, "reason": reason, "by": by, **more}
    return Event(name, use_case, sentence, payload)
