"""The page of a replay: its figures are those of the replay, and its words say what the figures bear and no more."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape

import numpy as np
import pytest

from contender.replay.replay_charts import costs_over_time
from contender.replay.replay_page import page_of
from contender.replay.replay_results import Alarm, Course, Period, Replay, Retrained
from contender.values import Interval
from tests.contender.reports.test_title_page import EVIL, Reader, part

DAYS = 14
START = date(2025, 3, 1)
RETRAIN = 150.0


def period(place, version=1, quality=0.8, cost=1_000.0, **more):
    start = START + timedelta(days=DAYS * place)
    ends = None if quality is None else Interval(quality - 0.02, quality + 0.02)
    return Period(start, start + timedelta(days=DAYS), 1_500, 1_400, version, quality, ends, 0.77, cost, **more)


def retrained(place, version=2, decision="PROMOTE"):
    day = START + timedelta(days=DAYS * (place + 1))
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Retrained(at, "on schedule", decision, "the gain is beyond luck", version, 0.0613, Interval(0.0521, 0.0734))


def course(policy, periods, quality=0.8, *, saved=None, ends=None, **changes):
    costs = [one.cost for one in periods]
    found = Course(
        policy,
        tuple(periods),
        quality,
        None if quality is None else Interval(quality - 0.0101, quality + 0.0102),
        None if None in costs else sum(costs),
        RETRAIN * sum(one.retrained is not None for one in periods),
        83.0,
        saved,
        ends and Interval(*ends),
    )
    return replace(found, **changes)


def stays(policy="never", n=6, **changes):
    return course(policy, [period(place) for place in range(n)], **changes)


def learns(policy="contender", n=6, at=2, cost=400.0, quality=0.86, **changes):
    """A policy that promotes version 2 at the end of a period."""
    periods = [period(place) for place in range(at)]
    periods.append(period(at, retrained=retrained(at)))
    periods += [period(place, 2, quality, cost) for place in range(at + 1, n)]
    return course(policy, periods, **changes)


def replay(*courses, **changes):
    found = Replay(
        "payments",
        "Will it be charged back?",
        "average_precision",
        False,
        "EUR",
        date(2025, 1, 1),
        date(2025, 6, 1),
        START,
        DAYS,
        courses,
        42,
        datetime(2026, 7, 1, 9, 30, tzinfo=UTC),
        "price_inflation",
        date(2025, 4, 1),
        ("a note of the replay",),
    )
    return replace(found, **changes)


WINS = replay(stays(quality=0.8, saved=1_650.0, ends=(1_200.5, 2_100.25)), learns(quality=0.83))
LOSES = replay(stays(quality=0.8, saved=-950.0, ends=(-1_300.0, -600.0)), learns(cost=1_266.66, quality=0.79))
EVEN = replay(stays(quality=0.8, saved=-50.0, ends=(-400.0, 300.0)), learns(cost=966.66, quality=0.801))
PRICELESS = replay(
    course("schedule", [period(place, cost=None) for place in range(4)], 0.85),
    course("contender", [period(place, cost=None) for place in range(4)], 0.8),
    currency="",
)
UNKNOWN = replay(
    *(
        course(name, [period(place, quality=None, cost=None) for place in range(3)], None)
        for name in ("never", "contender")
    ),
    currency="",
)


def answer(found):
    return part(page_of(found), "The answer")


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(WINS, id="ours is the best"),
        pytest.param(LOSES, id="ours is not the best"),
        pytest.param(replay(learns()), id="one policy"),
        pytest.param(PRICELESS, id="no costs"),
        pytest.param(UNKNOWN, id="no outcomes"),
        pytest.param(replay(), id="no policy"),
        pytest.param(replay(course("never", [], None)), id="no period"),
        pytest.param(replay(stays(), stays("drift"), scenario="none", injected=None), id="without ours"),
        pytest.param(replace(WINS, lower_is_better=True), id="lower is better"),
    ],
)
def test_the_page_is_well_formed_and_loads_nothing(found):
    page = page_of(found)
    read = Reader(page)

    assert not {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe", "object", "use", "form", "a"}
    assert not [name for _, attributes in read.tags for name in attributes if name in ("src", "href", "onclick")]
    assert "url(" not in page
    assert "nan" not in re.findall(r"\w+", read.text.lower())
    assert "None" not in read.text
    for svg in (attributes for tag, attributes in read.tags if attributes.get("role") == "img"):
        assert svg["aria-label"]


def test_everything_is_escaped():
    alarm = Alarm(START, EVIL, EVIL, EVIL)
    trained = replace(retrained(0), why=EVIL, reason=EVIL, decision=EVIL)
    periods = [period(0, alarms=(alarm,), retrained=trained, held_out=EVIL, refused=EVIL), period(1)]
    page = page_of(
        replay(
            course(EVIL, periods),
            stays("contender", 2),
            use_case=EVIL,
            question=EVIL,
            metric=EVIL,
            currency=EVIL,
            scenario=EVIL,
            notes=(EVIL,),
        )
    )

    read = Reader(page)

    assert not {tag for tag, _ in read.tags} & {"script", "img"}
    assert EVIL.split("<script>")[1].split("<")[0] in read.text


def test_figures_on_the_page_equal_those_of_the_replay():
    shown = set(Reader(page_of(WINS)).values)

    for one in WINS.courses:
        assert {one.quality, one.interval.low, one.interval.high, one.mistakes_cost, one.cost, one.seconds} <= shown
        assert {one.retrain_cost, one.retrains, one.promotions} <= shown
        assert {value for at in one.periods for value in (at.quality, at.interval.low, at.interval.high)} <= shown
        assert {value for at in one.periods for value in (at.rows, at.outcomes, at.estimated, at.cost)} <= shown
    never = WINS.courses[0]
    assert {never.saved, never.saved_interval.low, never.saved_interval.high, WINS.seed, WINS.every_days} <= shown
    assert {0.0613, 0.0521, 0.0734} <= shown


def test_the_chart_holds_every_policys_quality_by_period():
    page = page_of(WINS)

    found = [json.loads(unescape(text)) for text in re.findall(r'data-figures="([^"]*)"', page)]

    assert found == [
        [
            [one.policy, at.version, at.quality, [at.interval.low, at.interval.high]]
            for one in WINS.courses
            for at in [one.periods[place]]
        ]
        for place in range(6)
    ]


def test_better_beyond_luck_is_said_with_the_lead_and_its_interval():
    told = plain(answer(WINS))

    assert "contender was the cheapest policy with 4,350 EUR: 1,650 EUR (90 % interval 1,200 to 2,100) less" in told
    assert "Most of it came from 2025-04-12 to 2025-05-23" in told
    assert "the first champion, so that by these figures this promotion paid." in told


def plain(text):
    """Without the blanks that stand where tags did."""
    return re.sub(r"\s+([.,:;)])", r"\1", text).replace("( ", "(")


def test_a_policy_that_ours_did_not_beat_is_named_with_the_loss_its_interval_and_where_it_comes_from():
    told = plain(answer(LOSES))

    assert (
        "never was the cheapest policy with 6,000 EUR, not contender, which cost 950 EUR (90 % interval 600 to " in told
    )
    assert "1,300) more." in told
    assert "the mistakes of contender cost 800 EUR more and its retrains 150 EUR more (1 retrain, 1 promotion, " in told
    assert "against 0 retrains, 0 promotions)" in told
    assert "Most of it came from 2025-04-12 to 2025-05-23" in told
    assert "by these figures this promotion cost more than it gained" in told


def test_of_a_promotion_nothing_is_said_where_the_other_policy_promoted_as_well():
    told = plain(answer(replay(learns("drift", cost=300.0, saved=-300.0, ends=(-500.0, -100.0)), learns())))

    assert "with its version 2, cost 300 EUR more than those of drift, with its version 2." in told
    assert "this promotion" not in told


def test_a_difference_within_luck_is_said_to_be_none_whoever_leads():
    behind, ahead = (
        plain(answer(EVEN)),
        plain(answer(replay(stays(saved=50.0, ends=(-300.0, 400.0)), learns(cost=933.33)))),
    )

    assert (
        "never came out cheapest with 6,000 EUR, not contender, which cost 50 EUR (90 % interval -300 to 400)" in behind
    )
    assert "no difference beyond luck" in behind
    assert "contender came out cheapest" in ahead
    assert "no difference beyond luck was found between it and never, which cost 50 EUR (90 % interval -300" in ahead
    for told in (behind, ahead):
        assert "was the cheapest" not in told


def test_numbers_of_numpy_are_taken_for_what_they_are():
    ends = (np.float64(-400.0), np.float64(300.0))
    found = replay(stays(saved=np.float64(-50.0), ends=ends), learns(cost=966.66))

    assert "no difference beyond luck" in answer(found)
    assert {-50.0, -400.0, 300.0} <= set(Reader(page_of(found)).values)


def test_the_same_cost_is_no_win():
    told = plain(answer(replay(stays(saved=0.0, ends=(0.0, 0.0)), stays("contender"))))

    assert "No policy was cheaper than contender, but never cost the same: 6,000 EUR." in told


def test_every_other_policy_is_told_of_by_what_its_own_interval_says():
    found = replay(
        stays("never", saved=1_650.0, ends=(1_200.0, 2_100.0)),
        stays("drift", saved=1_650.0, ends=(-10.0, 2_100.0)),
        learns("schedule", cost=300.0, saved=-300.0, ends=(-500.0, -100.0)),
        learns(),
    )

    told = plain(answer(found))

    assert "schedule was the cheapest policy" in told
    assert (
        "contender was cheaper beyond luck than never by 1,650 EUR and showed no difference beyond luck from drift."
        in told
    )


def test_a_single_policy_is_compared_with_nothing():
    page = page_of(replay(learns()))

    assert "nothing to compare it with" in answer(replay(learns()))
    assert "contender saved" not in part(page, "The policies")
    assert "less those of never" not in page


def test_without_costs_quality_decides_and_no_money_is_shown():
    told, page = plain(answer(PRICELESS)), page_of(PRICELESS)

    assert "By average_precision (higher is better), schedule was the best with 0.85" in told
    assert "not contender with 0.8" in told
    assert "0.05 worse. Their intervals do not overlap, so that this is more than luck." in told
    assert "schedule was better in 0 periods, contender in 0, and they were equal in 4." in told
    assert "Cost over time" not in page
    assert "EUR" not in page
    assert "cost" not in part(page, "The policies")


def test_intervals_that_overlap_show_no_difference():
    close = replay(
        *(replace(one, quality=one.quality - 0.04 * (place == 0)) for place, one in enumerate(PRICELESS.courses))
    )
    narrow = [replace(one, interval=Interval(one.quality - 0.0101, one.quality + 0.0102)) for one in close.courses]

    assert "overlap, so that this shows no difference beyond luck" in answer(replace(close, courses=tuple(narrow)))


def test_what_is_not_known_is_said_to_be_not_known_and_never_zero():
    page = page_of(UNKNOWN)
    mixed = replay(stays(), course("contender", [period(0), period(1, None, None, None)], None, mistakes_cost=None))

    assert "the policies cannot be compared" in answer(UNKNOWN)
    assert "Not known yet" in part(page, "Quality over time")
    assert part(page, "The policies").count("not known") == 2
    assert part(page_of(mixed), "The policies").count("not known") == 4
    assert "nobody" in part(page_of(mixed), "Alarms, verdicts and periods")
    assert ' "contender", null, null, null]'.replace(" ", "") in unescape(page_of(mixed)).replace(" ", "")


def test_where_lower_is_better_the_lowest_wins_and_the_page_says_so():
    found = replace(PRICELESS, metric="log_loss", lower_is_better=True)

    told = plain(answer(found))

    assert "By log_loss (lower is better), contender was the best with 0.8" in told
    assert "↓ lower is better" in part(page_of(found), "Quality over time")
    assert "higher" not in Reader(page_of(found)).text


def test_costs_add_up_to_the_end_of_each_period_less_those_of_never():
    never, ours = WINS.courses

    alone, against = costs_over_time(WINS, None), costs_over_time(WINS, never)

    assert [*alone["contender"].values()] == [0.0, 1_000.0, 2_000.0, 3_150.0, 3_550.0, 3_950.0, 4_350.0]
    assert alone["contender"][ours.periods[-1].end] == ours.cost
    assert [*against["contender"].values()] == [0.0, 0.0, 0.0, 150.0, -450.0, -1_050.0, -1_650.0]
    assert against["contender"][ours.periods[-1].end] == -never.saved
    assert set(against["never"].values()) == {0.0}


def test_a_period_whose_cost_is_not_known_has_no_place_on_the_line():
    found = replay(course("contender", [period(0), period(1, cost=None), period(2)]))

    assert [*costs_over_time(found, None)["contender"].values()] == [0.0, 1_000.0, 2_000.0]


def test_policies_that_coincide_are_told_of_in_the_legend():
    page = page_of(replay(stays(), stays("drift"), learns()))

    assert "drift (the same as never all along)" in part(page, "Quality over time")


def test_strips_tell_who_held_the_title_what_was_trained_and_what_was_held_out():
    alarm = Alarm(START, "broken feed", "The feed looks broken.", "hold out")
    periods = [
        period(0, alarms=(alarm,), held_out="distance is missing"),
        period(1, retrained=retrained(1)),
        period(2, 2),
    ]
    page = page_of(replay(course("contender", periods)))

    labels = {
        attributes["data-lane"]: attributes["aria-label"]
        for tag, attributes in Reader(page).tags
        if "data-lane" in attributes
    }

    assert labels == {
        "title": "contender, title: version 1 from 2025-03-01 to 2025-03-28; version 2 from 2025-03-29 to 2025-04-11",
        "retrains": "contender, retrains: 2025-03-29 PROMOTE",
        "alarms": "contender, alarms: 2025-03-01 broken feed",
        "held out": "contender, held out: 2025-03-01 to 2025-03-14",
    }
    told = part(page, "Alarms, verdicts and periods")
    assert "The feed looks broken." in told
    assert "Trained because: on schedule" in told
    assert "distance is missing" in told


def test_what_was_replayed_is_said_at_the_head_and_how_at_the_end():
    read = plain(Reader(page_of(WINS)).text)

    assert "The history from 2025-01-01 to 2025-05-31, played again in periods of 14 days under 2 policies" in read
    assert "crowned on 2025-03-01. The scenario price_inflation was injected from 2025-04-01 on." in read
    assert read.endswith("a note of the replay Seed 42; made at 2026-07-01 09:30 UTC.")
    assert "Nothing was injected" in Reader(page_of(replace(WINS, scenario="none", injected=None))).text
