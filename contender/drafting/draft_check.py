"""The rows that a contract was drafted from, checked against it: how many it would refuse, why, and what would help."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from contender.contracts.sections import BatchRules, Columns
from contender.drafting.landed_rows import FILE, NUMBER, ROW, LandedRows
from contender.drafting.typed_columns import read
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
    compared: Sequence[str] = (),
) -> Checked:
    """By the rules of `row_checks`: a row's reasons, each counted with a few of the values that it refuses.

    Args:
        cells: expressions for the columns that no file has.
        compared: columns in which two rows of one key must differ to be two.
    """
    at = datetime.now(UTC)
    checks = checks_of(columns, key=key, time=time, at=at, skew=_SKEW)
    found: list[Finding] = []
    conditions: list[str] = []
    for name, column in columns.items():
        cell = cells.get(name) or (landed.cell(name) if name in landed.names else "CAST(NULL AS VARCHAR)")
        text, value = read(cell, column, missing, at)
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
        cell = landed.cell(key)
        text = read(cell, columns[key], missing, at)[0]
        order = f"{ROW} IN (SELECT {ROW} FROM failing)" if conditions else "false"
        failing = f"WITH failing AS ({' UNION '.join(conditions)}) " if conditions else ""
        content = f"hash({', '.join(landed.cell(name) for name in (*compared, key))})"
        distinct = f"SELECT DISTINCT {text} AS k, {content} AS c FROM landed WHERE {text} IS NOT NULL"
        (repeated,) = landed.one(f"SELECT count(*) - count(DISTINCT k) FROM ({distinct})")
        again = (
            f"SELECT {ROW}, CAST(c != first_value(c) OVER (PARTITION BY k ORDER BY o, {ROW}) AS INTEGER) + 1 AS n FROM "
            f"(SELECT {ROW}, {text} AS k, {content} AS c, {order} AS o FROM landed WHERE {text} IS NOT NULL)"
        )
        if repeated:
            samples = landed.ask(
                f"SELECT k, count(*) FROM ({distinct}) GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT {_SHOWN}"
            )
            shown = tuple(f"'{value}' in {count:,} rows" for value, count in samples)
            reason = key_checks(key)[1].reason
            remedy = "the first of each is taken; name another key with --key if rows share one rightly"
            found.append(Finding(reason, int(repeated), shown, remedy))
            place = f"SELECT {ROW} FROM ({again}) WHERE n > 1"
            conditions.append(f"{failing}{place}" if not failing else f"SELECT * FROM ({failing}{place})")
    refused = 0
    if conditions:
        (refused,) = landed.one(f"SELECT count(*) FROM ({' UNION '.join(conditions)})")
    for reason, count in landed.bad.most_common():
        found.append(Finding(reason, count, landed.bad_samples[reason], "mend these lines in the file"))
    broken = landed.bad.total()
    return Checked(landed.rows + broken, int(refused) + broken, tuple(sorted(found, key=lambda one: -one.rows)))


def _fails(check: Check) -> str:
    from contender.drafting.typed_columns import text_literal

    match check.kind:
        case "readable":
            return "t IS NOT NULL AND v IS NULL"
        case "present":
            return "t IS NULL"
        case "min":
            return f"v < {check.limit!r}"
        case "max":
            return f"v > {check.limit!r}"
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
