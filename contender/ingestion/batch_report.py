"""What became of a batch, as one page that any browser opens without a network."""

from collections.abc import Mapping, Sequence
from html import escape

from contender.ingestion.expectations import ExpectationResult
from contender.markup import card, document, table
from contender.values import Ingested


def page(
    use_case: str, ingested: Ingested, findings: Sequence[ExpectationResult], *, refusal: str | None = None
) -> str:
    """A self-contained HTML page: the counts, every reason, and every expectation with what fails it."""
    failing = sum(1 for finding in findings if finding.failing or not finding.holds)
    counts = {
        "received": ingested.received,
        "accepted": ingested.accepted,
        "quarantined": ingested.quarantined,
        "came before": ingested.repeated,
        "records": ingested.records,
        "outcomes": ingested.outcomes,
    }
    return document(
        f"{use_case}: batch {ingested.batch}",
        [
            f"<h1>{escape(use_case)}: batch {ingested.batch}, {ingested.files:,} files</h1>",
            f'<p class="card refused">{escape(refusal)}</p>' if refusal else "",
            *card("Rows", table(counts, [counts.values()])),
            *card("Files that could not be read", _unread(ingested.unread)),
            *card("What was not as the contract has it", _listed(ingested.notes)),
            *card("Why rows were quarantined", _reasons(ingested.reasons)),
            *card(
                f"Great Expectations: {len(findings)} expectations, {failing} with failing rows",
                table(
                    ["expectation", "column", "failing", "of", "samples"],
                    [(f.expectation, f.column, f.failing, f.measured, ", ".join(f.samples)) for f in findings],
                    bad=[bool(f.failing) or not f.holds for f in findings],
                ),
            ),
        ],
    )


def _unread(unread: Mapping[str, str]) -> list[str]:
    return table(["file", "why"], list(unread.items())) if unread else ["<p>None was.</p>"]


def _listed(notes: Sequence[str]) -> list[str]:
    return ["<ul>", *(f"<li>{escape(note)}</li>" for note in notes), "</ul>"] if notes else ["<p>Nothing was.</p>"]


def _reasons(reasons: Mapping[str, int]) -> list[str]:
    if not reasons:
        return ["<p>None was.</p>"]
    ordered: list[tuple[str, int]] = sorted(reasons.items(), key=lambda item: -item[1])
    return table(["reason", "rows"], ordered)
