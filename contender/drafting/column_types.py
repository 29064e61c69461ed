"""What a column seems to be, guessed from a sample of its values; every guess with its reason."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from contender.contracts.sections import ColumnType

_ALWAYS_MISSING = frozenset({"", "NULL", "null", "NaN", "nan", "\\N", "#N/A", "N/A", "n/a", "<NA>", "NaT", "None"})
_MISSING_IN_NUMBERS = _ALWAYS_MISSING | {"NA", "na", "none", "-", "--", "?", "missing", ".", "-nan", "NAN"}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_ZERO_PADDED = re.compile(r"-?0\d")
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?")
_DATED = re.compile(r"\d{1,4}[-/. ]|\d{8}(\d{6})?$")
_BOOLEAN = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})
_READABLE_SHARE = 0.995
"""A column is of a type when all but a few of its values are; those few end in quarantine, with a reason."""
MOST_CATEGORIES, MOST_LISTED, ENOUGH_ROWS = 200, 50, 1_000

_DATES = {
    "dd/MM/yyyy": "%d/%m/%Y",
    "MM/dd/yyyy": "%m/%d/%Y",
    "dd.MM.yyyy": "%d.%m.%Y",
    "dd-MM-yyyy": "%d-%m-%Y",
    "yyyy/MM/dd": "%Y/%m/%d",
    "dd-MMM-yyyy": "%d-%b-%Y",
    "dd MMM yyyy": "%d %b %Y",
}
_TIMES = {"": "", " HH:mm": " %H:%M", " HH:mm:ss": " %H:%M:%S", " hh:mm a": " %I:%M %p", " hh:mm:ss a": " %I:%M:%S %p"}
_FORMATS = {f"{d}{t}": f"{dp}{tp}" for d, dp in _DATES.items() for t, tp in _TIMES.items()} | {
    "yyyyMMdd": "%Y%m%d",
    "yyyyMMddHHmmss": "%Y%m%d%H%M%S",
}


@dataclass(frozen=True)
class Guess:
    """One thing that was guessed; `check` where a person should look before trusting it."""

    what: str
    value: str
    why: str
    check: bool = False


@dataclass(frozen=True)
class ColumnGuess:
    """A column's type and the facts behind it. `low` and `high` are the numbers seen, `counts` how often each value."""

    name: str
    type: ColumnType
    counts: Counter[str]
    rows: int
    missing: int
    tokens: frozenset[str]
    format: str | None = None
    low: float | None = None
    high: float | None = None
    doubt: str = ""

    @property
    def unique(self) -> bool:
        return self.missing == 0 and len(self.counts) == self.rows

    @property
    def numeric(self) -> bool:
        return self.type in ("number", "integer")


def guess_column(name: str, values: Sequence[str | None]) -> ColumnGuess:
    """The type of a column, from all its sampled values in order of arrival."""
    counts = Counter(value.strip() for value in values if value is not None)
    strict = {value: n for value, n in counts.items() if value not in _MISSING_IN_NUMBERS}
    total = sum(strict.values())
    rows, nulls = len(values), len(values) - sum(counts.values())

    def is_mostly(readable: set[str]) -> bool:
        return total > 0 and sum(strict[value] for value in readable) >= _READABLE_SHARE * total

    def found(kind: ColumnType, tokens: frozenset[str], pattern: str | None = None, doubt: str = "") -> ColumnGuess:
        seen = frozenset(tokens & counts.keys())
        kept = Counter({value: n for value, n in counts.items() if value not in seen})
        low = high = None
        if kind in ("number", "integer"):
            numbers = [number for value in kept if (number := to_number(value)) is not None]
            low, high = min(numbers), max(numbers)
        missing = nulls + sum(counts[token] for token in seen)
        return ColumnGuess(name, kind, kept, rows, missing, seen, pattern, low, high, doubt)

    if is_mostly({value for value in strict if value.lower() in _BOOLEAN}) and len(strict) <= 6:
        return found("boolean", _MISSING_IN_NUMBERS)
    if is_mostly({value for value in strict if _ISO.fullmatch(value) and to_time(value, None)}):
        return found("timestamp", _MISSING_IN_NUMBERS)
    first = [value for value in list(strict)[:40] if _DATED.match(value)]
    likely = [form for form in _FORMATS if sum(to_time(value, form) is not None for value in first) >= 0.9 * len(first)]
    if len(first) < 0.9 * min(len(strict), 40):
        likely = []
    if formats := [form for form in likely if is_mostly({value for value in strict if to_time(value, form)})]:
        pattern = formats[0]
        doubt = f"{formats[1]} would read them as well" if len(formats) > 1 else ""
        if any(len(value) < len(pattern) for value in strict) and "MMM" not in pattern:
            pattern = pattern.replace("dd", "d").replace("MM", "M").replace("HH", "H").replace("hh", "h")
        return found("timestamp", _MISSING_IN_NUMBERS, pattern, doubt)
    numeric = {value for value in strict if _NUMBER.fullmatch(value)}
    if is_mostly(numeric) and not any(_ZERO_PADDED.match(value) and "." not in value for value in numeric):
        whole = all(re.fullmatch(r"[+-]?\d+", value) for value in numeric)
        return found("integer" if whole else "number", _MISSING_IN_NUMBERS)
    decimal_comma = total > 0 and is_mostly({value for value in strict if re.fullmatch(r"-?\d+,\d+", value)})
    doubt = "numbers with a decimal comma are read as text; write them with a point" if decimal_comma else ""
    kept = [value for value in counts if value not in _ALWAYS_MISSING]
    repeats = len(kept) <= MOST_CATEGORIES and 2 * len(kept) <= max(sum(counts[value] for value in kept), 4)
    short = all(len(value) <= 64 for value in kept)
    return found("category" if kept and repeats and short and not doubt else "text", _ALWAYS_MISSING, doubt=doubt)


def to_number(value: str | None) -> float | None:
    """A finite number, or None."""
    if value is None or not _NUMBER.fullmatch(value.strip()):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def to_time(value: str | None, pattern: str | None) -> datetime | None:
    """A time as naive UTC, or None; `pattern` is one of Spark's that `guess_column` gives, None for ISO 8601."""
    if value is None:
        return None
    try:
        if pattern is None:
            time = datetime.fromisoformat(value.strip())
        else:
            padded = re.sub(r"(?<![A-Za-z])([dMHh])(?![A-Za-z])", r"\1\1", pattern)
            time = datetime.strptime(value.strip(), _FORMATS[padded])  # noqa: DTZ007 - a time without zone is UTC
    except ValueError:
        return None
    if not 1800 < time.year < 2200:
        return None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def tidy(number: float, *, up: bool) -> float:
    """The next number outward with one significant digit."""
    if number == 0:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(abs(number)))
    rounded = (math.ceil if up else math.floor)(round(number / unit, 9)) * unit
    return float(f"{rounded:.6g}")


def range_of(column: ColumnGuess) -> tuple[float, float]:
    """A range that a value of the same kind will hardly leave: three spans wider, and zero stays the floor."""
    assert column.low is not None
    assert column.high is not None
    span = max(column.high - column.low, abs(column.high), 1e-9)
    low = 0.0 if column.low >= 0 else tidy(column.low - 3 * span, up=False)
    return low, tidy(column.high + 3 * span, up=True)
