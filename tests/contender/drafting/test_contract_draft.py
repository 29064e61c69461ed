import json
import math
import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contender.contracts.contract import Contract
from contender.drafting import landed_rows
from contender.drafting.column_types import guess_column
from contender.drafting.contract_draft import Draft, draft, write
from contender.drafting.expressions import columns_of
from contender.drafting.file_names import pattern_of
from contender.drafting.landed_rows import Texts
from contender.drafting.measures import tidy
from contender.errors import UsageError
from contender.ingestion import cell_forms
from contender.ingestion.file_format import describe
from contender.ingestion.file_reader import read_chunks

DATA = Path(__file__).parents[4] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real data sets are not in {DATA}")


def rows_of(count: int = 1200, seed: int = 1) -> list[dict]:
    draw = random.Random(seed)
    start = datetime.fromisoformat("2024-01-01T00:00:00")
    return [
        {
            "order_id": f"o{number:06}",
            "ordered_at": (start + timedelta(hours=number)).isoformat(),
            "price": round(draw.lognormvariate(3, 1), 2),
            "items": draw.randint(1, 30),
            "country": draw.choice(["DE", "FR", "IT"]),
            "express": draw.choice(["true", "false"]),
            "late": int(draw.random() < 0.3),
            "size": draw.choice(["S", "M", "L"]),
            "days": round(draw.gammavariate(2, 3), 1),
        }
        for number in range(count)
    ]


def landed(folder: Path, rows: list[dict], name: str = "orders.csv", columns=None) -> Path:
    columns = columns or list(rows[0])
    path = folder / name
    if name.endswith(".csv"):
        lines = [",".join(columns)] + [",".join(str(row[column]) for column in columns) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps({column: row[column] for column in columns}) + "\n" for row in rows))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({column: [row[column] for row in rows] for column in columns}), path)
    return path


def parsed(drafted: Draft, folder: Path) -> Contract:
    return Contract.read(write(drafted, folder))


def drafted_orders(tmp_path: Path, target: str, **options) -> Contract:
    path = landed(tmp_path, rows_of())
    return parsed(draft([path], name="orders", target=target, folder=tmp_path, **options), tmp_path)


@pytest.mark.parametrize("name", ["orders.csv", "orders.jsonl", "orders.parquet"])
def test_a_draft_is_a_contract_that_can_be_read(tmp_path, name):
    path = landed(tmp_path, rows_of(), name)
    contract = parsed(draft([path], name="orders", target="late", folder=tmp_path), tmp_path)
    assert contract.kind == "binary"
    assert (contract.records.key, contract.records.time) == ("order_id", "ordered_at")
    assert contract.records.landing == tmp_path.as_posix()
    types = {column: settings.type for column, settings in contract.records.columns.items()}
    assert types == {
        "order_id": "text",
        "ordered_at": "timestamp",
        "price": "number",
        "items": "integer",
        "country": "category",
        "express": "boolean",
        "size": "category",
        "days": "number",
    }
    assert list(contract.outcome.columns) == ["late"]
    required = {name for name, column in contract.records.columns.items() if column.required}
    assert required == {"order_id", "ordered_at"}
    assert not any(column.values for column in contract.records.columns.values())
    assert contract.judging.metric == "roc_auc"
    assert 0 < contract.scoring.warning < contract.scoring.critical < 1
    assert (tmp_path / "orders" / "README.md").read_text().count("|") > 20


