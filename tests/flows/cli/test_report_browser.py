"""The report in a real browser, without a network: nothing fails, nothing overflows, and marks lie where values are."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from contender.contracts.contract import Contract
from contender.evaluation.bootstrap import Contest
from contender.evaluation.evidence import calibration_bins, flip_examples, slice_gain
from contender.evaluation.guardrails import gains_of_slices
from contender.promotion import ledger
from contender.reports.title_page import page_of
from contender.settings import Settings
from contender.values import Decision, Guardrail, Interval, ModelVersion
from tests.contender.verdicts import verdict_document
from tests.flows.browser import measure

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
CONTENDER = Path(sys.executable).with_name("contender")
ROWS = 2_000

# The page itself may run no script: a frame around it looks at it from outside.
MEASURING = """<!doctype html><body style="margin:0"><iframe id="page" src="report.html" style="border:0;width:{width}px;
height:900px"></iframe><pre id="found"></pre><script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const box = (one) => {{ const b = one.getBoundingClientRect(); return [b.left, b.right, b.top, b.bottom]; }};
  const rows = [...page.querySelectorAll(".row")].map((row) => ({{
    plot: box(row.querySelector(".plot")),
    said: row.querySelector(".plot > svg").getAttribute("aria-label"),
    parts: [...row.children].filter((one) => one.textContent.trim() || one.matches(".plot")).map(box),
    marks: [...row.querySelectorAll("svg[data-value] > path, line[data-value]")].map((mark) => ({{
      value: mark.dataset.value || mark.parentNode.dataset.value, kind: mark.getAttribute("class"), box: box(mark)}})),
    ticks: [...row.querySelectorAll("text")].map((text) => [text.textContent, ...box(text)]),
  }}));
  document.getElementById("found").textContent = JSON.stringify({{
    wide: root.scrollWidth, inner: root.clientWidth, rows,
    values: [...page.querySelectorAll("data")].map((one) => [Number(one.value), one.textContent]),
    title: page.title, headings: [...page.querySelectorAll("h2")].map((one) => one.textContent),
    smallest: Math.min(...[...page.querySelectorAll("p, td, li, .label, .numbers, dd")].map(
      (one) => parseFloat(page.defaultView.getComputedStyle(one).fontSize))),
  }});
}});
</script>"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder with the page of a use case whose ledger holds three verdicts and two champions, and the documents."""
    folder = tmp_path_factory.mktemp("report")
    settings, contract = Settings(home=folder / "home"), Contract.of("payments", ROOT / "data")
    rng = np.random.default_rng(1)
    odds = rng.normal(size=ROWS) * 2 - 1
    y = (rng.random(ROWS) < 1 / (1 + np.exp(-odds))).astype(int)
    before, now = (1 / (1 + np.exp(-odds - rng.normal(0, noise, ROWS))) for noise in (1.0, 0.3))
    frame = pd.DataFrame({"amount": rng.random(ROWS), "shop": rng.choice(["<b>a</b>", "b"], ROWS)})
    contest = Contest("binary", y, before, now)
    evidence = {
        "calibration": {
            "champion": tuple(calibration_bins("binary", y, before)),
            "challenger": tuple(calibration_bins("binary", y, now)),
        },
        "slice_gains": tuple(
            slice_gain(one.name, one.rows, one.gains, contract.judging.slice_margin)
            for one in gains_of_slices(contest, contract.judging, {"shop": frame["shop"].to_numpy()}, rng, 200)
        ),
        "flips": flip_examples(
            contest,
            np.array([f"<script>{n}</script>" for n in range(ROWS)]),
            frame,
            ["amount", "shop"],
        ),
    }
    plain = verdict_document(rows=ROWS, guardrails=(Guardrail("roc_auc at least", 0.91, 0.8, True),))
    won = replace(plain, **evidence)
    doubtful = replace(
        won, decision=Decision.INCONCLUSIVE, gain=0.006, interval=Interval(-0.0151, 0.0274), challenger=3
    )
    first = replace(plain, gain=0.67, interval=Interval(0.63, 0.71), against="dummy", challenger=1, champion=None)
    for one in (first, won, doubtful):
        ledger.record_verdict(settings, "payments", one)
    entry = None
    for version in (1, 2):
        trained = pd.Timestamp("2026-01-01").to_pydatetime()
        model = ModelVersion("payments", version, "run", "m", "digest", trained)
        entry = ledger.take_title(
            settings,
            "payments",
            version=model,
            after=entry,
            action="promoted" if entry else "crowned",
            reason="better <i>by far</i>",
            by="contender",
            evidence={},
        )
    kept = ledger.verdicts(settings, "payments")
    entries = ledger.history(settings, "payments")
    moment = pd.Timestamp(entries[-1].at).to_pydatetime() + timedelta(days=2)
    (folder / "report.html").write_text(page_of(kept, entries, contract, now=moment), encoding="utf-8")
    return folder, kept


