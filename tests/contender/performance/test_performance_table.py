import re
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from sklearn import metrics

from contender.lake import tables
from contender.performance import performance_table, quality_readings, sql_views
from contender.performance.daily_row import schema
from contender.retraining import diagnoses
from contender.retraining.diagnoses import Kept
from contender.retraining.triage import Diagnosis
from contender.values import BATCH, FILE, KEY, RECEIVED, ROW, TARGET, TIME, ModelVersion
from tasks import monitoring

pytestmark = pytest.mark.slow

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SCORES = (0.9, 0.7, 0.6, 0.4, 0.3, 0.1)
TRUTH = (1, 1, 0, 1, 0, 0)
MOMENT, NUMBER, WHOLE, TEXT = pa.timestamp("us", tz="UTC"), pa.float64(), pa.int32(), pa.string()
LANDED = ((FILE, TEXT), (ROW, pa.int64()), (BATCH, pa.int64()), (RECEIVED, MOMENT))


class Orders:
    """Tables of orders as the flows leave them: six orders a day, all received and scored at once."""

    def __init__(self, home, target=NUMBER, prediction=WHOLE):
        self.home, self.target, self.prediction = home, target, prediction
        self.batch = 0

    @property
    def settings(self):
        return self.home.settings

    def at(self, day, hour=0) -> datetime:
        return self.home.noon + day * DAY + hour * HOUR

    def date(self, day) -> date:
        return self.at(day).date()

    def append(self, table, rows, *columns, partition_by=None) -> None:
        """As Spark would write them, without the seconds that Spark takes for it."""
        schema = pa.schema(columns)
        arrow = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
        write_deltalake(tables.path_of(self.settings, "orders", table), arrow, mode="append", partition_by=partition_by)

    def record(self, *days, scores=SCORES, versions=(1,)) -> None:
        """Orders of these days, `0-0` to `0-5` for day 0, scored by these versions."""
        self.batch += 1
        keys = [(f"{day}-{n}", self.at(day), score) for day in days for n, score in enumerate(scores)]
        rows = [(key, at, "f", n, self.batch, at) for n, (key, at, _) in enumerate(keys)]
        self.append("records", rows, (KEY, TEXT), (TIME, MOMENT), *LANDED)
        for version in versions:
            self.score(version, [(key, at, score) for key, at, score in keys])

    def score(self, version, keys, at=None) -> None:
        self.batch += 1
        rows = [
            (
                key,
                time,
                float(score),
                self.predict(score),
                "CRITICAL" if score >= 0.5 else "NORMAL",
                version,
                "run",
                at or time,
                time.date(),
                0,
                self.batch,
            )
            for key, time, score in keys
        ]
        self.append(
            "predictions",
            rows,
            (KEY, TEXT),
            (TIME, MOMENT),
            ("score", NUMBER),
            ("prediction", self.prediction),
            ("band", TEXT),
            ("model_version", WHOLE),
            ("run_id", TEXT),
            ("scored_at", MOMENT),
            ("scored_date", pa.date32()),
            ("source_version", pa.int64()),
            (BATCH, pa.int64()),
            partition_by=["scored_date"],
        )

    def predict(self, score):
        return {WHOLE: int(score >= 0.5), TEXT: "a", NUMBER: float(score)}[self.prediction]

    def learn(self, outcomes, received) -> None:
        """Outcomes by key, as received at a time."""
        self.batch += 1
        rows = [
            (key, None if y is None else self.cast(y), "f", n, self.batch, received)
            for n, (key, y) in enumerate(outcomes)
        ]
        self.append("outcomes", rows, (KEY, TEXT), (TARGET, self.target), *LANDED)

    def cast(self, y):
        return str(y) if self.target == TEXT else float(y)

    def learn_all(self, *days, truth=TRUTH, after=2 * DAY) -> None:
        for day in days:
            self.learn([(f"{day}-{n}", y) for n, y in enumerate(truth)], self.at(day) + after)

    def update(self, day, **more) -> performance_table.Updated:
        return performance_table.update(self.settings, self.home.contract, self.at(day), **more)

    def days(self, updated) -> list[int]:
        return [(day - self.home.noon.date()).days for day in updated.days]

    def rows(self) -> dict:
        found = tables.read_small(self.settings, "orders", "performance").to_pylist()
        first = self.home.noon.date()
        return {((row["day"] - first).days, row["model_version"]): row for row in found}

    def row(self, day, version=1) -> dict:
        return self.rows()[day, version]

    def again(self, day, **more) -> dict:
        """All rows, computed from nothing."""
        kept = tables.read_small(self.settings, "orders", "performance")
        tables.replace_rows(self.settings, "orders", "performance", kept.slice(0, 0), note={})
        assert self.update(day, **more).whole
        return self.rows()


