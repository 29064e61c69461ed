"""The dashboard as people get it: by the command and by the server, in a real browser without a network."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from contender.drift.detection import keep_check
from contender.drift.drift_check import ColumnDrift, DriftCheck
from contender.lake import tables
from contender.performance.daily_row import schema
from contender.promotion import ledger
from contender.settings import Settings
from contender.values import ModelVersion
from tests.contender.verdicts import verdict_document
from tests.flows.browser import PATIENCE_SECONDS, browse, measure
from tests.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CONTENDER = Path(sys.executable).with_name("contender")
DAYS = [date(2025, 6, 1) + timedelta(days=n) for n in range(366)]
COLUMNS = [f"a_column_with_a_rather_long_name_{n}" for n in range(60)]

# The page itself may run no script: a frame around it looks at it from outside.
MEASURING = """<!doctype html><body style="margin:0"><iframe id="page" src="{page}" style="border:0;width:{width}px;
height:900px"></iframe><pre id="found"></pre><script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, root = page.documentElement;
  [...page.querySelectorAll("details")].forEach((one) => {{ one.open = true; }});
  const box = (one) => {{ const b = one.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; }};
  const all = (where) => [...page.querySelectorAll(where)];
  document.getElementById("found").textContent = JSON.stringify({{
    wide: root.scrollWidth, inner: root.clientWidth, title: page.title,
    outside: all("main *").filter((one) => {{ const b = one.getBoundingClientRect();
      return b.width && !one.closest(".scroll") && !one.closest("svg") && b.right > root.clientWidth + 1; }}).length,
    field: box(page.querySelector("svg.field")),
    days: all("rect[data-day][data-figures]").map(
      (one) => [one.dataset.day, JSON.parse(one.dataset.figures), box(one)]),
    windows: all("rect[data-window]").map((one) => [one.dataset.window, JSON.parse(one.dataset.figures), box(one)]),
    bars: all("rect.bar").map((one) => [one.dataset.day, Number(one.dataset.value), box(one)]),
    cells: Object.fromEntries(all("[data-column]").map(
      (one) => [one.dataset.column, [...one.querySelectorAll("title")].map((told) => told.textContent)])),
    facts: Object.fromEntries(all("#payments [data-fact]").map((one) => [one.dataset.fact, one.textContent])),
    values: all("data").map((one) => [Number(one.value), one.textContent]),
    headings: all("h2").map((one) => one.textContent),
    smallest: Math.min(...all("p, td, li, dd, dt, .name, .now, .dates span").map(
      (one) => parseFloat(page.defaultView.getComputedStyle(one).fontSize))),
  }});
}});
</script>"""


PRECISION = 0.8 * 0.4 + 0.2 * 0.1
"""Average precision of 900 outcomes a day: of 180 at 0.8 there are 72 frauds, of 720 at 0.1 there are 18."""


def points(known):
    nothing = {"absolute": 0.0, "squared": 0.0, "quartic": 0.0}
    return [
        nothing | {"score": score, "flagged": score > 0.5, "predictions": n, "mature": n * known, "hits": hits * known}
        for score, n, hits in ((0.1, 720, 18), (0.8, 180, 72))
    ]


def performance(day, place):
    known = place < 340
    return {
        "model_version": 1 + place // 100,
        "day": day,
        "in_training": place < 20,
        "predictions": 1_000 + place,
        "outcomes": 900,
        "mature": 900 if known else 0,
        "mature_share": 1.0 if known else 0.0,
        "metric": "average_precision",
        "quality": 0.7 - place / 3_000 if known else None,
        "quality_low": 0.65 - place / 3_000 if known else None,
        "quality_high": 0.75 - place / 3_000 if known else None,
        "estimated_quality": 0.72 - place / 3_100,
        "estimated_low": 0.66 - place / 3_100,
        "estimated_high": 0.77 - place / 3_100,
        "estimate": "calibrated",
        "p95_latency_ms": 5 + place / 70,
        "as_of": datetime(2026, 7, 1, tzinfo=UTC),
        "points": points(known),
    }


def check(day, place):
    end = day + timedelta(days=1)
    columns = [
        ColumnDrift(
            "features",
            name,
            "number",
            "psi",
            score := (n + place) % 97 / 700,
            0.02,
            0.1,
            0.12,
            score >= 0.12,
            "why",
            day,
            end,
        )
        for n, name in enumerate(COLUMNS)
    ]
    at = datetime(end.year, end.month, end.day, tzinfo=UTC)
    return DriftCheck("payments", 1, day, end, DAYS[0], DAYS[9], at, tuple(columns))


def add_predictions(settings, days):
    moments = [
        datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=n)
        for day, rows in days
        for n in range(rows)
    ]
    times = pa.table({"_time": pa.array(moments, pa.timestamp("us", tz="UTC"))})
    tables.append_small(settings, "payments", "predictions", times.to_pylist(), times.schema)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A home with a year of payments, 60 columns, and checks every week."""
    made = Settings(home=tmp_path_factory.mktemp("browser") / "home", use_cases=ROOT / "data")
    rows = [performance(day, place) for place, day in enumerate(DAYS)]
    tables.replace_rows(made, "payments", "performance", pa.Table.from_pylist(rows, schema=schema()))
    for place in range(20, 366, 7):
        keep_check(made, check(DAYS[place], place))
    add_predictions(made, [(day, 1 + place % 5) for place, day in enumerate(DAYS)])
    reason = "a reason of one very long word: " + "x" * 200
    ledger.record_verdict(made, "payments", verdict_document(reasons=(reason,)))
    model = ModelVersion("payments", 2, "run", "m", "digest", datetime.fromisoformat("2026-01-01"))
    ledger.take_title(
        made, "payments", version=model, after=None, action="crowned", reason="better", by="contender", evidence={}
    )
    report = made.home / "reports" / "payments" / "report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<!doctype html><title>the report</title>", encoding="utf-8")
    return made


