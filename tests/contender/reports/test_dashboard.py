"""The dashboard shows what the tables and the ledger hold, whatever is missing, and tells nothing that it should not."""

import json
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score

from contender.drift.detection import keep_check
from contender.drift.drift_check import ColumnDrift, DriftCheck
from contender.home_version import check_home
from contender.lake import tables
from contender.operations import notices
from contender.performance.daily_row import schema
from contender.performance.quality_windows import QualityWindow
from contender.promotion import approval_requests, ledger
from contender.reports import dashboard, dashboard_queries
from contender.reports.dashboard_model import Cell, Happening, Heat, QualityDay, UseCase, leading, within_a_year
from contender.reports.dashboard_page import page_of
from contender.reports.dashboard_state import state_of
from contender.reports.day_charts import Days, quality
from contender.reports.drift_heat_map import kind_of
from contender.retraining import triggers
from contender.settings import Settings
from contender.values import Interval, ModelVersion
from tests.contender.verdicts import verdict_document

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 21, tzinfo=UTC)
FIRST = date(2026, 3, 1)
TRAINED = datetime.fromisoformat("2026-01-01")
EVIL = '<script>alert("1")</script>&\'</title><img src=x onerror=alert(1)>'
MOMENT = pa.timestamp("us", tz="UTC")
QUARANTINE = pa.schema(
    [
        ("kind", pa.string()),
        ("_file", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("_batch", pa.int64()),
        ("_received_at", MOMENT),
    ]
)


class Reader(HTMLParser):
    """Tags with their attributes, and all text; tags must close in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def having(self, name):
        return [attributes for _, attributes in self.tags if name in attributes]


def points_of(share=1.0):
    """What was said of a day, and what came of the outcomes that are in: of 80 at 0.1 two, of 20 at 0.8 eight."""
    said = {"predictions": 80, "absolute": 0.0, "squared": 0.0, "quartic": 0.0}
    low = said | {"score": 0.1, "flagged": False, "mature": int(80 * share), "hits": int(2 * share)}
    return [
        low,
        low | {"score": 0.8, "flagged": True, "predictions": 20, "mature": int(20 * share), "hits": int(8 * share)},
    ]


def row(day, version=1, **changes):
    """A row of `performance`, measured and final."""
    found = {
        "model_version": version,
        "day": day,
        "in_training": False,
        "predictions": 10,
        "outcomes": 100,
        "mature": 100,
        "mature_share": 1.0,
        "metric": "average_precision",
        "quality": 0.7 + day.day / 1000,
        "quality_low": 0.61,
        "quality_high": 0.79,
        "estimated_quality": 0.69 + day.day / 1000,
        "estimated_low": 0.6,
        "estimated_high": 0.78,
        "estimate": "scores calibrated on 900 mature outcomes",
        "p95_latency_ms": 8.0 + day.day / 10,
        "as_of": NOW,
        "points": points_of(),
    }
    return found | changes


def window(first, last=None, version=1, **changes):
    given = {"in_training": False, "is_final": True, "outcomes": 200, "value": 0.7, "interval": Interval(0.6, 0.8)}
    return QualityWindow(first, last or first, version, **given | changes)


def quality_day(day, version=1, **changes):
    return QualityDay(**{name: row(day, version, **changes)[name] for name in dashboard_queries._QUALITY})


def column(name, day, score=0.05, **changes):
    given = {
        "table": "features",
        "column": name,
        "kind": "number",
        "method": "psi",
        "score": score,
        "expected": 0.02,
        "limit": 0.1,
        "threshold": 0.12,
        "drifted": score is not None and score >= 0.12,
        "why": f"psi {score}",
        "start": day,
        "end": day + timedelta(days=1),
    }
    return ColumnDrift(**given | changes)


def check(day, columns, alarming=(), hours=6):
    end = day + timedelta(days=1)
    at = datetime(end.year, end.month, end.day, hours, tzinfo=UTC)
    return DriftCheck("payments", 1, day, end, FIRST, FIRST + timedelta(days=9), at, tuple(columns), alarming)


def write_times(settings, table, moments):
    times = pa.table({"_time": pa.array(moments, MOMENT), "score": pa.array([0.5] * len(moments))})
    tables.append_small(settings, "payments", table, times.to_pylist(), times.schema)


def moment(day, second=0):
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=second)


def settings_of(tmp_path):
    return Settings(home=tmp_path / "home", use_cases=ROOT / "data")


DAYS = [FIRST + timedelta(days=n) for n in range(20)]
PERFORMANCE = (
    [
        row(day, in_training=n < 4, estimated_quality=None if n < 4 else 0.65 + n / 900)
        for n, day in enumerate(DAYS[:14])
    ]
    + [row(day, 2, mature_share=0.5, outcomes=400, mature=200, points=points_of(2)) for day in DAYS[14:15]]
    + [row(day, 2, mature_share=0.5, mature=50, points=points_of(0.5)) for day in DAYS[15:17]]
    + [
        row(day, 2, quality=None, quality_low=None, quality_high=None, mature=0, mature_share=0.0, points=points_of(0))
        for day in DAYS[17:]
    ]
)
PERFORMANCE += [row(DAYS[5], 2, predictions=3, quality=0.123)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A home in which everything that the dashboard shows has happened to payments."""
    made = settings_of(tmp_path_factory.mktemp("dashboard"))
    tables.replace_rows(made, "payments", "performance", pa.Table.from_pylist(PERFORMANCE, schema=schema()))
    for n, day in enumerate(DAYS):
        columns = [column("amount", day, 0.02 * n), column("category", day, None, threshold=None, drifted=None)]
        columns += [column("score", day, 0.2, table="predictions", drifted=False, season=True)]
        keep_check(made, check(day, columns, ("amount",) if n > 15 else ()))
    keep_check(made, check(DAYS[3], [column("amount", DAYS[3], 0.0777)], hours=9))
    # One file of one day, and one across midnight.
    write_times(made, "predictions", [moment(DAYS[0], second) for second in range(7)])
    write_times(made, "predictions", [moment(DAYS[1], 43_200 * n) for n in range(9)])
    write_times(made, "alerts", [moment(DAYS[2], 9), moment(DAYS[3], 9), moment(DAYS[3], 10)])
    for batch in range(15):
        rows = [
            {
                "kind": "row",
                "_file": "f",
                "reasons": ["amount is negative", "no key"][: 1 + n % 2],
                "_batch": batch,
                "_received_at": moment(DAYS[0], batch),
            }
            for n in range(batch + 1)
        ]
        tables.append_small(made, "payments", "quarantine", rows, QUARANTINE)
    won = verdict_document(gain=0.0431, interval=Interval(0.0211, 0.0662), reasons=("better by far",))
    ledger.record_verdict(made, "payments", won)
    model = ModelVersion("payments", 2, "run", "m", "digest", TRAINED)
    ledger.take_title(
        made,
        "payments",
        version=model,
        after=None,
        action="crowned",
        reason="better by far",
        by="contender",
        evidence={},
    )
    approval_requests.ask(made, "payments", version=3, follows=1, evidence="{}", expires_after=timedelta(days=3))
    notices.keep(made, "drift", "payments", "amount drifted again")
    triggers.keep(made, "payments", event_id="e", at=NOW, event="contender.drift.detected", reason="amount drifted")
    triggers.settle(made, "payments", "e", "skipped", why="the budget is spent")
    return made


@pytest.fixture(scope="module")
def found(settings):
    page, causes = dashboard.page(settings)
    assert causes == []
    return Reader(page)


def test_every_point_of_quality_on_the_page_is_of_a_window_with_enough_outcomes(found):
    shown = {one["data-window"]: json.loads(one["data-figures"]) for one in found.having("data-window")}
    quality = average_precision_score([1] * 10 + [0] * 90, [0.1] * 2 + [0.8] * 8 + [0.1] * 78 + [0.8] * 12)

    # 200 outcomes and 20 frauds take two days of 100 and 10; a version and what it was trained on stand apart.
    expected = {str(DAYS[n]): [str(DAYS[n + 1]), 1, 200, pytest.approx(quality)] for n in range(0, 14, 2)}
    expected[str(DAYS[14])] = [str(DAYS[14]), 2, 200, pytest.approx(quality)]
    assert {first: figures[:4] for first, figures in shown.items()} == expected
    assert all(figures[4] < quality < figures[5] for figures in shown.values())
    assert "A point is the fewest days in a row of one version with 200 final outcomes, 20 of the rarer" in found.text
    assert "100 final outcomes are not in a point yet" in found.text


def test_every_estimate_on_the_page_equals_the_table(found):
    days = [one for one in found.having("data-figures") if "data-day" in one]

    names = ("model_version", "estimated_quality", "estimated_low", "estimated_high")
    assert {one["data-day"]: json.loads(one["data-figures"]) for one in days} == {
        str(one["day"]): [one[name] for name in names]
        for one in PERFORMANCE[:-1]
        if one["estimated_quality"] is not None
    }


def test_every_cell_of_the_heat_map_tells_the_check_that_was_made_last(settings):
    page = dashboard.page(settings)[0]
    shown = {
        re.match(r'data-column="([^"]+)"', row)[1]: re.findall(r"<title>([^<]*)</title>", row)
        for row in re.findall(r'data-column="[^"]+".*?<div class="now">', page, re.DOTALL)
    }

    assert set(shown) == {"amount", "category", "predictions.score"}
    amounts = [0.02 * n for n in range(20)]
    amounts[3] = 0.0777
    assert [told.partition(": ")[0] for told in shown["amount"]] == [str(day) for day in DAYS]
    assert [re.search(r"[\d.]+(?= where 0.120 counts$)", told)[0] for told in shown["amount"]] == [
        f"{score:.3f}" for score in amounts
    ]
    assert [": drifted" in told for told in shown["amount"]] == [score >= 0.12 for score in amounts]
    assert shown["category"] == [f"{day}: not enough to tell" for day in DAYS]
    assert shown["predictions.score"] == [f"{day}: as a season before, 0.200 where 0.120 counts" for day in DAYS]
    assert "yes 0.38 0.12 psi 0.38" in Reader(page).text


def test_volumes_alerts_and_latencies_by_day_equal_the_tables(found):
    bars = Counter(
        (one["data-day"], float(one["data-value"])) for one in found.having("data-value") if "data-day" in one
    )

    # Nine in steps of half a day, from the second day on.
    predictions = [(DAYS[0], 7.0), *((DAYS[n], 2.0) for n in range(1, 5)), (DAYS[5], 1.0)]
    latencies = [(one["day"], one["p95_latency_ms"]) for one in PERFORMANCE[:-1]]
    expected = [*predictions, (DAYS[2], 1.0), (DAYS[3], 2.0), *latencies]
    assert bars == Counter((str(day), value) for day, value in expected)


def test_the_newest_batches_in_quarantine_come_with_rows_and_reasons(found):
    shown = [(int(one["data-batch"]), int(one["data-rows"])) for one in found.having("data-batch")]

    assert shown == [(batch, batch + 1) for batch in range(14, 2, -1)]
    assert "batch 14 2026-03-01 15 amount is negative: 15; no key: 7" in found.text
    assert "quarantined rows 120" in found.text


def test_what_the_ledger_holds_is_on_the_page(found):
    assert "champion version 2 since (UTC)" in found.text
    assert "Crowned by contender, change 1 of the title: better by far." in found.text
    assert "PROMOTE version 2 against champion version 1" in found.text
    assert {"0.0431", "0.0211", "0.0662", "8.77"} <= {one["value"] for one in found.having("value")}
    assert "Version 3 of payments waits for approval until" in found.text
    assert "drift amount drifted again" in found.text
    assert "skipped amount drifted (the budget is spent)" in found.text
    assert "Drift alarm on 2026-03-20: amount." in found.text


def test_the_newest_final_quality_leads_and_days_that_are_not_final_or_learnt_do_not(found):
    assert f"average_precision, measured {DAYS[12]} to {DAYS[13]} 0.340 " in found.text
    assert f"average_precision, estimated {DAYS[-1]} 0.710 0.600 to 0.780" in found.text


def test_of_two_versions_on_a_day_the_one_with_most_predictions_is_shown():
    rows = [vars(quality_day(FIRST, version, predictions=n)) for version, n in ((1, 5), (2, 5), (3, 4))]

    assert [one.model_version for one in leading(rows)] == [2]


def drawn(*windows):
    days = [quality_day(FIRST, estimated_quality=None)]
    return quality(days, windows, Days(FIRST, FIRST + timedelta(days=40)), "said")


def test_windows_that_are_not_final_are_dashed_and_those_of_the_training_stand_apart():
    later = FIRST + timedelta(days=1)

    assert 'class="young"' not in drawn(window(FIRST), window(later))
    assert 'class="young"' in drawn(window(FIRST), window(later, is_final=False))
    learnt = drawn(window(FIRST, in_training=True), window(later, in_training=True))
    assert '<g class="true">' not in learnt
    assert '<g class="learnt">' in learnt
    assert "not final yet" in drawn(window(FIRST, is_final=False))
    assert "on rows it was trained on" in learnt


def test_no_line_joins_two_versions_or_what_was_trained_on_or_crosses_a_long_hole():
    days = [FIRST + timedelta(days=n) for n in (0, 1, 2, 30, 31)]
    shown = [window(day, version=version) for day, version in zip(days, (1, 2, 2, 2, 2), strict=True)]

    (line,) = re.findall(r'<path class="line" d="([^"]+)"', drawn(*shown))

    assert line.count("M") == 2
    assert line.count("L") == 2
    assert "<path" not in drawn(window(days[0], in_training=True), window(days[1]))


def test_a_window_without_an_interval_is_drawn_as_a_point():
    assert '<circle class="point true"' in drawn(window(FIRST, interval=None))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"score": 0.01}, "cool"),
        ({"score": 0.06}, "mild"),
        ({"score": 0.1}, "warm"),
        ({"score": 0.2, "drifted": True}, "drift"),
        ({"score": 0.01, "drifted": True}, "drift"),
        ({"score": 0.2, "drifted": True, "alarm": True}, "alarm"),
        ({"score": 0.2, "season": True}, "seasonal"),
        ({"score": None, "threshold": None, "drifted": None}, "untold"),
        ({"score": 0.0, "threshold": 0.0}, "cool"),
    ],
)
def test_a_cell_tells_how_far_a_column_is(changes, kind):
    given = {"score": 0.0, "threshold": 0.12, "drifted": False, "season": False, "alarm": False}

    assert kind_of(Cell(FIRST, **given | changes)) == kind


