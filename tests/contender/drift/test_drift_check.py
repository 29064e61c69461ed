from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.spatial import distance as scipy_distance

from contender.contracts.loop_sections import Drift
from contender.drift.baseline import DAY, Ordinary, Side, Watched, ordinary_scores, window_starts
from contender.drift.distances import distance, jensen_shannon, stability_index, wasserstein
from contender.drift.drift_check import Comparison, DriftCheck, conclude
from contender.drift.significance import compare

START = date(2026, 1, 5)
TRAINING_DAYS, WINDOWS = 84, 30
COLUMNS = tuple(
    Watched("features", name, kind)
    for name, kind in (("normal", "number"), ("skewed", "number"), ("count", "number"), ("colour", "category"))
)
COLOURS = np.array(["red", "green", "blue", "black", "white"], dtype=object)
RULES = Drift()


class World:
    """Days of rows without drift, as hard as one likes: weekdays differ, days resemble each other, rows come in groups.

    `weekly` is how much a column's mean moves from the quietest to the loudest weekday, `daily` the deviation of
    days with an autocorrelation of 0.5, `groups` how many rows share most of their values; all in standard deviations.
    """

    def __init__(self, seed, rows, *, weekly=0.0, daily=0.0, groups=1):
        self.random, self.rows, self.weekly, self.daily, self.groups = (
            np.random.default_rng(seed),
            rows,
            weekly,
            daily,
            groups,
        )
        self.state = 0.0

    def day(self, day: date, *, shift=0.0, inflation=1.0, black=0.0, missing=0.02) -> pd.DataFrame:
        self.state = 0.5 * self.state + self.random.normal(0, self.daily * np.sqrt(0.75))
        level = self.state + self.weekly * (day.weekday() / 6 - 0.5)
        one = self.random.normal(size=-(-self.rows // self.groups))
        base = np.repeat(one, self.groups)[: self.rows]
        if self.groups > 1:
            base = 0.8 * base + 0.6 * self.random.normal(size=self.rows)
        noise = self.random.normal(size=(2, self.rows))
        shares = np.array([0.4, 0.3, 0.2, 0.1, 0.0]) * (1 - black) + np.array([0, 0, 0, 0, black])
        frame = pd.DataFrame(
            {
                "normal": base + level + shift,
                "skewed": np.exp(0.5 * base + 0.8 * noise[0] + 0.5 * level) * 40 * inflation,
                "count": self.random.poisson(np.exp(0.3 * noise[1] + 0.3 * level)).astype(float),
                "colour": self.random.choice(COLOURS, self.rows, p=shares),
                DAY: day,
            }
        )
        frame.loc[self.random.random(self.rows) < missing, "normal"] = np.nan
        return frame


def side(frames) -> Side:
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    missing = {column.name: int(frame[column.name].isna().sum()) for column in COLUMNS}
    return Side(frame[DAY].min(), frame[DAY].max() + timedelta(days=1), frame, len(frame), missing)


def trained(world, rules=RULES) -> tuple[Side, dict[str, Ordinary]]:
    days = [world.day(START + timedelta(days=number)) for number in range(TRAINING_DAYS)]
    length = rules.window.days
    starts = window_starts(0, TRAINING_DAYS, length)
    windows = (side(days[start : start + length]) for start in starts)
    share = min(1.0, rules.reference_rows / (world.rows * TRAINING_DAYS))
    drawn = [frame[world.random.random(len(frame)) < share] for frame in days]
    reference = side(drawn)
    return reference, ordinary_scores(windows, reference, COLUMNS, rules, seed=1)


def checked(reference, ordinary, frames, rules=RULES, counterpart=None) -> DriftCheck:
    current = side(frames)
    one = Comparison("features", COLUMNS, current, reference, ordinary)
    return DriftCheck(
        "orders",
        1,
        current.start,
        current.end,
        reference.start,
        reference.end,
        datetime(2026, 6, 1, tzinfo=UTC),
        compare([one], rules, lambda *_: counterpart),
    )


def watch(world, windows, rules=RULES, **change) -> list[DriftCheck]:
    """Checks of the windows after the training, each concluded with those before it."""
    reference, ordinary = trained(world, rules)
    done: list[DriftCheck] = []
    day = START + timedelta(days=TRAINING_DAYS)
    for _ in range(windows):
        frames = [world.day(day + timedelta(days=number), **change) for number in range(rules.window.days)]
        done.append(conclude(checked(reference, ordinary, frames, rules), done, rules))
        day += rules.window
    return done


def one(name, columns):
    return next(column for column in columns if column.column == name)


def test_distances_are_the_known_ones():
    random = np.random.default_rng(1)
    first, second = random.normal(size=3000), random.normal(0.4, 1.2, 700)
    assert wasserstein(first, second) == pytest.approx(stats.wasserstein_distance(first, second) / first.std())
    for made in (
        lambda rows: random.integers(0, 5, rows).astype(float),
        lambda rows: 1.7e9 + 1e4 * random.normal(size=rows),
        lambda rows: np.exp(5 * random.normal(size=rows)),
    ):
        for rows, others in ((200, 3), (3, 200), (150, 150), (2, 1), (1, 2)):
            one, other = made(rows), made(others)
            known = stats.wasserstein_distance(one, other) / max(one.std(), 0.001)
            assert wasserstein(one, other) == pytest.approx(known, rel=1e-6, abs=1e-6)
    shares, others = random.dirichlet(np.ones(8)), random.dirichlet(np.ones(8))
    assert jensen_shannon(shares, others) == pytest.approx(scipy_distance.jensenshannon(shares, others))
    assert stability_index(shares, others) == pytest.approx(float(((shares - others) * np.log(shares / others)).sum()))


def test_a_distance_of_a_moved_column_is_what_its_unit_says():
    values = np.random.default_rng(2).normal(size=20_000)
    assert distance("wasserstein", values, values + 0.5) == pytest.approx(0.5 / values.std())
    letters = np.array(["a"] * 9, dtype=object), np.array(["b"] * 5, dtype=object)
    assert distance("jensenshannon", *letters) == pytest.approx(np.sqrt(np.log(2)))


WORLDS = [
    pytest.param({"rows": 150}, id="few rows"),
    pytest.param({"rows": 800}, id="many rows"),
    pytest.param({"rows": 150, "weekly": 1.0}, id="few rows, and weekdays differ"),
    pytest.param({"rows": 800, "weekly": 1.0}, id="many rows, and weekdays differ"),
    pytest.param({"rows": 800, "daily": 0.3, "groups": 10}, id="days and rows resemble each other"),
    pytest.param({"rows": 400, "weekly": 0.6, "daily": 0.3, "groups": 20}, id="all at once"),
]


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_without_drift_there_is_at_most_one_alarm_in_30_windows(world):
    for seed in range(2):
        alarms = [check.sentence for check in watch(World(seed, **world), WINDOWS) if check.alarm]
        assert len(alarms) <= 1, alarms


@pytest.mark.slow
def test_without_drift_there_is_at_most_one_alarm_in_30_weeks():
    world = World(3, 150, weekly=0.6, daily=0.3, groups=20)
    alarms = [check.sentence for check in watch(world, WINDOWS, Drift(window="7 days")) if check.alarm]
    assert len(alarms) <= 1, alarms


SHIFTS = {
    "a mean moved by half a standard deviation": ({"shift": 0.5}, "normal"),
    "prices 30 % higher": ({"inflation": 1.3}, "skewed"),
    "a new category": ({"black": 0.08}, "colour"),
    "values get lost": ({"missing": 0.2}, "normal"),
}


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
def test_a_real_shift_alarms_within_the_windows_that_count(world):
    for seed in range(2):
        made = World(seed, **world)
        learnt, first = trained(made), START + timedelta(days=TRAINING_DAYS)
        for name, (change, column) in SHIFTS.items():
            if "daily" in world and column in ("normal", "skewed") and "missing" not in change:
                continue  # days that move by a third of a standard deviation by themselves hide half of one
            done: list[DriftCheck] = []
            for number in range(RULES.of_windows):
                frame = made.day(first + timedelta(days=number), **change)
                done.append(conclude(checked(*learnt, [frame]), done, RULES))
            assert any(column in check.alarming for check in done), (name, seed, [check.sentence for check in done])


def test_the_answer_does_not_jump_with_the_size_of_the_sample():
    """Half a standard deviation is told from 150 rows on, a twentieth never, however many rows there are."""
    for rows in (150, 999, 1001, 20_000):
        random = np.random.default_rng(rows)
        days = [START + timedelta(days=number) for number in range(40)]
        reference = side(
            [
                pd.DataFrame({"normal": random.normal(size=500), DAY: day}).assign(skewed=1.0, count=1.0, colour="red")
                for day in days
            ]
        )
        ordinary = ordinary_scores([], reference, COLUMNS, RULES, seed=1)
        for shift, drifted in ((0.5, True), (0.05, False)):
            frame = reference.frame.iloc[:1].sample(rows, replace=True).assign(normal=random.normal(shift, size=rows))
            found = one("normal", checked(reference, ordinary, [frame]).columns)
            assert found.drifted is drifted, (rows, shift, found.why)
            assert found.method == "wasserstein"
            assert found.limit == RULES.number_limit


@pytest.fixture(scope="module")
def world():
    made = World(5, 300)
    return made, *trained(made)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(lambda frame: frame.iloc[:0], "the window has 0 rows, needed are 100", id="an empty window"),
        pytest.param(lambda frame: frame.iloc[:1], "the window has 1 rows, needed are 100", id="a single row"),
        pytest.param(
            lambda frame: frame.drop(columns="normal"), "the window has no such column", id="a column is gone"
        ),
    ],
)
def test_on_too_little_nothing_is_told(world, change, why):
    made, reference, ordinary = world
    frame = change(made.day(START + timedelta(days=90)))
    missing = {column.name: int(frame[column.name].isna().sum()) for column in COLUMNS if column.name in frame}
    current = Side(START, START, frame, len(frame), missing)
    found = compare([Comparison("features", COLUMNS, current, reference, ordinary)], RULES)
    assert one("normal", found).drifted is None
    assert one("normal", found).why == why