@pytest.mark.parametrize(
    ("target", "kind", "metric", "columns"),
    [
        pytest.param("late", "binary", "roc_auc", ["late"], id="zero and one"),
        pytest.param("days > 25", "binary", "average_precision", ["days"], id="a rare condition"),
        pytest.param("days", "regression", "rmse", ["days"], id="a number"),
        pytest.param("size", "multiclass", "log_loss", ["size"], id="classes"),
        pytest.param("days / items", "regression", "rmse", ["days", "items"], id="an expression over two"),
        pytest.param("\"days\" > 3 and size = 'M'", "binary", "roc_auc", ["days", "size"], id="quoted name and text"),
        pytest.param(
            "ln(1 + days) > greatest(items, 2)", "binary", "average_precision", ["days", "items"], id="functions"
        ),
        pytest.param("express", "binary", "roc_auc", ["express"], id="true and false"),
    ],
)
def test_the_kind_and_the_judge_follow_from_the_target(tmp_path, target, kind, metric, columns):
    contract = drafted_orders(tmp_path, target)
    assert (contract.kind, contract.judging.metric) == (kind, metric)
    assert sorted(contract.outcome.columns) == sorted(columns)
    assert not set(contract.outcome.columns) & set(contract.records.columns)


def test_two_texts_become_a_condition_on_the_rarer(tmp_path):
    rows = [row | {"state": "stayed" if number % 4 else "it's left"} for number, row in enumerate(rows_of())]
    drafted = draft([landed(tmp_path, rows)], name="orders", target="state", folder=tmp_path)
    assert parsed(drafted, tmp_path).outcome.target == "state = 'it''s left'"
    assert next(guess for guess in drafted.guesses if guess.what == "kind").check


def test_the_unit_of_a_gain_is_the_target_s(tmp_path):
    rows = [row | {"days": row["days"] * 1000} for row in rows_of()]
    contract = parsed(draft([landed(tmp_path, rows)], name="orders", target="days", folder=tmp_path), tmp_path)
    assert 20 < contract.judging.min_gain < 80
    assert contract.judging.slice_margin > 500
    assert contract.scoring.warning > 5000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"target": "lat"}, "did you mean 'late'", id="nearest column"),
        pytest.param({"target": "dais > 3"}, "did you mean 'days'", id="nearest column within an expression"),
        pytest.param({"target": "1 > 0"}, "uses no column", id="no column"),
        pytest.param({"target": "late", "key": "country"}, "repeats", id="key repeats"),
        pytest.param({"target": "late", "key": "order"}, "did you mean 'order_id'", id="key is not there"),
        pytest.param({"target": "late", "time": "country"}, "no time", id="no time"),
        pytest.param({"target": "ordered_at"}, "is a time", id="a time as target"),
        pytest.param({"target": "order_id"}, "different texts", id="a target of names"),
        pytest.param({"target": "days > 10000"}, "every row", id="constant"),
        pytest.param({"target": "late", "name": "My-Orders"}, "cannot name", id="name"),
        pytest.param({"target": "late", "lookups": ["x=none.csv:country"]}, "no file", id="no look-up file"),
        pytest.param({"target": "late", "lookups": ["x"]}, "NAME=FILE:KEY", id="not a look-up"),
        pytest.param({"target": "late", "files": [Path("none.csv")]}, "no file none.csv", id="no file"),
    ],
)
def test_what_cannot_be_guessed_is_said_in_one_sentence(tmp_path, options, says):
    options = {"files": [landed(tmp_path, rows_of(300))], "name": "orders", "folder": tmp_path} | options
    with pytest.raises(UsageError, match=says) as refused:
        draft(options.pop("files"), **options)
    assert "\n" not in str(refused.value)


def test_a_file_without_names_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,3\n4,5,6\n")
    with pytest.raises(UsageError, match="begins with what looks like values .*--no-header"):
        draft([tmp_path / "a.csv"], name="orders", target="3", folder=tmp_path)


def test_a_first_row_of_words_and_numbers_is_no_header(tmp_path):
    work = ["Private", "State", "Private", "Self"]
    lines = [f"{20 + n % 60},{work[n % 4]},{n * 37},{['yes', 'no'][n % 2]}" for n in range(300)]
    (tmp_path / "a.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(
        UsageError, match=r"there is column1, column2, column3, column4.*have no row of names.*--header"
    ):
        draft([tmp_path / "a.csv"], name="orders", target="c4", folder=tmp_path)


