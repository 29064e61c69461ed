"""Planted leaks of several strengths, and honest features beside them."""

import numpy as np
import pandas as pd
import pytest

from contender.errors import LeakFound, TooFewOutcomes
from contender.replay.payments_simulator import Simulation, simulated_days
from contender.training.feature_strength import avoided
from contender.training.leakage import find_leaks, refuse_leaks
from contender.values import ModelColumn

ROWS = 3000
REASON = "measured an hour before"


@pytest.fixture
def random():
    return np.random.default_rng(7)


def columns_of(frame):
    return [ModelColumn(name, "number" if frame[name].dtype.kind == "f" else "category") for name in frame]


def found_in(frame, y, kind, *, past=(), allowed=None):
    found = find_leaks(frame, y, kind=kind, columns=columns_of(frame), past=past, allowed=allowed or {}, seed=1)
    return [(leak.kind, set(leak.features)) for leak in found]


def honest(random, rows=ROWS):
    """Features that tell a part of the outcomes, and an id that tells nothing."""
    return pd.DataFrame(
        {
            "age": random.normal(40, 10, rows),
            "income": random.lognormal(3, 1, rows),
            "score": np.where(random.random(rows) < 0.3, np.nan, random.normal(size=rows)),
            "colour": random.choice(np.array(["red", "blue", None], dtype=object), rows),
            "visitor": np.array([f"v{row}" for row in range(rows)], dtype=object),
            "shop": np.array([f"s{row}" for row in random.integers(0, 900, rows)], dtype=object),
        }
    )


def numbers_of(frame, random):
    return 100 + frame["age"] / 10 + frame["income"] / 20 + random.normal(size=len(frame))


def classes_of(frame, random, share=0.5):
    drawn = (frame["age"] - 40) / 10 + random.normal(size=len(frame))
    return (drawn > np.quantile(drawn, 1 - share)).astype(np.int64).to_numpy()


def with_r2(y, r2, random):
    """The target with so much noise that it explains `r2` of it."""
    return y + random.normal(size=len(y)) * y.std() * np.sqrt(1 / r2 - 1)


def with_gini(y, gini, random):
    """A number of which two normal distributions, one per class, give this Gini."""
    from scipy.stats import norm

    return y * np.sqrt(2) * norm.ppf((gini + 1) / 2) + random.normal(size=len(y))


def flipped(y, share, random):
    return np.where(random.random(len(y)) < share, 1 - y, y)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_honest_features_are_no_leaks_of_classes(random, share):
    frame = honest(random, 8_000)
    assert found_in(frame, classes_of(frame, random, share), "binary") == []


def test_honest_features_are_no_leaks_of_numbers_or_of_many_classes(random):
    frame = honest(random)
    assert found_in(frame, numbers_of(frame, random).to_numpy(), "regression") == []
    names = np.array(["a", "b", "c"])[np.digitize(numbers_of(frame, random), [103, 106])]
    assert found_in(frame, names, "multiclass") == []


@pytest.mark.parametrize(("r2", "refused"), [(0.999, True), (0.985, True), (0.97, False), (0.95, False), (0.9, False)])
@pytest.mark.parametrize("shape", ["as it is", "of a logarithm", "of a curve that turns"])
def test_a_number_that_alone_explains_the_target_is_refused(random, r2, refused, shape):
    frame = honest(random)
    hidden = random.uniform(-3, 3, ROWS)
    y = {"as it is": hidden, "of a logarithm": np.exp(hidden), "of a curve that turns": np.cos(2 * hidden)}[shape]
    frame["leak"] = hidden
    noisy = with_r2(y, r2, random)
    assert found_in(frame, noisy, "regression") == ([("alone", {"leak"})] if refused else [])


@pytest.mark.parametrize("share", [0.5, 0.1, 0.015])
@pytest.mark.parametrize(("gini", "refused"), [(0.9995, True), (0.965, False), (0.9, False), (0.7, False)])
def test_a_number_that_alone_orders_the_classes_is_refused(random, gini, refused, share):
    frame = pd.DataFrame({"amount": random.normal(size=40_000)})
    y = (random.random(len(frame)) < share).astype(np.int64)
    frame["leak"] = with_gini(y, gini, random)
    assert found_in(frame, y, "binary") == ([("alone", {"leak"})] if refused else [])


