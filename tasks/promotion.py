"""The steps from a challenger to a verdict, and from a verdict to the title."""

from collections.abc import Sequence
from contextlib import suppress

from contender.contracts.contract import Contract
from contender.errors import ChampionGone
from contender.lake import locks
from contender.promotion import comparison, judging_window, ledger, title
from contender.promotion.ledger import LedgerEntry
from contender.promotion.title import Rival
from contender.registry import ui_links
from contender.reports import publication
from contender.settings import Settings
from contender.values import ModelVersion, Rows, Scorecard, Verdict
from tasks.retries import TRIES
from tasks.run_log import show, step_log, table, verdict_page
from tasks.steps import step
from tasks.training import git_revision


@step(**TRIES)
def repair_aliases(settings: Settings, contract: Contract) -> None:
    """The registry's aliases as the ledger has them, where a command was cut off before it had set them."""
    # Who needs the champion next says that it is gone; who trains a new one goes on.
    with step_log() as tell, locks.loading, suppress(ChampionGone):
        # While nobody was ever crowned there is nothing to mirror, and MLflow need not be loaded.
        if ledger.head(settings, contract.name) and title.repair(settings, contract.name):
            tell("the registry's aliases are again as the ledger has them")


@step(**TRIES)
def find_champion(settings: Settings, contract: Contract) -> tuple[LedgerEntry, ModelVersion] | None:
    """Who holds the title, with the entry that says so; None when nobody does yet."""
    with step_log() as tell, locks.loading:
        held = title.holder(settings, contract.name)
        tell(f"champion: {held[1]}, since {held[0].at[:16]}" if held else "nobody holds the title yet")
        return held


@step(**TRIES)
def find_rival(settings: Settings, contract: Contract) -> Rival:
    """Whose title a challenger is to take, and the version that it has to beat: none where that cannot answer."""
    with step_log() as tell, locks.loading:
        rival = title.to_beat(settings, contract)
        since = (
            f"champion: {rival.version}, since {rival.entry.at[:16]}" if rival.entry else "nobody holds the title yet"
        )
        tell(rival.why or since)
        return rival


@step(**TRIES)
def hold_out(settings: Settings, contract: Contract, rows: Rows, champion: ModelVersion | None) -> Rows:
    """The judging rows, of which the champion has seen none; told before anything is trained for them."""
    with step_log() as tell:
        judging = judging_window.unseen(contract, rows, champion)
        judging_window.refuse_seen_rows(settings, contract, judging, [champion] if champion else [])
        found = judging_window.refuse_too_little(settings, contract, judging)
        begin = f" from {judging.start:%Y-%m-%d %H:%M} on" if contract.records.time else ""
        tell(f"{found:,} records with outcomes{begin} will judge; the champion, if any, has seen none of them")
        return judging


@step(task_run_name="evaluate {model}", **TRIES)
def evaluate(settings: Settings, contract: Contract, model: ModelVersion, rows: Rows) -> tuple[Scorecard, list[str]]:
    """The model's scorecard on rows it has not seen, and the absolute limits it breaks."""
    from contender.registry import mlflow_evaluation

    with step_log() as tell:
        scorecard, mine, dummy = comparison.measure(settings, contract, model, rows)
        failures = mlflow_evaluation.validate(contract, mine, dummy)
        metric = contract.judging.metric
        tell(f"{model} on {scorecard.rows:,} unseen rows: {metric} {scorecard.metrics[metric]:.4f}")
        for failure in failures:
            tell(failure)
    show(
        contract.name,
        "scorecard",
        f"{contract.name}: {model}",
        [*_scorecard_page(scorecard), "", ui_links.version_line(settings, model)],
    )
    return scorecard, failures


@step
def compare(
    settings: Settings,
    contract: Contract,
    challenger: Scorecard,
    rival: Rival,
    rows: Rows,
    failures: Sequence[str],
    decayed: bool = False,
) -> Verdict:
    """Let the challenger face the champion, on the same rows, and keep the verdict."""
    champion = rival.version
    with step_log() as tell:
        verdict = comparison.compare(
            settings,
            contract,
            challenger,
            champion,
            rows,
            failures,
            decayed=decayed,
            revision=git_revision(contract.folder),
            absent=rival.why,
        )
        tell(f"verdict: {verdict.decision.value}, gain {verdict.gain:+.4f} over the {verdict.against}")
    page = verdict_page(verdict)
    page += ["", f"Challenger. {ui_links.version_line(settings, challenger.model)}"] if challenger.model else []
    page += ["", f"Champion. {ui_links.version_line(settings, champion)}"] if champion else []
    show(contract.name, "verdict", f"{contract.name}: {verdict.decision.value}", page)
    return verdict


@step
def crown(
    settings: Settings,
    contract: Contract,
    challenger: ModelVersion,
    after: LedgerEntry | None,
    verdict: Verdict,
    rows: Rows,
) -> LedgerEntry:
    """Give the title to the challenger, in the ledger, which is what counts."""
    with step_log() as tell:
        evidence = comparison.evidence_of(contract, verdict, rows, git_revision(contract.folder))
        reason = verdict.reasons[0]
        entry = title.crown(
            settings, contract.name, challenger, after=after, reason=reason, by="contender", evidence=evidence
        )
        tell(f"{challenger} holds the title")
        return entry


@step(**TRIES)
def follow_verdict(settings: Settings, contract: Contract, challenger: ModelVersion, verdict: Verdict) -> None:
    """The registry's aliases, and the challenger's validation status, as verdict and ledger have them."""
    with step_log() as tell:
        title.follow_verdict(settings, contract.name, challenger, verdict.decision)
        tell(f"the registry's aliases follow the verdict on {challenger}")


@step(**TRIES)
def publish_report(settings: Settings, contract: Contract, challenger: ModelVersion) -> str:
    """The page for people, brought up to date."""
    with step_log() as tell:
        path = publication.publish(settings, contract, challenger)
        tell(f"report: {path}")
        return str(path)


def _scorecard_page(scorecard: Scorecard) -> list[str]:
    names = sorted(scorecard.metrics)
    return [
        *table(["metric", "value"], [(name, f"{scorecard.metrics[name]:.4f}") for name in names]),
        "",
        f"One record takes {scorecard.latency_ms['p50']:.1f} ms (median), {scorecard.latency_ms['p95']:.1f} ms (p95).",
        "",
        *table(
            ["slice", "rows", *names],
            [
                (name, f"{values['rows']:,.0f}", *(f"{values[n]:.4f}" if n in values else "too few" for n in names))
                for name, values in scorecard.slices.items()
            ],
        ),
    ]
