"""One shape of a verdict, and its numbers as texts."""

import json
import math

import pytest

from contender.errors import OtherRelease
from contender.evaluation.exhibits import CalibrationBin, Flip, Flips
from contender.promotion.verdict_document import Texts, VerdictDocument, finite, plain_verdict, verdict_in
from contender.values import Decision, Guardrail, SliceGain, Verdict
from tests.contender.verdicts import verdict_document

RAILS = (Guardrail("latency_p95_ms", None, 200.0, True), Guardrail("flips to wrong", 0.25, 0.05, False))
WHOLE = verdict_document(
    guardrails=RAILS,
    slice_gains=(
        SliceGain("shop=a", 3, None, None, None, 0.1, 0.98),
        SliceGain("shop=b", 90, 0.1, 0.0, 0.2, 0.1, 0.98),
    ),
    calibration={"challenger": (CalibrationBin(0.1, 0.2, 30, 0.1, 0.3),)},
    flips=Flips((Flip("k", True, 0.25, 0.75, {"n": 1, "text": "größer", "gone": None}),), (), 0.01, 0.0),
    metrics=finite({"f1": math.nan, "roc_auc": 0.9}),
    reasons=("größer",),
)


@pytest.mark.parametrize("document", [WHOLE, verdict_document()], ids=["all of it", "as little as there may be"])
def test_a_document_comes_back_as_it_was_written(document):
    assert VerdictDocument.from_json(document.to_json(), "it") == document


def test_a_document_is_plain_json_for_programs():
    found = json.loads(json.dumps(WHOLE.for_programs(), allow_nan=False))

    assert found == json.loads(WHOLE.to_json())
    assert (found["decision"], found["interval"]) == ("PROMOTE", {"low": 0.021, "high": 0.066, "level": 0.9})
    assert (found["document_version"], found["metrics"]) == (1, {"f1": None, "roc_auc": 0.9})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            '{"decision": "KEEP", "interval": [0, 1]}', "no version, needed is version 1; it is too old", id="before"
        ),
        pytest.param('{"document_version": 2}', "version 2, needed is version 1; a later release wrote it", id="later"),
        pytest.param('{"document_version": 1}', "of another form", id="half of it"),
        pytest.param("no JSON", "nothing that can be read", id="no JSON"),
        pytest.param("[]", "nothing that can be read", id="a list"),
        pytest.param(WHOLE.to_json().replace('"rows":1200', '"rows":"1200"'), "'rows' of another form", id="a text"),
        pytest.param(
            WHOLE.to_json().replace('"rows":1200', '"rows":1200,"more":1'), "'more' of another form", id="more"
        ),
        pytest.param(WHOLE.to_json().replace('"holds":true', '"holds":true,"x":1'), "another form", id="more inside"),
    ],
)
def test_a_document_of_another_form_is_refused_in_one_sentence(text, told):
    with pytest.raises(OtherRelease) as caught:
        VerdictDocument.from_json(text, "The verdict on payments of 2026-05-01T12:00")

    assert str(caught.value).startswith("The verdict on payments of 2026-05-01T12:00 has ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_verdict_in_an_evidence_is_read_whatever_stands_beside_it():
    alone = Verdict(**{name: getattr(WHOLE, name) for name in Verdict.__dataclass_fields__})

    assert verdict_in(json.dumps({"verdict": plain_verdict(alone), "data": {"records": 3}})) == alone


@pytest.mark.parametrize(
    ("changes", "needed", "opponent"),
    [
        ({}, 0.01, "champion version 1"),
        ({"against": "dummy", "champion": None}, None, "the dummy"),
        ({"mode": "decay", "allowed_loss": 0.004}, -0.004, "champion version 1"),
        ({"mode": "decay"}, None, "champion version 1"),
    ],
)
def test_what_a_gain_had_to_be(changes, needed, opponent):
    found = verdict_document(**changes)
    assert (found.needed_gain, found.opponent) == (needed, opponent)


@pytest.mark.parametrize(("champion", "told"), [(0.8, "0.8000"), (None, "none")])
@pytest.mark.parametrize(("slowness", "shown"), [(3.5, "3.5"), (None, "unknown")])
def test_numbers_are_put_into_words_once(champion, told, slowness, shown):
    rails = (Guardrail("latency_p95_ms", slowness, 200.0, True), RAILS[1])
    texts = Texts.of(verdict_document(champion_score=champion, guardrails=rails, decision=Decision.KEEP))
    assert (texts.champion, texts.challenger, texts.gain) == (told, "0.7530", "+0.0430")
    assert (texts.interval, texts.level, texts.rows) == ("+0.0210 to +0.0660", "90%", "1,200")
    assert texts.guardrails == (("latency_p95_ms", shown, "200", "yes"), ("flips to wrong", "0.25", "0.05", "NO"))


@pytest.mark.parametrize(
    ("window", "told"),
    [
        pytest.param("2026-03-01 10:00..2026-03-08 10:00", "2026-03-01 10:00 to 2026-03-08 10:00", id="a week"),
        pytest.param("2026-03-01 10:00:04.681703..2026-03-01 10:00:04.683113", "2026-03-01 10:00", id="one delivery"),
        pytest.param(
            "2026-03-01 10:00:04.681703..2026-03-01 10:09:04.683113", "2026-03-01 10:00 to 2026-03-01 10:09", id="short"
        ),
    ],
)
def test_people_see_the_judging_rows_times_to_the_minute(window, told):
    assert verdict_document(window=window).window_in_words == told
