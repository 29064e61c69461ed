"""Both models on the same rows: what a comparison costs, and when."""

from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from contender.errors import Unavailable
from contender.promotion import comparison, judging_window, ledger
from contender.settings import Settings
from contender.values import KEY, TARGET, ModelVersion, Rows, Scorecard
from tests.contender.test_sabotage import contract_in

NOON = datetime.fromisoformat("2026-06-01 12:00")
ROWS = Rows(NOON - timedelta(days=30), NOON - timedelta(days=1), NOON, ())


def version(number):
    return ModelVersion("orders", number, f"run-{number}", "", str(number) * 64, NOON - timedelta(days=60))


class Model:
    """Knows half of each outcome."""

    def __init__(self, y):
        self.model = SimpleNamespace(classes_=np.array([0, 1]))
        self.likely = 0.25 + 0.5 * y

    def answer(self, frame):
        return np.column_stack([1 - self.likely, self.likely])


@pytest.fixture
def facing(tmp_path, monkeypatch):
    """A comparison of version 2 with version 1 whose models are loaded by the function given."""
    contract, settings = contract_in(tmp_path), Settings(home=tmp_path)
    y = np.arange(400) % 2
    groups = dict.fromkeys((*contract.judging.slices, *contract.fairness.columns, contract.judging.cluster), "a")
    columns = {f"by:{name}": group for name, group in groups.items() if name}
    columns |= {column.name: 1.0 for column in contract.model_columns}
    frame = pd.DataFrame({KEY: [f"order-{n}" for n in range(400)], TARGET: y} | columns)
    monkeypatch.setattr("contender.features.dataset.load", lambda *_: frame)
    monkeypatch.setattr("contender.lake.tables.count", lambda *_: 400)
    monkeypatch.setattr("contender.registry.model_versions.training_keys", lambda *_: np.array([], dtype=np.uint64))

    def compare(load):
        monkeypatch.setattr("contender.registry.model_versions.load", lambda _, model, __: load(model, y))
        challenger = Scorecard(version(2), 400, {}, latency_ms={"p50": 1.0, "p95": 1.0})
        return comparison.compare(settings, contract, challenger, version(1), ROWS, [])

    return settings, compare


@pytest.mark.parametrize("missing", [1, 2])
def test_a_registry_that_is_away_costs_no_look_at_the_window(facing, missing):
    settings, compare = facing

    def load(model, y):
        if model.version == missing:
            raise Unavailable("MLflow does not answer")
        return Model(y)

    with pytest.raises(Unavailable):
        compare(load)
    assert ledger.windows_looked_at(settings, "orders") == {}


def test_models_that_answered_cost_one_look_however_they_are_judged(facing, monkeypatch):
    settings, compare = facing

    def fails(*_, **__):
        raise RuntimeError("judged")

    monkeypatch.setattr(comparison, "judge", fails)
    with pytest.raises(RuntimeError, match="judged"):
        compare(lambda _, y: Model(y))
    assert ledger.windows_looked_at(settings, "orders") == {judging_window.name_of(ROWS): 1}


def test_a_verdict_is_kept_once_in_the_ledger_and_beside_the_challengers_run(facing, monkeypatch):
    settings, compare = facing
    logged = []
    monkeypatch.setattr("contender.registry.model_versions.log_document", lambda *given: logged.append(given[1:]))
    verdict = compare(lambda _, y: Model(y))

    (kept,) = ledger.verdicts(settings, "orders")
    assert (kept.decision, kept.challenger, kept.champion) == (verdict.decision, 2, 1)
    assert (kept.looks, kept.mode, kept.outcomes) == (1, "usual", 400)
    assert [(run, name) for run, _, name in logged] == [("run-2", "verdict.json")]
