import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from contender.scoring.shapley import reasons_for, usual

# Importing shap takes seconds.
pytestmark = pytest.mark.slow

ROWS = 60


@pytest.fixture(scope="module")
def background() -> pd.DataFrame:
    random = np.random.default_rng(3)
    frame = pd.DataFrame({"a": random.normal(size=ROWS), "b": random.normal(size=ROWS)})
    frame["when"] = 1.7e9 + random.integers(0, 3600, ROWS)
    frame["shop"] = random.choice(np.array(["x", "y", None], dtype=object), ROWS)
    frame.loc[::5, "b"] = np.nan
    return frame


def row(**changed) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [2.0], "b": [-1.0], "when": [1.7e9 + 50.0], "shop": ["x"]}).assign(**changed)
    return frame.astype({"a": float, "b": float, "shop": object})


def pushes(found) -> dict[str, float]:
    return {reason.feature: reason.contribution for reason in found.reasons}


def crooked(frame: pd.DataFrame) -> np.ndarray:
    """Every column interacts with every other."""
    b = frame.b.fillna(3.0)
    return np.tanh(frame.a * b * np.where(frame["shop"] == "x", 2.0, -1.0) + np.sin(frame.when)).to_numpy()


def plain(frame: pd.DataFrame) -> np.ndarray:
    return (2 * frame.a + 3 * (frame["shop"] == "x")).to_numpy(dtype=float)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({}, id="nothing is missing"),
        pytest.param({"b": np.nan, "shop": None}, id="values are missing"),
        pytest.param({"shop": "never seen"}, id="a category nobody else has"),
    ],
)
def test_contributions_add_up_to_score_minus_average(background, changed):
    found = reasons_for(crooked, row(**changed), background, 1)

    assert sum(pushes(found).values()) == pytest.approx(found.score - found.average, abs=1e-9)
    assert found.score == crooked(row(**changed))[0]
    assert found.average == pytest.approx(crooked(background).mean())


def test_a_column_that_the_model_ignores_has_no_part(background):
    assert [pushes(reasons_for(plain, row(), background, 1))[name] for name in ("b", "when")] == [0, 0]


def test_a_sum_is_taken_apart_exactly_and_told_strongest_first(background):
    found = reasons_for(plain, row(), background, 1)

    assert pushes(found)["a"] == pytest.approx(2 * (2.0 - background.a.mean()))
    assert pushes(found)["shop"] == pytest.approx(3 * (1 - (background["shop"] == "x").mean()))
    assert [abs(reason.contribution) for reason in found.reasons] == sorted(map(abs, pushes(found).values()))[::-1]


def test_columns_that_do_the_same_have_equal_parts(background):
    twins = background.assign(b=background.a)

    found = reasons_for(lambda frame: (frame.a * frame.b).to_numpy(), row(b=2.0), twins, 1)

    assert pushes(found)["a"] == pytest.approx(pushes(found)["b"])


def test_large_numbers_close_together_are_not_taken_for_one(background):
    found = reasons_for(lambda frame: (frame.when - 1.7e9).to_numpy(), row(), background, 1)

    assert pushes(found)["when"] == pytest.approx(50 - (background.when - 1.7e9).mean())


def test_the_same_seed_gives_the_same_reasons(background):
    assert reasons_for(crooked, row(), background, 1) == reasons_for(crooked, row(), background, 1)


def test_where_columns_interact_in_pairs_every_seed_finds_the_exact_parts(background):
    def paired(frame: pd.DataFrame) -> np.ndarray:
        return (frame.a * frame.b.fillna(3.0) + frame.a * (frame["shop"] == "x")).to_numpy(dtype=float)

    first, other = (pushes(reasons_for(paired, row(), background, seed)) for seed in (1, 2))

    assert first == pytest.approx(other, abs=1e-9)


def test_the_random_state_of_others_is_left_alone(background):
    np.random.seed(4)
    expected = np.random.random()
    np.random.seed(4)

    reasons_for(plain, row(), background, 1)

    assert np.random.random() == expected


def test_reasons_are_in_the_words_of_the_input_and_not_of_the_pipeline(background, capfd):
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    prepare = ColumnTransformer([("numbers", "passthrough", ["a", "b", "when"]), ("shop", encode, ["shop"])])
    model = make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5))
    model.fit(background, (plain(background) > 1).astype(int))

    found = reasons_for(lambda frame: model.predict_proba(frame)[:, 1], row(shop=None), background, 1)

    assert sorted(pushes(found)) == ["a", "b", "shop", "when"]
    assert [reason.value for reason in found.reasons if reason.feature == "shop"] == [None]
    assert sum(pushes(found).values()) == pytest.approx(found.score - found.average, abs=1e-9)
    assert capfd.readouterr() == ("", "")


def test_a_row_that_is_like_all_others_has_no_reasons(background):
    found = reasons_for(plain, row(), pd.concat([row()] * 3, ignore_index=True), 1)

    assert set(pushes(found).values()) == {0}
    assert found.score == found.average


def test_many_columns_are_explained_with_fewer_background_rows():
    wide = pd.DataFrame(np.random.default_rng(1).normal(size=(50, 700)), columns=[f"c{n}" for n in range(700)])

    found = reasons_for(lambda frame: frame.c0.to_numpy(), wide.iloc[:1], wide, 1)

    assert found.background == 20
    assert found.reasons[0].feature == "c0"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1.0, 5.0, 2.0], 2.0, id="the median of numbers"),
        pytest.param([1.0, np.nan], 1.0, id="half of them missing"),
        pytest.param([1.0, np.nan, np.nan], None, id="most of them missing"),
        pytest.param(["b", "a", "b"], "b", id="the most frequent text"),
        pytest.param(["b", "a", "b", "a"], "a", id="the first of two as frequent"),
        pytest.param(["a", "b", "c"], None, id="no text comes twice"),
        pytest.param([None, None], None, id="nothing is known"),
    ],
)
def test_what_is_usual(values, expected):
    assert usual(pd.Series(values)) == expected
