"""What training promises, and what it refuses."""

import numpy as np
import pandas as pd
import pytest

from contender.contracts.sections import Training
from contender.errors import TooFewOutcomes
from contender.training.folds import drawn_folds, time_folds
from contender.training.search import Task, Trial
from contender.training.trainer import (
    Assignment,
    finalists,
    importance,
    latency_ms,
    learnable,
    refuse_too_little,
    rows_to_search,
    train,
)
from contender.values import ModelColumn

COLUMNS = (
    ModelColumn("at", "time"),
    ModelColumn("size", "number"),
    ModelColumn("noise", "number"),
    ModelColumn("empty", "number"),
    ModelColumn("shop", "category"),
)
RULES = Training(trials=2, folds=2, search_rows=600, min_rows=300)


def records(rows: int = 900) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "at": np.linspace(1.60e9, 1.61e9, rows),
            "size": random.lognormal(2, 1, rows),
            "noise": random.normal(size=rows),
            "empty": np.nan,
            "shop": random.choice(np.array(["a", "b", None], dtype=object), rows),
        }
    )


def trained(kind, y, candidates, metric, frame=None, seed=1, rules=RULES):
    frame = records(len(y)) if frame is None else frame
    return train(frame, y, Assignment(kind, COLUMNS, candidates, rules, metric, seed))


def binary(frame: pd.DataFrame) -> np.ndarray:
    return (frame["size"] + 3 * (frame["shop"] == "a") > 9).to_numpy().astype(int)


def test_the_same_rows_and_seed_give_the_same_model():
    frame = records()
    y = binary(frame)
    one, two = (trained("binary", y, ("logistic", "random_forest", "boosting"), "roc_auc", frame) for _ in range(2))

    assert (one.candidate, one.params) == (two.candidate, two.params)
    assert (one.model.predict_proba(frame) == two.model.predict_proba(frame)).all()
    assert (one.folds, one.trials) == (two.folds, two.trials)
    assert (one.classes, one.rows) == ((0, 1), 900)
    assert one.folds[-1]["roc_auc"] > 0.9


def test_what_is_learnt_shows_in_the_importance():
    frame = records()
    y = binary(frame)
    model = trained("binary", y, ("boosting",), "roc_auc", frame).model
    found = importance(model, frame, y, "roc_auc", seed=0, rows=400)
    assert next(iter(found)) == "size"
    assert found["empty"] == 0
    latency = latency_ms(model.predict_proba, frame, seed=0, repeats=5)
    assert 0 < latency["p50"] <= latency["p95"]


def test_several_classes_and_numbers_are_learnt_too():
    frame = records()
    y = np.array(["small", "middle", "large"])[np.digitize(frame["size"], [5, 12])]
    several = trained("multiclass", y, ("logistic", "boosting"), "log_loss", frame)
    assert several.classes == ("large", "middle", "small")
    assert several.folds[-1]["accuracy"] > 0.8

    numbers = trained("regression", frame["size"].to_numpy().round(), ("ridge", "boosting"), "rmse", frame)
    assert numbers.classes == ()
    assert numbers.candidate == "boosting"
    assert numbers.folds[-1]["r2"] > 0.5
    assert [trial.mean for trial in numbers.trials] == sorted(trial.mean for trial in numbers.trials)


@pytest.mark.parametrize(
    ("kind", "y", "said"),
    [
        pytest.param("binary", np.arange(200) % 2, "200 records .* needs 300", id="too few rows"),
        pytest.param("binary", np.zeros(400, dtype=int), r"one class \(0\)", id="one class"),
        pytest.param("binary", (np.arange(400) < 9).astype(int), r"too few are 1 \(9\)", id="a rare class"),
        pytest.param("multiclass", np.array(["a"] * 400 + ["rare"] * 4), r"rare \(4\)", id="one class and a rare one"),
        pytest.param("regression", np.full(400, 7.0), r"one number \(7.0\)", id="one number"),
        pytest.param("binary", np.repeat([0, 1], [200, 800]), "In time order", id="classes apart in time"),
    ],
)
def test_too_little_to_learn_from_is_refused(kind, y, said):
    with pytest.raises(TooFewOutcomes, match=said):
        trained(kind, y, ("ridge",) if kind == "regression" else ("logistic",), "accuracy")


def test_a_class_that_nothing_can_be_learnt_about_is_left_out_and_named():
    y = np.array(["cat"] * 40 + ["dog"] * 30 + ["bat"] * 5 + ["owl"] * 4 + ["yak"])
    learnt = learnable(y, "multiclass", Training())

    assert sorted(set(y[learnt.rows])) == ["bat", "cat", "dog"]
    assert learnt.left_out == {"owl": 4, "yak": 1}
    assert learnt.sentence == "left out of training, as too few to learn from: owl (4), yak (1)"
    assert learnable(y, "multiclass", Training(min_per_class=31)).left_out.keys() == {"dog", "bat", "owl", "yak"}
    many = learnable(np.array([f"class {n}" for n in range(20)]), "multiclass", Training())
    assert many.sentence.endswith("class 19 (1) and 8 more")


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_of_two_classes_and_of_numbers_nothing_is_left_out(kind):
    learnt = learnable(np.array([1.0] * 99 + [0.0]), kind, Training())

    assert (learnt.rows.all(), learnt.sentence) == (True, "")