def test_outcomes_and_lookups_are_tied_by_key(tmp_path):
    rows = rows_of()
    inputs = ["order_id", "ordered_at", "price", "country"]
    halves = {"orders-01.csv": rows[:600], "orders-02.csv": rows[600:]}
    records = [landed(tmp_path, half, name, inputs) for name, half in halves.items()]
    outcomes = [landed(tmp_path, rows, "outcomes-01.csv", ["order_id", "late", "days"])]
    facts = [{"country": name, "hour": hour, "rain": hour / 7} for name in ("DE", "FR") for hour in range(24)]
    landed(tmp_path, facts, "facts.csv")
    drafted = draft(
        records,
        name="orders",
        target="days > 8",
        outcomes=outcomes,
        folder=tmp_path,
        lookups=["facts=facts.csv:country,hour=greatest(hour(ordered_at), 0)"],
    )
    contract = parsed(drafted, tmp_path)
    assert (contract.records.files, contract.outcome.files) == ("orders-*.csv", "outcomes-*.csv")
    assert contract.records.key == "order_id"
    assert contract.lookups["facts"].key == {"country": "country", "hour": "greatest(hour(ordered_at), 0)"}
    assert contract.lookups["facts"].file == "facts.csv"
    with pytest.raises(UsageError, match="no column of the look-up"):
        draft(records, name="orders", target="late", outcomes=outcomes, folder=tmp_path, lookups=["f=facts.csv:price"])
    alone = [landed(tmp_path, rows, "later-01.csv", ["late", "days"])]
    with pytest.raises(UsageError, match="needs a person"):
        draft(records, name="orders", target="late", outcomes=alone, folder=tmp_path)


@pytest.mark.parametrize(
    ("ours", "theirs", "key", "column", "made"),
    [
        pytest.param("{}", "{:06}", None, "Kunde", None, id="another name, and zeros before a number"),
        pytest.param("{}", "{}.0", "nr=Kunde", "Kunde", None, id="told, and as a fraction"),
        pytest.param("{:06}", "{}", None, "Kunde_padded", "lpad(Kunde, 6, '0')", id="zeros lost on the way"),
        pytest.param("K-{}", "K-{}", "nr = Kunde", "Kunde", None, id="told, with blanks"),
    ],
)
def test_outcomes_may_call_and_write_the_key_otherwise(tmp_path, ours, theirs, key, column, made):
    draw = random.Random(3)
    rows = [{"nr": ours.format(n + 1), "x": draw.random(), "shop": "abc"[n % 3]} for n in range(400)]
    known = [{"Kunde": theirs.format(n + 1), "late": int(rows[n]["x"] > 0.7)} for n in range(0, 400, 2)]
    files = [landed(tmp_path, rows, "r.csv")], [landed(tmp_path, known, "late.csv")]

    drafted = draft(files[0], outcomes=files[1], name="orders", target="late", key=key, folder=tmp_path)

    contract = parsed(drafted, tmp_path)
    assert (contract.records.key, contract.outcome_key) == ("nr", column)
    assert contract.outcome.columns[column].expression == made
    assert "100% of the outcomes name a record" in (tmp_path / "orders" / "contract.toml").read_text()
    assert contract.records.columns["x"].exclude is not None


def test_an_outcomes_column_that_is_not_there_is_no_key(tmp_path):
    files = (
        [landed(tmp_path, rows_of(60))],
        [landed(tmp_path, [{"who": f"x{n}", "late": n % 2} for n in range(60)], "l.csv")],
    )
    with pytest.raises(UsageError, match="'whom' is no column of the outcomes; did you mean 'who'"):
        draft(files[0], outcomes=files[1], name="orders", target="late", key="order_id=whom", folder=tmp_path)
    with pytest.raises(UsageError, match=r"none of theirs holds its values.*Name it with --key 'order_id=COLUMN'"):
        draft(files[0], outcomes=files[1], name="orders", target="late", key="order_id", folder=tmp_path)


