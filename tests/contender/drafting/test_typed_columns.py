"""What `init` reads in a cell is what ingest reads in it: each text under each declaration, null for null."""

import math
from datetime import UTC, datetime

import duckdb
import pytest
from pyspark.sql import functions as F

from contender.contracts.sections import Column
from contender.contracts.spellings import MONTHS, NO, YES
from contender.drafting import typed_columns
from contender.ingestion import cell_forms, cells
from tests.contender.columns import number, time, whole

pytestmark = pytest.mark.slow

AT = datetime(2026, 1, 10, 12, tzinfo=UTC)
MISSING = ("", "NA", " n/a", "?", "'", "-999")


COLUMNS = [
    number(),
    number(decimal=","),
    number(decimal=",", thousands="."),
    number(thousands=","),
    number(thousands=" "),
    number(decimal=",", thousands=" "),
    number(thousands="'"),
    number(decimal=".", thousands=",", drop=["%"]),
    number(decimal=",", thousands=".", drop=["€", "EUR", "kr.", "$"]),
    number(drop=["kg", "+", "~", "US$", "°C", "m/s"]),
    number(factors={"M": 1e6, "k": 1e3, "dozen": 12, "n": 7, "%": 0.01}),
    number(decimal=",", thousands=".", drop=["€"], factors={"Mio.": 1e6, "Tsd": 1e3, "lakh": 1e5}),
    number(missing=["-200", "1.5 ", "1e3"]),
    number(drop=["kg"], missing=["-200"], decimal=","),
    whole(),
    whole(decimal=","),
    whole(thousands="."),
    whole(thousands=","),
    whole(thousands=" ", drop=["€"]),
    whole(factors={"M": 1e6, "k": 1e3}),
    whole(factors={"dozen": 12, "n": 7}),
    whole(missing=["-200", "999.0"]),
    number(format="duration"),
    number(format="duration h:mm"),
    Column(type="boolean"),
    Column(type="boolean", yes=["Ja ", "1"], no=["NEIN", "0", "Ö"]),
    Column(type="category"),
    Column(type="text", missing=["Köln", "5"]),
    time(),
    time(missing=["1900-01-01"]),
    time("dd.MM.yyyy"),
    time("d.M.yyyy", "yyyy-MM-dd"),
    time("d/M/yyyy H:mm"),
    time("M/d/yyyy h:mm a", "M/d/yyyy"),
    time("M/d/yyyy h:mma"),
    time("dd/MM/yyyy HH.mm.ss"),
    time("dd.MM.yyyy, HH:mm:ss"),
    time("d/M/yy"),
    time("dd.MM.yy", years_from=1900),
    time("d/M/yy", years_from=1950),
    time("d/M/yy", years_from=2000),
    time("MMM-yy", years_from=2050),
    time("MMM-yy"),
    time("yyyyMMdd"),
    time("yyyyMMddHHmmss", "yyyyMMdd"),
    time("yyyyMMdd HHmmss"),
    time("yyyy-M-d'T'H:mm:ss"),
    time("yyyy/M/d H:mm:ss.SSS"),
    time("yyyy/M/d H:mm:ss.SSSSSS"),
    time("d MMM yyyy", "MMM d, yyyy", "d. MMMM yyyy", "dd-MMM-yy"),
    time("d MMM yyyy H:mm:ss"),
    time("MMM yyyy"),
    time("epoch s"),
    time("epoch ms"),
    time("epoch us"),
    time("epoch ns"),
    time("Excel days"),
    time("RFC 2822"),
    time("RFC 2822", "d MMM yyyy H:mm:ss"),
    number(negative="(1)"),
    number(negative="1-"),
    number(negative="(1)", decimal=",", thousands=".", drop=["€", "%", "'"]),
    number(negative="(1)", thousands=",", drop=["$"], factors={"k": 1e3}),
    number(negative="1-", decimal=",", thousands=".", drop=["€", "EUR"]),
    whole(negative="(1)", thousands=","),
    whole(negative="1-"),
    time("ISO week"),
    time("ISO week", "d.M.yyyy", "epoch s"),
]

