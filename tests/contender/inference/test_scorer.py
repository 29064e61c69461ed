"""Arrays answer as the pipeline does: every candidate, whatever stands in a record."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from contender.errors import ModelError, UntrustedModel
from contender.inference import arrays, equality, lowering, scorer
from contender.inference.arrays import Malformed
from contender.inference.scorer import LoweredScorer, PlainScorer
from contender.registry import model_files
from contender.values import ModelColumn
from tests.contender.inference.models import CASES, COLUMNS, Case, answer_of, columns_of, fitted, fitted_with_hook, rows

CUTS = (0.5, 0.7, 0.9)
BOOSTING, FOREST = CASES[3], CASES[2]


def lowered(case: Case) -> LoweredScorer:
    found = arrays.unpack(arrays.pack(lowering.lower(fitted(case), columns_of(case)), {}))
    assert found is not None
    return LoweredScorer(found)


def hostile(case: Case) -> pd.DataFrame:
    """Rows that no training saw."""
    frame = rows(600, seed=7)[[column.name for column in columns_of(case)]]
    numeric = [name for name in frame if frame[name].dtype == np.float64]
    for place, value in enumerate((np.inf, -np.inf, -0.0, 0.0, 5e-324, -5e-324, np.nan, 1e30, -1e30, -0.5)):
        for column, name in enumerate(numeric):
            frame.loc[20 * place + column, name] = value
    for place, name in enumerate(name for name in frame if name not in numeric):
        frame.loc[[300 + place, 310 + place, 320 + place], name] = ["unseen", "", None]
    frame.loc[350, numeric] = np.nan
    frame.loc[350, [name for name in frame if name not in numeric]] = None
    return frame


@pytest.mark.parametrize("case", CASES, ids=str)
def test_arrays_answer_as_the_pipeline_does(case: Case) -> None:
    """By frame, by Arrow's columns with and without a dictionary, and one record at a time."""
    frame, ours = hostile(case), lowered(case)
    wanted = answer_of(fitted(case), frame)
    given = ours.answer(frame)
    np.testing.assert_allclose(given, wanted, rtol=1e-12, atol=1e-13)
    columns = {str(name): pa.array(frame[name], from_pandas=True) for name in frame}
    coded = {name: one.dictionary_encode() if pa.types.is_string(one.type) else one for name, one in columns.items()}
    np.testing.assert_array_equal(ours.answer_columns(columns), given)
    np.testing.assert_array_equal(ours.answer_columns(coded), given)
    alone = [ours.answer_record(frame.iloc[row].tolist())[0] for row in range(0, len(frame), 9)]
    np.testing.assert_array_equal(alone, given[::9])


@pytest.mark.parametrize("case", [BOOSTING, FOREST, CASES[1], CASES[7], CASES[8]], ids=str)
def test_the_proof_holds_and_says_what_it_compared(case: Case) -> None:
    content, evidence = equality.lower_and_prove(fitted(case), columns_of(case), rows(200, seed=3), CUTS)
    assert evidence.why_plain is None
    assert evidence.greatest_difference is not None
    assert evidence.greatest_difference < 1e-12
    assert (evidence.judging_rows, evidence.made_rows > 200) == (200, True)
    assert evidence.limits[0] > 0
    assert "equal to scikit-learn" in str(evidence)
    assert scorer.why_plain(content) is None
    assert scorer.scorer_in(content) is not None


def test_made_rows_hold_every_hard_case() -> None:
    made, (limits, every) = equality.made_rows(lowering.lower(fitted(BOOSTING), COLUMNS), rows(50))
    assert limits == every
    assert made.isna().all(axis=1).sum() == 1
    assert {f"shop {k}" for k in range(90)} | {"", equality._UNSEEN} <= set(made["shop"].dropna())
    for name in ("amount", "count", "at", "born", "flat"):
        assert made[name].isna().any()
        assert {np.inf, -np.inf, 0.0, 5e-324} <= set(made[name])
    name, limit = next(one for one in equality._limits(lowering.lower(fitted(BOOSTING), COLUMNS)) if one[0] == "flat")
    assert {limit, np.nextafter(limit, -np.inf), np.nextafter(limit, np.inf)} <= set(made[name])