def test_a_number_that_tells_a_class_from_both_sides_is_refused(random):
    frame = honest(random)
    frame["leak"] = random.uniform(-3, 3, ROWS)
    assert found_in(frame, (frame["leak"].abs() < 1).to_numpy(np.int64), "binary") == [("alone", {"leak"})]


def test_a_category_that_alone_tells_the_outcome_is_refused_and_an_id_is_not(random):
    frame, y = honest(random), random.integers(0, 2, ROWS)
    frame["code"] = np.array([f"{flag}{detail}" for flag, detail in zip(y, random.integers(0, 40, ROWS), strict=True)])
    assert found_in(frame.astype({"code": object}), y, "binary") == [("alone", {"code"})]


@pytest.mark.parametrize(
    "copied",
    [
        pytest.param(lambda y: y, id="as it is"),
        pytest.param(lambda y: 1 - y, id="the other way round"),
        pytest.param(lambda y: 40 - 3.5 * y, id="scaled"),
        pytest.param(lambda y: np.where(np.arange(len(y)) % 3, np.nan, y), id="where it is filled"),
        pytest.param(lambda y: np.where(y == 1, "yes", "no").astype(object), id="as words"),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.02])
def test_a_copy_of_a_class_is_refused_as_one(random, copied, share):
    frame = honest(random, 8_000)
    y = classes_of(frame, random, share)
    frame["leak"] = pd.Series(copied(y.astype(float)))
    assert found_in(frame, y, "binary") == [("copy", {"leak"})]


@pytest.mark.parametrize(
    "copied",
    [
        pytest.param(lambda y: y, id="as it is"),
        pytest.param(lambda y: 7 - y / 3, id="scaled and turned"),
        pytest.param(lambda y: y.astype(np.float32).astype(float), id="rounded by half the bits"),
        pytest.param(lambda y: np.where(np.arange(len(y)) % 10, np.nan, y), id="one row in ten"),
        pytest.param(lambda y: np.array([f"{value:.12f}" for value in y], dtype=object), id="as text"),
    ],
)
def test_a_copy_of_a_number_is_refused_as_one(random, copied):
    frame = honest(random)
    y = numbers_of(frame, random).to_numpy()
    frame["leak"] = pd.Series(copied(y))
    assert found_in(frame, y, "regression") == [("copy", {"leak"})]


@pytest.mark.parametrize(("share", "refused"), [(0.01, True), (0.02, True), (0.05, False), (0.2, False)])
def test_a_copy_with_some_mistakes_tells_the_outcome_alone(random, share, refused):
    frame, y = honest(random), random.integers(0, 2, ROWS)
    frame["leak"] = flipped(y, share, random).astype(float)
    assert found_in(frame, y, "binary") == ([("alone", {"leak"})] if refused else [])


def test_who_knows_one_of_many_classes_is_honest_and_who_knows_more_is_not(random):
    frame, drawn = honest(random), random.integers(0, 4, ROWS)
    frame["one"], frame["every"] = (drawn == 2).astype(float), drawn + random.normal(0, 0.1, ROWS)
    names = np.array(["a", "b", "c", "d"])[drawn]
    assert found_in(frame, names, "multiclass") == [("alone", {"every"})]
    frame["name"] = np.char.upper(names).astype(object)
    assert ("copy", {"name"}) in found_in(frame, names, "multiclass")


@pytest.mark.parametrize("classes", [21, 30])
def test_of_so_many_classes_that_each_is_rare_those_count_that_are_no_rarer_than_most(random, classes):
    frame, drawn = honest(random).drop(columns=["visitor", "shop"]), random.integers(0, classes, ROWS)
    names = np.array([f"class {number:02}" for number in range(classes)])[drawn]
    assert found_in(frame, names, "multiclass") == []
    frame["every"] = drawn + random.normal(0, 0.1, ROWS)
    assert found_in(frame, names, "multiclass") == [("alone", {"every"})]