def test_odd_names_and_values_survive_as_toml(tmp_path):
    odd = ['say "hi"', "two\nlines", "back\\slash", "größe", "# no comment"]
    rows = [{"a.b": odd[n % 5], 'c"d': n % 7, "größe": n % 3, "y": n % 2} for n in range(1200)]
    contract = parsed(draft([landed(tmp_path, rows, "o.jsonl")], name="orders", target="y", folder=tmp_path), tmp_path)
    assert contract.records.columns["a.b"].type == "category"
    assert set(contract.records.columns) == {"a.b", 'c"d', "größe"}


def test_an_existing_contract_is_not_overwritten(tmp_path):
    drafted = draft([landed(tmp_path, rows_of())], name="orders", target="late", folder=tmp_path)
    path = write(drafted, tmp_path)
    with pytest.raises(UsageError, match="already"):
        write(drafted, tmp_path)
    assert write(drafted, tmp_path, overwrite=True) == path


def test_what_stood_for_missing_is_listed_and_not_required(tmp_path):
    rows = [row | ({"price": "NA", "items": ""} if number % 50 == 0 else {}) for number, row in enumerate(rows_of())]
    contract = parsed(draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path), tmp_path)
    assert contract.records.missing == ("", "NA")
    assert contract.records.columns["price"].type == "number"
    assert not contract.records.columns["price"].required


def test_without_key_and_time_both_are_left_out(tmp_path):
    path = landed(tmp_path, rows_of(), columns=["price", "country", "late"])
    drafted = draft([path], name="orders", target="late", folder=tmp_path)
    contract = parsed(drafted, tmp_path)
    assert (contract.records.key, contract.records.time, contract.judging.newest) == (None, None, 0.2)
    assert contract.outcome.known_after == timedelta(0)


@pytest.mark.parametrize(
    ("values", "kind", "pattern"),
    [
        pytest.param(["1", "2", "-3"], "integer", None, id="integers"),
        pytest.param(["1.5", "2", "1e3", "NaN"], "number", None, id="numbers"),
        pytest.param(["yes", "no", "yes"], "boolean", None, id="yes and no"),
        pytest.param(["y", "n", "y"], "boolean", None, id="two letters of one language"),
        pytest.param(["s", "y", "f"] * 400 + ["g"], "category", None, id="letters that are codes"),
        pytest.param(["s", "y"] * 400, "category", None, id="two letters that both would be true"),
        pytest.param(["t", "f"] * 400 + ["x"], "category", None, id="two letters and a third"),
        pytest.param(["00123", "00124", "123"], "text", None, id="leading zeros are names"),
        pytest.param(["2024-01-31", "2024-02-01"], "timestamp", None, id="ISO date"),
        pytest.param(["2024-01-31T10:00:00.5Z", "2024-01-31 10:00:00+02:00"], "timestamp", None, id="ISO time"),
        pytest.param(["31/01/2024 23:59", "01/02/2024 00:00"], "timestamp", "dd/MM/yyyy HH:mm", id="day first"),
        pytest.param(["01/31/2024", "02/01/2024"], "timestamp", "MM/dd/yyyy", id="month first"),
        pytest.param(["1/31/2024", "12/1/2024"], "timestamp", "M/d/yyyy", id="month first, not padded"),
        pytest.param(["31.01.2024 10:00:00"], "timestamp", "dd.MM.yyyy HH:mm:ss", id="points"),
        pytest.param(["a", "b", "a", "b"], "category", None, id="categories repeat"),
        pytest.param([f"name {number}" for number in range(300)], "text", None, id="names do not"),
        pytest.param([None, None, ""], "text", None, id="nothing at all"),
        pytest.param(["1"] * 999 + ["broken"], "integer", None, id="one broken value"),
    ],
)
def test_a_column_s_type_follows_from_its_values(values, kind, pattern):
    guess = guess_column("x", Texts.of(values))
    assert (guess.type, guess.settings.get("format")) == (kind, pattern)


