"""What the pipelines take, and what they never fail on."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import clone

from contender.contracts.sections import CANDIDATES
from contender.errors import ModelError
from contender.features.row_transformers import CategoryCodes, OwnFeatures, RecordFeatures
from contender.features.word_scores import WordScores
from contender.training.calibration import Calibrated, fit_sigmoid
from contender.training.candidates import ManyRates, _rates, build
from contender.values import ModelColumn

COLUMNS = (
    ModelColumn("at", "time"),
    ModelColumn("size", "number"),
    ModelColumn("empty", "number"),
    ModelColumn("shop", "category"),
    ModelColumn("note", "text"),
)
HOOK = "def features(records):\n    return records[['note']].assign(length=records['note'].str.len())[['length']]\n"


def records(rows: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "at": np.linspace(1.60e9, 1.65e9, rows),
            "size": np.where(random.random(rows) < 0.1, np.nan, random.lognormal(2, 1, rows)),
            "empty": np.nan,
            "shop": np.where(random.random(rows) < 0.1, None, random.choice(["a", "b"], rows)),
            "note": "x",
        }
    )


@pytest.mark.parametrize(("kind", "candidate"), [(kind, name) for kind, names in CANDIDATES.items() for name in names])
def test_unseen_categories_and_missing_or_infinite_values_never_fail(kind, candidate):
    frame = records()
    y = {"binary": np.arange(300) % 2, "multiclass": np.arange(300) % 3, "regression": np.arange(300.0)}[kind]
    model = build(candidate, kind, COLUMNS, OwnFeatures(HOOK).fit(frame), {}, seed=0).fit(frame, y)
    odd = frame.head(3).assign(size=[np.nan, np.inf, -np.inf], shop=[None, "new", np.nan], at=np.nan, note=None)

    assert np.isfinite(model.predict(odd)).all()
    assert np.isfinite(model.predict(frame.head(1))).all()


def noted(rows: int = 600) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(4)
    good, bad = (random.random(rows) < 0.5, ["well packed box", "torn box"])
    notes = [f"{bad[0] if one else bad[1]} number {n}" for n, one in enumerate(good)]
    return records(rows).assign(words=notes, noise=[f"lot {n} {n * 7}" for n in range(rows)]), good.astype(int)


@pytest.mark.parametrize("candidate", CANDIDATES["binary"])
def test_words_tell_the_outcome_of_rows_not_seen(candidate):
    frame, y = noted()
    columns = (ModelColumn("words", "words"), ModelColumn("noise", "words"), ModelColumn("size", "number"))
    model = build(candidate, "binary", columns, None, {}, seed=0).fit(frame[:400], y[:400])
    assert (model.predict(frame[400:]) == y[400:]).mean() > 0.95
    assert np.isfinite(model.predict_proba(frame[400:403].assign(words=[None, "", "new words"]))).all()


def test_words_that_say_nothing_give_no_score_and_no_row_sees_its_own_outcome():
    frame, _ = noted()
    y = np.random.default_rng(1).normal(size=len(frame))
    scores = WordScores(regression=True)
    assert scores.fit_transform(frame[["words", "noise"]], y).shape == (600, 0)
    assert scores.transform(frame[["words", "noise"]]).shape == (600, 0)


def test_classes_have_a_score_each_and_two_have_one():
    frame, y = noted()
    assert WordScores(regression=False).fit_transform(frame[["words"]], y).shape == (600, 1)
    three = np.array(["a", "b", "c"], dtype=object)[y + (np.arange(600) % 3 == 0)]
    assert WordScores(regression=False).fit(frame[["words"]], three).transform(frame[["words"]]).shape == (600, 3)


@pytest.mark.parametrize("rows", [8, 800])
@pytest.mark.parametrize(
    ("values", "strings"),
    [
        pytest.param(["b", None, "a", float("nan")], ["b", "", "a", ""], id="strings, some missing"),
        pytest.param([1, "1", True, 1.0], ["1", "1", "True", "1.0"], id="values that are equal, and differ as strings"),
        pytest.param([None, None, pd.NA, pd.NaT], ["", "", "", ""], id="all missing"),
        pytest.param([2, None, 10, 2], ["2", "", "10", "2"], id="numbers"),
        pytest.param([np.str_("b"), None, "b", np.str_("a")], ["b", "", "b", "a"], id="strings of NumPy's type"),
    ],
)
def test_categories_become_strings_however_many_there_are(rows, values, strings):
    frame = pd.DataFrame({"shop": pd.Series(values * (rows // 4), dtype=object)})

    found = RecordFeatures({"shop": "category"}).fit(frame).transform(frame)["shop"]

    assert found.tolist() == strings * (rows // 4)
    assert set(map(type, found)) == {str}, "a stored model may hold no other type"


def test_strings_become_their_places_in_alphabetic_order_and_unseen_ones_minus_one():
    codes = CategoryCodes(["shop"]).fit(pd.DataFrame({"shop": ["b", "", "a", "b"], "size": 1.0}))

    found = codes.transform(
        pd.DataFrame({"shop": ["a", "z", "b", ""], "size": [1.0, 2.0, 3.0, 4.0]}, index=[7, 5, 3, 1])
    )

    assert found["shop"].tolist() == [1, -1, 2, 0]
    assert found["size"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert found.index.tolist() == [7, 5, 3, 1]
    assert codes.fit(pd.DataFrame({"shop": pd.Series([], dtype=object)})).seen_["shop"].tolist() == []


@pytest.mark.parametrize(("kind", "candidate"), [(kind, name) for kind, names in CANDIDATES.items() for name in names])
def test_codes_in_place_of_strings_change_no_prediction(kind, candidate):
    frame, random = records(600), np.random.default_rng(3)
    # Many shops, of which a few are common: encoders put the others together.
    frame["shop"] = [f"shop {int(number)}" for number in random.zipf(1.3, 600).clip(max=100)]
    signal = frame["shop"].str.len().to_numpy() + random.normal(size=600)
    y = {"binary": (signal > 7) * 1, "multiclass": np.digitize(signal, [6, 7.5]), "regression": signal}[kind]
    own = OwnFeatures(HOOK).fit(frame)
    model = build(candidate, kind, COLUMNS, own, {}, seed=0)
    plain = build(candidate, kind, COLUMNS, own, {}, seed=0)
    plain.steps = [step for step in plain.steps if step[0] != "places"]
    odd = frame.tail(200).assign(shop=random.choice(["shop 1", "shop 9", "never seen", None], 200))

    said, expected = (fitted.fit(frame, y).predict(odd) for fitted in (model, plain))

    assert said.tolist() == expected.tolist()


def test_a_time_becomes_its_calendar_parts():
    moment = datetime(2024, 2, 3, 13, 30, tzinfo=UTC).timestamp()  # a Saturday
    frame = pd.DataFrame({"at": [moment, moment + 400 * 86_400]})
    found = RecordFeatures({"at": "time"}).fit(frame).transform(frame).iloc[0].to_dict()
    assert found == {
        "at.hour": 13.5,
        "at.weekday": 5,
        "at.weekend": 1,
        "at.day_of_year": 34,
        "at.month": 2,
        "at.year": 2024,
    }


def test_parts_of_the_year_wait_until_a_year_was_seen():
    frame = pd.DataFrame({"at": np.linspace(1.6e9, 1.6e9 + 300 * 86_400, 9)})
    assert list(RecordFeatures({"at": "time"}).fit(frame).transform(frame)) == ["at.hour", "at.weekday", "at.weekend"]


def test_days_between_two_times_are_a_feature():
    birth, at = (datetime(year, 3, 1, tzinfo=UTC).timestamp() for year in (1984, 2024))
    frame = pd.DataFrame({"at": [at, at, np.nan], "born": [birth, np.nan, birth], "last": [np.nan] * 3})
    kinds = {"at": "time", "born": "time", "last": "time"}
    found = RecordFeatures(kinds).fit(frame).transform(frame)
    assert [name for name in found if " - " in name] == ["at - born"]
    assert found["at - born"].tolist()[0] == 14_610  # forty years
    assert found["at - born"].isna().tolist() == [False, True, True]


def test_what_is_made_of_a_time_never_takes_a_columns_place():
    frame = pd.DataFrame({"at.hour": [99.0, 98.0], "at": [3600.0, 7200.0], "at - b": [7.0, 8.0], "b": [0.0, 0.0]})
    kinds = {"at.hour": "number", "at": "time", "at - b": "number", "b": "time"}
    found = RecordFeatures(kinds).fit(frame).transform(frame)
    assert found["at.hour"].tolist() == [99.0, 98.0]
    assert found["at.hour'"].tolist() == [1.0, 2.0]
    assert found["at - b"].tolist() == [7.0, 8.0]
    assert found["at - b'"].tolist() == [1 / 24, 2 / 24]


def test_own_features_travel_as_text_and_keep_names_and_kinds():
    own = OwnFeatures(HOOK).fit(records())
    assert own.columns == (ModelColumn("length", "number"),)
    assert clone(own).source == HOOK
    assert own.transform(records())["length"].tolist() == [1.0] * 300


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("def features(r:", "cannot be run", id="not Python"),
        pytest.param("x = 1", "defines no", id="no function"),
        pytest.param("def features(r): return r['nowhere']", "KeyError", id="it raises"),
        pytest.param("def features(r): return r.head(1)", "1 rows for 300", id="rows lost"),
        pytest.param("def features(r): return 3", "a int", id="no frame"),
        pytest.param("def features(r): return r[['size']]", "there already", id="a column that is there"),
        pytest.param(
            "import pandas as pd\ndef features(r): return r[['size']].assign(d=pd.Timestamp(0))[['d']]",
            "datetime64",
            id="a kind no model takes",
        ),
    ],
)
def test_a_broken_hook_is_named_in_one_sentence(source, said):
    with pytest.raises(ModelError, match=f"^The hook features.py .*{said}"):
        OwnFeatures(source).fit(records())


def test_a_hook_whose_columns_change_is_refused():
    own = OwnFeatures("def features(r): return r[['size']].set_axis([f'n{len(r)}'], axis=1)").fit(records(300))
    with pytest.raises(ModelError, match="'n200'.*'n300'"):
        own.transform(records(200))


class Stub:
    """A classifier that answers with the probabilities it is given."""

    def __init__(self, classes: list[int]) -> None:
        self.classes_ = np.array(classes)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return X


def test_calibration_recovers_the_true_odds_and_keeps_the_order():
    random = np.random.default_rng(1)
    odds = random.normal(-3, 1.5, 20_000)
    came_true = random.random(20_000) < expit(odds)
    claimed = expit(2 * odds + 1)  # overconfident, and too high
    model = Calibrated.on(Stub([0, 1]), np.column_stack([1 - claimed, claimed]), came_true.astype(int))
    after = model.predict_proba(np.column_stack([1 - claimed, claimed]))[:, 1]

    assert model.slopes[0] == pytest.approx(0.5, abs=0.03)
    assert after.mean() == pytest.approx(came_true.mean(), abs=0.003)
    assert (np.argsort(after) == np.argsort(claimed)).all()


def test_calibration_never_turns_the_order_around():
    slope, _ = fit_sigmoid(np.array([0.9, 0.8, 0.2, 0.1] * 50), np.array([False, False, True, True] * 50))
    assert slope > 0


def test_probabilities_of_several_classes_sum_to_one():
    random = np.random.default_rng(2)
    raw = random.dirichlet([1, 1, 1], 500)
    found = Calibrated.on(Stub([0, 1, 2]), raw, raw.argmax(axis=1)).predict_proba(raw)
    assert found.sum(axis=1) == pytest.approx(np.ones(500))


@pytest.mark.parametrize(("kind", "candidate"), [(kind, name) for kind, names in CANDIDATES.items() for name in names])
def test_a_gap_or_a_category_that_training_never_saw_is_scored_as_nothing_unusual(kind, candidate):
    """Neither column has a gap in training; what is not known must not count as an extreme."""
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"size": random.normal(50, 5, 600), "shop": random.choice(list("abc"), 600)}).astype(
        {"shop": object}
    )
    told = frame["size"].to_numpy() + 3 * (frame["shop"] == "a").to_numpy() + random.normal(0, 4, 600)
    y = {"binary": (told > 51) * 1, "multiclass": np.digitize(told, [48, 54]), "regression": told}[kind]
    columns = (ModelColumn("size", "number"), ModelColumn("shop", "category"))
    model = build(candidate, kind, columns, None, {}, seed=0).fit(frame, y)
    gaps = pd.DataFrame(
        {"size": [np.nan, 50.0, 50.0, np.nan], "shop": pd.Series(["b", None, "new", None], dtype=object)}
    )

    said = model.predict(gaps) if kind == "regression" else model.predict_proba(gaps)

    assert np.isfinite(said).all()
    if kind == "regression":
        assert (abs(said - told.mean()) < 8).all(), "within the middle of what training saw"
    else:
        assert said.max() < 0.999, "not as sure as of an extreme"


@pytest.mark.parametrize(("kind", "classes"), [("binary", 1), ("multiclass", 3), ("regression", 1)])
def test_many_values_get_a_rate_each_that_no_row_leaks_into(kind, classes):
    random = np.random.default_rng(6)
    codes = pd.DataFrame({"place": random.integers(0, 300, 900), "few": random.integers(0, 5, 900)})
    y = {"binary": random.integers(0, 2, 900), "multiclass": random.integers(0, 3, 900)}.get(
        kind, random.normal(size=900)
    )
    rates = ManyRates(_rates(kind))

    seen = rates.fit_transform(codes, y)

    assert rates.columns_ == ["place"]
    assert seen.shape == rates.transform(codes).shape == (900, classes)
    told = (y == 0) if kind == "multiclass" else y
    assert abs(np.corrcoef(seen[:, 0], told)[0, 1]) < 0.12, "noise stays noise"
    assert np.isfinite(rates.transform(codes.assign(place=-1))).all(), "a place never seen gets the average"
    assert ManyRates(_rates(kind)).fit_transform(codes[["few"]], y).shape == (900, 0)