COUNTS = ("predictions", "outcomes", "mature", "mature_share", "quality", "quality_low", "quality_high")


def told(rows) -> dict:
    """What must not depend on the way there."""
    return {place: {name: row[name] for name in COUNTS} for place, row in rows.items()}


@pytest.fixture(scope="module")
def make_orders(make_home, spark):
    """Makes homes of orders; Spark is up by then."""

    def made(*changes, matures_after="3 days", extra="", **types):
        after = ('known_after = "2 days"', f'known_after = "2 days"\nmatures_after = "{matures_after}"')
        return Orders(make_home(after, *changes, extra=extra), **types)

    return made


def test_a_row_says_how_one_version_did_on_one_day(make_orders):
    orders = make_orders(extra="[costs]\nfalse_positive = 2\nfalse_negative = 50\n")
    orders.record(0, 1, 2, versions=(1, 2))
    orders.record(9)
    orders.learn_all(0)
    orders.learn([("1-0", 1), ("1-3", 0)], orders.at(3))
    updated = orders.update(10)

    assert (updated.rows, updated.whole) == (7, True)
    row = orders.row(0)
    assert row == orders.row(0, version=2) | {name: row[name] for name in row if "low" in name or "high" in name} | {
        "model_version": 1
    }
    assert (row["predictions"], row["outcomes"], row["mature"], row["mature_share"]) == (6, 6, 6, 1.0)
    assert row["metric"] == "roc_auc"
    assert row["quality"] == pytest.approx(metrics.roc_auc_score(TRUTH, SCORES)) == pytest.approx(8 / 9)
    assert row["quality_low"] <= row["quality"] <= row["quality_high"] == 1.0
    assert dict(row["qualities"]) == pytest.approx(
        {
            "roc_auc": 8 / 9,
            "average_precision": metrics.average_precision_score(TRUTH, SCORES),
            "log_loss": metrics.log_loss(TRUTH, SCORES),
            "brier": metrics.brier_score_loss(TRUTH, SCORES),
            "accuracy": 4 / 6,
            "precision": 2 / 3,
            "recall": 2 / 3,
            "f1": 2 / 3,
        }
    )
    assert row["mean_score"] == pytest.approx(0.5)
    assert row["flagged_share"] == 0.5
    assert row["realised_cost"] == 2 + 50
    assert row["expected_cost"] == pytest.approx(2 * (0.1 + 0.3 + 0.4) + 50 * (0.4 + 0.3 + 0.1))
    assert row["p95_latency_ms"] is None