def test_ranges_are_wide_and_tidy():
    assert tidy(397, up=True) == 400
    assert tidy(-0.0234, up=False) == -0.03
    assert tidy(math.inf, up=True) == tidy(1.2e308, up=True) == sys.float_info.max


@pytest.mark.parametrize(
    ("names", "others", "pattern"),
    [
        pytest.param(["f-2013-01.csv.gz", "f-2013-02.csv.gz"], ["o-2013-01.csv.gz"], "f-*.csv.gz", id="by month"),
        pytest.param(["a1.csv", "a2.csv"], [], "a*.csv", id="numbered"),
        pytest.param(["a.csv"], [], "a*.csv", id="one file"),
        pytest.param(["a.csv"], ["ab.csv"], "a.csv", id="one file beside another"),
        pytest.param(["d-2013-1.csv", "d-2013-2.csv"], ["d-outcomes.csv"], "d-2013-*.csv", id="stricter"),
    ],
)
def test_a_pattern_matches_later_files_and_no_others(names, others, pattern):
    assert pattern_of([Path(name) for name in names], [Path(name) for name in others]) == pattern


def test_files_that_no_pattern_tells_apart_are_refused():
    with pytest.raises(UsageError, match="rename the files"):
        pattern_of([Path("a.csv"), Path("c.csv")], [Path("b.csv")])


def test_text_and_functions_are_no_columns():
    expression = "CASE WHEN Days > 3 AND size IN ('late', 'L') THEN 1 ELSE 0 END"
    assert columns_of(expression, ["days", "size", "late"], "x") == ("days", "size")


@needs_data
def test_flights_are_drafted_from_the_files_alone(tmp_path):
    files = DATA / "flights"
    drafted = draft(
        sorted(files.glob("flights-*")),
        name="flights",
        target="arr_delay > 15",
        outcomes=sorted(files.glob("outcomes-*")),
        key="flight_id",
        time="scheduled_at",
        folder=tmp_path,
        lookups=[
            f"planes={files / 'planes.csv.gz'}:tailnum",
            "weather=weather.csv.gz:origin,year=year(scheduled_at),month=month(scheduled_at),day=day(scheduled_at),"
            "hour=hour(scheduled_at)",
        ],
    )
    contract = parsed(drafted, tmp_path)
    assert (contract.kind, contract.judging.metric) == ("binary", "roc_auc")
    assert (contract.records.files, contract.outcome.files) == ("flights-*.csv.gz", "outcomes-*.csv.gz")
    assert contract.records.columns["tailnum"].type == "category"
    assert contract.records.columns["dest"].values is None
    assert contract.lookups["weather"].key["hour"] == "hour(scheduled_at)"
    assert not any(column.exclude for column in contract.records.columns.values())


@needs_data
@pytest.mark.parametrize("given", [{"key": "instant", "time": "observed_at"}, {}], ids=["told", "guessed"])
def test_bikes_are_drafted_without_the_columns_that_leak(tmp_path, given):
    files = sorted((DATA / "bikes").glob("bikes-*"))
    contract = parsed(draft(files, name="bikes", target="cnt", folder=tmp_path, **given), tmp_path)
    assert contract.kind == "regression"
    assert (contract.records.key, contract.records.time) == ("instant", "observed_at")
    assert {name for name, column in contract.records.columns.items() if column.exclude} == {"casual", "registered"}
    assert contract.records.columns["instant"].max is None


def column_of(values: list[str | None], **hints):
    guess = guess_column("x", Texts.of(values))
    return guess.type, dict(guess.settings)