def test_nothing_told_is_neither_a_pass_nor_an_alarm(world):
    made, reference, ordinary = world
    frame = made.day(START + timedelta(days=90)).iloc[:1]
    check = conclude(checked(reference, ordinary, [frame]), [], RULES)
    assert check.share_drifted is None
    assert not check.alarm
    assert "not enough to tell (the window has 1 rows, needed are 100)" in check.sentence


def test_a_constant_column_is_not_told_until_it_changes():
    days = [
        pd.DataFrame(
            {"normal": 7.0, "skewed": 1.0, "count": 1.0, "colour": "red", DAY: START + timedelta(days=n)},
            index=range(200),
        )
        for n in range(20)
    ]
    reference = side(days)
    ordinary = ordinary_scores((side([day]) for day in days), reference, COLUMNS, RULES, seed=1)
    same = one("normal", checked(reference, ordinary, days[:1]).columns)
    assert (same.drifted, same.why) == (None, "always 7.0, in the window and in the training")
    assert one("normal", checked(reference, ordinary, [days[0].assign(normal=8.0)]).columns).drifted


def test_a_column_that_lost_all_its_values_has_drifted_and_one_that_never_had_any_is_not_told(world):
    made, reference, ordinary = world
    frame = made.day(START + timedelta(days=90))
    lost = one("normal", checked(reference, ordinary, [frame.assign(normal=np.nan)]).columns)
    assert lost.drifted
    assert lost.missing_drifted
    assert lost.score is None
    assert "missing 100.0%" in lost.why
    empty = replace(
        reference, frame=reference.frame.assign(normal=np.nan), missing={**reference.missing, "normal": reference.rows}
    )
    scores = ordinary_scores([], empty, COLUMNS, RULES, seed=1)
    assert one("normal", checked(empty, scores, [frame.assign(normal=np.nan)]).columns).drifted is None


