"""Tables of random names, types, dialects and gaps are read as they were written, or not at all: no cell is another."""

import csv
import gzip
import io
import json
import random
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import reduce
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.contracts.expressions import cells_of
from contender.contracts.sections import Column
from contender.drafting.contract_draft import Draft, draft, write
from contender.errors import UnreadableFile, UsageError
from contender.ingestion import cell_forms, cells, repeats, row_checks
from contender.ingestion.file_format import describe
from contender.ingestion.file_reader import BadRow
from contender.ingestion.staging import declared, fitted, needed, write_rows
from contender.values import KEY, TIME

pytestmark = pytest.mark.slow

AT = datetime(2026, 1, 10, 12, tzinfo=UTC)
GAP = "NA"


@dataclass(frozen=True)
class Form:
    """A way of writing values: what they are, and pairs of a text and what it stands for, as Spark tells it."""

    column: Column
    pairs: Any


def _numbers(write, **form):
    cents = st.integers(-(10**11), 10**11)
    return Form(Column(type="number", **form), cents.map(lambda n: (write(n / 100), n / 100)))


def _english(value):
    return f"{value:,.2f}"


def _german(value):
    return _english(value).translate(str.maketrans(",.", ".,"))


def _times(pattern, write, first=1950, **form):
    start = datetime(first, 1, 1, tzinfo=UTC)
    seconds = st.integers(0, int((AT - start).total_seconds()))
    moments = seconds.map(lambda n: start + timedelta(seconds=n))

    def pair(moment):
        text = write(moment)
        return text, moment

    return Form(Column(type="timestamp", format=pattern, **form), moments.map(pair))


LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co"))
TEXTS = st.text(LETTERS | st.sampled_from(" ,;|\t'\"\n.%"), min_size=1, max_size=12)
FORMS = {
    "plain": _numbers(str),
    "exponent": Form(Column(type="number"), st.floats(-1e300, 1e300).map(lambda x: (repr(x), x))),
    "german": _numbers(_german, decimal=",", thousands="."),
    "comma": _numbers(lambda x: f"{x:.2f}".replace(".", ","), decimal=","),
    "english": _numbers(_english, thousands=","),
    "french": _numbers(lambda x: _german(x).replace(".", "\u202f"), decimal=",", thousands=" "),
    "swiss": _numbers(lambda x: _english(x).replace(",", "'"), thousands="'"),
    "euro": _numbers(lambda x: f"{_german(x)} €", decimal=",", thousands=".", drop=["€"]),
    "account": _numbers(lambda x: f"({-x})" if x < 0 else str(x), negative="(1)"),
    "behind": _numbers(lambda x: f"{_german(-x)}-" if x < 0 else _german(x), thousands=".", negative="1-"),
    "wide": _numbers(lambda x: str(x).translate(str.maketrans("0123456789.-", "０１２３４５６７８９．－"))),
    "percent": _numbers(lambda x: f"{x}%", drop=["%"]),
    "million": Form(
        Column(type="number", factors={"M": 1e6, "k": 1e3}),
        st.tuples(st.integers(-(10**6), 10**6), st.sampled_from([("M", 10**6), ("k", 1000), ("", 1)])).map(
            lambda pair: (f"{pair[0]}{pair[1][0]}", float(pair[0] * pair[1][1]))
        ),
    ),
    "integer": Form(Column(type="integer"), st.integers(-(2**63), 2**63 - 1).map(lambda n: (str(n), n))),
    "float of an integer": Form(Column(type="integer"), st.integers(-(2**50), 2**50).map(lambda n: (f"{n}.0", n))),
    "boolean": Form(
        Column(type="boolean"),
        st.sampled_from([("yes", True), ("NO", False), ("1.0", True), ("nein", False), ("Oui", True), ("f", False)]),
    ),
    "iso": _times(None, lambda t: t.isoformat()),
    "day": _times("dd.MM.yyyy HH:mm:ss", lambda t: f"{t:%d.%m.%Y %H:%M:%S}"),
    "either": _times(["yyyy/MM/dd HH:mm:ss", "dd.MM.yyyy HH:mm:ss"], lambda t: f"{t:%Y/%m/%d %H:%M:%S}"),
    "short year": _times("dd/MM/yy HH:mm:ss", lambda t: f"{t:%d/%m/%y %H:%M:%S}"),
    "month": _times("d MMM yyyy HH:mm:ss", lambda t: f"{t.day} {t:%b %Y %H:%M:%S}"),
    "mail": _times("RFC 2822", lambda t: format_datetime(t)),
    "epoch": _times("epoch s", lambda t: str(int(t.timestamp()))),
    "duration": Form(
        Column(type="number", format="duration"),
        st.integers(0, 10**6).map(lambda s: (f"{s // 3600}:{s // 60 % 60:02}:{s % 60:02}", float(s))),
    ),
    "text": Form(Column(type="text"), TEXTS.map(lambda text: (text, text))),
    "category": Form(
        Column(type="category"), st.sampled_from(["007", "Köln", "1.10", "a b", "é"]).map(lambda t: (t, t))
    ),
}
NAMES = st.text(LETTERS | st.sampled_from(" .,;()[]`\"'?=%_"), min_size=1, max_size=20)


