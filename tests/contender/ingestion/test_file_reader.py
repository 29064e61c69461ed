import gzip
import io
from datetime import datetime
from pathlib import Path

import pytest

from contender.errors import UnreadableFile
from contender.ingestion.file_format import describe
from contender.ingestion.file_reader import Chunk, digest, read_chunks

HEADER = b"id,name,amount\n"
ROWS = b"1,ann,1.5\n2,bob,2.5\n3,cem,3.5\n"


def read(path: Path, rows: int = 50_000) -> tuple[dict[str, list], list]:
    """All chunks of a file as one: its columns and its bad rows."""
    chunks = list(read_chunks(path, describe(path), rows))
    columns = {name: [value for chunk in chunks for value in chunk.columns[name]] for name in chunks[0].columns}
    return columns, [bad for chunk in chunks for bad in chunk.bad]


def landed(folder: Path, content: bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def cut_gzip(content: bytes) -> bytes:
    whole = gzip.compress(content, compresslevel=1)
    return whole[: len(whole) * 2 // 3]


def parquet(**columns) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        pytest.param(b"", "a.csv", "empty", id="no bytes"),
        pytest.param(gzip.compress(b""), "a.csv.gz", "empty", id="no bytes in gzip"),
        pytest.param(b"\n \n\n", "a.csv", "blank lines", id="blank lines only"),
        pytest.param(HEADER, "a.csv", "header and no rows", id="header only"),
        pytest.param(b"PK\x03\x04" + bytes(40), "a.csv", "ZIP", id="zip under .csv"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(40), "a.csv", "PNG", id="picture under .csv"),
        pytest.param(bytes(range(1, 9)) * 40, "a.csv", "binary", id="unknown binary"),
        pytest.param(b"id,\0na\0me\n1,2\n", "a.csv", "NUL", id="NUL in the header"),
        pytest.param(HEADER + b"1,a,2\n" + bytes(500), "a.csv", "NUL", id="mostly NUL"),
        pytest.param(b"id:name\n1:a\n2:b\n", "a.csv", "delimiter", id="no known delimiter"),
        pytest.param(b"id,name,x\n" + b"1;2;3\n" * 9, "a.csv", "delimiter", id="header and rows disagree"),
        pytest.param(cut_gzip(HEADER + ROWS * 999), "a.csv.gz", "breaks off after", id="truncated gzip"),
        pytest.param(b"[{}]", "a.json", "no JSON object", id="a JSON list without an object"),
        pytest.param(b"nothing\n", "a.jsonl", "no JSON object", id="no JSON in JSON lines"),
        pytest.param(b"id,a\n1,2\n", "a.parquet", "Parquet", id="text under .parquet"),
        pytest.param(parquet(a=[1, 2])[:-20], "a.parquet", "Parquet", id="truncated Parquet"),
        pytest.param(parquet(a=[], b=[]), "a.parquet", "no rows", id="Parquet without rows"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(tmp_path, content, name, says):
    with pytest.raises(UnreadableFile, match=says) as refused:
        describe(landed(tmp_path, content, name))
    assert "needed" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UnreadableFile, match="cannot be opened"):
        describe(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param(b"9,z\n", "found 2 fields, needed 3", id="too few fields"),
        pytest.param(b"9,z,1,1\n", "found 4 fields, needed 3", id="too many fields"),
        pytest.param(b"9,z\0z,1\n", "NUL", id="a NUL byte"),
        pytest.param(b"9,caf\xc3,1\n", "not utf-8", id="half a character"),
        pytest.param(b'9,"z,1\n', "quote", id="an opened quote"),
        pytest.param(b'9,"z"z,1\n', "closing quote", id="text after a quote"),
        pytest.param(b'9,"a\nb",1,1\n', "found 4 fields", id="ragged over two lines"),
    ],
)
@pytest.mark.parametrize("place", [pytest.param("middle"), pytest.param("end")])
def test_a_bad_row_costs_itself_alone(tmp_path, broken, reason, place):
    names = "1,Zoë,1.5\n".encode()
    content = HEADER + names + (broken + ROWS if place == "middle" else ROWS + broken)
    columns, bad = read(landed(tmp_path, content))
    assert sorted(columns["id"]) == ["1", "1", "2", "3"]
    assert [row.row_number for row in bad] == [2 if place == "middle" else 5]
    assert reason in bad[0].reason
    bad[0].raw.encode("utf-8")


def test_a_quote_that_is_never_closed_does_not_swallow_the_rest(tmp_path):
    rows = b"".join(b"%d,name,1.5\n" % number for number in range(30_000))
    columns, bad = read(landed(tmp_path, HEADER + b'x,"name,1\n' + rows))
    assert len(columns["id"]) == 30_000
    assert [(row.row_number, row.raw) for row in bad] == [(1, 'x,"name,1')]


def test_a_file_cut_in_mid_row_ends_with_a_bad_row(tmp_path):
    columns, bad = read(landed(tmp_path, (HEADER + ROWS)[:-6]))
    assert columns["id"] == ["1", "2"]
    assert [(row.row_number, row.raw) for row in bad] == [(3, "3,ce")]


def test_a_file_cut_within_quotes_over_lines_ends_with_one_bad_row(tmp_path):
    columns, bad = read(landed(tmp_path, HEADER + ROWS + b'4,"two\nlines and\nmore'))
    assert len(columns["id"]) == 3
    assert [(row.row_number, row.raw) for row in bad] == [(4, '4,"two\nlines and\nmore')]


def test_an_endless_line_is_one_bad_row_with_bounded_text(tmp_path):
    columns, bad = read(landed(tmp_path, HEADER + ROWS + b"4," + b"x" * 3_000_000 + b",1\n" + ROWS))
    assert len(columns["id"]) == 6
    assert [row.row_number for row in bad] == [4]
    assert len(bad[0].raw) <= 1 << 20


def test_a_gzip_broken_after_the_first_chunk_says_after_how_many_rows(tmp_path):
    import random

    rows = b"".join(b"%d,%x,1\n" % (number, random.Random(number).getrandbits(200)) for number in range(60_000))
    path = landed(tmp_path, cut_gzip(HEADER + rows), "a.csv.gz")
    chunks: list[Chunk] = []
    with pytest.raises(UnreadableFile, match=r"breaks off after [\d,]+ rows"):
        chunks.extend(read_chunks(path, describe(path), rows=1000))
    assert len(chunks) > 10


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_and_quotes_are_recognised(tmp_path, delimiter, end):
    lines = [
        delimiter.join(("id", "text", "x")),
        delimiter.join(("1", f'"a{delimiter}b"', "1,5" if delimiter != "," else "1.5")),
        delimiter.join(("2", '"two\nlines ""quoted"""', "")),
        "",
        delimiter.join(("3", "it's 5\" wide", "x")),
    ]
    columns, bad = read(landed(tmp_path, (end.join(lines) + end).encode()))
    assert not bad
    assert columns["id"] == ["1", "2", "3"]
    assert columns["text"] == [f"a{delimiter}b", 'two\nlines "quoted"', "it's 5\" wide"]
    assert columns["x"][1] == ""


def test_single_quotes_are_recognised(tmp_path):
    columns, bad = read(landed(tmp_path, b"id,name\n1,'a, b'\n2,'c'\n"))
    assert columns["name"] == ["a, b", "c"]
    assert not bad


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        pytest.param([r'"a \"b\", c",5', r'"plain",6'], ['a "b", c', "plain"], id="a delimiter within"),
        pytest.param([r'"x\",\"y",5', '"z",6', '"w",7'], ['x","y', "z", "w"], id="what looks like two fields"),
        pytest.param([r'"C:\dir\\",5', r'"say \"hi\"",6'], ["C:\\dir\\", 'say "hi"'], id="a backslash at the end"),
        pytest.param([r'"12\" pipe",5', r'"no \n line",6'], ['12" pipe', r"no \n line"], id="other backslashes stay"),
        pytest.param(['"two\nlines \\"here\\"",5', '"z",6'], ['two\nlines "here"', "z"], id="over lines"),
        pytest.param(['"a ""b"", c",5', '"z",6'], ['a "b", c', "z"], id="doubled"),
        pytest.param(['"C:\\dir\\",5', '"D:\\",6'], ["C:\\dir\\", "D:\\"], id="a backslash is no escape"),
        pytest.param([r'"C:\",5', '"a ""b"" c",6'], ["C:\\", 'a "b" c'], id="doubled beside a backslash"),
    ],
)
def test_quotes_within_a_value_are_doubled_or_behind_a_backslash_as_the_file_has_them(tmp_path, lines, texts):
    columns, bad = read(landed(tmp_path, "\n".join(["text,n", *lines, ""]).encode()))
    assert not bad
    assert columns["text"] == texts
    assert columns["n"] == [str(place) for place in range(5, 5 + len(texts))]


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("cp1252", "cp1252"),
        ("latin-1", "cp1252"),
    ],
)
def test_encodings_are_recognised(tmp_path, encoding, expected):
    text = "id;größe;ort\n1;groß;Zürich\n2;größer;Genève\n3;klein;Málaga\n"
    path = landed(tmp_path, text.encode(encoding))
    assert describe(path).encoding == expected
    columns, bad = read(path)
    assert not bad
    assert columns["ort"] == ["Zürich", "Genève", "Málaga"]
    assert list(columns) == ["id", "größe", "ort"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("encoding", "expected"), [("utf-8", "utf-8"), ("cp1252", "cp1252"), ("ascii", "utf-8")])