@pytest.fixture(params=[1280, 400], ids=["wide", "phone"])
def looked_at(request, recorded):
    """What a browser makes of the page at this width, what it complains of, and the documents."""
    folder, documents = recorded
    return *measure(folder, MEASURING.format(width=request.param)), documents


def test_the_browser_has_nothing_to_complain_of(looked_at):
    found, complaints, _ = looked_at

    assert complaints == []
    assert found["title"] == "payments: the title and its evidence"
    assert found["headings"][:3] == ["Champions", "The last verdicts", "The newest verdict: INCONCLUSIVE"]


def test_the_page_is_no_wider_than_the_screen_and_its_text_is_large_enough(looked_at):
    found, _, _ = looked_at

    assert found["wide"] <= found["inner"]
    assert found["smallest"] >= 13


def test_figures_on_the_page_equal_the_documents(looked_at):
    found, _, documents = looked_at
    shown = {value for value, _ in found["values"]}
    newest = documents[0]

    assert {one.gain for one in documents} <= shown
    assert {end for one in documents for end in (one.interval.low, one.interval.high)} <= shown
    assert {end for one in newest.slice_gains for end in (one.gain, one.low, one.high)} <= shown
    assert {value for bins in newest.calibration.values() for one in bins for value in vars(one).values()} <= shown
    assert {newest.flips.to_wrong_share, newest.flips.to_right_share} <= shown
    for value, text in found["values"]:
        read = float(text.strip("%").replace(",", "")) / (100 if text.endswith("%") else 1)
        assert read == pytest.approx(value, rel=0.01, abs=0.0001)


def test_marks_and_intervals_lie_where_the_axis_says(looked_at):
    found, _, documents = looked_at
    # The axis of a figure is the next row with ticks below it.
    told = [row for row in found["rows"] if row["said"] and "gain" in row["said"]]
    assert len(told) == len(documents) + 2
    for row in told:
        ticks = next(below["ticks"] for below in found["rows"][found["rows"].index(row) :] if below["ticks"])
        (first, left, right, *_), *_, (last, other_left, other_right, *_) = ticks
        start, end = (left + right) / 2, (other_left + other_right) / 2
        each = (end - start) / (float(last) - float(first))
        for mark in row["marks"]:
            middle = (mark["box"][0] + mark["box"][1]) / 2
            assert middle == pytest.approx(start + (float(mark["value"]) - float(first)) * each, abs=2)
            assert row["plot"][0] - 1 <= middle <= row["plot"][1] + 1


def test_nothing_in_a_figure_overlaps(looked_at):
    found, _, _ = looked_at

    def overlap(one, other):
        across = min(one[1], other[1]) - max(one[0], other[0])
        return across > 1 and min(one[3], other[3]) - max(one[2], other[2]) > 1

    for row in found["rows"]:
        labels = [tick[1:] for tick in row["ticks"]]
        for boxes in (row["parts"], labels):
            assert not [pair for n, one in enumerate(boxes) for pair in boxes[n + 1 :] if overlap(one, pair)]


def command(folder, *arguments):
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("CONTENDER_", "MLFLOW_"))}
    variables |= {"CONTENDER_HOME": str(folder / "home"), "CONTENDER_USE_CASES": str(ROOT / "data")}
    return subprocess.run(
        [CONTENDER, "report", *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_writes_the_page_into_the_home_and_prints_its_path(tmp_path):
    done = command(tmp_path, "payments")

    page = tmp_path / "home" / "reports" / "payments" / "report.html"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{page}\n", "")
    assert "Nobody has held the title of payments yet" in page.read_text(encoding="utf-8")


def test_the_command_writes_where_it_is_told_and_says_so_to_programs(tmp_path):
    done = command(tmp_path, "payments", "--json", "--to", "pages/mine.html")

    assert json.loads(done.stdout) == {"report": str(tmp_path / "pages" / "mine.html")}
    assert (tmp_path / "pages" / "mine.html").is_file()


def test_a_file_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()

    done = command(tmp_path, "payments", "--to", "file/report.html")

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("contender: ")
    assert "name another file with --to" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_the_registrys_answer_the_page_is_written_and_the_gap_is_told(recorded):
    folder, _ = recorded

    done = command(folder, "payments", "--to", "without.html")

    assert done.returncode == 0, done.stderr
    assert "the report lacks the champion's family" in done.stderr
    assert "not recorded" in (folder / "without.html").read_text(encoding="utf-8")
