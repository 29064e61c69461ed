"""What became of a batch, as one page that any browser opens without a network."""

from collections.abc import Sequence

from contender.ingestion.expectations import ExpectationResult
from contender.markup import render, table
from contender.values import Ingested


def page(
    use_case: str, ingested: Ingested, findings: Sequence[ExpectationResult], *, refusal: str | None = None
) -> str:
    """A self-contained HTML page: the counts, every reason, and every expectation with what fails it."""
    failing = [bool(finding.failing) or not finding.holds for finding in findings]
    return render(
        "batch.html",
        use_case=use_case,
        ingested=ingested,
        refusal=refusal,
        findings=findings,
        failing=sum(failing),
        counts={name: getattr(ingested, one) for name, one in _COUNTS.items()},
        expectations=table(
            ["expectation", "column", "failing", "of", "samples"],
            [(f.expectation, f.column, f.failing, f.measured, ", ".join(f.samples)) for f in findings],
            bad=failing,
        ),
    )


_COUNTS = {name: name for name in ("received", "accepted", "quarantined")} | {
    "came before": "repeated",
    "records": "records",
    "outcomes": "outcomes",
}
"""What is counted, by the name that people read."""
