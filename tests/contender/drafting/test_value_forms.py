"""How columns are written as few files have them: what is guessed of a column, and what stays as it stands."""

from datetime import datetime

import pytest

from contender.drafting.column_types import guess_column
from contender.drafting.landed_rows import Texts
from contender.drafting.time_forms import to_time


def guessed(texts, name="x"):
    return guess_column(name, Texts.of(texts))


@pytest.mark.parametrize(
    ("text", "pattern", "time"),
    [
        ("Tue, 03 Nov 2026 10:15:00 +0100", "RFC 2822", "2026-11-03T09:15:00"),
        ("Fri, 5 Jan 2024 23:59:59 GMT", "RFC 2822", "2024-01-05T23:59:59"),
        ("29 Feb 2024 08:00 -0500 (EST)", "RFC 2822", "2024-02-29T13:00:00"),
        ("1700000000123456789", "epoch ns", "2023-11-14T22:13:20.123457"),
        ("1609459200000000000", "epoch ns", "2021-01-01T00:00:00"),
        ("946684799999999000", "epoch ns", "1999-12-31T23:59:59.999999"),
        ("45961.5", "Excel days", "2025-10-31T12:00:00"),
        ("36526", "Excel days", "2000-01-01T00:00:00"),
        ("44197,427083333336", "Excel days", "2021-01-01T10:15:00"),
    ],
)
def test_a_time_is_told_as_ingest_reads_it(text, pattern, time):
    assert to_time(text, pattern) == datetime.fromisoformat(time)


@pytest.mark.parametrize(
    ("name", "texts", "form"),
    [
        ("sent", [f"Tue, {day:02} Nov 2026 10:15:00 +0100" for day in range(1, 29)], "RFC 2822"),
        ("Last-Modified", [f"Fri, {day:02} Jan 2024 23:59:59 GMT" for day in range(1, 29)], "RFC 2822"),
        ("header", [f"{day} Feb 2024 08:00 -0500 (EST)" for day in range(1, 29)], "RFC 2822"),
        ("event_time", [str(1700000000123456789 + n * 10**12) for n in range(50)], "epoch ns"),
        ("ts", [str(1609459200000000000 + n) for n in range(50)], "epoch ns"),
        ("created_at", [str(946684800 * 10**9 + n * 10**9) for n in range(50)], "epoch ns"),
        ("Order Date", [str(45961.5 + n / 4) for n in range(50)], "Excel days"),
        ("birthDate", [str(30000 + n) for n in range(50)], "Excel days"),
        ("Rechnungsdatum", [f"{44000 + n},25" for n in range(50)], "Excel days"),
    ],
)
def test_times_are_known_by_their_form_and_numbers_of_days_by_their_name(name, texts, form):
    found = guessed(texts, name)

    assert (found.type, found.settings["format"], dict(found.unread)) == ("timestamp", form, {})
    assert ("count of days" in found.doubt) is (form == "Excel days")


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        pytest.param("amount", [str(45961.5 + n) for n in range(50)], id="no name of a date"),
        pytest.param("candidates", [str(45961 + n) for n in range(50)], id="a name with a date in it"),
        pytest.param("date", [str(20000 + 400 * n) for n in range(50)], id="days of no time near ours"),
        pytest.param("update_count", [str(45961 + n) for n in range(50)], id="a count"),
    ],
)
def test_numbers_that_may_be_days_stay_numbers(name, texts):
    assert guessed(texts, name).numeric


