"""Values of JSON and Parquet as the strings that a text file would have held."""

import json
import unicodedata
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def render(value: Any) -> str | None:
    """One value as text: true and false, numbers by repr, times as ISO 8601, durations in seconds, the rest as JSON.

    None and what is no number (NaN) are None.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value != value:
        # Tools that know no gaps write them so.
        return None
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, timedelta):
        return repr(value.total_seconds())
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=render)
    return str(value)


def render_column(array: "pa.Array") -> list[str | None]:
    """A Parquet column as text, shape (rows,).

    Bytes in a string column that are not UTF-8 become lone surrogates, for the caller to refuse.
    """
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            texts: list[str | None] = array.to_pylist()
        except UnicodeDecodeError:
            raw = array.cast(pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()).to_pylist()
            texts = [None if value is None else value.decode("utf-8", "surrogateescape") for value in raw]
        return texts
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        # Python's clock ends at microseconds, and so does Spark's.
        array = array.cast(pa.timestamp("us", kind.tz), safe=False)
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        # By way of float64 a 0.1 would read 0.10000000149011612.
        return [None if value is None or value != value else str(value) for value in _shortest(array)]
    return [render(value) for value in array.to_pylist()]


def _shortest(array: "pa.Array") -> list[Any]:
    values = array.to_numpy(zero_copy_only=False)
    return [None if missing else value for value, missing in zip(values, array.is_null().to_pylist(), strict=True)]


def composed(values: list[str | None]) -> list[str | None]:
    """Texts in Unicode's composed form: two that look the same are the same."""
    if all(value is None or value.isascii() for value in values):
        return values
    # Not by Arrow, whose NFC comes out decomposed.
    return [value if value is None or value.isascii() else unicodedata.normalize("NFC", value) for value in values]
