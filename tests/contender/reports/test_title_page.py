"""The page for people: everything on it is escaped, self-contained, and what the documents say."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from contender.contracts.contract import Contract
from contender.evaluation.exhibits import (
    CalibrationBin,
    ColumnFairness,
    FairnessLimit,
    Flip,
    Flips,
    GroupRates,
)
from contender.ingestion.batch_report import page as batch_page
from contender.promotion import ledger
from contender.promotion.ledger import LedgerEntry
from contender.reports.title_page import page_of
from contender.settings import Settings
from contender.svg import Scale
from contender.values import Decision, Guardrail, Ingested, Interval, ModelVersion, SliceGain
from tests.contender.verdicts import verdict_document

PAYMENTS = Contract.of("payments", Path(__file__).parents[3] / "data")
EVIL = '<script>alert("1")</script>&\'</title><img src=x onerror=alert(1)>'

FIRST = verdict_document(
    champion_score=0.0147,
    challenger_score=0.684394,
    gain=0.669672,
    interval=Interval(0.627836, 0.70988),
    rows=46_664,
    reasons=("gain over the dummy +0.67",),
    against="dummy",
    challenger=1,
    champion=None,
    guardrails=(Guardrail("roc_auc at least", 0.9465, 0.8, True),),
    slices={"category=fuel": {"rows": 4466.0, "average_precision": 0.871}, "category=health": {"rows": 3.0}},
)
FLIP = Flip("p1", 1, 0.9, 0.1234, {"amount": 12.5, "category": "fuel", "distance": None})
NEWEST = replace(
    FIRST,
    against="champion",
    champion=1,
    challenger=2,
    decision=Decision.KEEP,
    champion_score=0.684394,
    gain=-0.004,
    interval=Interval(-0.0123, 0.0045),
    guardrails=(Guardrail("slice category=fuel", 0.2, 0.1, False),),
    calibration={
        "champion": (CalibrationBin(0.2, 0.25, 50, 0.16, 0.36),),
        "challenger": (CalibrationBin(0.001, 0.0, 50, 0.0, 0.05),),
    },
    slice_gains=(
        SliceGain("category=fuel", 4466, -0.2, -0.3, -0.1, 0.1, 0.98),
        SliceGain("category=health", 3, None, None, None, 0.1, 0.98),
    ),
    flips=Flips((FLIP,), (), 0.0125, 0.0),
)


def entry(seq, day, action, version, reason="better", by="contender"):
    at = datetime(2026, 5, day, tzinfo=UTC).isoformat()
    return LedgerEntry("payments", seq, seq - 1, at, action, version, None, reason, by, "{}", "d", "d")


HISTORY = [
    entry(1, 1, "crowned", 1),
    entry(2, 11, "promoted", 2),
    entry(3, 12, "rolled back", 1, by="fraud desk", reason="alerts doubled"),
]


class Reader(HTMLParser):
    """Every tag with its attributes, every text, and whether tags close in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.open, self.values = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "data":
            self.values.append(float(dict(attributes)["value"]))
        if tag not in ("meta", "br", "link", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def part(page, title):
    """The text of the part under a heading."""
    found = re.search(rf"<h2>{re.escape(title)}.*?</section>", page, re.DOTALL)
    assert found, title
    return Reader(found[0].removesuffix("</section>")).text


@pytest.mark.parametrize(
    ("documents", "history"),
    [
        pytest.param([], [], id="nothing yet"),
        pytest.param([FIRST], HISTORY[:1], id="the first verdict"),
        pytest.param([NEWEST, FIRST], HISTORY, id="all of it"),
        pytest.param([FIRST], [], id="a verdict before the first title"),
    ],
)
def test_the_page_is_well_formed_and_loads_nothing(documents, history):
    page = page_of(documents, history, PAYMENTS)
    found = Reader(page)

    assert not {tag for tag, _ in found.tags} & {"script", "link", "img", "iframe", "object", "use", "form"}
    assert not [name for _, attributes in found.tags for name in attributes if name in ("src", "href", "onclick")]
    assert "url(" not in page
    assert "@import" not in page
    policy = next(of for _, of in found.tags if of.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "nan" not in page.lower().split("style>")[2]


def test_whatever_a_value_holds_shows_as_text():
    group = GroupRates(EVIL, EVIL, 1, 1, 0.5, None, None)
    limit = FairnessLimit(EVIL, 0.1, 0.2, True, False, EVIL)
    evil = replace(
        NEWEST,
        metric=EVIL,
        reasons=(EVIL,),
        run_id=EVIL,
        model_digest=EVIL,
        window=EVIL,
        git_revision=EVIL,
        guardrails=(Guardrail(EVIL, 0.1, 0.2, True),),
        versions={EVIL: 1},
        slices={EVIL: {"rows": 3.0}},
        slice_gains=(SliceGain(EVIL, 3, 0.1, 0.0, 0.2, 0.1, 0.9), SliceGain(EVIL, 3, None, None, None, 0.1, 0.9)),
        leaks_allowed={EVIL: EVIL},
        latency_ms={EVIL: 1.0},
        calibration={EVIL: NEWEST.calibration["champion"]},
        flips=Flips((Flip(EVIL, EVIL, EVIL, EVIL, {EVIL: EVIL}),), (), 0.1, 0.0),
        fairness=(ColumnFairness(EVIL, (group,), {}, (limit,)),),
    )
    history = [entry(1, 1, EVIL, 1, reason=EVIL, by=EVIL)]
    contract = PAYMENTS.model_copy(update={"question": EVIL, "owner": EVIL})

    page = page_of([evil], history, contract)
    found = Reader(page)

    assert "<script" not in page
    assert "<img" not in page
    assert found.text.count("<script>") > 20
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]


def test_numbers_on_the_page_are_those_of_the_documents():
    found = Reader(page_of([NEWEST, FIRST], HISTORY, PAYMENTS)).values

    for one in (NEWEST, FIRST):
        assert {one.gain, one.interval.low, one.interval.high} <= set(found)
    assert {0.01, -0.2, -0.3, -0.1, 0.9, 0.1234, 12.5, 0.0125, 0.25, 0.16, 0.36, 46_664} <= set(found)


def test_a_decision_is_told_in_words_and_shape_not_in_colour_alone():
    said = part(page_of([NEWEST, FIRST], HISTORY, PAYMENTS), "The last verdicts")

    assert "KEEP version 2 against champion version 1" in said
    assert "PROMOTE version 1 against the dummy" in said
    page = page_of([NEWEST, FIRST], HISTORY, PAYMENTS)
    assert 'aria-label="KEEP: gain -0.004, -0.0123 to +0.0045"' in page


def test_marks_lie_where_their_values_are():
    page = page_of([NEWEST], [], PAYMENTS)
    verdicts = page[page.index("<h2>The last verdicts") : page.index("<h2>The newest verdict")]

    scale = Scale.around([0.0, NEWEST.interval.low, NEWEST.interval.high, 0.01])
    zero, worth = (re.search(rf'<line class="{name}" x1="([\d.]+)%"', verdicts)[1] for name in ("zero", "worth"))
    mark = re.search(r'<svg x="([\d.]+)%" y="50%" class="keep "', verdicts)[1]

    assert [f"{place}%" for place in (mark, zero, worth)] == [scale.at(value) for value in (-0.004, 0.0, 0.01)]
    assert float(mark) < float(zero) < float(worth)


def test_gains_over_the_dummy_have_an_axis_of_their_own():
    said = part(page_of([NEWEST, FIRST], HISTORY, PAYMENTS), "The last verdicts")

    assert said.index("average_precision against the champion") < said.index("average_precision against the dummy")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "worthwhile from 0.01"),
        ({"against": "dummy"}, "any gain is enough"),
        ({"mode": "decay"}, "not being worse is enough"),
        ({"mode": "decay", "allowed_loss": 0.004}, "not being worse is enough, by 0.004 at most"),
    ],
)
def test_what_a_gain_had_to_be_is_told(changes, told):
    assert told in part(page_of([replace(NEWEST, **changes)], [], PAYMENTS), "The last verdicts")


