"""Documents of verdicts have a version: what stood beside them is in them, and an interval has its level inside."""

import json
from typing import Any

from alembic.operations import Operations
from sqlalchemy import column, select, table, update

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Bring every verdict, and every one that a person was asked about, into the form of version 1."""
    connection = op.get_bind()
    verdicts = table("verdicts", *map(column, ("id", "at", "run_id", "document")))
    for row in connection.execute(select(verdicts)).all():
        document = _document(json.loads(row.document), row.at, row.run_id)
        changed = update(verdicts).where(verdicts.c.id == row.id).values(document=json.dumps(document))
        connection.execute(changed)
    asked = table("approvals", *map(column, ("use_case", "version", "evidence")))
    for row in connection.execute(select(asked)).all():
        evidence = json.loads(row.evidence)
        if "verdict" in evidence:
            evidence["verdict"] = _verdict(evidence["verdict"])
            mine = (asked.c.use_case == row.use_case) & (asked.c.version == row.version)
            connection.execute(update(asked).where(mine).values(evidence=json.dumps(evidence, sort_keys=True)))


def _document(found: dict[str, Any], at: str, run_id: str) -> dict[str, Any]:
    """What was not recorded yet is what it was by default then."""
    lacking: dict[str, Any] = {
        "allowed_loss": None,
        "calibration": {},
        "fairness": [],
        "flips": None,
        "git_revision": None,
        "leaks_allowed": {},
        "min_gain": 0.0,
        "mode": "usual",
        "looks": 1,
    }
    fairness = [
        one | {"groups": [{"column": one["column"], **group} for group in one["groups"]]}
        for one in found.get("fairness", ())
    ]
    whole = lacking | _verdict(found) | {"at": at, "run_id": run_id, "fairness": fairness, "document_version": 1}
    return {name: _known(value) for name, value in whole.items()}


def _verdict(found: dict[str, Any]) -> dict[str, Any]:
    low, high = found["interval"]
    changed = found | {"interval": {"low": low, "high": high, "level": found["interval_level"]}}
    return {name: value for name, value in changed.items() if name != "interval_level"}


def _known(value: Any) -> Any:
    """Without the NaN that Python's JSON knows, and nobody else's."""
    if isinstance(value, dict):
        return {name: _known(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_known(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value