@pytest.mark.parametrize(
    ("values", "kind", "settings"),
    [
        pytest.param(["22.026,47", "5,714", "1.644"], "number", {"thousands": "."}, id="German"),
        pytest.param(["22,026.47", "5.714", "1,644"], "number", {"thousands": ","}, id="American"),
        pytest.param(["1 234,5", "17,25", "3 000"], "number", {"decimal": ",", "thousands": " "}, id="French"),
        pytest.param(["1'234.50", "17.25", "912"], "number", {"thousands": "'"}, id="Swiss"),
        pytest.param(
            ["837", "12", "511", "1.644", "2.001", "3.020"], "integer", {"thousands": "."}, id="all above 999"
        ),
        pytest.param(["36%", "4%", "91%"], "integer", {"drop": ["%"]}, id="percent"),
        pytest.param(["€ 6.782,55", "€ 12,00", "€ 1.000,10"], "number", {"thousands": ".", "drop": ["€"]}, id="euro"),
        pytest.param([f"{n} kg" for n in range(4, 40)], "integer", {"drop": ["kg"]}, id="one unit"),
        pytest.param(["19M", "201k", "8.7M"], "number", {"factors": {"M": 1e6, "k": 1e3}}, id="factors"),
        pytest.param(
            [f"{n} kg" for n in range(9)] + [f"{n} g" for n in range(9)], "text", {}, id="two units stay text"
        ),
        pytest.param(["1.5", "2,5", "3.25", "4,75"] * 9, "category", {}, id="two decimal signs stay text"),
        pytest.param(["ja", "Nein", "JA"], "boolean", {}, id="German yes"),
        pytest.param(["Yes", "no ", "Y", "TRUE", "f"], "boolean", {}, id="yes in many spellings"),
        pytest.param(["9223372036854775808", "9223372036854775809"] * 2, "text", {}, id="beyond 64 bits"),
        pytest.param(["2024-W05", "2023-W52"], "timestamp", {"format": "ISO week"}, id="ISO week"),
        pytest.param(["07-Jan-18", "31-Dec-17"], "timestamp", {"format": "dd-MMM-yy"}, id="month names"),
        pytest.param(["04/31/96"], "category", {}, id="no such day"),
        pytest.param(["1:02:03", "0:59:59"], "number", {"format": "duration"}, id="lengths"),
        pytest.param(
            ["58:40", "1:02:03", "7:15"], "number", {"format": "duration"}, id="lengths below and above an hour"
        ),
        pytest.param(["a" * 90, "b", "c"] * 8, "category", {}, id="few long names that come again"),
    ],
)
def test_numbers_and_times_are_read_as_people_write_them(values, kind, settings):
    assert column_of(values) == (kind, settings)


def test_dates_of_both_orders_in_one_column_are_no_times():
    assert column_of(["25/01/2024", "01/25/2024", "03/04/2024"] * 5)[0] != "timestamp"


def test_a_number_that_stands_for_nothing_is_missing_by_evidence(tmp_path):
    rows = [row | {"items": -200 if n % 9 == 0 else row["items"]} for n, row in enumerate(rows_of())]
    drafted = draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path)
    assert parsed(drafted, tmp_path).records.columns["items"].missing == ("-200",)
    assert drafted.checked.quarantined == 0


def test_what_only_the_end_of_a_file_tells_is_in_the_draft(tmp_path):
    rows = [row | {"price": 0 if n < 20_500 else row["price"]} for n, row in enumerate(rows_of(21_000))]
    drafted = draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path)
    assert parsed(drafted, tmp_path).records.columns["price"].type == "number"
    assert drafted.checked.quarantined == 0


def test_a_row_of_totals_does_not_stretch_a_range_and_is_told(tmp_path):
    rows = rows_of()
    rows.append(rows[0] | {"order_id": "total", "items": 99_999_999})
    drafted = draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path)
    assert drafted.checked.quarantined == 1
    assert "above" in drafted.checked.findings[0].reason