@pytest.mark.parametrize(("checks", "most"), [(1, 60), (60, 60), (61, 60), (366, 60), (7, 3)])
def test_many_checks_share_cells_and_the_worst_is_shown(checks, most):
    days = [FIRST + timedelta(days=n) for n in range(checks)]
    cells = {day: Cell(day, 0.2 if n == 1 else 0.01, 0.12, n == 1, False, False) for n, day in enumerate(days)}

    heat = Heat.of({"amount": cells}, most)

    assert len(heat.days) == len(heat.cells["amount"]) <= most
    assert (heat.days[0][0], heat.days[-1][1]) == (days[0], days[-1])
    assert sum(bool(cell and cell.drifted) for cell in heat.cells["amount"]) == (checks > 1)
    assert heat.newest["amount"].day == days[-1]


def test_columns_that_drift_come_first_and_one_that_is_gone_is_not_among_the_newest():
    days = [FIRST, FIRST + timedelta(days=1)]
    well, bad = Cell(days[0], 0.01, 0.1, False, False, False), Cell(days[1], 0.3, 0.1, True, False, True)

    heat = Heat.of({"a": {days[0]: well}, "b": {days[1]: bad}, "c": {days[1]: well}})

    assert list(heat.cells) == ["b", "a", "c"]
    assert (list(heat.newest), heat.drifted, heat.alarming, heat.tested) == (["b", "c"], ["b"], ["b"], 2)