def test_a_first_verdict_has_nothing_to_flip_and_a_contract_may_name_no_groups():
    page = page_of([FIRST], [], PAYMENTS)

    assert "Nobody held the title, so nothing flips." in part(page, "What a promotion flips")
    assert "The contract names no protected columns." in part(page, "Fairness")
    # As of a release that recorded none.
    assert "Not recorded with this verdict." in part(page, "Calibration")
    assert "ot recorded" not in part(page_of([NEWEST], [], PAYMENTS), "Calibration")


def test_slices_and_guardrails_that_do_not_hold_say_so():
    page = page_of([NEWEST], [], PAYMENTS)

    assert "category=fuel does not hold 4,466 rows" in part(page, "Slices")
    assert "Too small to tell: category=health (3 rows)" in part(page, "Slices")
    assert "NO slice category=fuel 0.2 0.1" in part(page, "The newest verdict")


def test_flips_show_both_ways_with_examples():
    said = part(page_of([NEWEST], [], PAYMENTS), "What a promotion flips")

    assert "Right to wrong: 1.25% of the decisions" in said
    assert "p1 1 0.9 0.1234 12.5 fuel" in said
    assert said.endswith("Wrong to right: 0.00% of the decisions None.")


def test_the_timeline_tells_who_by_whom_and_why_newest_first():
    said = part(page_of([], HISTORY, PAYMENTS, now=datetime(2026, 5, 15, tzinfo=UTC)), "Champions")

    order = [
        "version 1 rolled back",
        "3 days so far, by fraud desk",
        "alerts doubled",
        "version 2 promoted",
        "1 crowned",
    ]
    assert [said.index(text) for text in order] == sorted(said.index(text) for text in order)