def test_a_hundred_thousand_rows_answer_as_few_do() -> None:
    frame, ours = rows(100_000, seed=5)[[column.name for column in COLUMNS]], lowered(BOOSTING)
    given = ours.answer(frame)
    np.testing.assert_allclose(given, answer_of(fitted(BOOSTING), frame), rtol=0, atol=1e-13)
    for count in (1, 255, 256, 257):
        np.testing.assert_array_equal(ours.answer(frame.head(count)), given[:count])
    assert ours.answer(frame.head(0)).shape == (0, 2)


def test_an_unseen_category_goes_where_scikit_learn_sends_it_and_not_left_or_right_by_habit() -> None:
    frame = rows(300, seed=11)[[column.name for column in COLUMNS]].assign(shop="never seen")
    np.testing.assert_allclose(lowered(BOOSTING).answer(frame), answer_of(fitted(BOOSTING), frame), rtol=0, atol=1e-13)


def test_float32_would_move_rows_over_limits_and_float64_does_not() -> None:
    low = lowering.lower(fitted(BOOSTING), COLUMNS)
    limits = [value for name, value in equality._limits(low) if name == "flat"]
    at = rows(1, seed=2)[[column.name for column in COLUMNS]]
    frame = pd.concat([at] * (3 * len(limits)), ignore_index=True)
    frame["flat"] = [near for value in limits for near in (np.nextafter(value, -9), value, np.nextafter(value, 9))]
    given = lowered(BOOSTING).answer(frame)
    np.testing.assert_allclose(given, answer_of(fitted(BOOSTING), frame), rtol=0, atol=1e-13)
    assert not np.array_equal(given, lowered(BOOSTING).answer(frame.astype({"flat": np.float32})))


def test_a_forest_refuses_what_float32_cannot_hold_as_scikit_learn_does() -> None:
    frame = rows(3)[[column.name for column in COLUMNS]].assign(flat=1e300)
    with pytest.raises(ValueError, match="too large for dtype"):
        answer_of(fitted(FOREST), frame)
    with pytest.raises(ModelError, match="beyond 3.4e38"):
        lowered(FOREST).answer(frame)


def test_a_hook_runs_as_it_is_and_says_why() -> None:
    content, evidence = equality.lower_and_prove(fitted_with_hook(), COLUMNS, rows(50), CUTS)
    assert evidence.why_plain is not None
    assert "features.py" in evidence.why_plain
    assert scorer.scorer_in(content) is None
    assert scorer.why_plain(content) == evidence.why_plain
    assert str(evidence).startswith("answers by its pipeline: The use case's features.py")


def test_a_version_without_arrays_is_answered_by_its_pipeline() -> None:
    model = fitted(BOOSTING)
    told = [{"name": c.name, "type": "string" if c.kind == "category" else "double"} for c in COLUMNS]
    opened = model_files.Opened(model, Path("nowhere"), {"signature": {"inputs": json.dumps(told)}}, None)
    found = scorer.open_scorer(opened)
    assert isinstance(found, PlainScorer)
    assert not found.lowered
    assert "without arrays" in str(found.why_plain)
    assert found.columns == COLUMNS


def wrong(low: Any, name: str, change: Any) -> Any:
    values = np.array(low.arrays[name])
    change(values)
    return replace(low, arrays={**low.arrays, name: values})