@pytest.mark.parametrize(
    ("rules", "needed"),
    [
        pytest.param(Training(), (50, 10), id="as they follow"),
        pytest.param(Training(min_rows=70, min_per_class=20), (70, 20), id="as the contract says"),
    ],
)
def test_what_is_needed_to_train_follows_unless_the_contract_says(rules, needed):
    rows, of_two = needed
    refuse_too_little((np.arange(rows) < of_two).astype(int), "binary", rules)
    with pytest.raises(TooFewOutcomes, match=f"has {rows - 1} .* needs {rows}"):
        refuse_too_little(np.arange(rows - 1) % 2, "binary", rules)
    with pytest.raises(TooFewOutcomes, match=rf"too few are 1 \({of_two - 1}\); training needs {of_two} of"):
        refuse_too_little((np.arange(rows) < of_two - 1).astype(int), "binary", rules)


def test_a_rare_class_among_several_is_learnt_wherever_its_rows_are():
    frame = records(120)
    y = np.array(["small", "large"])[(frame["size"] > 7).astype(int)].astype("<U6")
    y[:5] = "rare"
    found = trained(
        "multiclass", y, ("logistic", "random_forest", "boosting"), "log_loss", frame, rules=Training(trials=1)
    )

    assert found.classes == ("large", "rare", "small")
    assert np.isfinite(found.model.predict_proba(frame)).all()


def test_drawn_rows_are_each_tested_once_by_a_model_of_nearly_all_others():
    y = np.arange(100) % 2
    cuts = list(drawn_folds(y, 4))

    assert np.concatenate([test for _, test in cuts]).tolist() == list(range(100))
    assert all(len(train) == 75 and not set(train) & set(test) for train, test in cuts)
    assert list(drawn_folds(np.repeat([0, 1], [98, 2]), 4)) == [], "nothing is told where a fold has one class"


def test_folds_use_nothing_of_the_future():
    cuts = list(time_folds(np.arange(100.0), 3, gap=5))
    assert [(train.max(), test.min(), len(test)) for train, test in cuts] == [(19, 25, 25), (44, 50, 25), (69, 75, 25)]


@pytest.mark.parametrize(
    ("y", "gap", "kept"),
    [
        pytest.param(np.arange(40.0), 12, [20, 30], id="the first is too short for what was not known yet"),
        pytest.param(np.repeat([0, 1, 0, 1], [12, 10, 13, 5]), 0, [20, 30], id="one class to train on"),
        pytest.param(np.repeat([0, 1, 0], [5, 12, 23]), 0, [10], id="one class to measure on"),
        pytest.param(np.repeat([3.0, 8.0, 3.0], [5, 12, 23]), 0, [10], id="one number to measure on"),
    ],
)
def test_a_fold_that_says_nothing_is_left_out(y, gap, kept):
    assert [test.min() for _, test in time_folds(y, 3, gap)] == kept


@pytest.mark.parametrize(
    ("values", "whole", "measured_again"),
    [
        pytest.param((0.80, 0.60, 0.70), False, True, id="it won a fold"),
        pytest.param((0.69, 0.74, 0.79), False, True, id="behind, but by less than the folds differ"),
        pytest.param((0.50, 0.50, 0.50), False, False, id="clearly behind"),
        pytest.param((0.80, 0.60, 0.70), True, False, id="the search saw all rows"),
    ],
)
def test_what_part_of_the_rows_left_in_doubt_is_measured_on_all(values, whole, measured_again):
    best, other = Trial("boosting", {}, (0.70, 0.75, 0.80)), Trial("logistic", {}, values)
    assert (other in finalists([best, other], whole, "roc_auc")) == measured_again


def test_the_search_keeps_a_rare_class_and_the_order_of_time():
    y = (np.arange(100_000) % 100 == 7).astype(int)
    rows = rows_to_search(y, "binary", 5000)
    assert len(rows) == 5000
    assert (np.diff(rows) > 0).all()
    assert y[rows].sum() == 500
    assert rows[0] < 100
    assert rows[-1] > 99_900


@pytest.mark.parametrize(
    ("metric", "worth"),
    [("roc_auc", 0.75), ("average_precision", 5 / 6), ("accuracy", 0.75), ("precision", 1.0), ("recall", 0.5)],
)
def test_metrics_look_for_the_second_class(metric, worth):
    y, likely = np.array(["no", "no", "yes", "yes"]), np.array([0.1, 0.4, 0.35, 0.8])
    task = Task("binary", COLUMNS, None, metric, seed=1, n_jobs=1)
    found = task.measure(y, np.column_stack([1 - likely, likely]), np.array(["no", "yes"]))
    assert found == pytest.approx(worth)


def test_own_features_travel_inside_the_model_though_folds_are_fitted_at_once():
    frame = records()
    y = (frame["size"] * frame["noise"] > 0).to_numpy().astype(int)
    hook = "def features(r):\n    return (r['size'] * r['noise']).to_frame('product')\n"
    found = train(frame, y, Assignment("binary", COLUMNS, ("boosting",), RULES, "roc_auc", seed=1, own=hook))

    assert found.folds[-1]["roc_auc"] > 0.95
    assert hook in found.model.model.named_steps["own"].source
