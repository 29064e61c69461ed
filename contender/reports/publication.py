"""The page for people, from what ledger and registry know."""

from datetime import UTC, datetime
from pathlib import Path

from contender.contracts.contract import Contract
from contender.errors import UsageError
from contender.promotion import ledger
from contender.registry import model_versions
from contender.reports.title_page import page_of
from contender.settings import Settings
from contender.values import ModelVersion


def page(settings: Settings, contract: Contract, champion: ModelVersion | None) -> str:
    """The report of a use case as one HTML document.

    Args:
        champion: what the registry knows of the present one; None where it is not known, which the page then says.
    """
    history, verdicts = ledger.history(settings, contract.name), ledger.verdicts(settings, contract.name)
    return page_of(verdicts, history, contract, champion=champion, now=datetime.now(UTC))


def path_of(settings: Settings, use_case: str) -> Path:
    """Where the report is, unless somebody wanted it elsewhere."""
    return settings.state / "reports" / use_case / "report.html"


def write(path: Path, text: str) -> None:
    """Put the page into a file.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}); name another file with --to.") from error


def publish(settings: Settings, contract: Contract, challenger: ModelVersion) -> Path:
    """Write the report, and keep it with the run of the challenger that was judged."""
    head = ledger.head(settings, contract.name)
    text = page(settings, contract, model_versions.find(settings, contract.name, head.version) if head else None)
    path = path_of(settings, contract.name)
    write(path, text)
    model_versions.log_page(settings, challenger.run_id, text, "report.html")
    return path