def test_the_first_letters_beyond_ascii_may_come_late(tmp_path, encoding, expected, packed):
    late = "Köln, Straße" if encoding != "ascii" else "Koeln"
    content = ("id,city\n" + "1,Bonn\n" * 400_000 + f'2,"{late}"\n' * 300).encode(encoding)
    path = landed(tmp_path, gzip.compress(content, 1) if packed else content)

    assert describe(path).encoding == expected
    columns, bad = read(path)
    assert (bad, columns["city"][-1]) == ([], late)


def test_a_stray_byte_in_plain_text_is_damage_and_no_other_encoding(tmp_path):
    columns, bad = read(landed(tmp_path, HEADER + b"9,\xff\xfe\xfa,1\n" + ROWS))
    assert [row.row_number for row in bad] == [1]
    assert len(columns["id"]) == 3


def test_gzip_is_known_by_its_content(tmp_path):
    columns, bad = read(landed(tmp_path, gzip.compress(HEADER + ROWS), "a.csv"))
    assert columns["id"] == ["1", "2", "3"]
    assert not bad


def test_chunks_are_bounded_and_numbered(tmp_path):
    path = landed(tmp_path, HEADER + b"1,a\n" + ROWS + b"\n" + ROWS)
    chunks = list(read_chunks(path, describe(path), rows=3))
    assert [chunk.row_numbers for chunk in chunks] == [[2, 3], [4, 5, 6], [7]]
    assert [[row.row_number for row in chunk.bad] for chunk in chunks] == [[1], [], []]