def test_infinite_values_count_as_missing_and_not_as_far_away(world):
    made, reference, ordinary = world
    frame = made.day(START + timedelta(days=90))
    frame.loc[:3, "skewed"] = np.inf
    found = one("skewed", checked(reference, ordinary, [frame]).columns)
    assert found.drifted is False
    assert np.isfinite(found.score)


def test_what_was_the_same_a_season_before_is_season_and_no_drift(world):
    made, reference, ordinary = world
    sale = made.day(START + timedelta(days=90), shift=1.0)
    assert one("normal", checked(reference, ordinary, [sale]).columns).drifted
    before = side([made.day(START + timedelta(days=30), shift=1.0)])
    found = one("normal", checked(reference, ordinary, [sale], counterpart=before).columns)
    assert found.drifted is False
    assert found.season
    assert "as a season before" in found.why
    usual = side([made.day(START + timedelta(days=30))])
    assert one("normal", checked(reference, ordinary, [sale], counterpart=usual).columns).drifted


@pytest.fixture(scope="module")
def checks(world):
    """Checks by day: `checks(day, drifts)`."""
    made, reference, ordinary = world

    def of(day, drifts, *, version=1, length=1):
        column = "normal" if drifts is True else drifts
        change = {"normal": {"shift": 1.0}, "skewed": {"inflation": 3.0}}.get(column, {})
        check = checked(reference, ordinary, [made.day(START + timedelta(days=90 + day), **change)])
        return replace(check, model_version=version, start=check.end - timedelta(days=length))

    return of