def test_at_most_a_year_is_shown_up_to_the_newest_day_of_all():
    old, new = date(2025, 1, 1), date(2026, 3, 1)

    shown = within_a_year(UseCase("u", predictions={old: 1, new: 2}, alerts={old: 3}, quality=[quality_day(old)]))

    assert (shown.predictions, shown.alerts, list(shown.quality)) == ({new: 2}, {}, [])


def test_only_the_last_year_of_a_table_is_counted(tmp_path):
    settings = settings_of(tmp_path)
    for day in (date(2024, 1, 1), date(2026, 3, 1)):
        write_times(settings, "predictions", [moment(day), moment(day, 60)])

    counts = dashboard_queries.count_days(settings, "payments", "predictions")

    assert (counts.days, counts.in_all) == ({date(2026, 3, 1): 2}, 4)


def test_files_of_one_day_are_counted_without_being_read(tmp_path):
    settings = settings_of(tmp_path)
    write_times(settings, "predictions", [moment(FIRST), moment(FIRST, 86_399.999)])
    for file in tables.files_of(settings, "payments", "predictions"):
        Path(file).write_bytes(b"not Parquet")

    assert dashboard_queries.count_days(settings, "payments", "predictions").days == {FIRST: 2}


def test_everything_from_outside_is_escaped(tmp_path):
    day = quality_day(FIRST, metric=EVIL, estimate=EVIL)
    shown = UseCase(
        EVIL,
        question=EVIL,
        waiting=EVIL,
        quality=[day],
        predictions={FIRST: 1},
        heat=Heat.of({EVIL: {FIRST: Cell(FIRST, 0.2, 0.1, True, False, True, EVIL)}}),
        notices=[Happening(NOW, EVIL, EVIL)],
        triggers=[Happening(NOW, EVIL, EVIL)],
        troubles=(EVIL,),
        windows=[window(FIRST)],
        point=EVIL,
        verdicts=[verdict_document(metric=EVIL, against=EVIL, reasons=(EVIL,))],
    )

    page = page_of([shown, UseCase("b")], at=NOW)

    assert "<script" not in page
    assert "<img" not in page
    reader = Reader(page)
    assert reader.text.count("<script>") > 8
    assert not [name for _, attributes in reader.tags for name in attributes if name.startswith("on")]