NUMBERS = """
0|1|-1|+1|− 1|−1|–5|—5|-0|0.0|-0.0|5.|.5|-.5|+.5|.|-|+|5,|,5|-,5|1.5|1,5|1.50|007|-007|00|0.123|0,123|0.1234|0,12|
1.644|1,644|-1.644|1.644,5|1,644.5|22.026,47|22,026.47|1.234.567|1,234,567|1.234.567,89|1,234,567.89|1,23,456|12,34,567.5|
1 234|1 234,5|1 234.5|1\u00a0234|1\u202f234,5|1\u2009234|1\u2007234|1'234|1’234.5|1'234'567|1 23|1'23|1,23|12 34|1.644.5|1,2,3|1..2|1,,2|
1_000|1 000 000|01,234|012.345|0'123|000.123|
1e5|1E5|1e+5|1e-5|1.5e3|1,5e3|1.234e5|1,234e5|1e|e5|1e5.5|1e100|1e300|1e308|1e309|1e400|-1e400|1e-320|1e-400|1e0005|1e15|9e15|1e16|9007199254740993e0|1.5e0|15e-1|150e-1|1e 5|
inf|-inf|Infinity|nan|NaN|-nan|0x10|0x1p3|1d|1f|1L|1D5|1F|
9007199254740992|9007199254740993|9007199254740993.0|9223372036854775807|9223372036854775808|-9223372036854775808|-9223372036854775809|
12345678901234567890|1582218195625938945|99999999999999999999|1582218195625938945.00|9223372036854775807,0|
0.1|0.30000000000000004|123456789.123456789|1.7976931348623157e308|4.9e-324|2.2250738585072014e-308|179769313486231570000|0.000001|100000000000000000000000|
36%|36 %|% 36|%|36‰|-36%|36.5 %|36,5 %|36%%|1,234%|
€5|-€5|€-5|€ 5|5€|5 €|5\u00a0€|EUR 5|5 EUR|5EUR|EUR5 €|5 €€|kr. 5|5 kr.|5 kr|$5|-$5|$-5|US$5|($5)|(5)|(1.234)|5-|1.234-|- 5|+ 5|5 +|10,000+|10+|~5|~ 5|+~5|6.782,55 €|1.000,00 EUR|
5 kg|5kg|5 KG|5  kg|5\tkg|5 kg.|kg|5 g|-5kg|-200 kg|-200|-200.0|-200,0|-2e2|-999|-999.0|−200|+200|999|999.0|1e3|1000|1000.0|5 °C|5°C|3 m/s|
19M|19 M|8.7k|1.1k|1,1k|5m|5 dozen|1.5 dozen|3n|3 n|5K|M|k5|1e3k|-5k|5%|1.5Mio.|1,5 Mio.|1.234,5 Tsd|5 Mio. €|5 lakh|5Tsd.|0.0000001M|1.5M|2 dozenn|
١٢٣|１２３|½|²|1²|5\u20285|5\u2028|5\u0085|\u20285|5\v%|5␤kg|5 \v kg|\u200b5\u200b|\ufeff7|\u00a07\u202f|\u30008|7\u180e|	9␤|\u0001|5\u00005
"""
BELOW_ZERO = """
(5)|(1.75)|(1,75)|(1.234,75)|(1,234.75)|( 5 )|(-5)|-(5)|(+5)|+(5)|((5))|(5|5)|()|(x)|(5)(6)|$(5)|$(1,234.75)|($1,234.75)|-$(5)|€(5)|(€ 5)|(5 €)|(5) €|(5%)|(5)%|(1.5k)|(5k)|(5)k|
5-|1.75-|1,75-|1.234,75-|5 -|5--|-5-|+5-|5-6|5- EUR|5 EUR-|1.234,75- EUR|1.234,75-€|1e3-|(1e3)|(1e-3)|1e-3-|5-0|５-|（5）|(５)|'5|'-5|'3.5|'00123|-'5|
１２３|１．５|１，５|－５|＋５|५|٥٫٥|۱۲۳|１２３４５６７８９０１２３４５６７|5％|（１．７５）|1٬234|
"""
LENGTHS = """
1:02:03|02:30|2:30|24:00|0:00|37:15|100:00:00|-1:00|+1:00|- 1:00|1:75|1:60:00|1:2|1:2:3|1:02:03.5|1:02:03,25|2:30.5|1h 30m|1h30m|PT5M|P1DT2H|P1W|P|PT|PT1.5H|pt5m|
2 days 03:04:05|2 days, 3:04:05|1 day 1:00:00|1d 1:00:00|90 min|90|0|5 ms|3 Std. 20 Min|2 Stunden|1 heure 5 minutes|5s|5 sek.|1.5h|1,5 h|1d|2 jours|-90 min|1h-|5 m 3 h
"""
TIMES = """
2024-01-31|2024-02-29|2023-02-29|1900-02-29|2000-02-29|2024-13-01|2024-00-10|2024-01-00|2024-1-5|2024-1-31|2024-01|2024-1|2024-12|2024|202401|20240131|20240230|20231301|0000|0000-01-01|0001-01-01|9999-12-31|10000-01-01|-2024-01-31|+2024-01-31|1900-01-01|1582-10-10|1500-02-29|
2024-01-31T10:00:00Z|2024-01-31T10:00:00|2024-01-31 10:00:00|2024-01-31 10:00|2024-01-31 10|2024-01-31T10|2024-01-31T|2024-01-31 1:2:3|2024-01-31  10:00:00|2024-01-31 24:00:00|2024-01-31 24:00|2024-01-31T24:00:00|2024-01-31 23:59:60|2024-01-31 10:60:00|2024-01-31 25:00:00|
2024-01-31 10:00:00.1|2024-01-31 10:00:00.123456|2024-01-31 10:00:00.1234567|2024-01-31 10:00:00.123456789|2024-01-31 10:00:00,5|2024-01-31 10:00:00.|2024-01-31 10:00:00,123456|1969-12-31 23:59:59.9999999|2024-01-31 10:00:00.9999999|2024-01-31 10:00,5|
2024-01-31T10:00:00+02:00|2024-01-31T10:00:00+0200|2024-01-31T10:00:00+02|2024-01-31T10:00:00-05:30|2024-01-31 10:00:00 +02:00|2024-01-31 10:00:00 +0200|2024-01-31 10:00:00 +02|2024-01-31 10:00:00 UTC|2024-01-31 10:00:00UTC|2024-01-31 10:00:00 Z|2024-01-31 10:00:00z|2024-01-31 10:00+02:00|2024-01-31T10:00Z|2024-01-31 10:00:00 GMT|2024-01-31 10:00:00 Europe/Berlin|2024-01-31 10:00:00 CET|2024-01-31 10:00:00 EST|2024-01-31T10:00:00+2|2024-01-31T10:00:00+2:00|2024-01-31T10:00:00+02:00:00|2024-01-31T10:00:00+19:00|2024-01-31T10:00:00+14:30|2024-01-31T10:00:00-0330|2024-01-31T10:00:00.5+02:00|2024-01-31T10:00:00,5+0200|2024-01-31T10:00:00 GMT+2|2024-01-31T10:00:00-00:00|2024-01-31+02:00|2024-01-31Z|2024-01-31 10:00:00 AM|2024-01-31 (BC)|2024-01-31 epoch|2024-02-30 10:00:00|2024-01-31T10:00:00+01:75|2024-01-31 10:00:00 +2|0001-01-01T00:00:00+02:00|9999-12-31T23:59:59-02:00|
epoch|infinity|now|today|12:30|10:00:00|T10:00|
31.01.2024|1.2.2024|01.02.2024|31.1.2024|31.02.2024|29.02.2023|29.02.2024|29.02.1900|31.13.2024|00.01.2024|31.01.24|31.01.-2024|31.01.+2024|31.01.12024|031.01.2024|31.01.0000|31.01.0001|31 .01.2024|31. 01. 2024|31.01.2024.|31.01.2024 10:00|31\u00a001.2024|
31.01.2024, 10:00:05|31.01.2024, 24:00:00|31.01.2024 10:00:05|
1/2/2024|31/1/2024|1/31/2024|31/12/2024 9:05|31/12/2024 09:05|31/12/2024 24:00|31/12/2024 23:59|31/12/2024 0:00|29/2/2023 1:00|
1/31/2024 9:15 PM|1/31/2024 9:15 pm|1/31/2024 9:15 p.m.|1/31/2024 9:15 P. M.|1/31/2024 09:15\u202fPM|1/31/2024 12:00 AM|1/31/2024 12:30 PM|1/31/2024 0:30 AM|1/31/2024 13:00 PM|1/31/2024 9:15PM|1/31/2024 9:15  PM|1/31/2024 9:15|1/31/2024 00:15 am|1/31/2024 9:15am|
10/03/2004 18.00.00|10/03/2004 24.00.00|10/03/2004 18.00|
04/10/96|04/10/25|04/10/44|10/1/26|11/1/26|12/1/26|31/12/49|1/1/50|1/1/68|1/1/69|1/1/70|1/1/99|1/1/00|29/2/00|29/02/00|29.02.00|29.02.04|29.02.01|29/2/96|29/2/24|29/2/28|29/2/23|04.10.96|01.01.00|31.12.99|1/1/2000|1/1/0|
Jan-18|JAN-18|Feb-00|Dez-27|août-18|Sept-99|Sep-49|Sep-50|mai-18|May-1|Foo-18|März-18|
20240131101500|20240131 101500|20240131 240000|20240229|20230229|2024-1-31T9:05:03|2024-01-31T24:00:00|2024/1/5 9:05:03.123|2024/1/5 9:05:03.123456|2024/1/5 9:05:03.12|2024/1/5 9:05:03|
3 Jan 2024|3 January 2024|3 jan 2024|3 JAN. 2024|3 Jan. 2024|03 Mär 2024|3 März 2024|3. März 2024|3. marca 2024|3. марта 2024|3 мая 2024|3 Mai 2024|March 3, 2024|Mar 3, 2024|mars 3, 2024|Sept 3, 2024|3 Foo 2024|30 Feb 2024|29 Feb 2023|29 Feb 2024|3 Janu 2024|3Jan2024|3  Jan 2024|07-JAN-18|07-août-18|29-Feb-00|Jan 2024|Januar 2024|March2024|3 déc 2024|3 de\u0301c 2024|3 décembre 2024 |3 Jan 2024 10:05:09|3 Dez 2024 24:00:00|3 maj 2024|3 MÄRZ 2024|3 ИЮНЯ 2024|
Tue, 03 Nov 2026 10:15:00 +0100|tue, 3 nov 2026 10:15 +0100|Tue 03 Nov 2026 10:15:00 GMT|Tue, 03 Nov 2026 10:15:00|3 Nov 2026 10:15:00 +0100|3 Nov 2026 10:15:00|3 Nov 2026 10:15:00 GMT|03 Nov 2026 10:15:00 -0000|3 Nov 2026 10:15:00 +0530 (IST)|Tue, 3 Nov 2026 10:15:00 CET|Tue, 31 Feb 2026 10:15:00 GMT|Tue, 3 Dez 2026 10:15:00 GMT|Tue, 3 Nov 26 10:15:00 GMT|Mon, 29 Feb 2024 23:59:59 UT|Mon, 29 Feb 2023 23:59:59 UT|Foo, 3 Nov 2026 10:15:00 GMT|Tue, 3 Nov 2026 24:00:00 GMT|Tue,  3  Nov  2026  10:15:00  Z|Tue, 03 Nov 2026 10:15:00 +01:00|Tue, 03 Nov 2026 10:15:00+0100|Tue, 03 Nov 2026|Fri, 1 Jan 0001 00:30:00 +0100|Thu, 31 Dec 9999 23:59:59 -0100|Tue, 3 nov. 2026 10:15:00 GMT|
45961|45961.5|45961,5|45961.427083333336|60|61|61.25|0|1.5|-45961.5|2958465|2958465.999999|2958466|9999999|45961.|4.5e4|45961.9999999999|45961.0000000058|
1700000000123456789|1700000000123456499|1700000000123456500|-1700000000123456500|1700000000123456789.5|-62135596800000000000|
1700000000|1700000000.5|1700000000,5|1700000000123|1700000000123456|1700000000123.4567|-1|0|1.7e9|-62135596800|-62135596801|253402300799|253402300800|999999999999999999|9999999999999999999|0.0000005|0.0000004999|-0.0000005|1700000000.1234565|17 00|+5|
2024-W05|2024W05|2024-W5|2024-w05|2024-W05-3|2024W053|2024-W05-8|2024-W053|2020-W53|2021-W53|2024-W60|2024-W00|2024-W0|0001-W01|9999-W52|2024-W|2015-W01|2026-W53-7|2024-W1-7
"""
TEXTS = """
true|TRUE|False|yes|Yes |NO|y|N|t|f|1.0|0.0|1,0|0,0|2|01|on|off|Ja|NEIN|n|ö|Ö|maybe|o|HAYIR|hayır|EVET|İ|ΝΑΊ|ναι|SÌ|是|아니요|KYLLÄ|kylla\u0308|JÁ|
NA|na|n/a| n/a |N/A|?|'|''|null|None|NULL|Köln|Ko\u0308ln|a b|a  b| a |"x"|it's|\\N|%|_|$1|\\1|{}|[a]|(?i)|;|--|/*
"""


