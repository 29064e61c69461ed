"""What became of a batch, as one page that any browser opens without a network."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from contender.expectations import Finding
from contender.values import Ingested

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
tr.bad td { background: #d9534f26; }
.refused { border-left: 4px solid #d9534f; padding-left: 1rem; }
"""


def page(use_case: str, ingested: Ingested, findings: Sequence[Finding], *, refusal: str | None = None) -> str:
    """A self-contained HTML page: the counts, every reason, and every expectation with what fails it."""
    failing = sum(1 for finding in findings if finding.failing or not finding.holds)
    counts = {"received": ingested.received, "accepted": ingested.accepted, "quarantined": ingested.quarantined,
              "records": ingested.records, "outcomes": ingested.outcomes}  # fmt: skip
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><meta charset="utf-8"><title>{escape(use_case)}: batch {ingested.batch}</title>',
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>',
            f"<h1>{escape(use_case)}: batch {ingested.batch}, {ingested.files:,} files</h1>",
            f'<p class="refused">{escape(refusal)}</p>' if refusal else "",
            *_table(counts, [counts.values()]),
            "<h2>Why rows were quarantined</h2>",
            *_reasons(ingested.reasons),
            f"<h2>Great Expectations: {len(findings)} expectations, {failing} with failing rows</h2>",
            *_table(
                ["expectation", "column", "failing", "of", "samples"],
                [(f.expectation, f.column, f.failing, f.measured, ", ".join(f.samples)) for f in findings],
                bad=[bool(f.failing) or not f.holds for f in findings],
            ),
            "</html>",
        ]
    )


def _reasons(reasons: Mapping[str, int]) -> list[str]:
    if not reasons:
        return ["<p>None was.</p>"]
    ordered: list[tuple[str, int]] = sorted(reasons.items(), key=lambda item: -item[1])
    return _table(["reason", "rows"], ordered)


def _table(names: Iterable[str], rows: Iterable[Iterable[Any]], bad: Sequence[bool] = ()) -> list[str]:
    lines = [f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}</tr>"]
    for place, row in enumerate(rows):
        marked = ' class="bad"' if place < len(bad) and bad[place] else ""
        lines.append(f"<tr{marked}>{''.join(_cell(value) for value in row)}</tr>")
    return [*lines, "</table>"]


def _cell(value: Any) -> str:
    return f'<td class="n">{value:,}</td>' if isinstance(value, int) else f"<td>{escape(str(value))}</td>"