def test_a_long_tail_is_within_its_limits_and_a_leap_is_not(tmp_path):
    rows = [row | {"items": n % 90} for n, row in enumerate(rows_of(6_000))]
    for place, far in enumerate([200, 900, 4_000, 20_000]):
        rows[place * 1_000]["items"] = far
    drafted = draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path)
    assert drafted.checked.quarantined == 0
    rows[5_500]["items"] = 900_000_000
    drafted = draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path)
    assert drafted.checked.quarantined == 1
    assert "'900000000'" in str(drafted.checked.findings[0])


def test_a_slip_in_the_target_neither_counts_nor_says_what_a_gain_is(tmp_path):
    rows = [row | {"days": 3 + n % 11 / 10} for n, row in enumerate(rows_of())]
    rows[700]["days"] = 600_000_000
    drafted = draft([landed(tmp_path, rows)], name="orders", target="days", folder=tmp_path)
    assert drafted.checked.quarantined == 1
    assert parsed(drafted, tmp_path).judging.min_gain == pytest.approx(0.0032, abs=0.0002)


def test_a_unit_without_its_number_is_missing(tmp_path):
    rows = [row | {"items": f"{row['items']} bhp"} for row in rows_of()]
    rows[5]["items"] = "bhp"
    drafted = draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path)
    assert drafted.checked.quarantined == 0
    assert parsed(drafted, tmp_path).records.columns["items"].missing == ("bhp",)


def test_words_are_learnt_from_and_codes_are_not(tmp_path):
    draw = random.Random(5)
    said = ["came late again", "all is well", "a box was torn", "thank you so much"]
    rows = [
        row | {"note": f"{draw.choice(said)} {n}", "serial": f"A-{n}/{draw.randint(1, 9)}"}
        for n, row in enumerate(rows_of())
    ]
    contract = parsed(draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path), tmp_path)
    assert contract.records.columns["note"].words
    assert not contract.records.columns["serial"].words
    kinds = {column.name: column.kind for column in contract.model_columns}
    assert (kinds["note"], "serial" in kinds) == ("words", False)


def test_a_row_number_is_the_last_choice_of_a_key(tmp_path):
    rows = [{"RowNumber": n + 1, "CustomerId": 15_634_602 + 7 * n} | row for n, row in enumerate(rows_of(600))]
    rows = [{name: value for name, value in row.items() if name != "order_id"} for row in rows]
    contract = parsed(draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path), tmp_path)
    assert contract.records.key == "CustomerId"
    assert contract.records.columns["RowNumber"].exclude


def test_few_rows_that_judge_leave_room_for_luck(tmp_path):
    rows = [row | {"size": "SML"[n % 3]} for n, row in enumerate(rows_of(300))]
    contract = parsed(draft([landed(tmp_path, rows)], name="orders", target="size", folder=tmp_path), tmp_path)
    assert contract.judging.thresholds["accuracy"].min == pytest.approx(0.21)


def test_of_times_alike_the_first_is_taken(tmp_path):
    draw = random.Random(2)
    start = datetime(2024, 3, 10, tzinfo=UTC)
    rows = [
        {
            "pickup": f"{(t := start + timedelta(minutes=draw.randint(0, 90_000))):%Y-%m-%d %H:%M:%S}",
            "dropoff": f"{t + timedelta(seconds=draw.randint(100, 4_000)):%Y-%m-%d %H:%M:%S}",
            "late": n % 2,
        }
        for n in range(900)
    ]
    contract = parsed(draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path), tmp_path)
    assert contract.records.time == "pickup"


