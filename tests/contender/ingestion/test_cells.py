"""Every way of writing a value that a column may name is read exactly, and what does not fit it is not read at all."""

from datetime import UTC, datetime

import pytest
from pyspark.sql import functions as F

from contender.contracts.sections import Column
from contender.ingestion import cells
from tests.contender.columns import number, time, whole

pytestmark = pytest.mark.slow

AT = datetime(2026, 1, 10, 12, tzinfo=UTC)
GONE = "missing"
"""What a cell is that counts as missing; what cannot be read is None."""


def day(text):
    """Microseconds since 1970."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


CASES = {
    "plain numbers": (
        number(),
        {"1.644": 1.644, "-.5": -0.5, "5.": 5.0, "1e5": 1e5, "+5": 5.0, "−5": -5.0, "\u00a07\u202f": 7.0, "": GONE}
        | dict.fromkeys(["5,714", "22.026,47", "1d", "0x1p3", "inf", "NaN", "1_000", "1 000", "five"]),
    ),
    "decimal comma, thousands by dots": (
        number(decimal=",", thousands="."),
        {"1.644": 1644.0, "22.026,47": 22026.47, "5,714": 5.714, "1234,5": 1234.5, "-1.644,5": -1644.5}
        | dict.fromkeys(["22,026.47", "1.5", "1234.567", "1.644.5", "1,2,3"]),
    ),
    "decimal comma alone": (number(decimal=","), {"5,714": 5.714, "1.644": None, "22.026,47": None}),
    "thousands by commas": (
        number(thousands=","),
        {"22,026.47": 22026.47, "5,714": 5714.0, "1,23,456": 123456.0, "1.644": 1.644}
        | dict.fromkeys(["1,2", "22.026,47", ",5"]),
    ),
    "thousands by blanks": (
        number(decimal=",", thousands=" "),
        {"1 234,5": 1234.5, "1\u00a0234,5": 1234.5, "1\u202f234": 1234.0, "1 23": None},
    ),
    "thousands by apostrophes": (number(thousands="'"), {"1'234": 1234.0, "1’234.5": 1234.5, "1'23": None}),
    "per cent": (number(drop=["%"]), {"36%": 36.0, "36 %": 36.0, "%": None, "36 ‰": None}),
    "currencies": (
        number(decimal=",", thousands=".", drop=["€", "EUR"]),
        {"6.782,55 €": 6782.55, "-€5": -5.0, "€-5": -5.0, "EUR 1.000": 1000.0, "5 $": None, "€": None},
    ),
    "suffixes that multiply": (
        number(factors={"M": 1e6, "k": 1e3, "dozen": 12}),
        {"19M": 19e6, "8.7k": 8700.0, "1.1k": 1100.0, "3 dozen": 36.0, "5": 5.0, "5m": None, "M": None, "1e3k": None},
    ),
    "more than": (number(thousands=",", drop=["+"]), {"10,000+": 10000.0, "+5": 5.0}),
    "a missing value by its own spelling": (
        number(drop=["kg"], missing=["-200"]),
        {"5 kg": 5.0, "-200": GONE, "-200.0": GONE, "-200 kg": GONE, "NA": GONE, "-20": -20.0},
    ),
    "whole numbers": (
        whole(),
        {"3.0": 3, "3.": 3, "007": 7, "-4": -4, "1e5": 100000, "1582218195625938945": 1582218195625938945}
        | {"9223372036854775807": 2**63 - 1, "9223372036854775808": None, "1.5": None, "1.58E+18": None},
    ),
    "whole numbers with thousands": (whole(thousands="."), {"1.644": 1644, "1.64": None}),
    "whole numbers with suffixes": (whole(factors={"M": 1e6}), {"1.5M": 1500000, "0.0000001M": None}),
    "yes and no": (
        Column(type="boolean"),
        dict.fromkeys(["Ja", "oui", "1.0", "TRUE", " yes", "Да", "Sí", "Y"], True)
        | dict.fromkeys(["NEIN", "non", "0", "Não", "нет", "f"], False)
        | dict.fromkeys(["maybe", "o", "2"]),
    ),
    "a yes of its own": (Column(type="boolean", yes=["n"], no=["u"]), {"N": True, "u": False, "no": None}),
    "ISO 8601": (
        time(),
        {"2024-01-31": day("2024-01-31"), "2024-01-31T10:00:00Z": day("2024-01-31T10:00")}
        | {"2024-01-31 10:00:00,5": day("2024-01-31T10:00:00.500"), "2024-01-31T10:00:00+0200": day("2024-01-31T08:00")}
        | dict.fromkeys(["12:30", "202401", "2024-02-30", "20240131", "31.01.2024"]),
    ),
    "several formats": (
        time("dd.MM.yyyy", "yyyy-MM-dd"),
        {"31.01.2024": day("2024-01-31"), "2024-01-31": day("2024-01-31"), "01/31/2024": None, "31.01.24": None},
    ),
    "years of two digits are not in the future": (
        time("dd/MM/yy"),
        {"04/10/96": day("1996-10-04"), "04/10/25": day("2025-10-04"), "04/10/44": day("1944-10-04")},
    ),
    "years of two digits, said otherwise": (
        time("MM/yy", years_from=1990),
        {"12/27": day("2027-12-01"), "12/91": day("1991-12-01")},
    ),
    "names of months": (
        time("dd-MMM-yy", "d. MMMM yyyy", "MMMM d, yyyy"),
        {"07-JAN-18": day("2018-01-07"), "07-août-18": day("2018-08-07"), "3. März 2024": day("2024-03-03")}
        | {"March 3, 2024": day("2024-03-03"), "3. марта 2024": day("2024-03-03"), "3. Foo 2024": None},
    ),
    "hours with dots": (time("dd/MM/yyyy HH.mm.ss"), {"10/03/2004 18.00.00": day("2004-03-10T18:00")}),
    "hours of half a day": (
        time("MM/dd/yyyy hh:mm a"),
        {"01/31/2024 09:15 PM": day("2024-01-31T21:15"), "01/31/2024 09:15\u202fp.m.": day("2024-01-31T21:15")},
    ),
    "seconds since 1970": (
        time("epoch s"),
        {"1700000000": day("2023-11-14T22:13:20"), "1700000000.5": day("2023-11-14T22:13:20.500"), "1.7e9": None},
    ),
    "milliseconds": (time("epoch ms"), {"1700000000123": day("2023-11-14T22:13:20.123")}),
    "microseconds": (time("epoch us"), {"1700000000123456": day("2023-11-14T22:13:20.123456"), "9" * 18: None}),
    "nanoseconds": (
        time("epoch ns"),
        {"1700000000123456789": day("2023-11-14T22:13:20.123457"), "1699999999999999999": day("2023-11-14T22:13:20")}
        | {"1700000000123456499": day("2023-11-14T22:13:20.123456"), "17e17": None},
    ),
    "days of a spreadsheet": (
        time("Excel days"),
        {"45961.5": day("2025-10-31T12:00"), "45961": day("2025-10-31"), "45961,427083333336": day("2025-10-31T10:15")}
        | {"61": day("1900-03-01"), "60": None, "-5": None, "2958466": None},
    ),
    "dates of mail": (
        time("RFC 2822"),
        {"Tue, 03 Nov 2026 10:15:00 +0100": day("2026-11-03T09:15"), "3 Nov 2026 10:15 GMT": day("2026-11-03T10:15")}
        | {"Sat, 1 Feb 2025 23:00:00 -0330 (NST)": day("2025-02-02T02:30")}
        | dict.fromkeys(["Tue, 3 Nov 2026 10:15:00 CET", "Tue, 31 Feb 2026 10:15:00 GMT", "3 Nov 2026"]),
    ),
    "below zero as in accounts": (
        number(negative="(1)", thousands=",", drop=["$", "%"]),
        {"(1.75)": -1.75, "($1,234.50)": -1234.5, "$(2)": -2.0, "(3)%": -3.0, "4": 4.0, "-5": -5.0}
        | dict.fromkeys(["(-5)", "(5", "()", "5-"]),
    ),
    "below zero with the sign behind": (
        number(negative="1-", decimal=",", thousands=".", drop=["EUR"]),
        {"1,75-": -1.75, "1.234,50-": -1234.5, "2- EUR": -2.0, "3 EUR-": -3.0, "4": 4.0, "-5-": None, "(5)": None},
    ),
    "whole numbers below zero as in accounts": (whole(negative="(1)"), {"(12)": -12, "(1.5)": None, "7": 7}),
    "digits of other scripts": (
        number(thousands=","),
        {"１２３": 123.0, "－４．５": -4.5, "１，２３４": 1234.0, "٣٫٥": 3.5, "۱۲": 12.0, "५०": 50.0},
    ),
    "weeks": (
        time("ISO week"),
        {"2024-W05": day("2024-01-29"), "2024W053": day("2024-01-31"), "2020-W53": day("2020-12-28")}
        | {"2021-W53": None, "2024-W60": None},
    ),
    "lengths of time": (
        number(format="duration"),
        {"1:02:03": 3723.0, "02:30": 150.0, "1h 30m": 5400.0, "PT5M": 300.0, "P1DT2H": 93600.0, "90 min": 5400.0}
        | {"2 days 03:04:05": 183845.0, "-1:00": -60.0, "3 Std. 20 Min": 12000.0, "0": 0.0}
        | dict.fromkeys(["90", "P", "PT", "5 ms", "1:75"]),
    ),
    "hours and minutes": (number(format="duration h:mm"), {"37:15": 134100.0, "1:02:03": 3723.0}),
}


@pytest.fixture(scope="module")
def found(spark):
    """What all cases give, in one go."""
    rows = [(place, text) for place, (_, texts) in enumerate(CASES.values()) for text in texts]
    frame = spark.createDataFrame(rows, "place int, text string")
    columns = []
    for place, (column, _) in enumerate(CASES.values()):
        text, value = cells.read(cells.trimmed(F.col("text")), column, ["", "NA"], AT)
        told = F.when(text.isNull(), F.lit(GONE)).otherwise(value.cast("string"))
        exact = F.when(text.isNotNull(), F.unix_micros(value) if column.type == "timestamp" else value)
        columns += [F.when(F.col("place") == place, told).alias(f"told{place}"), exact.alias(f"exact{place}")]
    answers = frame.select("place", "text", *columns).collect()
    return {
        (row["place"], row["text"]): GONE if row[f"told{row['place']}"] == GONE else row[f"exact{row['place']}"]
        for row in answers
    }


@pytest.mark.parametrize("name", CASES)
def test_a_cell_is_read_by_its_columns_form_or_not_at_all(found, name):
    place = list(CASES).index(name)
    _, texts = CASES[name]
    assert {text: found[place, text] for text in texts} == texts