@pytest.mark.parametrize(("share", "refused"), [(1.0, True), (0.98, True), (0.9, False), (0.6, False)])
@pytest.mark.parametrize("rate", [0.4, 0.02])
@pytest.mark.parametrize("filled_in", [1, 0])
def test_a_feature_filled_only_after_the_outcome_is_refused(random, share, refused, rate, filled_in):
    """`share` of the rows keep to the rule; the others break it, in either class."""
    frame = honest(random, 8_000)
    y = (random.random(len(frame)) < rate).astype(np.int64)
    filled = np.where(random.random(len(y)) < share, y == filled_in, y != filled_in)
    frame["leak"] = np.where(filled, random.normal(size=len(y)), np.nan)
    frame["word"] = np.where(filled, "x", None).astype(object)
    expected = [("filled after the outcome", {name}) for name in ("leak", "word")] if refused else []
    assert found_in(frame, y, "binary") == expected


@pytest.mark.parametrize(("mistakes", "refused"), [(0.0, True), (0.003, True), (0.05, False), (0.3, False)])
def test_a_feature_filled_for_half_of_one_outcome_and_hardly_ever_for_the_other_is_refused(random, mistakes, refused):
    frame = honest(random)
    y = classes_of(frame, random, 0.3)
    filled = random.random(ROWS) < np.where(y == 1, 0.5, mistakes)
    frame["leak"] = np.where(filled, random.normal(size=ROWS), np.nan)
    assert found_in(frame, y, "binary") == ([("filled after the outcome", {"leak"})] if refused else [])


def test_a_feature_filled_only_where_there_was_something_to_count_is_refused(random):
    frame = honest(random)
    y = np.where(random.random(ROWS) < 0.4, 0.0, random.lognormal(1, 1, ROWS))
    frame["leak"] = np.where(y > 0, random.normal(size=ROWS), np.nan)
    assert found_in(frame, y, "regression") == [("filled after the outcome", {"leak"})]


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize(("r2", "refused"), [(1.0, True), (0.995, True), (0.97, False)])
def test_parts_that_add_up_to_the_target_are_refused_together(random, parts, r2, refused):
    frame = honest(random)
    names = [f"part{part}" for part in range(parts)]
    for name in names:
        frame[name] = random.lognormal(1, 0.5, ROWS)
    y = with_r2(frame[names].sum(axis=1), r2, random).to_numpy()
    assert found_in(frame, y, "regression") == ([("together", set(names))] if refused else [])


@pytest.mark.parametrize(
    ("target", "spread"),
    [
        pytest.param(lambda a, b: a - b, 0.01, id="a difference of which either part tells nothing"),
        pytest.param(lambda a, b: a * b, 0.7, id="a product"),
        pytest.param(lambda a, b: a / b, 0.7, id="a ratio"),
    ],
)
def test_two_features_that_reproduce_a_number_are_refused_together(random, target, spread):
    frame = honest(random)
    frame["b"] = random.lognormal(5, 0.7, ROWS)
    frame["a"] = frame["b"] * random.lognormal(0, spread, ROWS) if spread < 0.1 else random.lognormal(2, spread, ROWS)
    y = target(frame["a"], frame["b"]).to_numpy()
    assert found_in(frame, y, "regression") == [("together", {"a", "b"})]


@pytest.mark.parametrize("rate", [0.5, 0.02])
def test_two_features_that_reproduce_a_class_are_refused_together(random, rate):
    frame = honest(random, 8_000)
    frame["a"], frame["b"] = random.normal(size=8_000), random.normal(size=8_000)
    total = frame["a"] + frame["b"]
    y = (total > np.quantile(total, 1 - rate)).to_numpy(np.int64)
    assert found_in(frame, y, "binary") == [("together", {"a", "b"})]
    both = ((frame["a"] > 0) & (frame["b"] > 0)).to_numpy(np.int64)
    assert found_in(frame, both, "binary") == [("together", {"a", "b"})]


def test_more_than_four_features_are_refused_only_where_they_add_up_exactly(random):
    frame = honest(random)
    names = [f"part{part}" for part in range(7)]
    for name in names:
        frame[name] = random.normal(size=ROWS)
    total = frame[names].sum(axis=1)
    assert found_in(frame, total.to_numpy(), "regression") == [("together", set(names))]
    assert found_in(frame, with_r2(total, 0.99, random).to_numpy(), "regression") == []