def test_the_page_asks_nothing_of_a_network(found, settings):
    page, _ = dashboard.page(settings)

    assert not re.search(r"(?:src|srcset|@import|url\()\s*=?\s*[\"'(]?(?:https?:)?//", page)
    assert "default-src 'none'" in page
    assert not [attributes for tag, attributes in found.tags if tag in ("script", "link", "img", "iframe", "object")]


def test_figures_are_told_to_those_who_do_not_see_them(found):
    pictures = [one for one in found.having("role") if one["role"] == "img"]

    assert len(pictures) == 8
    assert all(one["aria-label"] for one in pictures)
    assert any(
        "amount: drifted in 14 of 20 checks shown, last drifted, alarm, 0.380" in one["aria-label"] for one in pictures
    )


def test_what_was_never_run_says_what_to_do(tmp_path):
    text = Reader(dashboard.page(settings_of(tmp_path))[0]).text

    for name in ("bikes", "flights", "payments"):
        assert f"No predictions yet: contender run {name}" in text
    assert "Quality over time" not in text


def test_what_failed_last_stands_there_before_a_first_champion_and_is_gone_after_a_success(tmp_path):
    settings = settings_of(tmp_path)
    for run in ("a", "b"):
        notices.keep_end(settings, "payments", "retrain", run, "The step 'x' failed: <b>", NOW)
    page = dashboard.page(settings)[0]
    text = Reader(page).text

    told = f"'retrain' failed at {NOW:%Y-%m-%d %H:%M} UTC, 2 times in a row: The step 'x' failed: <b>"
    # On the tile and in the section.
    assert text.count(told) == 2
    assert "The step &#39;x&#39; failed: &lt;b&gt;" in page
    assert "contender run payments" not in text
    assert "contender run flights" in text

    notices.keep_end(settings, "payments", "retrain", "c", "", NOW + timedelta(seconds=1))
    text = Reader(dashboard.page(settings)[0]).text
    assert "failed" not in text
    assert "contender run payments" in text