@pytest.mark.parametrize(
    ("case", "name", "change", "reason"),
    [
        pytest.param(BOOSTING, "split_left", lambda a: np.logical_not(a, out=a), "differ", id="missing the other way"),
        pytest.param(BOOSTING, "leaf_values", lambda a: a.__iadd__(1e-6), "differ", id="leaves a little off"),
        pytest.param(
            BOOSTING,
            "split_limits",
            lambda a: np.copyto(a, a.astype(np.float32).astype(np.float64)),
            "differ",
            id="limits in float32",
        ),
        pytest.param(BOOSTING, "places", lambda a: a.fill(0), "differ", id="categories mixed up"),
        pytest.param(FOREST, "node_missing_right", lambda a: a.fill(False), "differ", id="a forest's missing"),
        pytest.param(CASES[0], "fills", lambda a: a.__iadd__(0.1), "differ", id="an imputer's fill"),
        pytest.param(CASES[1], "quantiles", lambda a: a.__iadd__(1e-3), "differ", id="ranks moved"),
        pytest.param(CASES[0], "slopes", lambda a: a.__imul__(1.01), "differ", id="the calibration"),
        pytest.param(BOOSTING, "split_inputs", lambda a: a.fill(999), "points outside", id="outside of the arrays"),
    ],
)
def test_a_wrong_lowering_is_found_and_the_pipeline_answers(case: Case, name: str, change: Any, reason: str) -> None:
    low = wrong(lowering.lower(fitted(case), columns_of(case)), name, change)
    content, evidence = equality.prove(fitted(case), low, rows(300, seed=3), CUTS)
    assert re.search(reason, str(evidence.why_plain))
    assert scorer.scorer_in(content) is None
    assert scorer.why_plain(content) == evidence.why_plain


def test_another_band_is_a_difference_however_small() -> None:
    low = wrong(lowering.lower(fitted(CASES[0]), COLUMNS), "intercepts", lambda a: a.__iadd__(2e-12))
    frame = rows(300, seed=3)
    scores = np.sort(lowered(CASES[0]).answer(frame[[column.name for column in COLUMNS]])[:, 1])
    _, evidence = equality.prove(fitted(CASES[0]), low, frame, [float(scores[150]) + 1e-13])
    assert "another band" in str(evidence.why_plain)


def test_values_of_a_record_may_be_of_any_plain_type() -> None:
    ours = lowered(BOOSTING)
    at, born = datetime(2018, 5, 6, 7, 8, 9, 123456, tzinfo=UTC), datetime(1980, 1, 2)  # noqa: DTZ001
    record = [3, "shop 7", True, at, born, None, 0.5]
    same = [3.0, "shop 7", 1.0, at.timestamp(), born.replace(tzinfo=UTC).timestamp(), "", 0.5]
    np.testing.assert_array_equal(ours.answer_record(record), ours.answer_record(same))
    frame = pd.DataFrame([same], columns=[column.name for column in COLUMNS])
    np.testing.assert_array_equal(ours.answer_record(same), ours.answer(frame))
    lone = ["\ud800" if place == 1 else value for place, value in enumerate(same)]
    unseen = ["nobody" if place == 1 else value for place, value in enumerate(same)]
    np.testing.assert_array_equal(ours.answer_record(lone), ours.answer_record(unseen))


@pytest.mark.parametrize(
    ("place", "value", "needed"),
    [
        pytest.param(0, "1", "a number", id="a text for a number"),
        pytest.param(0, 10**400, "a number", id="an integer beyond all floats"),
        pytest.param(0, [1], "a number", id="a list"),
        pytest.param(1, 7, "a text", id="a number for a text"),
        pytest.param(1, True, "a text", id="a boolean for a text"),
        pytest.param(3, "2018-01-01", "a time", id="a text for a time"),
    ],
)
def test_a_value_of_another_type_is_refused(place: int, value: object, needed: str) -> None:
    record: list[object] = [1.0, "shop 1", 1.0, 1.5e9, 1.0e9, "a", 0.5]
    record[place] = value
    with pytest.raises(ModelError, match=rf"'{COLUMNS[place].name}' is .*needed is {needed}"):
        lowered(BOOSTING).answer_record(record)
    with pytest.raises(ModelError, match="has 6 values, needed are 7"):
        lowered(BOOSTING).answer_record(record[:6])
    if value != 10**400:
        frame = pd.DataFrame([record], columns=[column.name for column in COLUMNS]).astype(
            {COLUMNS[place].name: object}
        )
        with pytest.raises(ModelError, match=f"needed is {needed}"):
            lowered(BOOSTING).answer(frame)