@pytest.mark.parametrize(
    ("date", "clock", "joined"),
    [
        pytest.param("Date", "Start Time", True, id="one word"),
        pytest.param("Order Date", "Order Time", True, id="a shared word"),
        pytest.param("Start Date", "Last Login Time", False, id="of two things"),
    ],
)
def test_a_date_takes_only_a_time_of_day_of_its_own(tmp_path, date, clock, joined):
    start = datetime(2024, 3, 10, tzinfo=UTC)
    rows = [
        {date: f"{t:%Y-%m-%d}", clock: f"{t:%H:%M}", "v": n % 17, "late": n % 2}
        for n, t in enumerate(start + timedelta(hours=n) for n in range(900))
    ]
    contract = parsed(draft([landed(tmp_path, rows)], name="orders", target="late", folder=tmp_path), tmp_path)
    assert (contract.records.time == date) is not joined


def test_a_target_is_a_header_s_cell_before_it_is_an_expression(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"C6H6(GT)": n % 41 / 2, "T": n % 7}) + "\n" for n in range(500))
    )
    name = describe(tmp_path / "a.jsonl").header[0]
    contract = parsed(draft([tmp_path / "a.jsonl"], name="a", target=name, folder=tmp_path), tmp_path)
    assert (contract.outcome.target, contract.kind) == (name, "regression")


def test_a_text_compared_with_a_boolean_column_keeps_it_a_text(tmp_path):
    rows = [row | {"y": "yes" if n % 3 else "no"} for n, row in enumerate(rows_of())]
    contract = parsed(draft([landed(tmp_path, rows)], name="orders", target="y = 'yes'", folder=tmp_path), tmp_path)
    assert (contract.kind, contract.outcome.columns["y"].type) == ("binary", "category")


def test_a_birth_date_is_no_time_and_two_columns_make_one(tmp_path):
    start = datetime(2024, 3, 10, 6, tzinfo=UTC)
    rows = [
        {
            "Date": f"{t:%d/%m/%Y}",
            "Clock": f"{t:%H.%M.%S}",
            "birth_date": f"{1950 + n % 50}-02-03",
            "v": n % 17,
            "y": n % 2,
        }
        for n, t in enumerate(start + timedelta(hours=n) for n in range(900))
    ]
    contract = parsed(draft([landed(tmp_path, rows)], name="air", target="y", folder=tmp_path), tmp_path)
    made = contract.records.columns[contract.records.time]
    assert (made.expression, made.format) == ("Date || ' ' || Clock", ("dd/MM/yyyy HH.mm.ss",))
    del rows[0]["Date"]
    only = [{"birth_date": row["birth_date"], "v": row["v"], "y": row["y"]} for row in rows]
    contract = parsed(draft([landed(tmp_path, only, "b.csv")], name="air2", target="y", folder=tmp_path), tmp_path)
    assert contract.records.time is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        pytest.param('a,b\n1,x\n2," y"\n', True, id="quoted cells"),
        pytest.param('a,b\n1,"x ""y"" z"\n2,y\n', False, id="doubled quotes"),
        pytest.param('a,b\n1,"two\nlines"\n2,y\n', False, id="a line within quotes"),
        pytest.param("a,b\n1,\u00a0x \n2,ü\n", True, id="blanks of other scripts"),
        pytest.param("a,b\n1,x\n2\n3,z\n", True, id="a short row"),
        pytest.param("a,b\r\n1,x\r\n\r\n2,y", True, id="blank line, no end"),
    ],
)
def test_the_fast_reader_sees_what_ingest_sees(tmp_path, text, plain):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    form = describe(path)
    assert (landed_rows._is_plain(path, form) is not None) == plain
    chunks = list(read_chunks(path, form))
    rows = landed_rows.read_all([path])
    cells = {name: [cell.strip(cell_forms.BLANKS) for c in chunks for cell in c.columns[name]] for name in form.header}
    assert rows.bad.total() == sum(len(chunk.bad) for chunk in chunks)
    for name in form.header:
        assert [cell for (cell,) in rows.ask(f"SELECT {rows.cell(name)} FROM landed ORDER BY _row")] == cells[name]