def test_without_any_use_case_the_page_says_how_to_get_one(tmp_path):
    page, causes = dashboard.page(Settings(home=tmp_path, use_cases=tmp_path / "none"))

    assert "No use case yet contender init FILE" in Reader(page).text
    assert causes == []


def test_what_was_scored_but_not_monitored_says_what_to_do(tmp_path):
    settings = settings_of(tmp_path)
    write_times(settings, "predictions", [moment(FIRST)])

    text = Reader(dashboard.page(settings)[0]).text

    assert "Quality was not measured yet: contender monitor payments" in text
    assert "Drift was not checked yet: contender monitor payments" in text
    assert "No challenger has been judged yet: contender run payments" in text


def test_what_cannot_be_read_is_said_without_a_path_and_the_rest_is_shown(tmp_path):
    broken = tmp_path / "data" / "broken"
    broken.mkdir(parents=True)
    (broken / "contract.toml").write_text("name = ", encoding="utf-8")
    (tmp_path / "data" / "payments").symlink_to(ROOT / "data" / "payments")
    settings = Settings(home=tmp_path / "home", use_cases=tmp_path / "data")
    write_times(settings, "predictions", [moment(FIRST)])
    log = settings.home / "lake" / "payments" / "drift" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("nonsense", encoding="utf-8")
    check_home(settings)
    (settings.home / "ledger.db").write_bytes(b"not a database" * 99)

    page, causes = dashboard.page(settings)
    text = Reader(page).text

    assert "Its contract cannot be read; 'contender doctor' says what is wrong with it." in text
    assert "The table 'drift' cannot be read just now" in text
    assert "The ledger does not answer" in text
    assert "1 on 2026-03-01" in text
    assert str(tmp_path) not in page
    assert "Traceback" not in page
    assert {cause.partition(":")[0] for cause in causes} == {"broken", "payments"}


