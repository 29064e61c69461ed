"""Files as other programs write them, drafted from: what is taken in, what is said of what cannot be."""

import json
import random
from datetime import datetime, timedelta

import pytest

from contender.contracts.contract import Contract
from contender.drafting.contract_draft import draft, write
from contender.drafting.time_forms import time_form_of, to_time
from contender.errors import UnreadableFile, UsageError
from contender.ingestion.file_format import describe
from contender.ingestion.file_reader import read_chunks
from contender.ingestion.settling import matches
from contender.lake.spark_session import quoted


def rows_of(count=300, **more):
    draw = random.Random(3)
    start = datetime.fromisoformat("2024-01-01T00:00:00")
    return [
        {"id": f"r{n}", "at": f"{start + timedelta(hours=n)}", "age": draw.randint(18, 80), "y": draw.randint(0, 1)}
        | {name: value(n) for name, value in more.items()}
        for n in range(count)
    ]


def text_of(rows, delimiter=","):
    return "\n".join(delimiter.join(map(str, row)) for row in [list(rows[0]), *(list(row.values()) for row in rows)])


def drafted(path, **more):
    return draft([path], **{"name": "made", "target": "y", "key": "id", "time": "at", "folder": path.parent} | more)


def contract_of(found, folder):
    return Contract.read(write(found, folder))


def told(found):
    return {guess.what: (guess.value, guess.why) for guess in found.guesses}


def cells_of(path):
    chunks = list(read_chunks(path, describe(path)))
    assert not any(chunk.bad for chunk in chunks)
    return {name: [value for chunk in chunks for value in chunk.columns[name]] for name in chunks[0].columns}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(lambda n: [n, n], id="lists"),
        pytest.param(lambda n: {"city": "Ulm", "no": n}, id="structures"),
        pytest.param(lambda n: [{"a": n}], id="lists of structures"),
    ],
)
def test_what_ingest_leaves_out_of_parquet_is_left_out_of_the_draft_and_named(tmp_path, value):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "rows-1.parquet"
    pq.write_table(pa.Table.from_pylist(rows_of(more=value)), path)

    found = drafted(path)

    assert "more" not in contract_of(found, tmp_path).records.columns
    assert told(found)["records.columns.more"][0] == "left out"


@pytest.mark.parametrize("first", [2**53 + 1, 1582218195625938945, 2**64])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_ids_beyond_what_a_double_holds_are_names(tmp_path, first, form):
    rows = [row | {"id": first + place, "parent": first + 7} for place, row in enumerate(rows_of())]
    path = tmp_path / f"rows-1.{form}"
    path.write_text(text_of(rows) if form == "csv" else "\n".join(map(json.dumps, rows)))

    columns = contract_of(drafted(path), tmp_path).records.columns

    assert (columns["id"].type, columns["parent"].type) == ("text", "text")
    assert cells_of(path)["id"] == [str(row["id"]) for row in rows]


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        (["2024-01-31", "2024-02-01", "9999-12-31"], "9999-12-31"),
        (["31.01.2024", "01.02.2024", "31.12.9999"], "31.12.9999"),
        (["2024-01-31 10:00:00", "2024-02-01 11:00:00", "0000-00-00 00:00:00"], "0000-00-00 00:00:00"),
    ],
)
def test_a_date_of_no_year_counts_as_missing_and_is_told(texts, mark):
    form = time_form_of(dict.fromkeys(texts, 50))

    assert form.marks == (mark,)
    assert not form.unread
    assert f"'{mark}' counts as missing" in form.doubt


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2024-05-01 10:00:00 UTC", 10), ("2024-05-01T10:00:00UTC", 10), ("2024-05-01 10:00:00.5 GMT", 10)],
)
def test_a_time_may_say_that_it_is_universal(text, hour):
    assert to_time(text, None).hour == hour
    assert time_form_of({text: 9}).patterns == ()


@pytest.mark.parametrize("again", [[5], [1, 1, 1], range(100)])
def test_rows_that_came_before_as_they_are_do_not_cost_a_key_its_place(tmp_path, again):
    rows = rows_of()
    path = tmp_path / "rows-1.csv"
    path.write_text(text_of([*rows, *(rows[place] for place in again)]))

    found = drafted(path)

    assert found.checked.quarantined == 0
    came = "row came before as it is" if len(again) == 1 else "rows came before as they are"
    assert f"{len(again)} {came}" in told(found)["records.key"][1]