@dataclass
class Table:
    """A table as it was written: per column its name, its form, and the texts with what they stand for."""

    names: list[str]
    forms: list[str]
    rows: list[list[tuple[str, Any] | None]]
    kind: str
    dialect: dict[str, Any] = field(default_factory=dict)


@st.composite
def tables(draw):
    """A key and up to five columns; what is unlike in name but alike in its composed form would be one column."""

    def clean(name):
        return unicodedata.normalize("NFC", name.strip())

    names = draw(st.lists(NAMES.map(clean).filter(bool), min_size=1, max_size=5, unique_by=str.casefold))
    names = [name for name in names if name.casefold() != "id" and name == clean(name)] or ["x"]
    forms = [draw(st.sampled_from(sorted(FORMS))) for _ in names]
    gap = st.integers(0, 9).map(lambda n: n == 0)
    rows = [
        [(f"r{place}", f"r{place}"), *(None if draw(gap) else draw(FORMS[form].pairs) for form in forms)]
        for place in range(draw(st.integers(1, 6)))
    ]
    kind = draw(st.sampled_from(["csv", "csv", "csv", "jsonl", "json", "parquet"]))
    dialect = {
        "delimiter": draw(st.sampled_from(",;\t|")),
        "end": draw(st.sampled_from(["\n", "\r\n"])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        "gzip": draw(st.booleans()),
        "gap": draw(st.sampled_from(["", GAP])),
    }
    return Table(["id", *names], ["text", *forms], rows, kind, dialect)


def written(table: Table) -> bytes:
    """The bytes of the table's file."""
    dialect = table.dialect
    if table.kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        target = io.BytesIO()
        columns = zip(*[[cell and cell[0] for cell in row] for row in table.rows], strict=True)
        pq.write_table(pa.table([pa.array(list(c), pa.string()) for c in columns], names=table.names), target)
        return target.getvalue()
    if table.kind == "csv":
        text = io.StringIO(newline="")
        writer = csv.writer(
            text, delimiter=dialect["delimiter"], lineterminator=dialect["end"], quoting=dialect["quoting"]
        )
        writer.writerow(table.names)
        writer.writerows([[dialect["gap"] if cell is None else cell[0] for cell in row] for row in table.rows])
        content = text.getvalue().encode(dialect["encoding"])
    else:
        objects = [
            {name: _json(form, cell) for name, form, cell in zip(table.names, table.forms, row, strict=True)}
            for row in table.rows
        ]
        lines = "\n".join(map(json.dumps, objects)) if table.kind == "jsonl" else json.dumps(objects, indent=1)
        content = lines.encode()
    return gzip.compress(content) if dialect["gzip"] else content


def _json(form: str, cell: tuple[str, Any] | None) -> Any:
    return cell and (cell[1] if form in ("integer", "exponent") else cell[0])


def landed(table: Table, folder) -> list[tuple[str, str | None, Any]]:
    """Per cell of the staged file its form, its text and what it stands for; none where the file is refused aloud."""
    import pyarrow.parquet as pq

    path = folder / f"table.{table.kind}"
    path.write_bytes(written(table))
    columns = {name: FORMS[form].column for name, form in zip(table.names, table.forms, strict=True)}
    try:
        form = fitted(path, describe(path), columns, table.names).form
    except UnreadableFile:
        return []
    names = {cell: f"c{place}" for place, cell in enumerate(cells_of(columns))}
    _, bad = write_rows(path, form, names, folder / "staged.parquet")
    staged = pq.read_table(folder / "staged.parquet").to_pylist()
    held = {row["_row"] for row in staged} | {row.row_number for row in bad}
    assert held == set(range(1, len(table.rows) + 1)), "each row is there, good or bad"
    return [
        (of, row[names[name]], table.rows[row["_row"] - 1][place])
        for row in staged
        for place, (name, of) in enumerate(zip(table.names, table.forms, strict=True))
    ]


def differing(spark, found) -> list[Any]:
    """The cells whose value is another than what was written; those that are quarantined are none."""
    order = sorted(FORMS)
    rows = [(place, order.index(of), text) for place, (of, text, _) in enumerate(found)]
    frame = spark.createDataFrame(rows, "place int, form int, cell string")
    texts, values = [], []
    for number, of in enumerate(order):
        column = FORMS[of].column
        text, value = cells.read(cells.trimmed(F.col("cell")), column, ["", GAP], AT)
        value = F.unix_micros(value) if column.type == "timestamp" else value
        texts.append(F.when(F.col("form") == number, text))
        values.append(F.when(F.col("form") == number, value.cast("string")))
    answers = frame.select("place", F.coalesce(*texts).alias("text"), F.coalesce(*values).alias("value")).collect()
    wrong = []
    for row in answers:
        of, text, cell = found[row["place"]]
        meant = None if cell is None else cell[1]
        if row["text"] is None:
            # A text of blanks alone, or one that spells a gap, is missing.
            if cell is not None and cell[0].strip(cell_forms.BLANKS) not in ("", GAP):
                wrong.append((of, text, cell, "missing"))
        elif row["value"] is not None and not _same(row["value"], meant):
            wrong.append((of, text, cell, row["value"]))
        elif row["value"] is None:
            wrong.append((of, text, cell, "not read"))
    return wrong


def _same(told: str, meant: Any) -> bool:
    if isinstance(meant, bool):
        return told == str(meant).lower()
    if isinstance(meant, float):
        return float(told) == meant
    if isinstance(meant, datetime):
        return int(told) == round(meant.timestamp() * 1_000_000)
    return told == unicodedata.normalize("NFC", str(meant)).strip(cell_forms.BLANKS)


def check(spark, folder, count: int) -> None:
    """Write and read so many tables, and compare every cell, in one Spark job."""
    found: list[tuple[str, str | None, Any]] = []
    outcomes: Counter[bool] = Counter()

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(tables())
    def write_and_read(table):
        staged = landed(table, folder)
        outcomes[bool(staged)] += 1
        found.extend(staged)

    write_and_read()
    assert outcomes[True] > 0.9 * count, "hardly any is refused"
    assert differing(spark, found) == []


def test_no_cell_of_a_hundred_tables_differs(spark, tmp_path):
    check(spark, tmp_path, 100)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_no_cell_of_two_thousand_tables_differs(spark, tmp_path):
    check(spark, tmp_path, 2000)


ODD = [
    "",
    "n/a",
    "?",
    "-",
    "12 apples",
    "1.234,5",
    "1,234.5",
    "-200",
    "31.02.2024",
    "2024-02-30",
    "24:00",
    "\u200b",
    "1e400",
    "é",
    "e\u0301",
]
"""What stands in a column once in a while although it is not written as the others."""


@st.composite
def drawers(draw):
    """A table of a few hundred rows whose cells are drawn from a few of each form; an odd one here and there."""
    forms = draw(st.lists(st.sampled_from(sorted(FORMS)), min_size=1, max_size=4))
    pools = [[draw(FORMS[form].pairs) for _ in range(draw(st.integers(2, 12)))] for form in forms]
    chance = random.Random(draw(st.integers(0, 2**32)))
    odd = {place: draw(st.sampled_from(ODD)) for place in range(len(forms)) if draw(st.booleans())}
    count, gaps = draw(st.integers(30, 400)), draw(st.sampled_from([0, 0, 0.01, 0.3]))
    keys = [f"r{n}" for n in range(count)]
    for _ in range(draw(st.integers(0, 2))):
        keys[chance.randrange(count)] = keys[chance.randrange(count)]
    rows: list[list[tuple[str, Any] | None]] = [
        [(key, key), *(None if chance.random() < gaps else chance.choice(pool) for pool in pools)] for key in keys
    ]
    for place, text in odd.items():
        for _ in range(draw(st.sampled_from([1, 1, 2, 8]))):
            chance.choice(rows)[place + 1] = (text, text)
    for row in rows:
        row.append((label := chance.choice(["good", "bad"]), label))
    names = [f"{form} {place}" for place, form in enumerate(forms)]
    dialect = {
        **{"delimiter": draw(st.sampled_from(",;\t|")), "end": draw(st.sampled_from(["\n", "\r\n"]))},
        **{"encoding": draw(st.sampled_from(["utf-8", "utf-16"])), "quoting": csv.QUOTE_MINIMAL, "gzip": False},
        "gap": draw(st.sampled_from(["", "", GAP])),
    }
    kind = draw(st.sampled_from(["csv", "csv", "csv", "jsonl", "json", "parquet"]))
    return Table(["id", *names, "label"], ["text", *forms, "text"], rows, kind, dialect)


def drafted(table: Table, folder) -> tuple[Draft, Any, list[BadRow]] | None:
    """The draft for a table's file, and the file as ingest stages it; none where a person has to be asked."""
    folder.mkdir(exist_ok=True)
    path = folder / f"table.{table.kind}"
    path.write_bytes(written(table))
    try:
        found = draft([path], name="random", target="label", key="id", folder=folder)
    except (UsageError, UnreadableFile):
        return None
    contract = Contract.read(write(found, folder))
    columns = declared(contract, "records")
    form = fitted(path, describe(path), columns, needed(contract, "records")).form
    _, bad = write_rows(
        path, form, {cell: contract.stored_names[cell] for cell in cells_of(columns)}, folder / "staged.parquet"
    )
    return found, contract, bad


def refused(spark, contract, folder, at):
    """The rows of a staged file that ingest quarantines, with the reasons, as a frame."""
    columns = contract.stored(declared(contract, "records"))
    key, time = (contract.stored_names[one] if one else None for one in (contract.records.key, contract.records.time))
    checks = row_checks.checks_of(columns, key=key, time=time, at=at, skew=contract.batch.clock_skew)
    staged = spark.read.schema(", ".join(["_file string", "_row bigint", *(f"`{n}` string" for n in columns)])).parquet(
        str(folder / "staged.parquet")
    )
    rows = row_checks.conform(
        staged, columns, checks, contract.records.missing, at, contract.made(declared(contract, "records"))
    )
    named = F.when(F.col(f"`{key}`").isNotNull(), cells.trimmed(F.col(f"_raw.`{key}`")))
    rows = rows.withColumns({KEY: named, TIME: F.col(f"`{time}`") if time else F.timestamp_micros("_row")})
    rows = row_checks.mark_repeated(rows, None, contract.stored(contract.records.columns), key)
    rows = repeats.mark_old_records(rows, row_checks.key_checks(key)[0].reason)
    return rows.where(F.size("_reasons") > 0).select(F.lit(folder.name).alias("table"), "_row", "_reasons")


def check_drafts(spark, folder, count: int, together: int = 25) -> None:
    """Draft so many tables and ingest them: what ingest quarantines is what the draft said, for the same reasons."""
    found: dict[str, Any] = {}

    @settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(drawers())
    def draft_one(table):
        name = f"t{len(found)}"
        found[name] = drafted(table, folder / name), table

    draft_one()
    tried = {name: one for name, (one, _) in found.items() if one}
    assert len(tried) > 0.9 * len(found), "hardly any needs a person"
    reasons: dict[str, Counter[str]] = {name: Counter() for name in tried}
    rows: Counter[str] = Counter()
    names = sorted(tried)
    for start in range(0, len(names), together):
        frames = [
            refused(spark, tried[name][1], folder / name, datetime.now(UTC)) for name in names[start : start + together]
        ]
        for row in reduce(DataFrame.union, frames).collect():
            rows[row["table"]] += 1
            reasons[row["table"]].update(row["_reasons"])
    differing = []
    for name, (one, _, bad) in tried.items():
        told = Counter({finding.reason: finding.rows for finding in one.checked.findings})
        held = reasons[name] + Counter(row.reason for row in bad)
        same = next((reason for reason in held if reason.endswith("the same row came before")), "")
        held.pop(same, None)
        if told != held or one.checked.quarantined != rows[name] + len(bad):
            differing.append((name, told, held, one.checked.quarantined, rows[name], folder / name))
    assert differing == []


def test_a_contract_quarantines_of_its_own_files_what_its_draft_said(spark, tmp_path):
    check_drafts(spark, tmp_path, 12, 12)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_no_contract_of_two_thousand_refuses_more_than_its_draft_said(spark, tmp_path):
    check_drafts(spark, tmp_path, 2000)
