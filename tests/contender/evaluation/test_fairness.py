"""Fairness: rates per group, and limits that are broken, held, not settled, or cannot be told."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import recall_score

from contender.contracts.loop_sections import Fairness
from contender.evaluation.exhibits import Apart, GroupRates
from contender.evaluation.fairness import by_column, check_fairness
from contender.evaluation.group_rates import measure_fairness

SELECTION = "selection rate"
TRUE_POSITIVE = "true positive rate"
FALSE_POSITIVE = "false positive rate"


def _rows(groups):
    """Rows of each group from (selected positives, positives, selected negatives, negatives)."""
    y, scores, names = [], [], []
    for name, (hits, positives, alarms, negatives) in groups.items():
        y += [1] * positives + [0] * negatives
        scores += [0.9] * hits + [0.1] * (positives - hits) + [0.5] * alarms + [0.49] * (negatives - alarms)
        names += [name] * (positives + negatives)
    return np.array(y), np.array(scores), {"region": np.array(names)}


def _rules(**limits):
    return Fairness(columns=("region",), **limits)


def _check(groups, *, clusters=None, seed=7, **limits):
    checked, notes = check_fairness(*_placed(groups), _rules(**limits), seed, clusters=clusters)
    return checked, notes


def _placed(groups):
    y, scores, names = _rows(groups)
    return y, scores, 0.5, names


def _only(groups, **limits):
    checked, _ = _check(groups, **limits)
    assert len(checked) == 1
    return checked[0]


def test_the_rates_are_those_counted_by_hand():
    north, south = measure_fairness(*_placed({"north": (40, 50, 10, 100), "south": (30, 60, 20, 40)}), _rules())
    assert (north.column, north.group, north.rows, north.positives) == ("region", "north", 150, 50)
    assert (north.selection_rate, north.true_positive_rate, north.false_positive_rate) == (50 / 150, 40 / 50, 10 / 100)
    assert (south.selection_rate, south.true_positive_rate, south.false_positive_rate) == (50 / 100, 30 / 60, 20 / 40)


def test_the_rates_their_differences_and_ratios_are_those_of_scikit_learn_on_every_row():
    rng = np.random.default_rng(3)
    y, scores = rng.integers(0, 2, 3_000), rng.random(3_000)
    names = rng.choice(["north", "south", "west"], 3_000, p=[0.6, 0.3, 0.1])
    selected = (scores >= 0.4).astype(int)
    groups = [names == name for name in ("north", "south", "west")]
    theirs = {
        "selection_rate": [selected[rows].mean() for rows in groups],
        "true_positive_rate": [recall_score(y[rows], selected[rows]) for rows in groups],
        "false_positive_rate": [1 - recall_score(y[rows], selected[rows], pos_label=0) for rows in groups],
    }
    ours = measure_fairness(y, scores, 0.4, {"region": names}, _rules())
    (document,) = by_column(ours, [])
    for rate, expected in theirs.items():
        assert [getattr(one, rate) for one in ours] == pytest.approx(expected)
        assert document.apart[rate].difference == pytest.approx(max(expected) - min(expected))
        assert document.apart[rate].ratio == pytest.approx(min(expected) / max(expected))


BROKEN = {"north": (450, 500, 200, 500), "south": (250, 500, 50, 500)}
"""Selection 65 % and 30 %, true positives 90 % and 50 %, false positives 40 % and 10 %."""


@pytest.mark.parametrize(
    ("limit", "name", "value"),
    [
        ("max_selection_rate_difference", f"{SELECTION} difference", 0.35),
        ("min_selection_rate_ratio", f"{SELECTION} ratio", 0.30 / 0.65),
        ("max_true_positive_rate_difference", f"{TRUE_POSITIVE} difference", 0.40),
        ("min_true_positive_rate_ratio", f"{TRUE_POSITIVE} ratio", 0.50 / 0.90),
        ("max_false_positive_rate_difference", f"{FALSE_POSITIVE} difference", 0.30),
        ("min_false_positive_rate_ratio", f"{FALSE_POSITIVE} ratio", 0.25),
    ],
)
class TestEachLimit:
    def test_is_refuted_where_the_rates_surely_lie_beyond_it(self, limit, name, value):
        check = _only(BROKEN, **{limit: 0.1 if limit.startswith("max") else 0.8})
        assert check.guardrail.name == f"fairness region: {name}"
        assert check.guardrail.value == pytest.approx(value)
        assert not check.guardrail.holds
        assert check.refuted
        assert check.rows_factor == 1
        assert "of north down to" in check.reason
        assert "of south" in check.reason

    def test_holds_without_a_word_where_the_rates_surely_lie_within_it(self, limit, name, value):
        check = _only(BROKEN, **{limit: 0.6 if limit.startswith("max") else 0.1})
        assert check.guardrail.value == pytest.approx(value)
        assert check.guardrail.holds
        assert not check.refuted
        assert check.reason == ""

    @pytest.mark.parametrize("beyond", [True, False], ids=["just beyond", "just within"])
    def test_is_unsettled_where_luck_may_carry_the_rates_over_it(self, limit, name, value, beyond):
        room = -0.01 if beyond == limit.startswith("max") else 0.01
        check = _only(BROKEN, **{limit: value + room})
        assert not check.guardrail.holds
        assert not check.refuted
        assert 1 < check.rows_factor < math.inf
        assert check.reason

    def test_cannot_be_told_with_one_group_only(self, limit, name, value):
        check = _only({"north": BROKEN["north"]}, **{limit: 0.5})
        assert check.guardrail.value is None
        assert not check.guardrail.holds
        assert not check.refuted
        assert check.rows_factor == math.inf
        assert "large enough are 1 of 1 groups" in check.reason


def test_a_reason_names_the_groups_and_their_rates():
    check = _only(BROKEN, max_selection_rate_difference=0.1)
    assert check.reason == (
        "fairness region: selection rate difference is 0.35, from 65.00% of north down to 30.00% of south; "
        "expected at most 0.1"
    )


@pytest.mark.parametrize("rows", [100, 1_000], ids=["few rows", "many rows"])
def test_a_limit_that_is_met_exactly_is_not_called_broken(rows):
    groups = {"north": (0, 0, rows * 4 // 10, rows), "south": (0, 0, rows * 3 // 10, rows)}
    check = _only(groups, max_selection_rate_difference=0.1)
    assert not check.refuted
    assert "luck alone" not in check.reason
    assert check.guardrail.holds == (rows == 100)  # so many rows show that the groups differ, but not that it ends here


def test_the_more_rows_say_the_same_the_surer_is_a_breach():
    few, many = (
        _only({"north": (0, 0, 3 * n, 10 * n), "south": (0, 0, 1 * n, 10 * n)}, max_selection_rate_difference=0.1)
        for n in (10, 100)
    )
    assert few.guardrail.value == many.guardrail.value
    assert not few.refuted
    assert 1 < few.rows_factor < 10
    assert many.refuted


def test_small_groups_that_differ_by_luck_hold_as_small_slices_do():
    groups = {"north": (0, 0, 32, 100), "south": (0, 0, 28, 100)}
    assert _only(groups, max_selection_rate_difference=0.1).guardrail.holds


def test_the_more_groups_there_are_the_further_apart_luck_may_put_two_of_them():
    pair = {"a": (0, 0, 45, 100), "b": (0, 0, 22, 100)}
    between = {f"c{place}": (0, 0, 33, 100) for place in range(8)}
    two, ten = (_only(groups, max_selection_rate_difference=0.08) for groups in (pair, pair | between))
    assert two.refuted
    assert not ten.refuted
    assert ten.guardrail.value == two.guardrail.value


def test_a_group_of_which_nobody_is_selected_is_not_taken_to_be_free_of_luck():
    check = _only({"north": (0, 0, 4, 100), "south": (0, 0, 0, 100)}, min_selection_rate_ratio=0.2)
    assert check.guardrail.value == 0
    assert not check.refuted


def test_a_group_too_small_is_told_and_neither_passed_nor_compared():
    groups = {"north": (25, 50, 25, 50), "south": (25, 50, 25, 50), "island": (20, 20, 20, 20)}
    checked, notes = _check(groups, max_selection_rate_difference=0.3)
    assert notes == ["too small to tell: region=island (40 rows)"]
    assert checked[0].guardrail.value == 0
    island = measure_fairness(*_placed(groups), _rules())[0]
    assert (island.group, island.rows, island.positives) == ("island", 40, 20)
    assert island.selection_rate is island.true_positive_rate is island.false_positive_rate is None


def test_a_group_is_large_enough_from_the_contracts_rows_on():
    groups = {"north": (25, 50, 25, 50), "south": (25, 50, 25, 49)}
    checked, notes = _check(groups, max_selection_rate_difference=0.3)
    assert notes == ["too small to tell: region=south (99 rows)"]
    assert checked[0].guardrail.value is None
    assert _check(groups, min_rows=99, max_selection_rate_difference=0.3)[1] == []


def test_where_every_group_but_one_is_too_small_the_limit_is_unsettled_until_a_second_is_large_enough():
    groups = {"north": (250, 500, 250, 500), "south": (10, 20, 10, 20), "island": (5, 10, 5, 10)}
    check = _only(groups, max_selection_rate_difference=0.3)
    assert not check.guardrail.holds
    assert not check.refuted
    assert check.rows_factor == 100 / 40
    assert "large enough are 1 of 3 groups" in check.reason


@pytest.mark.parametrize(
    ("rate", "few", "kind"),
    [
        pytest.param("true_positive_rate", (0, 0, 60, 200), "0 positives", id="no positives"),
        pytest.param("true_positive_rate", (9, 19, 60, 200), "19 positives", id="one positive too few"),
        pytest.param("false_positive_rate", (60, 200, 0, 0), "0 negatives", id="no negatives"),
    ],
)
def test_a_rate_of_too_few_outcomes_of_its_kind_is_told_and_not_passed(rate, few, kind):
    groups = {"north": (100, 200, 100, 200), "south": few}
    checked, notes = _check(groups, **{f"max_{rate}_difference": 0.5, "max_selection_rate_difference": 0.5})
    told = {check.guardrail.name.split(": ")[1]: check for check in checked}
    words = rate.replace("_", " ")
    assert notes == [f"too few outcomes of that kind to tell the {words}: region=south ({kind})"]
    assert not told[f"{words} difference"].guardrail.holds
    assert not told[f"{words} difference"].refuted
    assert math.isfinite(told["selection rate difference"].guardrail.value)
    south = measure_fairness(*_placed(groups), _rules())[1]
    assert getattr(south, rate) is None
    assert south.selection_rate is not None


def test_a_rate_that_has_no_limit_is_measured_and_not_complained_about():
    groups = {"north": (100, 200, 100, 200), "south": (0, 0, 60, 200)}
    assert _check(groups, max_selection_rate_difference=0.5)[1] == []
    assert _check(groups) == ([], [])


@pytest.mark.parametrize("missing", ["missing", None, float("nan")])
def test_a_missing_group_is_a_group_of_its_own(missing):
    y, scores, names = _rows({"north": (450, 500, 200, 500), "missing": (250, 500, 50, 500)})
    values = names["region"].astype(object)
    values[values == "missing"] = missing
    rules = _rules(max_selection_rate_difference=0.1)
    rates = measure_fairness(y, scores, 0.5, {"region": values}, rules)
    assert [(one.group, one.rows) for one in rates] == [("missing", 1_000), ("north", 1_000)]
    (check,), _ = check_fairness(y, scores, 0.5, {"region": values}, rules, 7)
    assert check.refuted
    assert "down to 30.00% of missing" in check.reason


def test_where_nobody_is_selected_all_are_treated_alike():
    groups = {"north": (0, 500, 0, 500), "south": (0, 300, 0, 700)}
    checked, _ = _check(
        groups, min_selection_rate_ratio=0.8, min_true_positive_rate_ratio=0.8, min_false_positive_rate_ratio=0.8
    )
    assert [(check.guardrail.value, check.guardrail.holds) for check in checked] == [(1.0, True)] * 3


@pytest.mark.parametrize("groups", [2, 3, 7])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_groups_with_the_same_rates_lie_a_difference_of_0_and_a_ratio_of_1_apart(groups, share):
    sizes = {f"g{place}": 100 * (place + 1) for place in range(groups)}
    same = {name: (round(share * n), n, round(share * n), n) for name, n in sizes.items()}
    limits = {
        f"{side}_{rate}_{gap}": limit
        for rate in ("selection_rate", "true_positive_rate", "false_positive_rate")
        for side, gap, limit in (("max", "difference", 0.0), ("min", "ratio", 1.0))
    }
    checked, notes = _check(same, **limits)
    assert [check.guardrail.value for check in checked] == [0.0, 1.0] * 3
    assert all(check.guardrail.holds for check in checked)
    assert notes == []


def test_rows_of_few_entities_are_too_few_however_many_they_are():
    groups = {"north": (250, 500, 250, 500), "south": (250, 500, 250, 500)}
    clusters = np.concatenate([np.arange(1_000) % 200, 1_000 + np.arange(1_000) % 12])
    (check,), notes = _check(groups, clusters=clusters, max_selection_rate_difference=0.3)
    assert notes == [
        "too few outcomes of that kind to tell the selection rate: region=south (1,000 rows of 12 entities)"
    ]
    assert not check.guardrail.holds
    assert check.rows_factor == 30 / 12


def test_rows_that_repeat_an_entity_prove_less_than_as_many_independent_ones():
    groups = {"north": (0, 0, 300, 1_000), "south": (0, 0, 180, 1_000)}
    alone = np.arange(2_000)
    together = alone // 20  # all twenty rows of an entity are decided alike
    (independent,), _ = _check(groups, clusters=alone, max_selection_rate_difference=0.05)
    (repeated,), _ = _check(groups, clusters=together, max_selection_rate_difference=0.05)
    assert independent.refuted
    assert independent == _only(groups, max_selection_rate_difference=0.05)
    assert not repeated.refuted
    assert not repeated.guardrail.holds
    assert repeated.guardrail.value == independent.guardrail.value


def test_columns_are_checked_one_by_one():
    y, scores, names = _rows(BROKEN)
    rules = Fairness(columns=("region", "sex"), max_selection_rate_difference=0.1)
    groups = names | {"sex": np.array(["f", "m"] * 1_000)}
    checked, _ = check_fairness(y, scores, 0.5, groups, rules, 7)
    assert [(check.guardrail.name, check.guardrail.holds) for check in checked] == [
        ("fairness region: selection rate difference", False),
        ("fairness sex: selection rate difference", True),
    ]


def test_the_same_seed_gives_the_same_answer_in_whatever_order_the_rows_come():
    y, scores, names = _rows({"north": (40, 50, 10, 50), "south": (30, 50, 10, 50), "west": (35, 50, 12, 60)})
    rules = _rules(max_selection_rate_difference=0.05, min_true_positive_rate_ratio=0.9)
    shuffled = np.random.default_rng(1).permutation(len(y))
    first = check_fairness(y, scores, 0.5, names, rules, 7)
    again = check_fairness(y[shuffled], scores[shuffled], 0.5, {"region": names["region"][shuffled]}, rules, 7)
    assert first == again


@pytest.mark.slow
def test_equal_groups_are_hardly_ever_refuted_and_groups_at_the_limit_rarely():
    rng = np.random.default_rng(11)

    def refuted(chances):
        draws = {name: (0, 0, int(rng.binomial(200, chance)), 200) for name, chance in chances.items()}
        return _only(draws, max_selection_rate_difference=0.1).refuted

    equal = sum(refuted({"a": 0.3, "b": 0.3, "c": 0.3}) for _ in range(60))
    at_limit = sum(refuted({"a": 0.4, "b": 0.3, "c": 0.3}) for _ in range(60))
    assert equal == 0
    assert at_limit <= 6  # at 5 % or less, seven of sixty would be a one-in-thirty surprise


def test_the_document_is_plain_json_without_a_number_for_what_is_not_told():
    groups = {"north": (250, 500, 250, 500), "island": (10, 20, 10, 20)}
    y, scores, threshold, names = _placed(groups)
    rules = _rules(max_selection_rate_difference=0.1)
    checked, _ = check_fairness(y, scores, threshold, names, rules, 7)
    (document,) = by_column(measure_fairness(y, scores, threshold, names, rules), checked)
    json.dumps(asdict(document), allow_nan=False)
    assert document.column == "region"
    assert document.groups[0] == GroupRates("region", "island", 40, 20, None, None, None)
    assert document.apart["selection_rate"] == Apart(None, None)
    (limit,) = document.limits
    assert (limit.value, limit.limit, limit.holds, limit.refuted) == (None, 0.1, False, False)