def test_a_title_that_was_taken_this_moment_is_drawn():
    assert "version 1" in part(page_of([], HISTORY[:1], PAYMENTS), "Champions")


def test_of_very_many_changes_the_newest_are_drawn():
    history = [entry(seq, 1 + seq % 28, "promoted", seq) for seq in range(1, 101)]
    history.sort(key=lambda one: one.at)

    page = page_of([], history, PAYMENTS)

    assert page.count('class="note soft"') == 40
    assert "60 earlier changes are in the ledger" in page


def test_before_any_title_the_page_says_so():
    said = Reader(page_of([], [], PAYMENTS)).text

    assert "Nobody has held the title of payments yet" in said
    assert "No challenger has been judged yet" in said


def test_the_champion_is_told_with_family_and_training_where_known():
    champion = ModelVersion("payments", 1, "r", "m", "d", datetime.fromisoformat("2026-03-13T23:45"), family="boosting")
    known = Reader(page_of([NEWEST], HISTORY, PAYMENTS, champion=champion)).text
    unknown = Reader(page_of([NEWEST], HISTORY, PAYMENTS)).text

    assert "family boosting trained until 2026-03-13 23:45" in known
    assert "family not recorded trained until not recorded" in unknown


def test_residuals_are_drawn_for_regression():
    bikes = Contract.of("bikes", Path(__file__).parents[3] / "data")
    said = part(page_of([NEWEST], [], bikes), "Calibration")

    assert "Outcome minus prediction" in said
    assert "median residual" in said
    assert "Error grows: 1.25% of the rows" in part(page_of([NEWEST], [], bikes), "What a promotion flips")


@pytest.mark.parametrize(
    "scale",
    [
        Scale(0.0, 1.0),
        Scale(-0.0123, 0.0007),
        Scale(-5e-9, 5e-9),
        Scale(0, 40_000),
        Scale(1e-4, 0.9, True),
        Scale(0.02, 0.9, True),
    ],
)
def test_an_axis_has_a_few_round_values_within_its_ends(scale):
    ticks = scale.ticks()

    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(ticks)
    assert all(scale.low <= tick <= scale.high for tick in ticks)
    assert all(0 <= scale.share(tick) <= 1 for tick in ticks)


def test_equal_values_still_have_a_scale():
    assert Scale.around([0.0, 0.0]).share(0.0) == pytest.approx(0.5)


def test_verdicts_come_newest_first_with_their_run_and_at_most_so_many(tmp_path):
    settings = Settings(home=tmp_path)
    for version in (1, 2, 3):
        at = datetime(2026, 5, version, tzinfo=UTC)
        ledger.record_verdict(settings, "payments", replace(NEWEST, challenger=version, run_id=f"run{version}", at=at))
    ledger.record_verdict(settings, "flights", replace(NEWEST, challenger=9))

    found = ledger.verdicts(settings, "payments", newest=2)

    assert [(one.challenger, one.run_id) for one in found] == [(3, "run3"), (2, "run2")]
    assert found[0].at > found[1].at
    assert len(ledger.verdicts(settings, "payments")) == 3
    assert ledger.verdicts(settings, "bikes") == []


def test_the_page_of_a_batch_has_the_same_look_and_escapes_too():
    counted = Ingested(1, 2, 3, 2, 1, 1, 1, reasons={EVIL: 1}, unread={EVIL: EVIL}, notes=(EVIL,))

    page = batch_page("payments", counted, [], refusal=EVIL)

    assert "<script" not in page
    assert "Content-Security-Policy" in page
    assert Reader(page).text.count("<script>") == 5