def _texts():
    found = {}
    for part in (NUMBERS, BELOW_ZERO, LENGTHS, TIMES, TEXTS):
        for text in part.replace("|\n", "|").strip("\n").replace("\n", "|").split("|"):
            found[text.replace("␤", "\n")] = None
    found |= dict.fromkeys([*YES, *NO, "", " ", "\u00a0", "\u3000\u2003", "\u200b", "\ufeff", "\u2028", "\x85"])
    found |= dict.fromkeys(f"3 {name} 2024" for names in MONTHS for name in names.split())
    found |= dict.fromkeys(f"3. {name.upper()} 2024" for names in MONTHS for name in names.split())
    return list(found)


@pytest.fixture(scope="module")
def readings(spark):
    texts = _texts()
    frame = spark.createDataFrame(list(enumerate(texts)), "place int, raw string")
    frame = frame.select("place", cells.trimmed(F.col("raw")).alias("cell")).coalesce(1)
    by_spark = {}
    for start in range(0, len(COLUMNS), 8):
        asked = []
        for place, column in enumerate(COLUMNS[start : start + 8], start=start):
            text, value = cells.read(F.col("cell"), column, MISSING, AT)
            value = F.unix_micros(value) if column.type == "timestamp" else value
            asked += [text.alias(f"t{place}"), value.alias(f"v{place}")]
        for row in frame.select("place", *asked).collect():
            for place in range(start, min(start + 8, len(COLUMNS))):
                by_spark[place, row["place"]] = row[f"t{place}"], row[f"v{place}"]
    with duckdb.connect() as connection:
        import pyarrow as pa
        import pyarrow.compute as pc

        landed = pa.table({"place": range(len(texts)), "cell": pc.utf8_trim(pa.array(texts), cell_forms.BLANKS)})
        connection.register("landed", landed)
        by_duckdb = {}
        for place, column in enumerate(COLUMNS):
            text, value = typed_columns.read("cell", column, MISSING, AT)
            if column.type == "timestamp":
                value = f"epoch_us({value})"
            for at, told, read in connection.execute(f"SELECT place, {text}, {value} FROM landed").fetchall():
                by_duckdb[place, at] = told, read
    return texts, by_spark, by_duckdb


def _same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return one == other


@pytest.mark.parametrize(
    "place", range(len(COLUMNS)), ids=[str(column.model_dump(exclude_defaults=True)) for column in COLUMNS]
)
def test_init_reads_each_cell_as_ingest_does(readings, place):
    texts, by_spark, by_duckdb = readings
    differing = {
        text: (by_spark[place, at], by_duckdb[place, at])
        for at, text in enumerate(texts)
        if not all(map(_same, by_spark[place, at], by_duckdb[place, at]))
    }
    assert differing == {}, "each text as ingest and as init read it"