def test_json_lines_keep_values_as_text_and_refuse_broken_lines(tmp_path):
    content = (
        b'{"id": 1, "x y": 1.50, "ok": true, "tags": ["a", {"b": 1}]}\n\n'
        b'{"id": 2, "ok": null, "late": "new"}\n'
        b'{"id": 3, "x y"\n'
        b"[1, 2]\n"
        b'{"id": "\\ud800"}\n'
        b'{"id": "caf\xc3"}\n'
        b'{"x_y": 1, "x_y": 2}\n'
        b'{"id": 8}\n'
        b'{"id": 9, "la'
    )
    path = landed(tmp_path, content, "a.jsonl")
    assert describe(path).header == ("id", "x y", "ok", "tags", "late", "x_y")
    columns, bad = read(path)
    assert columns == {
        "id": ["1", "2", "8"],
        "x y": ["1.5", None, None],
        "ok": ["true", None, None],
        "tags": ['["a", {"b": 1}]', None, None],
        "late": [None, "new", None],
        "x_y": [None, None, None],
    }
    assert [row.row_number for row in bad] == [3, 4, 5, 6, 7, 9]
    assert describe(landed(tmp_path, content, "a.txt")).format == "jsonl"


def test_parquet_reads_like_text(tmp_path):
    import numpy as np

    content = parquet(
        id=[1, 2, None],
        x=[0.1, float("nan"), None],
        single=np.array([0.1, 2.5, 1], dtype="float32"),
        ok=[True, False, None],
        at=[datetime.fromisoformat("2024-01-02T03:04:05"), datetime.fromisoformat("2024-01-02T03:04:05.250"), None],
        nested=[[1, 2], [], None],
        name=["a", "é", None],
    )
    path = landed(tmp_path, content, "a.parquet")
    columns, bad = read(path, rows=2)
    assert not bad
    assert columns == {
        "id": ["1", "2", None],
        "x": ["0.1", None, None],
        "single": ["0.1", "2.5", "1.0"],
        "ok": ["true", "false", None],
        "at": ["2024-01-02T03:04:05", "2024-01-02T03:04:05.250000", None],
        "nested": ["[1, 2]", "[]", None],
        "name": ["a", "é", None],
    }