def test_a_target_that_goes_on_as_it_was_before_is_no_leak(random):
    frame = honest(random)
    y = 1000 + random.normal(size=ROWS).cumsum()
    frame["last"], frame["moment"] = np.concatenate([[1000], y[:-1]]), np.arange(ROWS, dtype=float)
    assert found_in(frame, y, "regression", past={"last", "moment"}) == []
    frame["after"], frame["before"] = y.cumsum(), np.concatenate([[0], y.cumsum()[:-1]])
    # What was yesterday is told by a column of the user's own, too, and tells no more than yesterday's outcome does.
    assert found_in(frame, y, "regression", past={"moment", "before"}) == [("together", {"after", "before"})]


def test_an_allowed_feature_is_told_with_its_reason_and_its_partner_is_still_refused(random):
    frame = pd.DataFrame({"a": random.normal(size=ROWS), "b": random.normal(size=ROWS)})
    y = (frame["a"] + frame["b"]).to_numpy()
    frame["c"] = y + random.normal(0, 0.01, ROWS)
    given = {"kind": "regression", "columns": columns_of(frame), "past": (), "seed": 1}
    told = refuse_leaks(frame, y, allowed=dict.fromkeys("abc", REASON), **given)
    assert [(leak.kind, leak.features) for leak in told] == [("alone", ("c",)), ("together", ("a", "b"))]
    assert all(REASON in leak.reason for leak in told)
    with pytest.raises(
        LeakFound, match="'a' and 'b' together .*R2 1.0000.* 0.99 is the limit.* b = \"why\""
    ) as refused:
        refuse_leaks(frame, y, allowed={"a": REASON, "c": REASON}, **given)
    assert "'c'" not in str(refused.value)


def test_the_refusal_names_every_feature_with_what_was_found_and_what_to_do(random):
    frame, y = honest(random), random.integers(0, 2, ROWS)
    frame["copy"], frame["late"] = y.astype(float), np.where(y == 1, 1.0, np.nan)
    with pytest.raises(LeakFound, match="'copy' is a copy .*'late' is filled for 100.0% .*exclude = .*leaks.allow"):
        refuse_leaks(frame, y, kind="binary", columns=columns_of(frame), past=(), allowed={}, seed=1)


def test_a_drifting_target_does_not_hide_what_tells_it(random):
    hidden = np.linspace(0, 5, ROWS) + random.normal(size=ROWS)
    frame = pd.DataFrame({"leak": hidden, "code": np.round(hidden, 1).astype(str).astype(object)})
    assert ("alone", {"leak"}) in found_in(frame, np.exp(hidden / 3), "regression")


def test_empty_and_constant_features_are_no_leaks(random):
    frame = pd.DataFrame({"empty": np.full(ROWS, np.nan), "same": np.ones(ROWS), "x": random.normal(size=ROWS)})
    frame["nothing"] = pd.Series([None] * ROWS, dtype=object)
    assert found_in(frame, random.integers(0, 2, ROWS), "binary") == []
    assert found_in(frame, random.normal(size=ROWS), "regression") == []


def test_nothing_passes_where_too_few_outcomes_could_tell(random):
    y = np.arange(200) < 4
    with pytest.raises(TooFewOutcomes, match="10 are needed"):
        found_in(pd.DataFrame({"x": random.normal(size=200)}), y.astype(int), "binary")


def test_few_rows_give_no_false_alarm_and_still_show_a_copy():
    for seed in range(8):
        random = np.random.default_rng(seed)
        frame = honest(random, 300)
        y = classes_of(frame, random, 0.1)
        assert found_in(frame, y, "binary") == []
        assert found_in(frame.assign(leak=y * 2.0), y, "binary") == [("copy", {"leak"})]


def test_the_same_rows_and_seed_find_the_same(random):
    frame = honest(random, 21_000)
    y = classes_of(frame, random, 0.1)
    frame["leak"] = with_gini(y, 0.97, random)
    given = {"kind": "binary", "columns": columns_of(frame), "past": (), "allowed": {}, "seed": 3}
    assert find_leaks(frame, y, **given) == find_leaks(frame, y, **given)


