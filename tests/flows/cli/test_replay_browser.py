"""The page of a replay in a real browser, without a network: nothing fails or overflows, and points lie where they should."""

from datetime import date, timedelta

import pytest

from contender.replay.replay_page import page_of
from contender.replay.replay_results import Alarm
from tests.contender.replay.test_replay_page import START, course, period, replay, retrained
from tests.flows.browser import measure

pytestmark = pytest.mark.slow

POLICIES = ("never", "schedule", "drift", "a_policy_with_a_rather_long_name", "contender")
PERIODS = 26

# The page itself may run no script: a frame around it looks at it from outside.
MEASURING = """<!doctype html><body style="margin:0"><iframe id="page" src="replay.html" style="border:0;width:{width}px;
height:900px"></iframe><pre id="found"></pre><script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, root = page.documentElement;
  [...page.querySelectorAll("details")].forEach((one) => {{ one.open = true; }});
  const box = (one) => {{ const b = one.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; }};
  const all = (where, from) => [...(from || page).querySelectorAll(where)];
  const chart = page.querySelector(".chart");
  document.getElementById("found").textContent = JSON.stringify({{
    wide: root.scrollWidth, inner: root.clientWidth, title: page.title,
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map((one) => one.name),
    outside: all("main *").filter((one) => {{ const b = one.getBoundingClientRect();
      return b.width && !one.closest(".scroll") && !one.closest("svg") && b.right > root.clientWidth + 1; }}).length,
    ticks: all(".ups span", chart).map((one) => [Number(one.textContent), box(one)]),
    points: all("circle.point", chart).map(box),
    field: box(chart.querySelector("svg.field")),
    injected: all("[data-injected]", chart).map(box),
    lanes: all("[data-lane]").map((one) => [one.dataset.lane, box(one)]),
    titles: all("[data-lane=title]").map((one) => all("[data-version]", one).map(
      (run) => [run.dataset.version, box(run.querySelector("rect"))])),
    texts: all("svg[data-lane]").map((one) => all("text", one).map(box)),
    headings: all("h2").map((one) => one.textContent),
    values: all("data").map((one) => [Number(one.value), one.textContent]),
    smallest: Math.min(...all("p, td, li, dd, dt, .name, .dates span").map(
      (one) => parseFloat(page.defaultView.getComputedStyle(one).fontSize))),
  }});
}});
</script>"""


def played(policy, change):
    """A policy under which version 2 takes the title at the end of a period, or none does."""
    periods = []
    for place in range(PERIODS):
        version, fallen = (2, 0.0) if change is not None and place > change else (1, 0.1 * (place >= 10))
        more = {}
        if place in (3, 11):
            day = START + timedelta(days=14 * place + 9)
            more["alarms"] = (Alarm(day, "decay", f"The champion decays, by {'x' * 200}.", "retrain"),)
        if place == change:
            more["retrained"] = retrained(place)
        if place == 8 and policy == "contender":
            more |= {"held_out": "a broken feed", "refused": "in the cool-down"}
        quality = 0.8 + 0.02 * ((7 * place) % 5 - 2) / 2 - fallen
        last = place == PERIODS - 1
        periods.append(period(place, version, None if last else quality, 2_000.0 + 20_000 * fallen, **more))
    return course(policy, periods, saved=None if policy == "contender" else 40.5, ends=(-1_000.0, 1_100.0))


REPLAY = replay(
    *(played(policy, change) for policy, change in zip(POLICIES, (None, 11, 12, 15, 12), strict=True)),
    scenario="a_scenario_with_a_rather_long_name",
    injected=START + timedelta(days=140),
    last=date(2026, 2, 28),
)


@pytest.fixture(scope="module", params=[1280, 400], ids=["wide", "phone"])
def looked_at(request, tmp_path_factory):
    """What a browser makes of the page at this width, and what it complains of."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "replay.html").write_text(page_of(REPLAY), encoding="utf-8")
    return measure(folder, MEASURING.format(width=request.param))


def test_the_browser_has_nothing_to_complain_of_and_the_page_fits(looked_at):
    found, complaints = looked_at

    assert complaints == []
    assert found["loaded"] == []
    assert found["title"] == "payments: a replay of 5 policies"
    assert found["headings"][:3] == ["The answer", "The policies", "Quality over time: average_precision"]
    assert found["wide"] <= found["inner"]
    assert found["outside"] == 0
    assert found["smallest"] >= 12


def test_points_lie_where_the_axis_says_and_none_stands_for_what_is_not_known(looked_at):
    found, _ = looked_at
    (low, first), *_, (high, last) = found["ticks"]
    known = [one.quality for course in REPLAY.courses for one in course.periods if one.quality is not None]

    each = (middle(last, 2) - middle(first, 2)) / (high - low)
    assert len(known) == len(found["points"]) == 5 * (PERIODS - 1)
    for quality, point in zip(known, found["points"], strict=True):
        assert middle(point, 2) == pytest.approx(middle(first, 2) + (quality - low) * each, abs=1.5)


def test_no_point_hides_that_of_another_policy(looked_at):
    found, _ = looked_at
    for place in range(PERIODS - 1):
        inside = [found["points"][policy * (PERIODS - 1) + place] for policy in range(5)]
        assert len({round(middle(one, 0), 1) for one in inside}) == 5


def test_strips_lie_below_each_other_on_one_axis_of_time(looked_at):
    found, _ = looked_at
    left, right = found["lanes"][0][1][:2]

    assert [name for name, _ in found["lanes"]] == ["title", "retrains", "alarms", "held out"] * 5
    for _, box in found["lanes"]:
        assert box[:2] == pytest.approx([left, right], abs=0.5)
    for change, runs in zip((None, 11, 12, 15, 12), found["titles"], strict=True):
        cuts = [0, PERIODS] if change is None else [0, change + 1, PERIODS]
        assert [version for version, _ in runs] == ["1", "2"][: len(cuts) - 1]
        for (_, box), start, end in zip(runs, cuts, cuts[1:], strict=False):
            each = (right - left) / PERIODS
            assert box[:2] == pytest.approx([left + start * each, left + end * each], abs=1)


def test_the_injected_day_is_marked_where_it_lies(looked_at):
    found, _ = looked_at
    left, right = found["field"][:2]

    assert middle(found["injected"][0], 0) == pytest.approx(left + (right - left) * 10 / PERIODS, abs=1)


def test_numbers_are_shown_as_what_they_are(looked_at):
    found, _ = looked_at
    for value, text in found["values"]:
        assert float(text.replace(",", "")) == pytest.approx(value, abs=0.5 if abs(value) >= 100 else 0.005)


def middle(box, side):
    return (box[side] + box[side + 1]) / 2
