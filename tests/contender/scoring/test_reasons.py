from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from contender.errors import UntrustedModel, UsageError
from contender.features.training_keys import hashes_of
from contender.lake import tables
from contender.promotion import ledger
from contender.registry import tracking
from contender.scoring import reasons
from flows.cli.explain import explain

# MLflow warns of its own type hints on import.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]
NOW = datetime(2026, 2, 1, tzinfo=UTC)
ROWS = 300
SCORED = ROWS - 1


def write(home, table: str, frame: pd.DataFrame, schema: pa.Schema | None = None, **options) -> None:
    location = tables.path_of(home.settings, home.contract.name, table)
    write_deltalake(location, pa.Table.from_pandas(frame, schema=schema, preserve_index=False), **options)


def features() -> pd.DataFrame:
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"_key": [f"o{n}" for n in range(ROWS)], "_time": NOW, "_batch": 1})
    frame["ordered_at"] = 1.76e9 + np.arange(ROWS, dtype=float)
    frame["shop"] = random.choice(["a", "b", "c"], ROWS)
    frame["colour"] = random.choice(np.array(["red", "[bold]blue", None], dtype=object), ROWS)
    frame["amount"], frame["items"] = random.normal(50, 20, ROWS), float("nan")
    frame["express"] = random.choice([0.0, 1.0], ROWS)
    return frame


@pytest.fixture(scope="module")
def bare(make_home):
    """A home with records that nobody has scored."""
    home = make_home()
    write(home, "records", features()[["_key"]])
    return home


@pytest.fixture(scope="module")
def place(make_home):
    """A home with a champion and its predictions, all but the last record's."""
    home, frame = make_home(), features()
    columns = [column.name for column in home.contract.model_columns]
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = ColumnTransformer([("numbers", "passthrough", ["amount"]), ("shop", encode, ["shop"])])
    model = make_pipeline(prepare, LogisticRegression(max_iter=1000))
    model.fit(frame[columns], (frame.amount + 30 * (frame["shop"] == "a") > 60).astype(int))
    version = tracking.log_challenger(
        home.settings,
        home.contract,
        tracking.FittedModel(model, "logistic", {}, [], {}, {"amount": 1.0}, seed=1),
        tracking.LearntRows(NOW.replace(tzinfo=None), frame[columns].head(3), frame, hashes_of(frame._key), []),
        git_revision=None,
    )
    ledger.take_title(
        home.settings, "orders", version=version, after=None, action="crowned", reason="first", by="test", evidence={}
    )
    write(home, "records", frame[["_key"]])
    write(home, "features", frame)
    scores = model.predict_proba(frame[columns])[:SCORED, 1]
    predictions = (
        frame[["_key", "_time"]]
        .head(SCORED)
        .assign(
            score=scores,
            prediction=(scores >= 0.5).astype("int32"),
            band="NORMAL",
            model_version=1,
            run_id="r",
            scored_at=NOW,
            source_version=0,
        )
    )
    write(home, "predictions", predictions)
    return SimpleNamespace(settings=home.settings, contract=home.contract, frame=frame, version=version)


def test_reasons_are_those_of_the_model_that_made_the_prediction(place):
    found = reasons.explain(place.settings, place.contract, "o7")

    assert found == reasons.explain(place.settings, place.contract, "o7")
    assert found.same_features
    assert (found.key, found.model_version, found.scored_at, found.background) == ("o7", 1, NOW, 200)
    pushed = {reason.feature: reason.contribution for reason in found.reasons}
    assert sum(pushed.values()) == pytest.approx(found.score - found.average_score)
    assert {name for name, push in pushed.items() if push} <= {"amount", "shop"}
    assert list(pushed) >= ["amount"]
    told = {reason.feature: (reason.value, reason.usual) for reason in found.reasons}
    assert told["ordered_at"][0] == "2025-10-09T08:53:27+00:00"
    assert told["items"] == (None, None)


def test_features_computed_anew_change_neither_prediction_nor_reasons(place):
    before = reasons.explain(place.settings, place.contract, "o8")
    write(place, "features", place.frame.assign(amount=0.0), mode="overwrite")

    assert reasons.explain(place.settings, place.contract, "o8") == before

    lake_of = tables.path_of(place.settings, "orders", "predictions")
    one = pa.Table.from_pylist(
        [
            {
                "_key": "lost",
                "_time": NOW,
                "score": 0.9,
                "prediction": 1,
                "band": "NORMAL",
                "model_version": 1,
                "run_id": "r",
                "scored_at": NOW,
                "source_version": 77,
            }
        ]
    )
    write_deltalake(lake_of, one, mode="append", schema_mode="merge")
    write(place, "features", place.frame.tail(1).assign(_key="lost"), mode="append")
    lost = reasons.explain(place.settings, place.contract, "lost")
    assert not lost.same_features
    assert sum(reason.contribution for reason in lost.reasons) == pytest.approx(
        lost.explained_score - lost.average_score
    )


def test_a_key_without_prediction_and_one_without_record_are_told_apart(place):
    with pytest.raises(UsageError, match=r"has no prediction yet; 'contender score orders' makes it"):
        reasons.explain(place.settings, place.contract, f"o{SCORED}")
    with pytest.raises(UsageError, match=r"no record 'o'' OR 1=1'; check the key, .* 'order_id', for instance 'o\d+'"):
        reasons.explain(place.settings, place.contract, "o'' OR 1=1")


def test_without_a_champion_there_is_nothing_to_explain(bare):
    with pytest.raises(UsageError, match="Nobody holds the title of orders yet"):
        reasons.explain(bare.settings, bare.contract, "o1")


def test_a_model_that_the_ledger_never_approved_explains_nothing(place, bare):
    other = replace(place.version, version=2, digest="0" * 64)
    ledger.take_title(
        bare.settings, "orders", version=other, after=None, action="crowned", reason="x", by="test", evidence={}
    )
    write(bare, "predictions", pd.DataFrame({"_key": ["o1"], "scored_at": NOW, "model_version": 1}))

    with pytest.raises(UntrustedModel, match="the ledger has never approved it"):
        reasons.explain(bare.settings, bare.contract, "o1")


def test_a_person_reads_80_columns_that_add_up(place, monkeypatch, capfd):
    monkeypatch.setenv("CONTENDER_HOME", str(place.settings.home))
    monkeypatch.setenv("CONTENDER_USE_CASES", str(place.settings.use_cases))
    monkeypatch.setenv("COLUMNS", "80")
    blue = place.frame.index[place.frame.colour == "[bold]blue"][0]

    explain.callback("orders", f"o{blue}", 6, False)

    shown = capfd.readouterr()
    assert shown.err == ""
    assert "[bold]blue" in shown.out
    assert "add up to score minus average" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80


def test_the_newest_rows_are_drawn_from_the_newest_files(bare):
    for start in (0, 1000):
        keys = pd.DataFrame({"_key": [f"k{start + n}" for n in range(500)]})
        write(bare, "drawn", keys, mode="append")

    first, again, other = (tables.read_newest(bare.settings, "orders", "drawn", 40, seed) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert len(set(first["_key"].to_pylist())) == 40
    assert len(tables.read_newest(bare.settings, "orders", "drawn", 5000, 1)) == 1000
    assert tables.read_newest(bare.settings, "orders", "nothing", 5, 1) is None
    assert tables.read_key(bare.settings, "orders", "drawn", "k1001").to_pylist() == [{"_key": "k1001"}]
    assert tables.read_key(bare.settings, "orders", "drawn", "k1001", 0).num_rows == 0
    assert tables.read_key(bare.settings, "orders", "drawn", "k1001", 9) is None