NAMES = (
    "Net price (EUR)",
    "customer.age",
    "a`b",
    "a;b",
    "_key",
    "sélect",
    "🙂",
    "Имя",
    "what?",
    "[x]",
    "x" * 200,
    "%",
    "*",
)


def test_a_column_is_called_what_the_file_calls_it(tmp_path):
    import csv

    text = io.StringIO()
    csv.writer(text).writerows([[f" {name} " for name in NAMES], range(len(NAMES)), range(len(NAMES))])
    columns, bad = read(landed(tmp_path, text.getvalue().encode()))
    assert not bad
    assert columns == {name: [str(place)] * 2 for place, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    ("header", "names"),
    [
        pytest.param("id,price,price", ("id", "price", "price_2"), id="a name twice"),
        pytest.param("id,Price,price", ("id", "Price", "price"), id="names that differ by case"),
        pytest.param("id,a,a,a_2,a", ("id", "a", "a_2", "a_2_2", "a_3"), id="a name that a number makes"),
        pytest.param("id,,x", ("id", "column_2", "x"), id="no name"),
        pytest.param("id,x,,", ("id", "x"), id="delimiters at the end"),
    ],
)
def test_doubled_and_nameless_columns_get_names(tmp_path, header, names):
    row = ",".join("1" if name or place < 2 else "" for place, name in enumerate(header.split(",")))
    assert describe(landed(tmp_path, f"{header}\n{row}\n{row}\n".encode())).header == names


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("Sales 2024\n\nid;x;y\n1;2;3\n4;5;6\n", id="a title and a blank line"),
        pytest.param("Sales 2024;;\nmade on;;\nid;x;y\n1;2;3\n4;5;6\n", id="two titles with delimiters"),
        pytest.param("sep=;\nid;x;y\n1;2;3\n4;5;6\n", id="what tells Excel the delimiter"),
        pytest.param("id;x;y;;\n1;2;3;;\n;;;;\n;;;;\n4;5;6;;\n;;;;\n", id="delimiters at the end and blank rows"),
        pytest.param("id;x;y\n1;2;3;\n4;5;6;\n", id="delimiters at the end of rows alone"),
        pytest.param("\ufeffid;x;y\r\n1;2;3\r\n \r\n4;5;6", id="a byte order mark, and no last line end"),
        pytest.param("id;x;y\n;kg;cm\n1;2;3\n4;5;6\n" + "7;8;9\n" * 6, id="units below the header"),
        pytest.param("id;x;y\nno.;kg;cm\n1;2;3\n4;5;6\n" + "7;8;9\n" * 6, id="units in all columns"),
        pytest.param("group A;;group B\nid;x;y\n1;2;3\n4;5;6\n", id="groups above the header"),
        pytest.param("# made by a machine\nid\tx\ty\n1\t2\t3\n4\t5\t6\n", id="a comment"),
    ],
)
def test_the_header_is_found_among_what_people_write_around_a_table(tmp_path, content):
    columns, bad = read(landed(tmp_path, content.encode()))
    assert not bad
    assert list(columns) == ["id", "x", "y"]
    assert [values[:2] for values in columns.values()] == [["1", "4"], ["2", "5"], ["3", "6"]]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("id,x,y\n1,n/a,-\n2,5,6\n" + "3,5,6\n" * 9, id="gaps in the first row"),
        pytest.param("id,x,y\nz,a,b\n1,c,d\n2,e,f\n" + "3,g,h\n" * 9, id="texts"),
        pytest.param("a,b\n1,2\n", id="one row"),
        pytest.param("name,note\nx,\ny,\nz,\n", id="a column without a value"),
        pytest.param("id,x,y\nr1,none yet,\n" + "r2,5,6\n" * 9, id="a text in one column of numbers"),
        pytest.param("id,x,y\nr1,late,late\n" + "r2,5,6\n" * 9, id="texts beside a key"),
        pytest.param("at,x,y\n2024-03-01,off,off\n" + "2024-03-02,5,6\n" * 9, id="texts beside a date"),
        pytest.param("id,x,y\na,left,right\n" + "b,,\n" * 8 + "c,7,7\n", id="hardly a number"),
    ],
)
def test_no_row_of_data_is_taken_for_a_header(tmp_path, content):
    columns, bad = read(landed(tmp_path, content.encode()))
    lines = content.strip().split("\n")
    assert not bad
    assert list(columns) == lines[0].split(",")
    assert list(map(list, zip(*columns.values(), strict=True))) == [line.split(",") for line in lines[1:]]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param('[{"id": 1, "of": {"x": 2}}, {"id": 9007199254740993, "of": {"x": null}}]', id="a list on a line"),
        pytest.param(
            '[\n  {\n    "id": 1,\n    "of": {"x": 2}\n  },\n  {"id": 9007199254740993, "of": null}\n]\n', id="indented"
        ),
        pytest.param('{"id": 1, "of": {"x": 2}}\n{"id": 9007199254740993}\n', id="lines"),
        pytest.param('{\n "id": 1, "of": {"x": 2}\n}\n{\n "id": 9007199254740993\n}\n', id="objects over lines"),
    ],
)
def test_json_of_any_layout_is_read_exactly_and_flattened_one_level(tmp_path, content):
    columns, bad = read(landed(tmp_path, content.encode(), "a.json"))
    assert not bad
    assert (columns["id"], columns["of.x"]) == (["1", "9007199254740993"], ["2", None])