def test_rows_of_one_key_that_differ_do(tmp_path):
    rows = rows_of()
    path = tmp_path / "rows-1.csv"
    path.write_text(text_of([*rows, rows[0], rows[1] | {"age": 7}]))
    assert drafted(path).checked.quarantined == 1

    path.write_text(text_of([*rows, *(row | {"age": 7} for row in rows[:90])]))
    with pytest.raises(UsageError, match="repeats with other values in 90 of 390"):
        drafted(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("sep=;\r\na;b\r\n1,5;2\r\n3;4\r\n", {"a": ["1,5", "3"], "b": ["2", "4"]}, id="Excel's first line"),
        pytest.param('"sep=,"\na,b\n1,2\n', {"a": ["1"], "b": ["2"]}, id="in quotes"),
        pytest.param("SEP=^\na^b\n1^2\n", {"a": ["1"], "b": ["2"]}, id="a sign that nobody guesses"),
        pytest.param(
            '"a","b"\n"1",5,"x"\n"2",6,"y"\n',
            {"column_1": ["1", "2"], "a": ["5", "6"], "b": ["x", "y"]},
            id="R's names of rows",
        ),
    ],
)
def test_what_a_program_writes_around_a_table_is_read_as_it_means_it(tmp_path, text, expected):
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode())

    assert cells_of(path) == expected


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.json", '{"id": {"0": 1, "1": 2}, "y": {"0": 1, "1": 0}}', "one object of columns.*orient='records'"),
        ("a.json", '{"columns": ["id", "y"], "index": [0, 1], "data": [[1, 2], [3, 4]]}', "one object of columns"),
        ("a.json", '{"id": [1, 2, 3], "y": [0, 1, 0]}', "one object of columns"),
        ("a.json", '{"meta": 1, "rows": [{"id": 1}, {"id": 2}]}', "'rows' is a list of 2 objects"),
        ("a.xls", '<table border="1">\n<tr><td>id</td></tr>\n</table>', "a page of HTML"),
        ("a.csv", "<!DOCTYPE html>\n<html><body>Log in</body></html>", "a page of HTML"),
        ("a.csv", '<?xml version="1.0"?>\n<rows><row id="1"/></rows>', "a page of HTML or XML"),
    ],
)
def test_what_holds_no_rows_is_told_with_what_to_do(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(UnreadableFile, match=reason):
        describe(path)


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(1, "7 days"), (5, "91 days"), (0.1, None)],
)
def test_thin_data_are_looked_at_over_more_days(tmp_path, hours, expected):
    rows = rows_of()
    for place, row in enumerate(rows):
        row["at"] = (
            f"{datetime.fromisoformat('2024-01-01T00:00:00') + timedelta(hours=place * hours):%Y-%m-%d %H:%M:%S}"
        )
    path = tmp_path / "rows-1.csv"
    path.write_text(text_of(rows))

    assert told(drafted(path)).get("drift.window", (None,))[0] == (f'"{expected}"' if expected else None)


@pytest.mark.parametrize(
    ("name", "fits"),
    [("sales-2.csv", True), ("sales-2.csv.gz", True), ("sales-2.csv.bak", False), ("other.csv.gz", False)],
)
def test_a_packed_file_is_of_the_pattern_of_the_plain_one(name, fits):
    assert matches(name, "sales-*.csv") is fits


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("-Dhome=/a/b", "-Dhome=/a/b"),
        ("-Dhome=/My Lake/ä", '"-Dhome=/My Lake/ä"'),
        ('-Dhome=/a "b"\\c', '"-Dhome=/a \\"b\\"\\\\c"'),
    ],
)
def test_an_option_with_a_blank_stays_one(option, expected):
    assert quoted(option) == expected


@pytest.mark.parametrize(
    ("header", "left", "why"),
    [
        pytest.param(["id", "at", "y", "y"], "y_2", "the same as 'y' in every row", id="the target twice"),
        pytest.param(["id", "at", "y", "y.1"], "y.1", "the same as 'y' in every row", id="as pandas numbers it"),
        pytest.param(["id", "at", "y", "id"], None, "", id="a name twice with other values"),
    ],
)
def test_a_column_that_stands_twice_is_left_out_and_named_however_few_the_rows(tmp_path, header, left, why):
    rows = [(f"r{n}", f"2024-01-{n + 1:02}", n % 2, n % 2) for n in range(12)]
    path = tmp_path / "rows-1.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]))

    found = drafted(path)

    excluded = {
        name: column.exclude
        for name, column in contract_of(found, tmp_path).records.columns.items()
        if column.exclude and "same as" in column.exclude
    }
    assert excluded == ({left: why} if left else {})


def test_of_a_feature_that_stands_twice_one_is_left_out_and_told(tmp_path):
    path = tmp_path / "rows-1.csv"
    path.write_text(text_of(rows_of(**{"size": lambda n: n * 7 % 13, "size_2": lambda n: n * 7 % 13})))

    found = drafted(path)

    assert told(found)["records.columns.size_2"] == ("left out", "the same as 'size' in every row")
    assert contract_of(found, tmp_path).records.columns["size"].exclude is None


def numbered(name, first, count=40):
    return [
        {name: first + n, "at": f"2024-{1 + n % 12:02}-0{1 + n // 12}", "age": 20 + n * 7 % 40, "y": n % 2}
        for n in range(count)
    ]


@pytest.mark.parametrize("name", ["index", "No", "row_id", "Sl. No.", "Unnamed: 0"])
@pytest.mark.parametrize("first", [0, 1])
def test_what_only_counts_the_rows_of_one_file_is_no_key(tmp_path, name, first):
    path = tmp_path / "rows-1.csv"
    path.write_text(text_of(numbered(name, first)))

    found = drafted(path, key=None, time=None)

    contract = contract_of(found, tmp_path)
    assert contract.records.key is None
    assert contract.records.columns[name].exclude == "numbers the rows"


def test_a_number_that_names_things_or_runs_through_the_files_is_a_key_and_the_doubt_is_told(tmp_path):
    path, other = tmp_path / "rows-1.csv", tmp_path / "rows-2.csv"
    path.write_text(text_of(numbered("patient_id", 1)))
    found = drafted(path, key=None, time=None)
    assert told(found)["records.key"][0] == "patient_id"
    assert "if the next file counts anew, its rows clash with these" in told(found)["records.key"][1]

    path.write_text(text_of(numbered("index", 1)))
    other.write_text(text_of(numbered("index", 41)))
    both = draft([path, other], name="made", target="y", folder=tmp_path)
    assert told(both)["records.key"][0] == "index"
    assert "clash" not in told(both)["records.key"][1]