def variables(settings, **more):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CONTENDER_", "MLFLOW_"))}
    return clean | {"CONTENDER_HOME": str(settings.home), "CONTENDER_USE_CASES": str(settings.use_cases), **more}


def command(settings, folder, *arguments):
    return subprocess.run(
        [CONTENDER, "report", *arguments],
        cwd=folder,
        env=variables(settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(params=[1280, 400], ids=["wide", "phone"])
def looked_at(request, settings, tmp_path):
    """What a browser makes of the written page at this width, and what it complains of."""
    written = command(settings, tmp_path, "--to", "page.html")
    assert (written.returncode, written.stderr) == (0, "")
    return measure(tmp_path, MEASURING.format(page="page.html", width=request.param))


def test_the_browser_has_nothing_to_complain_of_and_the_page_fits(looked_at):
    found, complaints = looked_at

    assert complaints == []
    assert found["title"] == "Contender: every use case"
    assert found["headings"][0] == "Will this card payment be charged back as fraud?"
    assert found["wide"] <= found["inner"]
    assert found["outside"] == 0
    assert found["smallest"] >= 12


def test_figures_on_the_page_equal_the_tables(looked_at, settings):
    found, _ = looked_at
    table = tables.read_small(settings, "payments", "performance").sort_by("day").to_pylist()
    checks = tables.read_small(settings, "payments", "drift").to_pylist()

    names = ["model_version", "estimated_quality", "estimated_low", "estimated_high"]
    assert [[day, figures] for day, figures, _ in found["days"]] == [
        [str(row["day"]), [row[name] for name in names]] for row in table
    ]
    # 900 outcomes are enough on any day; of 366 days, a point has seven, and stands apart where the version changes.
    firsts = [first for first, _, _ in found["windows"]]
    assert firsts == [
        str(DAYS[first])
        for start, stop in ((0, 20), (20, 100), (100, 200), (200, 300), (300, 340))
        for first in range(start, stop - 6, 7)
    ]
    for _, (_, _, outcomes, quality, *_), _ in found["windows"]:
        assert (outcomes, quality) == (6_300, pytest.approx(PRECISION))
    assert set(found["cells"]) == set(COLUMNS)
    for name, cells in found["cells"].items():
        rows = sorted((row for row in checks if row["column"] == name), key=lambda row: row["check_end"])
        assert cells == [
            f"{row['check_start']}: {'drifted' if row['drifted'] else 'no drift'}, {row['score']:.3f} where 0.120 counts"
            for row in rows
        ]
    bars = [(day, value) for day, value, _ in found["bars"]]
    assert bars[:366] == [(str(day), 1 + place % 5) for place, day in enumerate(DAYS)]
    assert bars[366:] == [(str(row["day"]), row["p95_latency_ms"]) for row in table]
    assert found["facts"]["champion"] == "version 2"
    assert found["facts"]["predictions"] == f"{sum(1 + place % 5 for place in range(366)):,}"
    for value, text in found["values"]:
        assert float(text.strip("%").replace(",", "")) == pytest.approx(value, rel=0.06, abs=0.0006)


def test_days_and_bars_lie_where_the_axis_says(looked_at):
    found, _ = looked_at
    left, right, _, _ = found["field"]
    each = (right - left) / 366

    for place, (_, _, (start, end, _, _)) in enumerate(found["days"]):
        assert start == pytest.approx(left + place * each, abs=1)
        assert end - start == pytest.approx(each, abs=0.5)
    # In one chart, as high as it is much.
    volumes = found["bars"][:366]
    unit = (volumes[4][2][3] - volumes[4][2][2]) / 5
    for _, value, (_, _, top, bottom) in volumes:
        assert bottom - top == pytest.approx(value * unit, abs=1)


def test_the_command_writes_the_dashboard_into_the_home_with_ways_to_the_reports(settings, tmp_path):
    done = command(settings, tmp_path)

    page = settings.home / "reports" / "dashboard.html"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{page}\n", "")
    assert 'href="payments/report.html"' in page.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in page.read_text(encoding="utf-8").lower()


def test_the_command_says_to_programs_where_it_wrote_and_to_people_what_it_lacks(settings, tmp_path):
    (tmp_path / "home" / "lake" / "payments" / "drift" / "_delta_log").mkdir(parents=True)
    (tmp_path / "home" / "lake" / "payments" / "drift" / "_delta_log" / f"{0:020}.json").write_text("nonsense")

    done = command(Settings(home=tmp_path / "home", use_cases=ROOT / "data"), tmp_path, "--json", "--to", "a/b.html")

    assert json.loads(done.stdout) == {"report": str(tmp_path / "a" / "b.html")}
    assert done.returncode == 0
    assert done.stderr.startswith("contender: the dashboard lacks something: payments: ")


class Served:
    """A server of these tests' own."""

    def __init__(self, settings):
        self.port = free_port()
        told = settings.running / "dashboard.json"
        told.unlink(missing_ok=True)
        self.log = settings.home / "dashboard.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.up.dashboard_server"],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=variables(settings, CONTENDER_DASHBOARD_PORT=str(self.port)),
            )
        until = time.monotonic() + PATIENCE_SECONDS
        while not told.is_file():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        assert json.loads(told.read_text()) == {"address": f"http://127.0.0.1:{self.port}"}

    def ask(self, path, method="GET", **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body.decode()

    def say(self, text):
        """What comes back for bytes that need not be a request."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as line:
            line.sendall(text)
            line.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: line.recv(65_536), b"")).decode()


@pytest.fixture(scope="module")
def served(settings):
    made = Served(settings)
    yield made
    made.process.send_signal(signal.SIGTERM)
    assert made.process.wait(timeout=30) == 0
    assert "Traceback" not in made.log.read_text()


def test_the_server_is_in_front_at_once_and_small(served):
    assert served.ask("/health")[::2] == (200, '{"status": "ok"}\n')
    served.ask("/")
    served.ask("/?still")

    assert psutil.Process(served.process.pid).memory_info().rss < 100e6
    assert psutil.Process(served.process.pid).children() == []


def test_the_served_page_fits_the_browser_and_loads_nothing_else(served, tmp_path):
    dom, complaints = browse(tmp_path, f"http://127.0.0.1:{served.port}/")

    assert complaints == []
    assert 'data-use-case="payments"' in dom


def test_the_page_renews_itself_unless_it_is_kept_still(served):
    _, moving, text = served.ask("/")
    _, still, other = served.ask("/?still")

    assert (moving["Refresh"], still.get("Refresh")) == ("60", None)
    assert "keep it still" in text
    assert "let it renew itself" in other


def test_the_page_comes_with_headers_that_let_nothing_in(served):
    _, headers, _ = served.ask("/")

    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]
    assert "http" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Python" not in headers["Server"]


def test_a_page_that_did_not_change_is_neither_made_nor_sent_again_and_one_that_did_is(served, settings):
    _, headers, before = served.ask("/")

    assert served.ask("/", If_None_Match=headers["ETag"])[::2] == (304, "")

    add_predictions(settings, [(DAYS[-1], 3)])
    until = time.monotonic() + PATIENCE_SECONDS
    while (text := served.ask("/")[2]) == before:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert f'data-day="{DAYS[-1]}" data-value="4"' in text
    # Other tests of this home count as it was.
    shutil.rmtree(settings.home / "lake" / "payments" / "predictions")
    add_predictions(settings, [(day, 1 + place % 5) for place, day in enumerate(DAYS)])


def test_what_is_asked_for_without_a_body_has_none(served):
    status, headers, text = served.ask("/", "HEAD")

    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 10_000


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4300", "127.0.0.1.evil.example", "", "[::", "localhost@evil"]
)
def test_under_a_name_that_is_not_ours_nothing_is_answered(served, host):
    for path in ("/", "/health", "/reports/payments/report.html"):
        status, _, text = served.ask(path, Host=host)
        assert (status, text) == (403, "This server answers to localhost only.\n")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:9"])
def test_through_a_tunnel_the_port_may_be_another(served, host):
    assert served.ask("/health", Host=host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "NONSENSE"])
def test_nothing_but_looking_is_allowed(served, method):
    status, headers, _ = served.ask("/", method)

    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_report_is_served_as_it_is_on_disk(served):
    status, headers, text = served.ask("/reports/payments/report.html")

    assert (status, text) == (200, "<!doctype html><title>the report</title>")
    assert headers["Content-Type"].startswith("text/html")
    assert 'href="reports/payments/report.html"' in served.ask("/")[2]


@pytest.mark.parametrize(
    "name",
    [
        "../ledger.db",
        "%2e%2e/ledger.db",
        "..%2fledger.db",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "payments/../../secret.html",
        "payments",
        "payments/",
        "",
        "payments/none.html",
        "payments/link.html",
        "%00.html",
        "%ff.html",
        "a" * 5_000 + ".html",
        "payments/report.html/x",
        "..\\secret.html",
    ],
)
def test_nothing_outside_of_the_reports_is_served(served, settings, name):
    secret = settings.home / "secret.html"
    secret.write_text("secret", encoding="utf-8")
    link = settings.home / "reports" / "payments" / "link.html"
    if not link.is_symlink():
        link.symlink_to(secret)

    status, _, text = served.ask(f"/reports/{name}")

    assert (status, text) == (404, "There is no such report.\n")


@pytest.mark.parametrize(
    "text",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"<script> / HTTP/1.1\r\n\r\n",
        b"\x00\xff\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_without_its_text_or_a_traceback(served, text):
    said = served.say(text)

    assert "Traceback" not in said
    assert "GARBAGE" not in said
    assert "<script" not in said
    assert str(ROOT) not in said
    assert served.ask("/health")[0] == 200


def test_a_page_that_cannot_be_made_is_told_without_a_reason_that_names_this_machine(settings, tmp_path):
    # Without any of the settings' folders being folders, reading ends in an error of ours or of the system.
    home = tmp_path / "home"
    made = Settings(home=home, use_cases=settings.use_cases)
    (home / "run").mkdir(parents=True)
    server = Served(made)
    try:
        (home / "ledger.db").mkdir()
        status, _, text = server.ask("/")
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=30)

    assert status in (200, 503)
    assert str(tmp_path) not in text
    assert "Traceback" not in text


def test_a_port_that_is_taken_is_told_in_one_sentence(served, settings):
    done = subprocess.run(
        [sys.executable, "-m", "flows.up.dashboard_server"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=variables(settings, CONTENDER_DASHBOARD_PORT=str(served.port)),
        timeout=PATIENCE_SECONDS,
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {served.port} cannot be had")
    assert "CONTENDER_DASHBOARD_PORT" in done.stderr
