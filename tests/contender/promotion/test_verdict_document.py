"""One shape of a verdict, and its numbers as texts."""

import json
import math

import pytest

from contender.promotion.verdict_document import Texts, document_of
from contender.values import Decision, Guardrail, Interval, Verdict


def verdict(*, champion=0.8, slowness=3.5):
    rails = (Guardrail("latency_p95_ms", slowness, 200.0, True), Guardrail("flips to wrong", 0.25, 0.05, False))
    return Verdict(
        Decision.PROMOTE, "roc_auc", champion, 0.85, 0.05, Interval(0.02, 0.08, 0.99), 1200, ("better",), rails
    )


def test_a_document_is_plain_json_whatever_was_not_measured():
    document = document_of(verdict(slowness=math.nan))
    kept = json.loads(json.dumps(document, allow_nan=False))
    assert [rail["value"] for rail in kept["guardrails"]] == [None, 0.25]
    assert (document["decision"], document["interval"], document["interval_level"]) == ("PROMOTE", [0.02, 0.08], 0.99)


@pytest.mark.parametrize(("champion", "told"), [(0.8, "0.8000"), (None, "none")])
@pytest.mark.parametrize(("slowness", "shown"), [(3.5, "3.5"), (math.nan, "unknown")])
def test_numbers_are_put_into_words_once(champion, told, slowness, shown):
    texts = Texts.of(json.loads(json.dumps(document_of(verdict(champion=champion, slowness=slowness)))))
    assert (texts.champion, texts.challenger, texts.gain) == (told, "0.8500", "+0.0500")
    assert (texts.interval, texts.level, texts.rows) == ("+0.0200 to +0.0800", "99%", "1,200")
    assert texts.guardrails == (("latency_p95_ms", shown, "200", "yes"), ("flips to wrong", "0.25", "0.05", "NO"))