def test_a_look_leaves_a_request_that_expired_to_whoever_marks_it(tmp_path):
    settings = settings_of(tmp_path)
    approval_requests.ask(
        settings, "payments", version=1, follows=0, evidence="{}", expires_after=timedelta(seconds=-1)
    )

    text = Reader(dashboard.page(settings)[0]).text

    assert "waits for approval" not in text
    assert [one.version for one in approval_requests.expire(settings)] == [1]


def test_a_request_that_the_title_passed_by_does_not_wait(tmp_path):
    settings = settings_of(tmp_path)
    approval_requests.ask(settings, "payments", version=1, follows=0, evidence="{}", expires_after=timedelta(days=3))
    assert "waits" in dashboard.read(settings, "payments").waiting

    model = ModelVersion("payments", 9, "run", "m", "digest", TRAINED)
    ledger.take_title(
        settings, "payments", version=model, after=None, action="crowned", reason="r", by="b", evidence={}
    )

    assert dashboard.read(settings, "payments").waiting == ""


def test_a_commit_or_an_entry_is_a_change_and_a_look_is_none(tmp_path):
    settings = settings_of(tmp_path)
    dashboard.page(settings)
    before = state_of(settings)

    dashboard.page(settings)
    assert state_of(settings) == before

    write_times(settings, "predictions", [moment(FIRST)])
    committed = state_of(settings)
    assert committed != before

    notices.keep(settings, "drift", "payments", "amount drifted")
    assert state_of(settings) != committed


def test_a_page_with_a_year_of_sixty_columns_stays_small():
    days = [FIRST + timedelta(days=n) for n in range(366)]
    cells = {f"c{n}": {day: Cell(day, 1 / 7, 1 / 3, False, False, False) for day in days} for n in range(60)}
    shown = UseCase(
        "payments",
        question="?",
        quality=[quality_day(day, quality=1 / 3) for day in days],
        windows=[window(day, day + timedelta(days=5), value=1 / 3) for day in days[:360:6]],
        heat=Heat.of(cells),
        predictions=dict.fromkeys(days, 12_345),
        alerts=dict.fromkeys(days, 12),
    )

    assert len(page_of([shown], at=NOW)) < 800_000