PAGE = Path(__file__).parents[3] / "docs" / "performance.md"
PREDICTIONS = (
    ("A1", 0, 0.9),
    ("A2", 0, 0.7),
    ("A3", 0, 0.4),
    ("A4", 0, 0.1),
    ("B1", 1, 0.8),
    ("B2", 1, 0.6),
    ("B3", 1, 0.3),
    ("B4", 1, 0.2),
    ("C1", 8, 0.9),
    ("C2", 8, 0.2),
    ("D1", 10, 0.5),
)
ARRIVALS = (
    (
        "at first",
        10,
        (("A1", 1), ("A2", 1), ("A3", 0), ("A4", 0), ("B1", 1), ("B2", 0), ("B3", 0), ("C1", 1)),
        [0, 1, 8, 10],
    ),
    ("late", 11, (("B4", 1),), [1]),
    ("corrected", 12, (("A2", 0),), [0]),
    ("twice", 13, (("A1", 1), ("A1", 1)), [0]),
    ("of an unknown order", 14, (("X9", 1),), []),
)
"""What comes, on which day, which outcomes, and the days that are computed again because of them."""
SHOWN = ("day", "predictions", "outcomes", "mature", "mature_share", "quality", "estimated_quality")


def shown(rows, names) -> str:
    """A table as the page has it."""

    def cell(value) -> str:
        return (
            "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        )

    lines = [names, ["---"] * len(names), *[[cell(row[name]) for name in names] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@pytest.fixture(scope="module")
def example(make_orders):
    """The example of `docs/performance.md`: the orders, and what the page must show, step by step."""
    orders = make_orders(('metric = "roc_auc"', 'metric = "accuracy"'))
    by_day: dict = {}
    for key, day, score in PREDICTIONS:
        by_day.setdefault(day, []).append((key, orders.at(day), score))
    keys = [row for rows in by_day.values() for row in rows]
    orders.append(
        "records",
        [(key, at, "f", n, 1, at) for n, (key, at, _) in enumerate(keys)],
        (KEY, TEXT),
        (TIME, MOMENT),
        *LANDED,
    )
    orders.score(1, keys)
    steps = [
        shown(
            [{"order": key, "day": orders.date(day), "score": score} for key, day, score in PREDICTIONS],
            ("order", "day", "score"),
        )
    ]
    for _, day, outcomes, again in ARRIVALS:
        orders.learn(outcomes, orders.at(day))
        assert orders.days(orders.update(day)) == again
        came = [{"order": key, "outcome": y, "received": orders.date(day)} for key, y in outcomes]
        steps += [shown(came, ("order", "outcome", "received")), shown([orders.row(one) for one in again], SHOWN)]
    orders.score(
        2, [(key, at, 1 - score if key in ("A2", "B4") else score) for key, at, score in keys if key[0] in "AB"]
    )
    orders.update(14)
    return orders, [step for step in steps if step.count("\n") > 1]


def test_the_example_of_the_page_is_what_comes_of_it(example):
    page, place = PAGE.read_text(), 0
    for step in example[1]:
        assert step in page[place:], f"docs/performance.md lacks, or has elsewhere:\n{step}"
        place = page.index(step, place)


def test_the_queries_of_the_page_give_what_it_shows_in_both_engines(example, spark, monkeypatch):
    import duckdb

    orders, page = example[0], PAGE.read_text()
    python, *queries = re.findall(r"```(?:python|sql)\n(.*?)```", page, re.DOTALL)
    monkeypatch.setenv("CONTENDER_HOME", str(orders.settings.home))
    exec(compile(python, PAGE.name, "exec"), {})
    path = sql_views.write_duckdb(orders.settings, "orders", TITLES)
    assert f".contender/{path.relative_to(orders.settings.state)}" in page
    assert len(queries) == 2
    with duckdb.connect() as engine:
        engine.execute(path.read_text())
        for query in queries:
            ours = [row.asDict() for row in spark.sql(query).collect()]
            answer = engine.execute(query)
            names = [column[0] for column in answer.description]
            theirs = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
            assert [pytest.approx(row) for row in ours] == theirs
            assert shown(ours, names) in page, shown(ours, names)


def test_every_column_of_the_table_is_on_the_page():
    page = PAGE.read_text()
    assert [name for name in schema().names if f"`{name}`" not in page] == []


def test_where_outcomes_are_missing_a_row_says_how_many_and_estimates(make_orders):
    orders = make_orders()
    orders.record(0, 1, 2)
    orders.record(9)
    orders.learn([("1-0", 1), ("1-3", 0)], orders.at(3))
    orders.learn([("2-0", None)], orders.at(4))
    orders.update(10)

    one, none, nothing = orders.row(1), orders.row(0), orders.row(2)
    assert (one["outcomes"], one["mature"], one["quality"]) == (2, 2, 1.0)
    for row in (none, nothing):
        assert (row["outcomes"], row["mature"], row["mature_share"], row["quality"]) == (0, 0, None, None)
        assert row["estimated_quality"] == pytest.approx(none["estimated_quality"])
        assert row["estimated_low"] < row["estimated_quality"] < row["estimated_high"]
        assert "as the model gives them" in row["estimate"]


def test_late_corrected_duplicate_and_unknown_outcomes_give_the_right_rows(make_orders):
    orders = make_orders()
    orders.record(*range(6))
    orders.record(9)
    orders.learn_all(0, 1, 2)
    orders.update(10)
    before = orders.rows()

    orders.learn([("3-0", 1), ("3-5", 0)], orders.at(10, 1))
    late = orders.update(11)
    assert orders.days(late) == [3], "only the day of the late outcomes is computed again"
    assert (orders.row(3)["outcomes"], orders.row(3)["mature"], orders.row(3)["quality"]) == (2, 2, 1.0)

    orders.learn([("0-0", 0), ("0-3", 0), ("1-1", 1)], orders.at(11, 1))
    corrected = orders.update(12)
    assert orders.days(corrected) == [0, 1]
    now = (0, 1, 0, 0, 0, 0)
    assert orders.row(0)["quality"] == pytest.approx(metrics.roc_auc_score(now, SCORES))
    assert told({1: orders.row(1)}) == told({1: before[1, 1]}), "what was said before is said again"

    orders.learn([("2-0", 1), ("2-0", 1), ("2-3", 1)], orders.at(12, 1))
    orders.update(13)
    assert told({2: orders.row(2)}) == told({2: before[2, 1]}), "an outcome that came twice counts once"

    orders.learn([("2-0", 0), ("2-0", 1)], orders.at(13, 1))
    orders.update(14)
    assert orders.row(2)["quality"] == before[2, 1]["quality"], "of one file the later row wins"

    kept = orders.rows()
    orders.learn([("nobody", 1), ("9-9", 0)], orders.at(14, 1))
    assert orders.update(15).rows == 0
    assert orders.rows() == kept

    assert told(orders.again(15)) == told(kept), "all at once gives what came piece by piece"


def test_an_update_that_has_nothing_to_do_writes_nothing(make_orders):
    orders = make_orders()
    assert orders.update(0).rows == 0, "there are no predictions yet"
    orders.record(0, 1)
    orders.record(8)
    orders.learn_all(0, 1)
    orders.update(9)
    version = tables.find(orders.settings, "orders", "performance").version

    assert orders.update(9) == performance_table.Updated(0, (), whole=False)
    assert orders.update(10) == performance_table.Updated(0, (), whole=False)
    assert tables.find(orders.settings, "orders", "performance").version == version


def test_an_update_that_is_killed_before_its_commit_is_made_good_by_the_next(make_orders, monkeypatch):
    orders = make_orders()
    orders.record(0, 1)
    orders.record(8)
    orders.learn_all(0)
    orders.update(9)
    before = orders.rows()
    orders.learn_all(1)

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tables, "replace_rows", die)
        with pytest.raises(KeyboardInterrupt):
            orders.update(9)
    assert orders.rows() == before

    assert orders.days(orders.update(9)) == [1]
    assert orders.row(1)["mature"] == 6


def test_outcomes_count_for_quality_once_they_are_mature(make_orders):
    orders = make_orders(matures_after="5 days")
    orders.record(0)
    orders.learn_all(0, after=HOUR)
    orders.update(1)
    assert (orders.row(0)["outcomes"], orders.row(0)["mature_share"], orders.row(0)["quality"]) == (6, 0.0, None)

    orders.record(4)
    assert orders.days(orders.update(6)) == [4], "a clock that runs on matures nothing: records must come"
    orders.record(5)
    assert orders.days(orders.update(6)) == [0, 5]
    assert (orders.row(0)["mature_share"], orders.row(0)["quality"]) == (1.0, pytest.approx(8 / 9))
    assert told(orders.again(6)) == told(orders.rows())


def test_an_outcome_that_is_here_counts_from_when_it_is_known(make_orders):
    orders = make_orders(matures_after="0 days")
    orders.record(0, 1)
    orders.learn_all(0, 1, after=4 * DAY)

    orders.update(3)
    assert [orders.row(day)["outcomes"] for day in (0, 1)] == [0, 0]
    assert orders.days(orders.update(4)) == [0]
    assert orders.days(orders.update(5)) == [1]
    assert [orders.row(day)["quality"] for day in (0, 1)] == [pytest.approx(8 / 9)] * 2
    assert told(orders.again(5)) == told(orders.rows())


def test_a_look_from_the_past_is_given_and_leaves_the_table_at_what_is_known_now(make_orders):
    orders = make_orders(matures_after="2 days")
    orders.record(*range(5))
    orders.learn_all(0, 1, 2)
    orders.update(4)
    then = orders.rows()
    orders.record(5, 6)
    orders.learn_all(1, truth=[1 - y for y in TRUTH], after=4 * DAY)
    orders.learn_all(3)
    orders.update(6)
    now, version = orders.rows(), tables.find(orders.settings, "orders", "performance").version

    past = orders.update(4)
    assert (past.rows, past.days, past.whole) == (0, (), False)
    counts = {day.day: (day.tally.volume, day.outcomes, day.tally.known) for day in past.seen}
    assert counts == {row["day"]: (row["predictions"], row["outcomes"], row["mature"]) for row in then.values()}
    read = quality_readings.read(orders.settings, orders.home.contract, 1, quality_readings.View(seen=past.seen))
    assert (read.measured.rows, read.measured.value) == (18, pytest.approx(8 / 9))
    assert read.estimated.rows == 5 * 6
    assert quality_readings.read(orders.settings, orders.home.contract, 1).measured.value < read.measured.value
    assert (orders.rows(), tables.find(orders.settings, "orders", "performance").version) == (now, version)
    assert orders.update(6).seen is None

    morning = performance_table.update(orders.settings, orders.home.contract, orders.at(3, -1))
    assert sum(day.tally.volume for day in morning.seen) == 3 * 6, "what came later, be it on that day, is not seen"


def test_a_batch_that_was_scored_twice_counts_once_and_the_newest_score_counts(make_orders):
    orders = make_orders()
    orders.record(0)
    orders.record(8)
    orders.learn_all(0)
    orders.update(9)
    orders.score(1, [(f"0-{n}", orders.at(0), 1 - score) for n, score in enumerate(SCORES)], at=orders.at(9))

    assert orders.days(orders.update(9)) == [0]
    assert orders.row(0)["predictions"] == 6
    assert orders.row(0)["quality"] == pytest.approx(1 / 9)
    orders.score(2, [("0-0", orders.at(0), 0.9)])
    orders.update(9)
    assert (orders.row(0, 1)["predictions"], orders.row(0, 2)["predictions"]) == (6, 1)


def test_days_that_a_model_was_trained_on_are_marked_and_neither_estimated_nor_read(make_orders):
    orders = make_orders()
    orders.record(*range(8))
    orders.learn_all(*range(5))
    orders.update(9)
    assert orders.row(0)["in_training"] is None

    ends = {1: orders.at(2).replace(tzinfo=None)}
    assert orders.days(orders.update(9, trained_until=ends)) == list(range(8))
    assert [orders.row(day)["in_training"] for day in (0, 2, 3)] == [True, True, False]
    assert orders.row(2)["estimated_quality"] is None
    assert orders.row(2)["estimate"] == "no estimate: the model was trained on rows of this day"
    assert orders.update(9, trained_until=ends).rows == 0
    found = quality_readings.read(orders.settings, orders.home.contract, 1)
    assert found.measured.rows == 2 * 6
    assert found.estimated.rows == 5 * 6


def test_latencies_are_those_of_the_live_requests(make_orders):
    orders = make_orders()
    orders.record(0, 1)
    orders.update(2)
    rows = [("r", orders.at(1), 1, float(ms)) for ms in range(1, 101)] + [("r", orders.at(1), 2, 7.0)]
    columns = ((KEY, TEXT), (TIME, MOMENT), ("model_version", WHOLE), ("latency_ms", NUMBER))
    orders.append("requests", rows, *columns)

    assert orders.row(1)["p95_latency_ms"] is None
    orders.again(2)
    assert (orders.row(0)["p95_latency_ms"], orders.row(1)["p95_latency_ms"]) == (None, 95.0)
    orders.append("requests", [("r", orders.at(2, 1), 1, 5.0)], *columns)
    assert orders.update(3).rows == 0, "a day on which nothing was scored in a batch has no row"


def test_an_estimate_is_calibrated_on_outcomes_that_were_there_by_its_day_only(make_orders):
    orders = make_orders(matures_after="2 days")
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.05, 0.95, 120).round(3)
    y = (rng.random(120) < scores / 2).astype(int)
    orders.record(0, 1, 6, scores=scores)
    orders.learn_all(0, 1, truth=y)
    orders.update(6)
    early = orders.row(6)

    assert "as the model gives them" in orders.row(1)["estimate"]
    assert early["estimate"] == "scores calibrated on 240 mature outcomes"
    assert dict(early["estimated_qualities"])["log_loss"] < metrics.log_loss(y, scores)
    orders.record(9, scores=scores)
    orders.learn_all(6, truth=1 - y)
    orders.update(10)
    later = orders.row(6)
    assert later["quality"] is not None
    for name in ("estimated_quality", "estimated_low", "estimated_high", "estimate"):
        assert later[name] == early[name], "the truth has come, and the estimate has not looked at it"


def test_numbers_and_several_classes_are_measured_too(make_orders):
    numbers = make_orders(
        ('kind = "binary"', 'kind = "regression"'),
        ('metric = "roc_auc"', 'metric = "rmse"'),
        extra="[costs]\nper_error = 3\n",
        prediction=NUMBER,
    )
    numbers.record(0, scores=(10, 20, 30, -5))
    numbers.record(8)
    numbers.learn_all(0, truth=(12, 20, 25, -5))
    numbers.update(9)
    row = numbers.row(0)
    assert (row["metric"], row["quality"]) == ("rmse", pytest.approx((29 / 4) ** 0.5))
    assert dict(row["qualities"]) == pytest.approx(
        {"rmse": (29 / 4) ** 0.5, "mae": 7 / 4, "r2": metrics.r2_score([12, 20, 25, -5], [10, 20, 30, -5])}
    )
    assert row["realised_cost"] == pytest.approx(21)
    assert row["estimate"].startswith("no estimate: 0 mature outcomes")

    for asked, found, quality in (("log_loss", "accuracy", 0.75), ("f1", "f1", (6 / 7 + 0) / 2)):
        classes = make_orders(
            ('kind = "binary"', 'kind = "multiclass"'),
            ('metric = "roc_auc"', f'metric = "{asked}"'),
            target=TEXT,
            prediction=TEXT,
        )
        classes.record(0, scores=(0.9, 0.8, 0.5, 0.4))
        classes.record(8)
        classes.learn_all(0, truth=("a", "a", "b", "a"))
        classes.update(9)
        row, later = classes.row(0), classes.row(8)
        assert (row["metric"], row["quality"]) == (found, pytest.approx(quality)), (
            "probabilities of others are not kept"
        )
        assert row["quality_low"] <= row["quality"] <= row["quality_high"]
        assert dict(row["estimated_qualities"]) == {"accuracy": pytest.approx((0.9 + 0.8 + 0.5 + 0.4) / 4)}
        assert (later["predictions"], later["quality"]) == (6, None)
        assert quality_readings.read(classes.settings, classes.home.contract, 1).metric == found


@pytest.fixture(scope="module")
def measured(make_orders):
    """Three versions' days: version 2 ranks better than version 1, version 3 came later."""
    orders = make_orders(matures_after="0 days")
    orders.record(0, 1)
    better = (0.9, 0.7, 0.3, 0.6, 0.2, 0.1)
    orders.score(2, [(f"{day}-{n}", orders.at(day), score) for day in (0, 1) for n, score in enumerate(better)])
    orders.record(2, versions=(3,))
    orders.learn_all(0, 1)
    orders.update(5)
    return orders


def check_views(query) -> None:
    """What both engines must answer; `query` gives rows as dictionaries."""
    rows = query("SELECT * FROM model_performance ORDER BY day, model_version")
    assert [(row["model_version"], row["title"]) for row in rows] == [
        (1, "champion"),
        (2, "challenger"),
        (1, "champion"),
        (2, "challenger"),
        (3, ""),
    ]
    assert rows[0]["estimate_error"] == pytest.approx(rows[0]["estimated_quality"] - 8 / 9)
    assert rows[4]["quality"] is None
    assert not {"points", "next_known_at"} & set(rows[0])

    test = query("SELECT * FROM ab_test ORDER BY day NULLS LAST")
    assert [(row["title_a"], row["title_b"]) for row in test] == [("champion", "challenger")] * 3
    assert [row["day"] is None for row in test] == [False, False, True], "the last row is of all days"
    for row in test:
        assert row["difference"] == pytest.approx(1 - 8 / 9)
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert [row["predictions_a"] for row in test] == [6, 6, 12]
    widths = [row["difference_high"] - row["difference_low"] for row in test]
    assert widths[2] == pytest.approx((widths[0] ** 2 + widths[1] ** 2) ** 0.5 / 2), "more days, less luck"


TITLES = {1: "champion", 2: "challenger"}


def test_the_views_can_be_queried_with_spark_sql(measured, spark):
    names = sql_views.create_views(spark, measured.settings, "orders", TITLES)

    assert names == ("model_performance", "ab_test")
    check_views(lambda query: [row.asDict() for row in spark.sql(query).collect()])
    assert sql_views.create_views(spark, measured.settings, "elsewhere") == ()


def test_the_views_can_be_queried_with_duckdb(measured):
    import duckdb

    path = sql_views.write_duckdb(measured.settings, "orders", TITLES)
    with duckdb.connect() as engine:
        engine.execute(path.read_text())

        def query(text):
            answer = engine.execute(text)
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

        check_views(query)
    assert sql_views.write_duckdb(measured.settings, "elsewhere") is None


def test_the_file_of_views_reads_the_rows_that_count_now(measured):
    text = sql_views.write_duckdb(measured.settings, "orders").read_text()
    files = tables.files_of(measured.settings, "orders", "performance")

    assert files
    assert all(f"'{file}'" in text for file in files)
    assert sum(pq.read_metadata(file).num_rows for file in files) == len(measured.rows())


def test_readings_put_the_newest_days_beside_the_past(make_orders):
    orders = make_orders(matures_after="0 days", extra='[performance]\nwindow = "2 days"\npast = "6 days"\n')
    rng = np.random.default_rng(2)
    scores = rng.uniform(0.05, 0.95, 60).round(3)
    good = (rng.random(60) < scores).astype(int)
    orders.record(*range(10), scores=scores)
    orders.learn_all(*range(6), truth=good)
    orders.learn_all(6, 7, truth=1 - good)
    orders.update(12)
    found = quality_readings.read(orders.settings, orders.home.contract, 1)

    assert (found.metric, found.measured.rows, found.measured.past_rows) == ("roc_auc", 120, 360)
    assert found.measured.value == pytest.approx(metrics.roc_auc_score(1 - good, scores), abs=5e-3)
    assert found.measured.past == pytest.approx(metrics.roc_auc_score(good, scores), abs=5e-3)
    assert found.measured.interval.high < found.measured.past_interval.low
    assert found.estimated.rows == 120
    assert found.how == "scores calibrated on 480 mature outcomes"
    assert quality_readings.read(orders.settings, orders.home.contract, 7) == quality_readings.Readings(
        "roc_auc", None, None, "no estimate: there are no predictions that the model was not trained on"
    )


def test_a_past_shorter_than_two_windows_tells_nothing(make_orders):
    orders = make_orders(matures_after="0 days", extra='[performance]\nwindow = "2 days"\npast = "6 days"\n')
    orders.record(*range(6))
    orders.learn_all(*range(5))
    orders.update(6)
    short = quality_readings.read(orders.settings, orders.home.contract, 1)
    orders.learn_all(5)
    orders.update(7)
    enough = quality_readings.read(orders.settings, orders.home.contract, 1)

    assert short.measured.rows == enough.measured.rows == 2 * 6
    assert (short.measured.past, short.measured.loss) == (None, None)
    assert (enough.measured.past, enough.measured.past_rows) == (pytest.approx(8 / 9), 4 * 6)


def test_a_reading_that_ends_earlier_is_the_one_that_was_made_then(make_orders):
    orders = make_orders(matures_after="2 days", extra='[performance]\nwindow = "2 days"\npast = "4 days"\n')
    orders.record(*range(8))
    orders.learn_all(*range(6), after=DAY)
    orders.update(8)
    then = quality_readings.read(orders.settings, orders.home.contract, 1)
    orders.record(*range(8, 14))
    orders.learn_all(*range(6, 12), truth=[1 - y for y in TRUTH], after=DAY)
    orders.update(14)

    end = orders.at(8).date()
    assert quality_readings.read(orders.settings, orders.home.contract, 1, quality_readings.View(end=end)) == then
    now = quality_readings.read(orders.settings, orders.home.contract, 1)
    assert now.measured.value < then.measured.value


def test_a_champion_that_goes_on_decaying_is_held_against_what_it_was_before(make_orders):
    orders = make_orders(matures_after="0 days", extra='[performance]\nwindow = "2 days"\npast = "4 days"\n')
    orders.record(*range(14))
    orders.learn_all(*range(6))
    orders.learn_all(*range(6, 14), truth=[1 - y for y in TRUTH])
    orders.update(14)
    settings, contract = orders.settings, orders.home.contract
    champion = ModelVersion("orders", 1, "", "", "", orders.at(0))
    slid = monitoring.quality_of(settings, contract, champion)
    assert slid.measured.past == pytest.approx(slid.measured.value), "all of the past has decayed as well"

    for name, day, version in (("decay", 9, 1), ("shift", 6, 1), ("decay", 8, 1), ("decay", 3, 2)):
        found = Diagnosis(name, "why", decayed=name == "decay", retrain=name == "decay")
        end = orders.at(day).date()
        diagnoses.keep(
            settings, "orders", Kept(orders.at(day), end - timedelta(days=2), end, version, found, (), "", "")
        )
    held = monitoring.quality_of(settings, contract, champion)
    assert diagnoses.first_decay(settings, "orders", 1).end == orders.at(8).date()
    assert held.measured.value == slid.measured.value
    assert (held.measured.past, held.measured.past_rows) == (pytest.approx(8 / 9), 4 * 6)
    assert (held.estimated.past, held.estimated.past_rows) == (pytest.approx(8 / 9), 4 * 6)
    assert diagnoses.first_decay(settings, "orders", 3) is None