def test_a_json_list_is_read_in_bounded_pieces(tmp_path):
    rows = ", ".join(f'{{"id": {n}, "text": "{"x" * 40}"}}' for n in range(60_000))
    path = landed(tmp_path, f"[{rows}]".encode(), "a.json")
    assert [len(chunk.row_numbers) for chunk in read_chunks(path, describe(path), rows=20_000)] == [20_000] * 3
    columns, _ = read(landed(tmp_path, f"[{rows}".encode(), "b.json"))
    assert columns["id"] == [str(n) for n in range(60_000)]
    columns, bad = read(landed(tmp_path, f"[{rows[:-5]}".encode(), "c.json"))
    assert (len(columns["id"]), [row.row_number for row in bad]) == (59_999, [60_000])


def test_numbers_beyond_floating_point_keep_their_digits(tmp_path):
    import pyarrow as pa

    big = 18446744073709551615
    content = parquet(
        unsigned=pa.array([big, None], pa.uint64()),
        exact=pa.array([None, "12345678901234567890.12"]).cast(pa.decimal128(30, 2)),
    )
    columns, _ = read(landed(tmp_path, content, "a.parquet"))
    assert columns == {"unsigned": [str(big), None], "exact": [None, "12345678901234567890.12"]}
    columns, _ = read(landed(tmp_path, b'{"id": 18446744073709551615, "x": 0.12345678901234567890}', "a.jsonl"))
    assert columns == {"id": [str(big)], "x": ["0.12345678901234567890"]}


def test_lists_and_structures_of_parquet_are_named_as_unused(tmp_path):
    path = landed(tmp_path, parquet(id=[1], tags=[["a"]], of=[{"x": 1}]), "a.parquet")
    assert describe(path).unused == ("tags", "of")


def test_an_unnamed_column_is_named_by_its_place(tmp_path):
    assert describe(landed(tmp_path, b",a\n0,1\n1,2\n")).header == ("column_1", "a")


def test_a_file_is_known_by_its_content(tmp_path):
    one, same, other = (landed(tmp_path, text, name) for text, name in [(b"a", "1"), (b"a", "2"), (b"b", "3")])
    assert digest(one) == digest(same) != digest(other)
    assert len(digest(one)) == 64