def test_a_column_that_is_lacking_is_named() -> None:
    frame = rows(2)[[column.name for column in COLUMNS]].drop(columns="kind of thing")
    with pytest.raises(ModelError, match="trained with 'kind of thing'"):
        lowered(BOOSTING).answer(frame)


def changed(content: bytes, old: str, new: str) -> bytes:
    """The file with another header of the same length."""
    assert old.encode() in content
    return content.replace(old.encode(), new.encode().ljust(len(old)), 1)


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        pytest.param(lambda content: content[:100], "header is not as long", id="cut short"),
        pytest.param(lambda content: content[:-4096], "ValueError|buffer", id="arrays cut off"),
        pytest.param(lambda content: b"\0" * 64 + content, "header", id="no header"),
        pytest.param(lambda content: changed(content, '"form": 1', '"form": 2'), "this release reads 1", id="form"),
        pytest.param(lambda content: changed(content, '"kernel": "boost"', '"kernel": "other"'), "kernel", id="kernel"),
        pytest.param(lambda content: changed(content, '"f8"', '"O8"'), "KeyError", id="objects"),
        pytest.param(lambda content: changed(content, '"at": 0', '"at":-9'), "below zero", id="before the arrays"),
    ],
)
def test_a_file_that_is_none_of_ours_is_not_believed(tamper: Any, reason: str) -> None:
    content = tamper(equality.lower_and_prove(fitted(BOOSTING), COLUMNS, rows(20), CUTS)[0])
    with pytest.raises(Malformed, match=reason):
        arrays.unpack(content)
    assert scorer.scorer_in(content) is None
    assert str(scorer.why_plain(content)).startswith("Its arrays cannot be used")


@pytest.mark.parametrize(
    ("case", "name", "value"),
    [
        (BOOSTING, "parts", 99),
        (BOOSTING, "inputs", 99),
        (BOOSTING, "set_tables", 10**6),
        (BOOSTING, "set_columns", 9),
        (BOOSTING, "place_starts", 10**6),
        (BOOSTING, "split_starts", 10**6),
        (FOREST, "node_left", 0),
        (FOREST, "node_left", 10**9),
        (FOREST, "node_leaf", 10**9),
        (FOREST, "node_inputs", -1),
        (FOREST, "node_limits", 0.0),
        (FOREST, "tree_starts", -5),
        (CASES[0], "term_parts", 99),
        (CASES[0], "gap_parts", 99),
        (CASES[0], "table_starts", -1),
    ],
)
def test_arrays_that_point_outside_of_each_other_are_not_evaluated(case: Case, name: str, value: Any) -> None:
    low = lowering.lower(fitted(case), columns_of(case))
    bad = wrong(low, name, lambda values: values.fill(value))
    with pytest.raises(Malformed):
        arrays.unpack(arrays.pack(bad, {}))


def test_arrays_that_were_changed_are_refused_by_the_digest(tmp_path: Path) -> None:
    content, _ = equality.lower_and_prove(fitted(BOOSTING), COLUMNS, rows(20), CUTS)
    (tmp_path / "model.skops").write_bytes(b"never opened")
    (tmp_path / "scorer.arrays").write_bytes(content)
    digest = model_files.digest_of(tmp_path)
    assert scorer.open_folder(tmp_path, digest).lowered
    (tmp_path / "scorer.arrays").write_bytes(content[:-1] + b"\1")
    with pytest.raises(UntrustedModel, match="not the approved one"):
        scorer.open_folder(tmp_path, digest)


def test_a_model_of_another_make_answers_by_itself() -> None:
    from sklearn.dummy import DummyClassifier

    _, evidence = equality.lower_and_prove(DummyClassifier().fit([[0], [1]], [0, 1]), COLUMNS, rows(5), CUTS)
    assert "not a pipeline of ours" in str(evidence.why_plain)
    other = (*COLUMNS[:-1], ModelColumn("another", "number"))
    _, evidence = equality.lower_and_prove(fitted(BOOSTING), other, rows(5), CUTS)
    assert "columns are not those" in str(evidence.why_plain)