@pytest.mark.parametrize(
    ("earlier", "alarm"),
    [
        pytest.param([], False, id="once is not enough"),
        pytest.param([(9, True)], True, id="twice in a row"),
        pytest.param([(8, True), (9, False)], True, id="two of the last three"),
        pytest.param([(7, True), (8, False), (9, False)], False, id="the other is too long ago"),
        pytest.param([(10, True), (10, True)], False, id="the same window again is one window"),
        pytest.param([(9, "skewed")], False, id="another column had drifted"),
    ],
)
def test_an_alarm_needs_the_same_column_in_enough_windows(checks, earlier, alarm):
    assert conclude(checks(10, True), [checks(day, drifts) for day, drifts in earlier], RULES).alarm is alarm


def test_an_alarm_needs_the_latest_window(checks):
    assert not conclude(checks(10, False), [checks(8, True), checks(9, True)], RULES).alarm


def test_windows_of_another_champion_and_windows_that_overlap_do_not_count(checks):
    assert not conclude(checks(10, True), [checks(9, True, version=2)], RULES).alarm
    week = [checks(day, True, length=7) for day in (8, 9)]
    assert not conclude(checks(10, True, length=7), week, RULES).alarm
    assert conclude(checks(10, True, length=7), [*week, checks(3, True, length=7)], RULES).alarm


@pytest.mark.slow
def test_the_page_of_evidently_shows_the_very_numbers_of_the_check(world, tmp_path):
    from contender.drift.evidently_report import write_report

    made, reference, ordinary = world
    frame = made.day(START + timedelta(days=90), shift=0.5)
    for number, category in (("wasserstein", "jensenshannon"), ("jensenshannon", "psi"), ("psi", "psi")):
        rules = Drift(number_method=number, category_method=category)
        one_side = Comparison("features", COLUMNS, side([frame]), reference, ordinary)
        found = compare([one_side], rules)
        shown = write_report(tmp_path / "drift.html", [one_side], found)
        assert shown == pytest.approx({column.column: column.score for column in found})
        assert "skewed" in (tmp_path / "drift.html").read_text()


def test_no_page_is_written_of_nothing(world, tmp_path):
    from contender.drift.evidently_report import write_report

    made, reference, ordinary = world
    frame = made.day(START + timedelta(days=90)).iloc[:1]
    one_side = Comparison("features", COLUMNS, side([frame]), reference, ordinary)
    assert write_report(tmp_path / "drift.html", [one_side], compare([one_side], RULES)) == {}
    assert not (tmp_path / "drift.html").exists()


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"window": "36 hours"}, "expected whole days"),
        ({"violations": 4}, "expected no more"),
        ({"number_method": "ks"}, "wasserstein"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules, told):
    with pytest.raises(ValueError, match=told):
        Drift(**rules)


PAYMENTS = (Watched("features", "amount", "number"), Watched("features", "category", "category"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drift", "column"),
    [((), None), (("price_inflation",), "amount"), (("new_category",), "category")],
)
def test_what_the_simulator_changes_in_payments_alarms_and_nothing_else_does(drift, column):
    """Its prices rise over weeks, so that they are asked for by the end of the month."""
    from contender.replay.payments_simulator import Simulation, simulated_days

    def side_of(frames) -> Side:
        frame = pd.concat(frames, ignore_index=True)
        last = frame[DAY].max() + timedelta(days=1)
        return Side(frame[DAY].min(), last, frame, len(frame), {"amount": 0, "category": 0})

    simulation = Simulation(seed=7, payments=120_000, drift=drift, drift_from=90)
    days = [
        day.payments[["amount", "category"]].astype({"category": object}).assign(**{DAY: day.date})
        for day in simulated_days(simulation)
    ]
    reference = side_of([day.iloc[::4] for day in days[:80]])
    ordinary = ordinary_scores((side_of([day]) for day in days[:80]), reference, PAYMENTS, RULES, seed=1)
    done: list[DriftCheck] = []
    for day in days[90:]:
        now = side_of([day])
        found = compare([Comparison("features", PAYMENTS, now, reference, ordinary)], RULES)
        at = datetime(2026, 6, 1, tzinfo=UTC)
        check = DriftCheck("payments", 1, now.start, now.end, reference.start, reference.end, at, found)
        done.append(conclude(check, done, RULES))
    alarmed = {name for check in done for name in check.alarming}
    assert alarmed == ({column} if column else set())
