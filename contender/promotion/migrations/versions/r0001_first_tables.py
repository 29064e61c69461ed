"""The ledger as it begins: title, verdicts, comparisons, triggers, approvals, notices and runs."""

from alembic.operations import Operations
from sqlalchemy import Column, Integer, PrimaryKeyConstraint, String, Text, UniqueConstraint

revision = "0001"
down_revision = None


def upgrade(op: Operations) -> None:
    """Make all tables."""
    op.create_table(
        "title",
        _name("use_case"),
        Column("seq", Integer, nullable=False, autoincrement=False),
        Column("follows", Integer, nullable=False),
        _text("at"),
        _text("action"),
        Column("version", Integer, nullable=False),
        Column("previous_version", Integer),
        _text("reason"),
        _text("by"),
        _text("evidence"),
        _text("model_digest"),
        _text("digest"),
        PrimaryKeyConstraint("use_case", "seq"),
        UniqueConstraint("use_case", "follows"),
    )
    op.create_table(
        "verdicts",
        Column("id", Integer, primary_key=True, autoincrement=True),
        _name("use_case"),
        _text("at"),
        Column("challenger", Integer, nullable=False),
        _text("run_id"),
        _text("window"),
        _text("document"),
    )
    op.create_index("ix_verdicts_use_case", "verdicts", ["use_case"])
    op.create_table(
        "comparisons",
        _name("use_case"),
        _name("window"),
        Column("looks", Integer, nullable=False),
        PrimaryKeyConstraint("use_case", "window"),
    )
    op.create_table(
        "triggers",
        _name("use_case"),
        _name("event_id", 64),
        _text("at"),
        _text("event"),
        _text("reason"),
        _name("outcome", 20),
        _text("why"),
        Column("flow_run", String(64)),
        PrimaryKeyConstraint("use_case", "event_id"),
    )
    op.create_table(
        "approvals",
        _name("use_case"),
        Column("version", Integer, nullable=False),
        Column("follows", Integer, nullable=False),
        _text("asked_at"),
        _text("expires_at"),
        _name("state", 20),
        _text("evidence"),
        _text("reason"),
        Column("decided_at", Text),
        Column("decided_by", Text),
        Column("flow_run", String(64)),
        PrimaryKeyConstraint("use_case", "version"),
    )
    op.create_table(
        "notices",
        Column("id", String(64), primary_key=True),
        _name("use_case"),
        _text("at"),
        _text("kind"),
        _text("sentence"),
        _text("link"),
    )
    op.create_index("ix_notices_use_case", "notices", ["use_case"])
    op.create_table(
        "runs",
        _name("use_case"),
        _name("flow_run", 64),
        _name("flow", 64),
        _text("at"),
        _text("sentence"),
        PrimaryKeyConstraint("use_case", "flow", "flow_run"),
    )


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _name(name: str, longest: int = 200) -> Column[str]:
    return Column(name, String(longest), nullable=False)
