"""`contender explain`: the reasons for one prediction. No Spark, no Prefect."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from contender.contracts.contract import Contract
from contender.settings import Settings
from flows.cli.options import as_json, command, use_case_argument
from flows.runtime.output import print_json

if TYPE_CHECKING:
    from contender.scoring.reasons import Explained

_LONGEST = 28


@command()
@use_case_argument
@click.argument("key", metavar="KEY")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Reasons to show.")
@as_json
def explain(use_case: str, key: str, top: int, json_: bool) -> None:
    """Show one record's prediction and the top reasons for it.

    \b
    Example: contender explain payments 2026-04-30-001666 --top 3
    """
    settings = Settings()
    contract = Contract.of(use_case, settings.use_cases)
    from contender.scoring import reasons

    explained = reasons.explain(settings, contract, key)
    if json_:
        print_json(_document(explained, top))
    else:
        _print(contract, explained, top)


def _document(explained: "Explained", top: int) -> dict[str, Any]:
    shown, rest = explained.reasons[:top], explained.reasons[top:]
    return {name: value for name, value in vars(explained).items() if name != "reasons"} | {
        "scored_at": explained.scored_at.isoformat(),
        "reasons": [asdict(reason) for reason in shown],
        "others": {"features": len(rest), "contribution": sum(reason.contribution for reason in rest)},
    }


def _print(contract: Contract, explained: "Explained", top: int) -> None:
    from rich.console import Console
    from rich.table import Table

    # A value is the user's: it is neither markup nor an emoji.
    console = Console(highlight=False, markup=False, emoji=False)
    console.print(contract.question, style="bold")
    console.print(
        f"{_shown(explained.key)}: {_predicted(contract, explained)}, band {explained.band}, by {contract.name} "
        f"version {explained.model_version} at {explained.scored_at:%Y-%m-%d %H:%M} UTC."
    )
    gap = explained.explained_score - explained.average_score
    console.print(
        f"The average score is {_number(explained.average_score)} (of {explained.background} records like those scored "
        f"then); this one is {_number(abs(gap))} {'above' if gap >= 0 else 'below'} it because of\n"
    )
    table = Table("feature", "value", "usual", box=None)
    table.add_column("pushes", justify="right")
    for reason in explained.reasons[:top]:
        usual = "none" if reason.usual is None else _shown(reason.usual)
        table.add_row(reason.feature, _shown(reason.value), usual, _signed(reason.contribution))
    if rest := explained.reasons[top:]:
        table.add_row(f"{len(rest)} others", "", "", _signed(sum(reason.contribution for reason in rest)))
    console.print(table)
    console.print(
        "\nContributions are in units of the score and add up to score minus average score. They say what the model "
        "made of these values, not what would happen if a value were changed."
    )
    if not explained.same_features:
        console.print(
            f"The features of this record were computed anew since: the model now says "
            f"{_number(explained.explained_score)}, and the reasons are for that."
        )


def _predicted(contract: Contract, explained: "Explained") -> str:
    if contract.kind == "regression":
        return f"predicted {_number(explained.score)}"
    return f"score {_number(explained.score)}, predicted {_shown(explained.prediction)}"


def _number(value: float) -> str:
    """Four digits that count, without an exponent where people would have to count noughts."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}" if abs(value) >= 1e-4 else f"{value:.1g}"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + _number(value) if value else "0"


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, float):
        return _number(value)
    text = "".join(character if character.isprintable() else "�" for character in str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
