"""What a champion was trained with, beside what the contract gives a model today; read from the ledger alone."""

import json
from collections.abc import Mapping

from contender.contracts.contract import Contract
from contender.promotion.ledger import LedgerEntry

INPUTS = "inputs"
"""Name of the champion's columns in the evidence beside its title."""

_NAMED = 5


def inputs_of(contract: Contract) -> dict[str, str]:
    """The columns that a model is given today, each with what its cells are to it: numbers or texts."""
    numbers = ("number", "time")
    return {column.name: "number" if column.kind in numbers else "text" for column in contract.model_columns}


def why_unable(entry: LedgerEntry, contract: Contract) -> str:
    """Why the champion cannot be asked under today's contract; empty where it can."""
    trained: Mapping[str, str] = json.loads(entry.evidence).get(INPUTS, {})
    today = inputs_of(contract)
    lost = [f"'{name}'" for name in trained if name not in today]
    turned = [f"'{name}' as {kind}s" for name, kind in trained.items() if today.get(name, kind) != kind]
    if not (found := [*lost, *turned]):
        return ""
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"version {entry.version}, the champion, was trained with {', '.join(found[:_NAMED])}{more}, which the "
        "contract does not give a model any more, so that it cannot be asked"
    )