@pytest.mark.parametrize(
    ("texts", "settings"),
    [
        (["1.75", "(0.25)", "12.5"] * 9, {"negative": "(1)"}),
        (["$1,200.00", "($35.10)", "$7.00", "$(1,100.00)"] * 9, {"thousands": ",", "drop": ["$"], "negative": "(1)"}),
        (["3.5%", "(1.5%)", "0.5%"] * 9, {"drop": ["%"], "negative": "(1)"}),
        (["1.75", "0.25-", "12.5"] * 9, {"negative": "1-"}),
        (["1.200,00", "35,10-", "7,00"] * 9, {"thousands": ".", "negative": "1-"}),
        (["5 EUR", "7- EUR", "12 EUR"] * 9, {"drop": ["EUR"], "negative": "1-"}),
    ],
)
def test_a_number_below_zero_is_known_as_accounts_write_it_and_told(texts, settings):
    found = guessed(texts)

    assert (found.numeric, found.settings, dict(found.unread)) == (True, settings, {})
    assert "is read as a number below zero" in found.doubt


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(["1.75", "(0.25)", "-3"] * 9, id="a minus as well"),
        pytest.param(["(1998)", "(2003)", "(2011)"] * 9, id="each in brackets"),
        pytest.param(["2-", "3+", "1", "2"] * 9, id="marks of a school"),
        pytest.param(["1-5", "6-10", "11-15"] * 9, id="from and to"),
        pytest.param(["1.75", "(0.25)", "3-"] * 9, id="both"),
    ],
)
def test_what_may_be_no_number_below_zero_stays_as_it_stands(texts):
    assert guessed(texts).type in ("category", "text")


@pytest.mark.parametrize("error", ["#REF!", "#NUM!", "#DIV/0!", "#VALUE!", "#N/A", "#NAME?", "#NULL!", "#BEZUG!"])
@pytest.mark.parametrize("others", [["1.5", "2.5", "7"], ["red", "blue", "green"], ["2024-01-31", "2024-02-01"]])
def test_an_error_of_a_spreadsheet_is_a_gap(error, others):
    found = guessed([*others * 20, error, error])

    assert found.tokens == {error}
    assert (found.gaps, dict(found.unread)) == (2, {})


@pytest.mark.parametrize(
    ("texts", "kind", "settings"),
    [
        (["１２３", "４５", "６７８９"], "integer", {}),
        (["１２．５", "３．２５", "－７"], "number", {}),
        (["１，２３４", "５６７", "８９，０１２，３４５"], "integer", {"thousands": ","}),
        (["٣٫٥", "٧", "١٢٫٢٥"], "number", {}),
        (["1\u00a0234,5", "12\u202f345,5", "7,5"], "number", {"decimal": ",", "thousands": " "}),
        (["−5", "7", "−12"], "integer", {}),
        (["1.5e3", "2.25E-4", "7"], "number", {}),
        (["+5", "-7", "+12"], "integer", {}),
        (["'3.5", "'12", "'-7.25"], "number", {"drop": ["'"]}),
        (["'00123", "'00456", "'07890"], "text", {}),
        (["০১", "০২", "০৩"], "text", {}),
    ],
)
def test_digits_and_signs_of_other_hands_are_numbers_where_ingest_reads_them(texts, kind, settings):
    found = guessed(texts * 7 if kind != "text" else texts)

    assert (found.type, found.settings, dict(found.unread)) == (kind, settings, {})


@pytest.mark.parametrize(
    "texts",
    [
        ["PT5M", "PT1H30M", "PT45S"],
        ["P1DT2H", "P0DT23H", "PT0S"],
        ["P2W", "P3D", "PT1.5H"],
        ["1h 30m", "45m", "2h"],
        ["90 min", "2 Std.", "1 Std. 5 Min"],
    ],
)
def test_lengths_of_time_are_seconds_and_told(texts):
    found = guessed(texts * 9)

    assert (found.type, found.settings["format"], dict(found.unread)) == ("number", "duration", {})
    assert "is read as a length of time, in seconds" in found.doubt


@pytest.mark.parametrize("texts", [["P1Y", "P2Y3M", "P6M"], ["PT", "P", "PT5"], ["T5", "PM", "AM"]])
def test_what_has_no_certain_length_is_none(texts):
    assert guessed(texts * 9).type in ("category", "text")
