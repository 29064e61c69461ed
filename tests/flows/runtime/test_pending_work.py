"""A run is spared only where every part of it would find nothing to do."""

from types import SimpleNamespace

import pytest

from contender.retraining.policy import Due
from flows.runtime import pending_work

TRANSACTIONS = {"records": 4, "predictions": 4, "alerts": 4}
NOTE = {"definition": "as it is", "until": 4}


@pytest.fixture
def still(monkeypatch):
    """Everything is done; an argument changes one thing."""

    def stand(**found):
        replies = {
            "head": "something",
            "failing": [],
            "waiting": None,
            "changes": {},
            "cut_off": False,
            "unseen": (),
            "due": False,
            "note": NOTE,
            "transactions": TRANSACTIONS,
        } | found
        monkeypatch.setattr(pending_work.ledger, "head", lambda *_: replies["head"])
        monkeypatch.setattr(pending_work.notices, "failing", lambda *_: replies["failing"])
        monkeypatch.setattr(pending_work.approval_requests, "waiting", lambda *_: replies["waiting"])
        monkeypatch.setattr(pending_work.kept_meaning, "changes", lambda *_: replies["changes"])
        monkeypatch.setattr(pending_work.batches, "is_cut_off", lambda *_: replies["cut_off"])
        monkeypatch.setattr(pending_work.batches, "unseen", lambda *_: replies["unseen"])
        monkeypatch.setattr(pending_work.next_action, "due", lambda *_: Due(replies["due"], ""))
        monkeypatch.setattr(pending_work.tables, "note_of", lambda *_: replies["note"])
        monkeypatch.setattr(pending_work.tables, "last_transaction", lambda *a: replies["transactions"][a[2]])
        monkeypatch.setattr(pending_work, "definition_of", lambda _: "as it is")
        contract = SimpleNamespace(name="orders", lookups=replies.get("lookups", {}), has_sources="sources" in replies)
        return pending_work.is_pending(None, contract, None)

    return stand


def test_without_any_news_no_run_is_needed(still):
    assert not still()


@pytest.mark.parametrize(
    "news",
    [
        {"lookups": {"shops": "something"}},
        {"sources": True},
        {"head": None},
        {"failing": ["something"]},
        {"waiting": "something"},
        {"changes": {"target": ("y", "z")}},
        {"cut_off": True},
        {"unseen": ("something",)},
        {"due": True},
        {"note": NOTE | {"definition": "another"}},
        {"note": {}},
        {"note": NOTE | {"until": 3}},
        {"transactions": TRANSACTIONS | {"records": 5}},
        {"transactions": TRANSACTIONS | {"predictions": 3}},
        {"transactions": TRANSACTIONS | {"alerts": 3}},
    ],
    ids=str,
)
def test_any_one_thing_to_do_needs_a_run(still, news):
    assert still(**news)
