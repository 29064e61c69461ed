"""The rows that a contract was drafted from, checked against it: how many it would refuse, why, and what would help."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from contender.contracts.sections import BatchRules, Columns
from contender.drafting.landed_rows import FILE, NUMBER, ROW, LandedRows
from contender.drafting.typed_columns import read, text_literal
from contender.ingestion.cell_forms import BLANKS
from contender.ingestion.row_checks import Check, checks_of, key_checks

_SHOWN = 3
_SKEW = BatchRules().clock_skew


@dataclass(frozen=True)
class Finding:
    """One reason against rows: how many, what stood there in some of them, and what would take them in."""

    reason: str
    rows: int
    samples: tuple[str, ...]
    remedy: str


@dataclass(frozen=True)
class Checked:
    """What ingest would do with the files: rows in all, rows that it would quarantine, and why."""

    rows: int
    quarantined: int
    findings: tuple[Finding, ...]

    @property
    def share(self) -> float:
        return self.quarantined / max(self.rows, 1)

    def of_column(self, column: str) -> int:
        """Rows refused for this column."""
        return sum(finding.rows for finding in self.findings if finding.reason.startswith(f"{column}: "))


def check_rows(
    landed: LandedRows,
    columns: Columns,
    *,
    missing: Sequence[str],
    key: str | None,
    time: str | None,
    cells: dict[str, str],
    compared: Collection[str] = (),
) -> Checked:
    """By the rules of `row_checks`: a row's reasons, each counted with a few of the values that it refuses.

    Args:
        cells: expressions for the columns that no file has.
        compared: the columns in which two rows of one key are the same, or other.
    """
    at = datetime.now(UTC)
    checks = checks_of(columns, key=key, time=time, at=at, skew=_SKEW)
    found: list[Finding] = []
    conditions: list[str] = []
    readings: dict[str, tuple[str, str]] = {}
    for name, column in columns.items():
        cell = landed.cell(name) if name in landed.names else "CAST(NULL AS VARCHAR)"
        if name in cells:
            cell = f"trim({cells[name]}, {text_literal(BLANKS)})"
        text, value = readings[name] = read(cell, column, missing, at)
        mine = [check for check in checks if check.column == name]
        if not mine:
            continue
        asked = [_fails(check) for check in mine]
        counts = landed.one(
            f"SELECT {', '.join(f'count_if({one})' for one in asked)} FROM (SELECT {text} AS t, "
            f"{value} AS v FROM landed)"
        )
        for check, condition, count in zip(mine, asked, counts, strict=True):
            if not count:
                continue
            samples = landed.ask(
                f"SELECT {cell}, {FILE}, {NUMBER} FROM (SELECT *, {text} AS t, {value} AS v FROM "
                f"landed) WHERE {condition} "
                f"ORDER BY {ROW} LIMIT {_SHOWN}"
            )
            shown = tuple(_sample(landed, *sample) for sample in samples)
            found.append(Finding(check.reason, count, shown, _remedy(check, needed=name in (key, time))))
            conditions.append(
                f"SELECT {ROW} FROM (SELECT {ROW}, {text} AS t, {value} AS v FROM landed) WHERE {condition}"
            )
    if key is not None:
        text, value = readings[key]
        named = f"FROM landed WHERE {text} IS NOT NULL AND {value} IS NOT NULL"
        again = f"SELECT {text} AS k, count(*) AS n {named} GROUP BY 1 HAVING n > 1"
        if landed.ask(f"{again} LIMIT 1"):
            failing = " UNION ".join(conditions) or f"SELECT {ROW} FROM landed WHERE false"
            content = ", ".join(readings[name][1] for name in compared)
            first = f"{ROW} IN (SELECT {ROW} FROM failing), {readings[time][1] if time else ROW} NULLS FIRST, {ROW}"
            others = (
                f"WITH failing AS ({failing}), twice AS ({again}), compared AS (SELECT {ROW}, {text} AS k, "
                f"row({content}) AS c, first_value(row({content})) OVER (PARTITION BY {text} ORDER BY {first}) AS f "
                f"{named} AND {text} IN (SELECT k FROM twice)) SELECT {ROW}, k FROM compared WHERE c IS DISTINCT FROM f"
            )
            (count,) = landed.one(f"SELECT count(*) FROM ({others})")
            if count:
                samples = landed.ask(f"SELECT k, count(*) FROM ({others}) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {_SHOWN}")
                shown = tuple(f"'{k}' in {n + 1:,} row{'s' * (n > 0)}" for k, n in samples)
                remedy = "the first of each is taken; name another key with --key if rows share one rightly"
                found.append(Finding(key_checks(key)[1].reason, count, shown, remedy))
                conditions.append(f"SELECT {ROW} FROM ({others})")
    refused = 0
    if conditions:
        (refused,) = landed.one(f"SELECT count(*) FROM ({' UNION '.join(conditions)})")
    for reason, count in landed.bad.most_common():
        found.append(Finding(reason, count, landed.bad_samples[reason], "mend these lines in the file"))
    broken = landed.bad.total()
    return Checked(landed.rows + broken, int(refused) + broken, tuple(sorted(found, key=lambda one: -one.rows)))


def _fails(check: Check) -> str:
    match check.kind:
        case "readable":
            return "t IS NOT NULL AND v IS NULL"
        case "present":
            return "t IS NULL"
        case "min":
            return f"CAST(v AS DOUBLE) < {check.limit!r}::DOUBLE"
        case "max":
            return f"CAST(v AS DOUBLE) > {check.limit!r}::DOUBLE"
        case "in set":
            assert isinstance(check.limit, tuple)
            return f"v NOT IN ({', '.join(text_literal(one) for one in check.limit)})"
        case "not in the future":
            assert isinstance(check.limit, datetime)
            return f"v > TIMESTAMP '{check.limit.astimezone(UTC):%Y-%m-%d %H:%M:%S}'"
    raise ValueError(check.kind)


def _remedy(check: Check, *, needed: bool) -> str:
    column = check.column
    if needed and check.kind == "present":
        return "fill it: a record needs its key and its time"
    return {
        "readable": f"say how it is written with --format '{column}=…', or list the spelling under missing",
        "present": f"fill it, or take 'required' from {column} in the contract",
        "min": f"lower {column}'s min in the contract if the values are right",
        "max": f"raise {column}'s max in the contract if the values are right",
        "in set": f"add the value to {column}'s values, or set unseen to accept",
        "not in the future": f"mend {column} in the file, or name another time with --time",
    }[check.kind]


def _sample(landed: LandedRows, text: str | None, file: int, number: int) -> str:
    where = f" in {landed.files[file].name}" if len(landed.files) > 1 else ""
    return f"{'nothing' if not text else repr(text[:40])}{where} (row {number:,})"