def test_an_outcome_that_all_columns_tell_is_easy_and_no_leak(random):
    """As in iris: one column nearly knows the outcome, and so do the others without it."""
    y = random.integers(0, 2, ROWS)
    frame = honest(random).assign(
        **{f"part{at}": (3 + 1.5 * (at < 1)) * y + random.normal(size=ROWS) for at in range(7)}
    )
    assert found_in(frame, y, "binary") == []
    assert found_in(frame[["age", "part0"]], y, "binary") == [("alone", {"part0"})], "it alone knows"
    numbers = random.normal(size=ROWS)
    frame = honest(random).assign(
        **{f"part{at}": numbers + random.normal(0, 0.11 + 0.1 * (at > 0), ROWS) for at in range(5)}
    )
    assert found_in(frame, numbers, "regression") == []


def test_a_few_rows_that_happen_to_be_right_are_no_knowledge(random):
    """13 frauds of 1,400 payments: amount and distance order them nearly perfectly, and tell them with mistakes."""
    y = np.arange(1400) % 108 == 0
    amount = random.lognormal(3, 1, 1400) * np.where(y, 12, 1)
    distance = np.where(random.random(1400) < 0.3, np.nan, random.lognormal(2, 1, 1400) * np.where(y, 20, 1))
    frame = pd.DataFrame({"amount": amount, "distance": distance, "seconds": random.lognormal(8, 2, 1400)})
    assert found_in(frame, y.astype(np.int64), "binary") == []


@pytest.mark.parametrize(
    ("wrong", "rarer", "least", "most"),
    [
        pytest.param(0, 10_000, 0.999, 1, id="never wrong"),
        pytest.param(0, 26, 0.9, 0.91, id="never wrong, on few rows"),
        pytest.param(0, 5, 0, 0.6, id="never wrong, on five"),
        pytest.param(500, 10_000, 0.94, 0.95, id="1 in 40 wrong of both alike"),
        pytest.param(10_000, 10_000, 0, 0, id="as wrong as a guess"),
        pytest.param(0, 0, 0, 0, id="nothing to tell"),
    ],
)
def test_mistakes_count_as_avoided_as_far_as_the_rows_can_tell(wrong, rarer, least, most):
    assert least <= avoided(wrong, rarer) <= most


@pytest.mark.parametrize("seed", range(6))
def test_simulated_payments_of_a_short_window_are_no_leak(seed):
    days = simulated_days(Simulation(seed=17 + seed, payments=60_000, days=14))
    frame = pd.concat([day.payments for day in days], ignore_index=True)
    y = frame["charged_back"].to_numpy(np.int64)
    numbers = frame[["amount", "distance_from_home", "seconds_since_last"]].astype(float)
    names = frame[["category", "entry_mode", "merchant_id"]].astype(object)
    for rows in (1_400, 3_500, 7_000):
        if y[:rows].sum() >= 12:
            assert found_in(pd.concat([numbers, names], axis=1)[:rows], y[:rows], "binary") == []


@pytest.mark.parametrize("size", [1e153, 1e200, 1.7e308, 1e-310])
def test_numbers_at_the_ends_of_floating_point_hide_no_leak_and_are_none(random, size):
    rows = 300
    y = random.integers(0, 2, rows)
    frame = pd.DataFrame(
        {"huge": random.choice([-size, 0.0, size], rows), "vast": size * y, "noise": random.normal(size=rows)}
    )
    columns = [ModelColumn(name, "number") for name in frame]
    found = find_leaks(frame, y, kind="binary", columns=columns, past=(), allowed={}, seed=1)
    assert [leak.features for leak in found] == [("vast",)]


@pytest.mark.parametrize("size", [1e160, 1.7e308, 1e-310])
def test_a_target_at_the_ends_of_floating_point_hides_no_leak(random, size):
    y = random.normal(size=300)
    y = y / np.abs(y).max() * size
    frame = pd.DataFrame({"copy": y, "noise": random.normal(size=300)})
    columns = [ModelColumn(name, "number") for name in frame]
    found = find_leaks(frame, y, kind="regression", columns=columns, past=(), allowed={}, seed=1)
    assert [leak.features for leak in found] == [("copy",)]
