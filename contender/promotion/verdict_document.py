"""A verdict as it is kept and shown: one shape for ledger, approvals and `--json`, and its numbers as texts, once."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from contender.values import Verdict


def document_of(verdict: Verdict) -> dict[str, Any]:
    """The verdict as JSON has it; its interval as the two ends and their level."""
    return asdict(verdict) | {
        "decision": verdict.decision.value,
        "interval": [verdict.interval.low, verdict.interval.high],
        "interval_level": verdict.interval.level,
        "guardrails": [asdict(rail) | {"value": _known(rail.value)} for rail in verdict.guardrails],
    }


@dataclass(frozen=True)
class Texts:
    """A verdict's numbers as people read them, whoever draws the table."""

    metric: str
    against: str
    champion: str
    challenger: str
    gain: str
    interval: str
    level: str
    rows: str
    guardrails: tuple[tuple[str, str, str, str], ...]
    """Name, value, limit, and whether it holds."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """From what `document_of` gave, or from a document that holds more."""
        low, high = document["interval"]
        return cls(
            metric=document["metric"],
            against=document["against"],
            champion="none" if document["champion_score"] is None else f"{document['champion_score']:.4f}",
            challenger=f"{document['challenger_score']:.4f}",
            gain=f"{document['gain']:+.4f}",
            interval=f"{low:+.4f} to {high:+.4f}",
            level=f"{document['interval_level']:.0%}",
            rows=f"{document['rows']:,}",
            guardrails=tuple(
                (
                    rail["name"],
                    "unknown" if rail["value"] is None else f"{rail['value']:.4g}",
                    f"{rail['limit']:.4g}",
                    "yes" if rail["holds"] else "NO",
                )
                for rail in document["guardrails"]
            ),
        )


def _known(value: float) -> float | None:
    """A number as JSON has it: none where there is nothing to tell."""
    return value if math.isfinite(value) else None
