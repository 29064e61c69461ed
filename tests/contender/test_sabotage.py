"""Each guard is missed: its scenario passes as things are, and fails as soon as that one guard is removed.

A guard is removed from the text of its function, so that all else stays; text that is no longer there is an error. Where
two guards stop the same thing, each has a scenario that the other does not stop, or both are removed and the name says so.
"""

import __future__

import ast
import fcntl
import inspect
import io
import json
import math
import struct
import textwrap
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml  # type: ignore[import-untyped]
from alembic.operations import Operations
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint

from contender.contracts.contract import Contract
from contender.contracts.loop_sections import Fairness
from contender.contracts.sections import BatchRules, Judging, Threshold
from contender.errors import (
    Busy,
    ContractError,
    DataError,
    LeakFound,
    ModelError,
    SeenRows,
    TitleError,
    TooFewOutcomes,
    Unavailable,
    UntrustedModel,
    UsageError,
)
from contender.evaluation import bootstrap, fairness, guardrails, judge, metrics, multiple_testing, non_inferiority
from contender.evaluation.promotion_rule import Bar, Opinion
from contender.features import training_keys
from contender.home_version import check_home
from contender.inference import arrays, equality, lowering, scorer
from contender.ingestion import batches, expectations, quarantine, validation
from contender.lake import locks
from contender.promotion import compliance, eligibility, judging_window, ledger, title
from contender.promotion import database as promotion_database
from contender.registry import mlmodel, model_files, skops_file, trusted_types
from contender.scoring import batch_scoring
from contender.settings import Settings
from contender.training import leakage
from contender.values import Decision, Ingested, ModelColumn, ModelVersion, Rows
from tests.conftest import CONTRACT
from tests.contender import tampering as by
from tests.contender.inference.models import COLUMNS as SCORED
from tests.contender.inference.models import Case
from tests.contender.inference.models import fitted as fitted_case
from tests.contender.inference.models import rows as scored_rows
from tests.contender.verdicts import judged, verdict_document

Scenario = Callable[[Path], None]
Sabotage = Callable[[pytest.MonkeyPatch], None]
Failure = (AssertionError, pytest.fail.Exception)
NOON = datetime(2026, 1, 10, 12)  # noqa: DTZ001 - naive UTC, as all times of `Rows` are
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Guard:
    """What must hold, as a check of it in an empty folder, and how to remove what makes it hold."""

    name: str
    sabotage: Sabotage
    scenario: Scenario


def plain(function: Any) -> Any:
    """The function below its decorators, of which all who imported it share the code."""
    function = getattr(function, "fget", function)
    return inspect.unwrap(getattr(function, "__func__", function))


def compiled(function: Any, change: Callable[[str], str]) -> Any:
    tree = ast.parse(change(textwrap.dedent(inspect.getsource(function))))
    made = tree.body[0]
    assert isinstance(made, ast.FunctionDef | ast.AsyncFunctionDef)
    made.decorator_list = []
    found: dict[str, Any] = {}
    code = compile(tree, "<sabotaged>", "exec", flags=__future__.annotations.compiler_flag)
    exec(code, function.__globals__, found)
    return found[made.name].__code__


def without(function: Any, *changes: tuple[str, str]) -> Sabotage:
    """Replaces each first text by the second in a function, where it stands exactly once."""

    def change(text: str) -> str:
        for old, new in changes:
            assert text.count(old) == 1, f"{function} has {text.count(old)} times: {old}"
            text = text.replace(old, new)
        return text

    return lambda patch: patch.setattr(plain(function), "__code__", compiled(plain(function), change))


def instead(function: Any, body: str) -> Sabotage:
    """Replaces all that a function does."""

    def sabotage(patch: pytest.MonkeyPatch) -> None:
        wrapped = f"def it():\n{textwrap.indent(body, '    ')}"  # `return` stands in no module

        def put(text: str) -> str:
            tree = ast.parse(text)
            tree.body[0].body = ast.parse(wrapped).body[0].body  # type: ignore[attr-defined]
            return ast.unparse(tree)

        patch.setattr(plain(function), "__code__", compiled(plain(function), put))

    return sabotage


def both(*sabotages: Sabotage) -> Sabotage:
    def sabotage(patch: pytest.MonkeyPatch) -> None:
        for one in sabotages:
            one(patch)

    return sabotage


def constant(module: Any, name: str, value: Any) -> Sabotage:
    return lambda patch: patch.setattr(module, name, value)


def collecting(guards: list[Guard]) -> Callable[[str, Sabotage], Callable[[Scenario], Scenario]]:
    """Puts a scenario among the guards, with its name and what removes the guard."""

    def guarded(name: str, sabotage: Sabotage) -> Callable[[Scenario], Scenario]:
        def keep(scenario: Scenario) -> Scenario:
            guards.append(Guard(name, sabotage, scenario))
            return scenario

        return keep

    return guarded


def fails(guard: Guard, folder: Path) -> None:
    """Return only if the scenario fails as a test does: not by any other error, nor because another guard stops it."""
    with pytest.raises(Failure) as failed:
        guard.scenario(folder)
    assert "Regex pattern did not match" not in str(failed.value), "another guard says no: sabotage that one as well"
    assert "from pytest-timeout" not in str(failed.value), "it hangs, which says nothing"


GUARDS: list[Guard] = []
guarded = collecting(GUARDS)


def rules_of(**changes: Any) -> Judging:
    given: dict[str, Any] = {"metric": "mae", "newest": timedelta(days=28), "min_gain": 0.01}
    return Judging(**(given | changes))


def drawn(gain: float, error: float, rows: int = 400, seed: int = 1) -> Any:
    """What the challenger does better in each row: its mean is the gain, its standard error the error."""
    noise = np.random.default_rng(seed).normal(size=rows)
    return gain + error * math.sqrt(rows) * (noise - noise.mean()) / noise.std()


def face(better: Any, **changes: Any) -> Any:
    rules = rules_of(**changes.pop("rules", {}))
    given: dict[str, Any] = {
        "kind": "regression",
        "y": np.zeros(len(better)),
        "champion": np.full(len(better), 1_000.0),
        "challenger": 1_000.0 - better,
        "dummy": np.full(len(better), 1_000.0),
        "rules": rules,
        "threshold": 0.5,
        "latency_ms": {"p95": 3.0},
        "seed": 7,
        "draws": 500,
    }
    return judged(**(given | changes))


SURE = drawn(10, 0.1)


def test_a_sure_winner_is_promoted_so_that_each_scenario_hangs_on_its_guard() -> None:
    assert face(SURE).promotes
    assert two_classes(lift=0.8).promotes


CLEARED = "gains.low(min(self.alpha, self.luck)) > self.floor and gains.point >= self.worthwhile"


@guarded("a gain must surely be above zero", without(Bar.cleared_by, (CLEARED, "gains.point >= self.worthwhile")))
def _(_: Path) -> None:
    assert face(drawn(2, 1.5)).decision is Decision.INCONCLUSIVE


@guarded("luck wins in one year of two hundred", without(Bar.cleared_by, ("min(self.alpha, self.luck)", "self.alpha")))
def _(_: Path) -> None:
    assert not face(drawn(2.5, 1)).promotes


SHARED = "max(looks, looks_in_year, rules.looks_per_year)"


@guarded("the looks planned for a year share the error", without(Bar.of, (SHARED, "max(looks, looks_in_year)")))
def _(_: Path) -> None:
    assert face(drawn(3.1, 1), rules={"looks_per_year": 1}).promotes
    assert not face(drawn(3.1, 1), rules={"looks_per_year": 52}).promotes


@guarded("the looks made in a year share the error", without(Bar.of, (SHARED, "max(looks, rules.looks_per_year)")))
def _(_: Path) -> None:
    assert not face(drawn(4.3, 1), looks_in_year=50_000).promotes


@guarded(
    "the looks at one window share the error (of its bound and of luck)",
    without(Bar.of, (SHARED, "max(looks_in_year, rules.looks_per_year)"), ("alpha = ALPHA / looks", "alpha = ALPHA")),
)
def _(_: Path) -> None:
    assert not face(drawn(4.3, 1), looks=50_000).promotes


@guarded("a gain must be worthwhile", without(Bar.cleared_by, (" and gains.point >= self.worthwhile", "")))
def _(_: Path) -> None:
    assert not face(drawn(4.9, 0.5), rules={"min_gain": 5}).promotes


@guarded("a gain that is too small for sure settles it", instead(Bar.missed_by, "return False"))
def _(_: Path) -> None:
    assert face(drawn(1, 0.1), rules={"min_gain": 5}).decision is Decision.KEEP


@guarded(
    "few outcomes leave the error itself uncertain",
    instead(bootstrap.Contest._freedom, "return 1e9"),
)
def _(_: Path) -> None:
    assert not face(drawn(4, 1, rows=50), rules={"min_rows": 50}).promotes


LOW = "min(float(np.quantile(self.draws, alpha)), self.point - self._away(alpha))"


@guarded(
    "a bound beyond what the draws resolve is not read off the draws",
    without(bootstrap.Gains.low, (LOW, "float(np.quantile(self.draws, alpha))")),
)
def _(_: Path) -> None:
    assert not face(drawn(3.5, 1), draws=100).promotes


@guarded(
    "a bound follows skewed draws",
    without(bootstrap.Gains.low, (LOW, "self.point - self._away(alpha)")),
)
def _(_: Path) -> None:
    draws = 1 - np.random.default_rng(1).exponential(size=2_000)
    gains = bootstrap.Gains(0.0, 0.0, 0.0, draws, 1_000)
    assert gains.low(0.01) <= np.quantile(draws, 0.01)


@guarded("an absolute threshold holds", without(judge.judge, ("*check_thresholds(rules, measured, len(y)), ", "")))
def _(_: Path) -> None:
    assert face(SURE, rules={"thresholds": {"mae": Threshold(max=1)}}).decision is Decision.KEEP


@guarded(
    "a threshold on what has no meaning here is refused",
    without(guardrails.check_thresholds, ("raise TooFewOutcomes.to_measure(metric, rows=rows)", "continue")),
)
def _(_: Path) -> None:
    with pytest.raises(TooFewOutcomes):
        face(SURE, rules={"thresholds": {"r2": Threshold(min=0.1)}})


@guarded("a model must be fast enough", without(judge.judge, ("check_latency(rules, latency_ms), ", "")))
def _(_: Path) -> None:
    assert face(SURE, latency_ms={"p95": 201}).decision is Decision.KEEP


@guarded(
    "latency that was not measured is refused",
    without(guardrails.check_latency, ("if not math.isfinite(p95)", "if False")),
)
def _(_: Path) -> None:
    with pytest.raises(ModelError):
        face(SURE, latency_ms={})


def two_classes(lift: float = 0.8, rows: int = 1_500, **changes: Any) -> Any:
    y = (np.random.default_rng(0).random(rows) < 0.25).astype(int)
    rules = rules_of(**({"metric": "roc_auc"} | changes.pop("rules", {})))
    given: dict[str, Any] = {
        "kind": "binary",
        "y": y,
        "champion": scores_of(y, 1.0, 2),
        "challenger": scores_of(y, 1.0 + lift, 3),
        "dummy": np.full(rows, 0.25),
        "rules": rules,
        "threshold": 0.5,
        "latency_ms": {"p95": 3.0},
        "seed": 7,
        "draws": 300,
    }
    return judged(**(given | changes))


def scores_of(y: Any, strength: float, seed: int) -> Any:
    return 1 / (1 + np.exp(1.5 - y * strength - np.random.default_rng(seed).normal(size=len(y))))


@guarded(
    "calibration does not get worse",
    without(judge.judge, ("[flipped, check_calibration(contest, rules, rng, draws)]", "[flipped]")),
)
def _(_: Path) -> None:
    y = (np.random.default_rng(0).random(1_500) < 0.25).astype(int)
    rules = {"max_flips": 1.0}
    assert two_classes(challenger=scores_of(y, 1.8, 9) ** 0.1, rules=rules).decision is Decision.KEEP


@guarded("few decisions flip from right to wrong", without(judge.judge, ("[flipped, ", "[")))
def _(_: Path) -> None:
    assert two_classes(rules={"max_flips": 0.001}).decision is Decision.KEEP


SLICES = {"region": np.repeat(["north", "south"], 200)}


@guarded("no slice loses more than the margin", without(judge.judge, ("checks += sliced", "pass")))
def _(_: Path) -> None:
    better = np.concatenate([drawn(-1, 0.1, 200), drawn(21, 0.1, 200, seed=2)])
    assert face(better, slices=SLICES).decision is Decision.KEEP


HOLDS = "holds = ruled_out or (not significant and loss <= margin)"


@guarded(
    "a slice's loss beyond the margin is not passed because it may be luck",
    without(guardrails._loss, (HOLDS, "holds = ruled_out or not significant")),
)
def _(_: Path) -> None:
    better = np.concatenate([drawn(-1, 1, 200), drawn(21, 0.1, 200, seed=2)])
    assert face(better, slices=SLICES).decision is Decision.INCONCLUSIVE


@guarded(
    "a slice's larger loss must be ruled out where the loss is sure",
    without(guardrails._loss, (HOLDS, "holds = ruled_out or loss <= margin")),
)
def _(_: Path) -> None:
    better = np.concatenate([drawn(-0.9, 0.2, 200), drawn(21, 0.1, 200, seed=2)])
    assert face(better, slices=SLICES, rules={"slice_margin": 1}).decision is Decision.INCONCLUSIVE


@guarded(
    "of many slices one may look bad by luck (Holm)",
    instead(multiple_testing.holm_levels, "return [error] * len(p_values)"),
)
def _(_: Path) -> None:
    better = np.concatenate([drawn(-2.2, 1, 200), *(drawn(10, 1, 200, seed) for seed in range(9))])
    slices = {"region": np.repeat(list("abcdefghij"), 200)}
    verdict = face(better, slices=slices, draws=200)
    assert verdict.decision is Decision.INCONCLUSIVE, "ten slices: one that seems to lose does not settle it"


@guarded(
    "a slice too small to tell is named and not passed",
    without(
        guardrails.gains_of_slices,
        (
            "check_enough(part.kind, part.y, min_rows=least, min_per_class=rules.min_per_class or SLICE_OF_A_CLASS)",
            "pass",
        ),
    ),
)
def _(_: Path) -> None:
    verdict = face(SURE, slices={"region": np.array(["island"] * 40 + ["mainland"] * 360)})
    assert "too small to tell: region=island (40 rows)" in verdict.reasons
    assert "slice region=island" not in {rail.name for rail in verdict.guardrails}


@guarded(
    "a slice of few entities is named and not passed",
    without(guardrails.gains_of_slices, ("check_entities(part)", "pass")),
)
def _(_: Path) -> None:
    few = np.where(np.arange(400) < 200, np.arange(400) % 10, np.arange(400))
    verdict = face(SURE, slices=SLICES, clusters=few.astype(str))
    assert "too small to tell: region=north (200 rows)" in verdict.reasons


DELONG = "return Opinion(check, bar.alpha, binding)"


@guarded("DeLong's doubt stops a promotion", without(judge._second_opinion, (DELONG, "return None")))
def _(_: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # By the bootstrap alone a win: so the two can differ, and only DeLong is in doubt.
        instead(Bar.cleared_by, "return gains.point >= self.worthwhile")(patch)
        verdict = two_classes(lift=0.08)
    assert any(reason.startswith("DeLong's test does not see") for reason in verdict.reasons)
    assert verdict.decision is Decision.INCONCLUSIVE


@guarded(
    "McNemar's doubt stops a promotion",
    without(judge._second_opinion, ('if metric == "accuracy" and bar.floor == 0', "if False")),
)
def _(_: Path) -> None:
    y = (np.random.default_rng(0).random(300) < 0.25).astype(int)
    champion, challenger = y.astype(float), y.astype(float)
    champion[:6] = 1 - champion[:6]
    challenger[6] = 1 - challenger[6]
    with pytest.MonkeyPatch.context() as patch:
        instead(Bar.cleared_by, "return gains.point >= self.worthwhile")(patch)
        verdict = two_classes(
            y=y,
            champion=champion,
            challenger=challenger,
            dummy=np.full(300, 0.25),
            draws=200,
            rules={"metric": "accuracy", "min_gain": 0.001},
        )
    assert verdict.decision is Decision.INCONCLUSIVE


@guarded("a second opinion forbids a promotion where it binds", instead(Opinion.contradicts, "return False"))
def _(_: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        instead(Bar.cleared_by, "return gains.point >= self.worthwhile")(patch)
        assert not two_classes(lift=0.08).promotes


@guarded(
    "rows of one entity are drawn together",
    without(bootstrap.Contest._weights, ("if self.clusters is not None:", "if False:")),
)
def _(_: Path) -> None:
    better = np.repeat(drawn(2.5, 1, 100), 20)
    assert face(better, draws=200).promotes, "as if they were independent"
    assert not face(better, clusters=np.repeat(np.arange(100), 20), draws=200).promotes


@guarded(
    "the clusters reach the comparison",
    without(judge.judge, ("challenger, threshold, clusters)", "challenger, threshold)")),
)
def _(_: Path) -> None:
    assert not face(np.repeat(drawn(2.5, 1, 100), 20), clusters=np.repeat(np.arange(100), 20), draws=200).promotes


@guarded("too few rows are refused", without(metrics.check_enough, ("if len(y) < max(min_rows, 1)", "if False")))
def _(_: Path) -> None:
    with pytest.raises(TooFewOutcomes, match="19 records"):
        face(drawn(10, 0.1, 19))


def few_positives(positives: int, rows: int = 400) -> Any:
    return (np.arange(rows) < positives).astype(int)


def two_classes_of(y: Any, **changes: Any) -> Any:
    given = {"champion": scores_of(y, 1, 2), "challenger": scores_of(y, 4, 3), "dummy": np.full(len(y), 0.1)}
    return two_classes(**({"y": y} | given | changes))


@guarded(
    "too few of the rarer class are refused",
    without(metrics.check_enough, ("if second < min_per_class", "if False")),
)
def _(_: Path) -> None:
    with pytest.raises(TooFewOutcomes, match="rarer class"):
        two_classes_of(few_positives(4))


@guarded(
    "too few entities are refused",
    without(guardrails.check_entities, ("< MIN_ENTITIES:", "< 1:")),
)
def _(_: Path) -> None:
    with pytest.raises(TooFewOutcomes, match="29 entities"):
        face(SURE, clusters=np.arange(400) % 29)


@guarded(
    "too few entities of the rarer class are refused",
    without(guardrails.check_entities, ("if spread[-2] < MIN_ENTITIES_PER_CLASS", "if False")),
)
def _(_: Path) -> None:
    y = few_positives(40)
    with pytest.raises(TooFewOutcomes, match="entities with outcomes of the rarer class"):
        two_classes_of(y, clusters=np.where(y == 1, np.arange(400) % 9, np.arange(400)))


@guarded(
    "a metric without meaning in many draws is refused",
    without(bootstrap.Contest.gains, (" or defined.mean() < MIN_DEFINED", "")),
)
def _(_: Path) -> None:
    # The judge refuses so few entities before: this guards whoever asks for gains elsewhere.
    y = few_positives(40)
    one = bootstrap.Contest("binary", y, y * 0.5, y * 0.6, clusters=np.where(y == 1, 0, np.arange(400)))
    with pytest.raises(TooFewOutcomes):
        one.gains("roc_auc", np.random.default_rng(1), 200)


def first_by_accuracy(challenger: Any) -> Any:
    """A first model, judged by decisions, which any number can be turned into."""
    y = few_positives(100)
    return two_classes_of(y, champion=None, challenger=challenger, rules={"metric": "accuracy", "min_gain": 0})


@guarded(
    "scores that are not numbers are refused",
    without(metrics.check_scores, ("if broken := int((~np.isfinite(scores)).sum())", "if broken := 0")),
)
def _(_: Path) -> None:
    with pytest.raises(ModelError, match="1 scores of the challenger are not finite"):
        first_by_accuracy(np.where(np.arange(400) == 300, np.nan, few_positives(100)))


@guarded(
    "scores that are no probabilities are refused",
    without(metrics.check_scores, ("((scores < 0) | (scores > 1)).any()", "False")),
)
def _(_: Path) -> None:
    with pytest.raises(ModelError, match="expected probabilities"):
        first_by_accuracy(few_positives(100) * 1.5)


@guarded(
    "one score is needed for each outcome",
    without(metrics.check_scores, ("if len(scores) != len(y)", "if False")),
)
def _(_: Path) -> None:
    with pytest.raises(ModelError, match="399 scores for 400"):
        metrics.check_scores("binary", few_positives(9), np.full(399, 0.5), who="challenger")


@guarded(
    "outcomes must be of their kind",
    without(
        metrics.check_scores,
        ('elif not np.isin(y, (0, 1) if kind == "binary" else np.arange(scores.shape[1])).all()', "elif False"),
    ),
)
def _(_: Path) -> None:
    with pytest.raises(ModelError, match="expected 0 and 1"):
        metrics.check_scores("binary", few_positives(9) * 2, np.full(400, 0.5), who="challenger")


@guarded(
    "a first model must beat the dummy",
    without(Bar.of, ("return cls(0.0, 0.0, alpha, alpha)", "return cls(-math.inf, -math.inf, alpha, alpha)")),
)
def _(_: Path) -> None:
    outcomes = np.linspace(0, 2_000, len(SURE))
    assert face(SURE, champion=None, y=outcomes, challenger=outcomes + 10).promotes
    assert face(SURE, champion=None, y=outcomes, challenger=2_000 - outcomes).decision is Decision.KEEP


@guarded(
    "a decaying champion yields to no more than the allowed loss",
    without(Bar.of, ("return cls(-allowed_loss,", "return cls(-math.inf,")),
)
def _(_: Path) -> None:
    assert not face(drawn(-3, 0.1), non_inferiority=2).promotes


@guarded(
    "a decaying champion's window is not looked at often either",
    without(Bar.of, ("alpha = ALPHA / looks", "alpha = ALPHA")),
)
def _(_: Path) -> None:
    assert face(drawn(0, 1), non_inferiority=2).promotes
    assert not face(drawn(0, 1), non_inferiority=2, looks=10).promotes


@guarded(
    "an allowed loss is a number from 0 on",
    without(judge.judge, ("(non_inferiority is not None and not 0 <= non_inferiority < math.inf)", "False")),
)
def _(_: Path) -> None:
    with pytest.raises(ValueError, match="a loss of 0 or more"):
        face(drawn(-3, 0.1), non_inferiority=math.inf)


def lenient(**changes: Any) -> non_inferiority.Leniency:
    rules = rules_of(**({"max_loss": 0.02} | changes.pop("rules", {})))
    lost = [verdict_document(gain=-loss, mode="decay") for loss in changes.pop("lost", ())]
    given: dict[str, Any] = {"decayed": True, "age": 7 * DAY} | changes
    return non_inferiority.leniency(rules, lost, **given)


@guarded("what successors lost is added up", instead(non_inferiority.lost_since_clear_win, "return 0.0"))
def _(_: Path) -> None:
    assert lenient(lost=[0.015]).allowed_loss == pytest.approx(0.005)


@guarded(
    "past the limit of losses only a win counts",
    without(non_inferiority.leniency, ("if limit - lost <= 0:", "if False:")),
)
def _(_: Path) -> None:
    assert lenient(lost=[0.015, 0.006]).allowed_loss is None


@guarded(
    "a sound champion must be beaten", without(non_inferiority.leniency, ("if not (decayed or too_old):", "if False:"))
)
def _(_: Path) -> None:
    assert lenient(decayed=False).allowed_loss is None


@guarded(
    "an old champion need not be beaten", without(non_inferiority.leniency, ("and age > rules.max_age", "and False"))
)
def _(_: Path) -> None:
    assert lenient(decayed=False, rules={"max_age": 6 * DAY}).allowed_loss == pytest.approx(0.02)
    assert lenient(decayed=False, rules={"max_age": 7 * DAY}).allowed_loss is None


@guarded(
    "nobody is lenient where nobody holds the title",
    without(non_inferiority.leniency, ("if age is None:", "if False:")),
)
def _(_: Path) -> None:
    assert lenient(age=None).allowed_loss is None


MODEL = ModelVersion("orders", 1, "run", "m", "d" * 64, trained_until=NOON)
WINDOW = Rows(NOON - 7 * DAY, NOON + 20 * DAY, NOON + 30 * DAY, ())


def contract_in(home: Path, *changes: tuple[str, str]) -> Contract:
    text = CONTRACT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder = home / "orders"
    folder.mkdir(exist_ok=True)
    (folder / "contract.toml").write_text(text)
    return Contract.read(folder / "contract.toml")


EMBARGO = ("min_gain = 0.01", 'min_gain = 0.01\nembargo = "3 days"\nmax_comparisons = 2')


@guarded(
    "judging starts after what the champion was trained on",
    without(judging_window.unseen, ("start=max(rows.start, start)", "start=rows.start")),
)
def _(home: Path) -> None:
    assert judging_window.unseen(contract_in(home), WINDOW, MODEL).start > NOON


@guarded("judging starts an embargo later", without(judging_window.unseen, (" + contract.judging.embargo", "")))
def _(home: Path) -> None:
    assert judging_window.unseen(contract_in(home, EMBARGO), WINDOW, MODEL).start > NOON + 3 * DAY


@guarded(
    "no rows are left where the champion has seen all",
    without(judging_window.unseen, ("if start >= rows.end:", "if False:")),
)
def _(home: Path) -> None:
    with pytest.raises(TooFewOutcomes):
        judging_window.unseen(contract_in(home), replace(WINDOW, end=NOON), MODEL)


@guarded(
    "no row is judged on that a model was trained on, by its key",
    without(training_keys.refuse_seen, ("if seen:", "if False:")),
)
def _(_: Path) -> None:
    with pytest.raises(SeenRows, match="1 of the 3"):
        training_keys.refuse_seen(
            training_keys.hashes_of(["a", "b", "c"]), training_keys.hashes_of(["c", "d"]), "version 1"
        )


@guarded(
    "a window is spent by looking at it",
    without(judging_window.looks_at, ("if looks > contract.judging.max_comparisons:", "if False:")),
)
def _(home: Path) -> None:
    contract, settings = contract_in(home, EMBARGO), Settings(home=home)
    assert [judging_window.looks_at(settings, contract, WINDOW) for _ in range(2)] == [1, 2]
    with pytest.raises(TooFewOutcomes, match="looked at 2 times and the contract allows 2"):
        judging_window.looks_at(settings, contract, WINDOW)


@guarded(
    "a window is not fresh because it was moved a little",
    without(judging_window._looks_so_far, (" or _shared(other, rows) >= _SAME_WINDOW", "")),
)
def _(home: Path) -> None:
    contract, settings = contract_in(home, EMBARGO), Settings(home=home)
    for moved in range(2):
        judging_window.looks_at(settings, contract, replace(WINDOW, start=WINDOW.start + moved * DAY))
    with pytest.raises(TooFewOutcomes):
        judging_window.looks_at(settings, contract, replace(WINDOW, start=WINDOW.start + 2 * DAY))


@guarded("a year's verdicts are counted", instead(judging_window.of_a_year, "return 0"))
def _(_: Path) -> None:
    told = [verdict_document(as_of=NOON - days * DAY) for days in (1, 364, 366)]
    assert judging_window.of_a_year(told, NOON) == 2


ROWS = 2_000
REASON = "measured an hour before"


def doubted(leak: Any, y: Any, kind: str = "binary", allowed: str = "") -> Any:
    frame = pd.DataFrame({"age": np.random.default_rng(5).normal(size=len(y))} | leak)
    given = {allowed: REASON} if allowed else {}
    columns = [ModelColumn(str(name), "number" if frame[name].dtype.kind == "f" else "category") for name in frame]
    return leakage.refuse_leaks(frame, y, kind=kind, columns=columns, past=(), allowed=given, seed=1)  # type: ignore[arg-type]


HALF = np.random.default_rng(3).integers(0, 2, ROWS)
NOISE = np.random.default_rng(4).normal(size=(ROWS, 2))


@guarded("a copy of the outcome is refused", instead(leakage._is_copy, "return False"))
def _(_: Path) -> None:
    # So seldom filled that it alone predicts little.
    with pytest.raises(LeakFound, match="is a copy"):
        doubted({"leak": np.where(np.arange(ROWS) % 40 == 0, HALF.astype(float), np.nan)}, HALF)


@guarded("what is filled only after the outcome is refused", instead(leakage._filled_after, "return None"))
def _(_: Path) -> None:
    filled = (HALF == 1) & (NOISE[:, 1] > 0)
    with pytest.raises(LeakFound, match="so only after it"):
        doubted({"leak": np.where(filled, NOISE[:, 0], np.nan)}, HALF)


@guarded(
    "what alone tells the outcome is refused", without(leakage._alone, ("if told.strength < limits.alone:", "if True:"))
)
def _(_: Path) -> None:
    codes = [f"{outcome}{detail}" for outcome, detail in zip(HALF, np.arange(ROWS) % 60, strict=True)]
    with pytest.raises(LeakFound, match="'leak' alone predicts"):
        doubted({"leak": np.array(codes, dtype=object)}, HALF)


@guarded("a few that together tell the outcome are refused", instead(leakage._together, "return []"))
def _(_: Path) -> None:
    with pytest.raises(LeakFound, match="'a' and 'b' together"):
        doubted({"a": NOISE[:, 0], "b": NOISE[:, 1]}, NOISE.sum(axis=1), "regression")


@guarded(
    "only what the contract names is allowed",
    without(
        leakage._with_reason,
        ("if not all(name in allowed for name in leak.features):", "if False:"),
        ("allowed[name]", "'any'"),
    ),
)
def _(_: Path) -> None:
    assert doubted({"leak": HALF.astype(float)}, HALF, allowed="leak")[0].reason == REASON
    with pytest.raises(LeakFound):
        doubted({"leak": HALF.astype(float)}, HALF, allowed="age")


@guarded("a leak that was found is refused", without(leakage.refuse_leaks, ("if not leak.reason]", "if False]")))
def _(_: Path) -> None:
    with pytest.raises(LeakFound):
        doubted({"leak": HALF.astype(float)}, HALF)


@guarded(
    "nothing is free of leaks where too few outcomes could tell",
    without(leakage.find_leaks, ("if not outcomes.turns:", "if not outcomes.turns: return ()\n    if False:")),
)
def _(_: Path) -> None:
    with pytest.raises(TooFewOutcomes):
        doubted({}, few_positives(4, 200))


def treated(groups: dict[str, tuple[int, int]], **limits: Any) -> tuple[Any, list[str]]:
    """What the limits say of groups with so many selected of so many rows."""
    names = np.repeat(list(groups), [rows for _, rows in groups.values()])
    scores = np.concatenate([np.arange(rows) < chosen for chosen, rows in groups.values()]).astype(float)
    rules = Fairness(columns=("region",), **limits)
    return fairness.check_fairness(np.arange(len(names)) % 2, scores, 0.5, {"region": names}, rules, 7)


@guarded(
    "a limit on fairness that is surely broken keeps the champion",
    without(fairness._check, ("any(pair.high(alpha) < 0 for pair in pairs)", "False")),
)
def _(_: Path) -> None:
    checked, _notes = treated({"north": (650, 1_000), "south": (300, 1_000)}, max_selection_rate_difference=0.1)
    assert face(SURE, fairness=checked).decision is Decision.KEEP


@guarded("a limit on fairness counts for the verdict", without(judge.judge, (", *fairness]", "]")))
def _(_: Path) -> None:
    checked, _notes = treated({"north": (650, 1_000), "south": (300, 1_000)}, max_selection_rate_difference=0.1)
    assert face(SURE, fairness=checked).decision is Decision.KEEP


@guarded(
    "a limit on fairness that is broken, be it by luck, does not hold",
    without(
        fairness._check,
        ("if broken := [pair for pair in pairs if pair.point < 0]:", "if broken := []:"),
        ("if alike or not in_doubt:", "if True:"),
    ),
)
def _(_: Path) -> None:
    checked, _notes = treated({"north": (36, 100), "south": (24, 100)}, max_selection_rate_difference=0.1)
    assert face(SURE, fairness=checked).decision is Decision.INCONCLUSIVE


@guarded(
    "a limit on fairness must be sure to hold where groups differ",
    without(fairness._check, ("if alike or not in_doubt:", "if True:")),
)
def _(_: Path) -> None:
    checked, _notes = treated({"north": (500, 1_000), "south": (420, 1_000)}, max_selection_rate_difference=0.1)
    assert face(SURE, fairness=checked).decision is Decision.INCONCLUSIVE


@guarded(
    "groups too small to tell are not passed",
    without(
        fairness._check,
        ("Checked(Guardrail(name, None, rule.limit, False)", "Checked(Guardrail(name, None, rule.limit, True)"),
    ),
)
def _(_: Path) -> None:
    checked, notes = treated({"north": (500, 1_000), "south": (20, 40)}, max_selection_rate_difference=0.1)
    assert notes == ["too small to tell: region=south (40 rows)"]
    assert not face(SURE, fairness=checked).promotes


PROOFS = (
    'kind = "binary"\n',
    'kind = "binary"\nowner = " "\n[compliance]\nrequired = ["data card", "owner"]\n[training]\napproved = ["logistic"]\n',
)


@guarded(
    "a mandatory proof that is missing stops a release",
    without(compliance.refuse_missing_proofs, ("if missing:", "if False:")),
)
def _(home: Path) -> None:
    contract = contract_in(home, PROOFS)
    with pytest.raises(ContractError, match="2 proofs mandatory and 2 are missing"):
        compliance.refuse_missing_proofs(contract, compliance.proofs_of(contract, signature=True))


@guarded("a blank proof is none", without(compliance.proofs_of, ("contract.owner.strip()", "contract.owner")))
def _(home: Path) -> None:
    assert compliance.proofs_of(contract_in(home, PROOFS), signature=True)["owner"] == ""


@guarded("a data card that says nothing is none", constant(compliance, "_CARD_WORDS", 0))
def _(home: Path) -> None:
    contract = contract_in(home, PROOFS)
    (contract.folder / "README.md").write_text("to be written")
    assert compliance.proofs_of(contract, signature=True)["data card"] == ""


@guarded(
    "only approved candidates are searched in production",
    without(compliance.candidates_in, ('if environment != "prod":', "if True:")),
)
def _(home: Path) -> None:
    assert compliance.candidates_in(contract_in(home, PROOFS), "prod") == ("logistic",)


@guarded(
    "nothing is searched in production where nothing is approved",
    without(compliance.candidates_in, ("if not approved:", "if False:")),
)
def _(home: Path) -> None:
    with pytest.raises(UsageError):
        compliance.candidates_in(contract_in(home), "prod")


def fitted() -> Pipeline:
    from sklearn.tree import DecisionTreeClassifier

    model = Pipeline([("scale", StandardScaler()), ("tree", DecisionTreeClassifier(max_depth=2, random_state=1))])
    return model.fit(NOISE[:200], HALF[:200])


PACKAGES = "mlflow==3\nscikit-learn\nskops\n"
DESCRIPTION: dict[str, Any] = {
    "flavors": {
        "python_function": {
            "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
            "loader_module": "mlflow.sklearn",
            "model_path": "model.skops",
            "predict_fn": "predict",
            "python_version": "3.11",
        },
        "sklearn": {
            "code": None,
            "pickled_model": "model.skops",
            "serialization_format": "skops",
            "sklearn_version": "1",
            "skops_trusted_types": ["sklearn.pipeline.Pipeline"],
        },
    },
    "signature": {"inputs": "[]", "outputs": "[]"},
}


def files_of(edit: Callable[[dict[str, Any]], Any] | None = None, **changed: bytes) -> dict[str, bytes]:
    """All that a logged model of ours consists of; `changed` by name, with _ for the dot."""
    description = json.loads(json.dumps(DESCRIPTION))
    if edit:
        edit(description)
    files = {
        "MLmodel": yaml.safe_dump(description).encode(),
        "model.skops": trusted_types.dumps(fitted()),
        "conda.yaml": b"channels: [conda-forge]\ndependencies: [python=3.11, pip, {pip: [mlflow==3]}]\n",
        "python_env.yaml": b"python: '3.11'\nbuild_dependencies: [pip]\ndependencies: [-r requirements.txt]\n",
        "requirements.txt": PACKAGES.encode(),
        "input_example.json": b"{}",
        "serving_input_example.json": b"{}",
    }
    return files | {name.replace("__", "."): content for name, content in changed.items()}


def stored(home: Path, files: dict[str, bytes]) -> Path:
    folder = home / "model"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_honest_model_is_opened_so_that_each_scenario_hangs_on_its_guard(tmp_path: Path) -> None:
    folder = stored(tmp_path, files_of())
    model_files.check_folder(folder, model_files.digest_of(folder))
    assert model_files.load_folder(folder, model_files.digest_of(folder)).model.predict(NOISE).shape == (ROWS,)


def tampered(home: Path, tamper: by.Tamper) -> bytes:
    folder = stored(home, {"model.skops": trusted_types.dumps(fitted())})
    tamper(folder, home / "canary")
    return (folder / "model.skops").read_bytes()


def refuses(data: bytes, reason: str) -> None:
    with pytest.raises(UntrustedModel, match=reason):
        trusted_types.check(data, "The model")


@guarded(
    "a model holds no type that is not on our list",
    without(trusted_types.check, ("_refuse(sorted(set(_foreign(schema))), name)", "pass")),
)
def _(_: Path) -> None:
    refuses(skops.io.dumps(Pipeline([("svm", LinearSVC())])), "holds sklearn.svm._classes.LinearSVC")


@guarded(
    "a type is made only by the part of skops that makes it in ours",
    without(trusted_types._foreign, ("_BUILT_BY.get(str(loader), ())", "ALLOWED")),
)
def _(home: Path) -> None:
    refuses(tampered(home, by.node(by.constructed_hook)), "OwnFeatures by ConstructorFromReduce")


@guarded(
    "a model is a model and not a part of one", without(trusted_types.check, ("if top not in _MODELS:", "if False:"))
)
def _(_: Path) -> None:
    refuses(skops.io.dumps(StandardScaler()), "StandardScaler in place of a model")


@guarded(
    "a model is of the protocol that we read",
    without(trusted_types.check, ("!= _PROTOCOL or not isinstance(protocol, int):", "!= _PROTOCOL and False:")),
)
def _(home: Path) -> None:
    refuses(tampered(home, by.schema(lambda found, _: found.update(protocol=0))), "protocol 0")


@guarded("a model is checked before it is built", without(trusted_types.loads, ("check(data, name)", "pass")))
def _(_: Path) -> None:
    with pytest.raises(UntrustedModel):
        trusted_types.loads(skops.io.dumps(Pipeline([("svm", LinearSVC())])), "The model")


@guarded(
    "a model that could not be loaded again is not stored",
    without(trusted_types.dumps, ('check(data, "The model")', "pass")),
)
def _(_: Path) -> None:
    with pytest.raises(UntrustedModel):
        trusted_types.dumps(Pipeline([("svm", LinearSVC())]))


def rezipped(home: Path, change: Callable[[by.Entries], by.Entries], attributes: int = 0) -> bytes:
    entries = change(by.entries_of(stored(home, {"model.skops": trusted_types.dumps(fitted())})))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes << 16
            file.writestr(info, content)
    return buffer.getvalue()


@guarded(
    "an entry is called as skops calls it",
    without(skops_file._entries, ("if not _NAME.fullmatch(entry.orig_filename):", "if False:")),
)
def _(home: Path) -> None:
    def change(entries: by.Entries) -> by.Entries:
        first = min(entries)
        return {
            name.replace(first, f"../{first}"): content.replace(first.encode(), f"../{first}".encode())
            for name, content in entries.items()
        }

    refuses(rezipped(home, change), "an entry is called '../")


@guarded("no entry comes twice", without(skops_file._entries, ("if entry.orig_filename in names:", "if False:")))
def _(home: Path) -> None:
    folder = stored(home, {"model.skops": trusted_types.dumps(fitted())})
    with zipfile.ZipFile(folder / "model.skops", "a") as file:
        schema = file.read("schema.json")
        file.filelist, file.NameToInfo = list(file.filelist), {}  # else it warns of the name
        file.writestr("schema.json", schema)
    refuses((folder / "model.skops").read_bytes(), "two entries called")


@guarded(
    "no entry is a link",
    without(skops_file._entries, ("if entry.external_attr >> 16 & 0o170000 not in (0, 0o100000):", "if False:")),
)
def _(home: Path) -> None:
    refuses(rezipped(home, dict, 0o120777), "is a link")


@guarded("no entry has flags", without(skops_file._entries, (" or entry.flag_bits", "")))
def _(home: Path) -> None:
    def flagged(content: bytearray) -> None:
        content[by.central(content) + 9] |= 8  # the name is UTF-8: the one flag that changes nothing else

    refuses(tampered(home, by.patched(flagged)), "packed or encrypted")


TAIL = 'if (marker, directory_at, comment) != (b"PK\\5\\6", end, 0) or end + directory_bytes + _END_BYTES != len(data):'


@guarded("nothing stands behind the entries", without(skops_file._entries, (TAIL, "if False:")))
def _(home: Path) -> None:
    def commented(content: bytearray) -> bytes:
        return bytes(content[:-2]) + struct.pack("<H", 4) + b"more"

    refuses(tampered(home, by.patched(commented)), "other bytes between or behind")


@guarded(
    "nothing stands before the entries (where they begin, and where the file ends)",
    without(skops_file._entries, (TAIL, "if False:"), ("if entry.header_offset != end:", "if False:")),
)
def _(home: Path) -> None:
    refuses(tampered(home, by.patched(by.behind_a_script)), "other bytes")


@guarded("the schema says nothing twice", without(skops_file._once, ("if len(found) != len(pairs):", "if False:")))
def _(home: Path) -> None:
    twice = by.raw_schema(lambda schema, _: schema.replace(b"{", b'{"protocol": 0, ', 1))
    refuses(tampered(home, twice), "says something twice")


@guarded(
    "the schema knows every entry",
    without(
        skops_file.read_schema, ("if unnamed := sorted(set(entries) ^ set(_files_in(schema))):", "if unnamed := ():")
    ),
)
def _(home: Path) -> None:
    refuses(rezipped(home, lambda entries: entries | {"77.npy": by.saved(np.zeros(3))}), "do not know each other")


@guarded("the schema is not too deep", constant(skops_file, "_DEEPEST", 10_000))
def _(home: Path) -> None:
    def deep(canary: Path) -> dict[str, Any]:
        found = by.text("bottom")
        for _ in range(150):
            found = by.named("ListNode", "builtins.list", content=[found])
        return found

    refuses(tampered(home, by.node(deep)), "nested deeper than")


def header_of(descr: str, count: int, content: bytes) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(  # type: ignore[no-untyped-call]
        file, {"descr": descr, "fortran_order": False, "shape": (count,)}
    )
    return file.getvalue() + content


@guarded("an array holds no pickles", without(skops_file._check_array, ("if dtype.hasobject:", "if False:")))
def _(home: Path) -> None:
    refuses(tampered(home, by.array(lambda *_: header_of("|O", 2, struct.pack("<QQ", 0, 0)))), "pickled objects")


@guarded(
    "an array is as large as it says",
    without(skops_file._check_array, ("if math.prod(shape)", "if False and math.prod(shape)")),
)
def _(home: Path) -> None:
    refuses(tampered(home, by.array(by.array_said_to_be_huge)), "not as large as it says")


@guarded(
    "a tree goes down only", without(skops_file._check_array, ("if dtype.names and len(shape) == 1:", "if False:"))
)
def _(home: Path) -> None:
    def circle(nodes: Any) -> None:
        nodes["left_child"][0] = 0

    refuses(tampered(home, by.tree(circle)), "in a circle")


def describes(files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(UntrustedModel, match=reason):
        mlmodel.check_description(files, trusted_types.ALLOWED, "The model")


@guarded(
    "no other file lies beside a model",
    without(
        mlmodel.check_description, ("if strange := sorted((set(files) - {ARRAYS_FILE}) ^ FILES):", "if strange := ():")
    ),
)
def _(_: Path) -> None:
    describes(files_of(evil__py=b""), "has the file 'evil.py'")


@guarded("a model has no third flavor", without(mlmodel.check_description, (" or set(flavors) != set(_FLAVORS)", "")))
def _(_: Path) -> None:
    describes(files_of(lambda found: found["flavors"].update(evil={})), "two flavors")


@guarded(
    "MLflow is told no other loader",
    without(mlmodel.check_description, ("if ours is not None and said", "if False and said")),
)
def _(_: Path) -> None:
    describes(files_of(lambda found: found["flavors"]["python_function"].update(loader_module="os")), "module: os")


@guarded(
    "MLflow is told to trust no other type",
    without(mlmodel.check_description, ("if foreign := sorted(", "if foreign := 0 and sorted(")),
)
def _(_: Path) -> None:
    trusts = {"skops_trusted_types": ["os.system"]}
    describes(files_of(lambda found: found["flavors"]["sklearn"].update(trusts)), "trusts os.system")


@guarded(
    "no other package is asked for",
    without(mlmodel.check_description, ("if not plain or plain[1] not in {*PACKAGES, *_INSTALLERS}:", "if False:")),
)
def _(_: Path) -> None:
    describes(files_of(requirements__txt=PACKAGES.encode() + b"evil\n"), "asks for 'evil'")


@guarded(
    "packages come from the usual place",
    without(mlmodel._wishes, ('conda.get("channels") != ["conda-forge"] or ', "")),
)
def _(_: Path) -> None:
    describes(files_of(conda__yaml=b"channels: [evil]\ndependencies: [pip]\n"), "from elsewhere")


@guarded("a description has no aliases, which grow without end", without(mlmodel._read, ("yaml.AliasToken | ", "")))
def _(_: Path) -> None:
    describes(files_of(MLmodel=files_of()["MLmodel"] + b"a: &a [1]\nb: *a\n"), "tags or aliases")


@guarded(
    "only files of the approved digest are used", without(model_files._approved, ("if known != digest:", "if False:"))
)
def _(home: Path) -> None:
    folder = stored(home, files_of())
    for enter in (model_files.check_folder, model_files.load_folder):
        with pytest.raises(UntrustedModel, match="not the approved one"):
            enter(folder, "0" * 64)


@guarded(
    "a worker checks the digest once more",
    without(
        batch_scoring._scorer,
        (
            'open_folder(Path(scratch) / "model", digest)',
            'open_folder(Path(scratch) / "model", __import__("contender.registry.model_files").registry.model_files.digest_of(Path(scratch) / "model"))',
        ),
    ),
)
def _(home: Path) -> None:
    with pytest.raises(UntrustedModel, match="not the approved one"):
        batch_scoring._scorer(batch_scoring.pack(stored(home, files_of())), "0" * 64)


ARRAYS = Case("boosting", "binary")


def proves(change: str) -> None:
    """Arrays of which one was changed must not answer."""
    low = lowering.lower(fitted_case(ARRAYS), SCORED)
    values = np.array(low.arrays[change])
    bad = replace(low, arrays={**low.arrays, change: values + 1e-6})
    content, _ = equality.prove(fitted_case(ARRAYS), bad, scored_rows(100), [0.5])
    assert scorer.scorer_in(content) is None


@guarded(
    "arrays that answer otherwise are not asked", without(equality._compare, ("if greatest > LIMIT:", "if False:"))
)
def _(_: Path) -> None:
    proves("leaf_values")


@guarded(
    "arrays that were not proven are not asked",
    without(scorer.scorer_in, ('arrays.evidence_in(content).get("why_plain")', "False")),
)
def _(_: Path) -> None:
    low = lowering.lower(fitted_case(ARRAYS), SCORED)
    assert scorer.scorer_in(arrays.pack(low, {"why_plain": "They differ."})) is None


@guarded(
    "arrays that point outside of each other are not evaluated",
    without(arrays._within, ("if len(values) and", "if False and")),
)
def _(_: Path) -> None:
    low = lowering.lower(fitted_case(ARRAYS), SCORED)
    bad = replace(low, arrays={**low.arrays, "split_inputs": low.arrays["split_inputs"] + 10**9})
    with pytest.raises(arrays.Malformed):
        arrays.unpack(arrays.pack(bad, {}))


LINK = "if not (regular or stat.S_ISDIR(state.st_mode)) or (regular and state.st_nlink > 1):"


@guarded("no file of a model is a link", without(model_files.plain_files, (LINK, "if regular and state.st_nlink > 1:")))
def _(home: Path) -> None:
    (folder := stored(home, files_of())).joinpath("evil.py").symlink_to(home)
    with pytest.raises(UntrustedModel, match="link or a special file"):
        model_files.digest_of(folder)


@guarded(
    "no file of a model has a second name",
    without(model_files.plain_files, (" or (regular and state.st_nlink > 1)", "")),
)
def _(home: Path) -> None:
    (home / "outside").hardlink_to(stored(home, files_of()) / "model.skops")
    with pytest.raises(UntrustedModel, match="link or a special file"):
        model_files.digest_of(home / "model")


@guarded(
    "what lies beside a model is checked before it is loaded",
    without(
        model_files.load_folder, ("described = check_description(files, trusted_types.ALLOWED, name)", "described = {}")
    ),
)
def _(home: Path) -> None:
    folder = stored(home, files_of(evil__py=b""))
    with pytest.raises(UntrustedModel, match="has the file"):
        model_files.load_folder(folder, model_files.digest_of(folder))


@guarded(
    "what lies beside a model is checked before it is handed on",
    without(model_files.check_folder, ("check_description(files, trusted_types.ALLOWED, name)", "pass")),
)
def _(home: Path) -> None:
    folder = stored(home, files_of(evil__py=b""))
    with pytest.raises(UntrustedModel, match="has the file"):
        model_files.check_folder(folder, model_files.digest_of(folder))


@guarded(
    "the model itself is checked before it is handed on",
    without(model_files.check_folder, ("trusted_types.check(files[MODEL_FILE], name)", "pass")),
)
def _(home: Path) -> None:
    folder = stored(home, files_of(model__skops=skops.io.dumps(Pipeline([("svm", LinearSVC())]))))
    with pytest.raises(UntrustedModel, match="LinearSVC"):
        model_files.check_folder(folder, model_files.digest_of(folder))


@guarded(
    "a version's digest is the one that took the title",
    without(eligibility.check_digest, ("if approved not in (None, version.digest):", "if False:")),
)
def _(_: Path) -> None:
    with pytest.raises(UntrustedModel):
        eligibility.check_digest(MODEL, "e" * 64)


@guarded(
    "a model is addressed by its version, which does not move",
    instead(ModelVersion.uri, "return f'models:/{self.name}@champion'"),
)
def _(_: Path) -> None:
    assert MODEL.uri == "models:/orders/1"


def took(home: Path, version: int, after: ledger.LedgerEntry | None, **changes: Any) -> ledger.LedgerEntry:
    model = replace(MODEL, version=version, digest=str(version) * 64)
    given = {"action": "promoted", "reason": "better", "by": "judge", "evidence": {}} | changes
    return ledger.take_title(Settings(home=home), "orders", version=model, after=after, **given)


def inserted(home: Path, entry: ledger.LedgerEntry) -> None:
    from sqlalchemy import insert

    with promotion_database.connected(Settings(home=home), writes=True) as connection:
        connection.execute(insert(promotion_database.tables().title).values(vars(entry)))


def without_keys(*kinds: type) -> Sabotage:
    """Has the ledger made without such constraints."""
    real = Operations.create_table

    def made(self: Operations, name: str, *parts: Any, **options: Any) -> Any:
        return real(self, name, *(part for part in parts if not isinstance(part, kinds)), **options)

    return lambda patch: patch.setattr(Operations, "create_table", made)


PREDECESSOR = without(ledger.take_title, ("if found != after:", "if False:"))
FOLLOWS = without_keys(UniqueConstraint)
SEQUENCE = without_keys(PrimaryKeyConstraint)


@guarded("who takes the title names the very entry that it follows", PREDECESSOR)
def _(home: Path) -> None:
    first = took(home, 1, None)
    with pytest.raises(TitleError):
        took(home, 2, replace(first, version=9))


@guarded("of two that follow the same entry one is written, whoever does not ask", FOLLOWS)
def _(home: Path) -> None:
    from sqlalchemy.exc import IntegrityError

    first = took(home, 1, None)
    with pytest.raises(IntegrityError):
        inserted(home, replace(first, seq=2))


@guarded("a number in the ledger is given once, whoever does not ask", SEQUENCE)
def _(home: Path) -> None:
    from sqlalchemy.exc import IntegrityError

    first = took(home, 1, None)
    with pytest.raises(IntegrityError):
        inserted(home, replace(first, follows=7))


@guarded(
    "the ledger is linear (its check and both of its keys)",
    both(PREDECESSOR, without_keys(PrimaryKeyConstraint, UniqueConstraint)),
)
def _(home: Path) -> None:
    first = took(home, 1, None)
    took(home, 2, first)
    with pytest.raises(TitleError):
        took(home, 3, first)


def altered(home: Path, statement: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(home / "ledger.db")) as database, database:
        database.execute(statement)


@guarded("a changed entry shows", without(ledger.verify, (" or entry.digest != entry.chained(before)", "")))
def _(home: Path) -> None:
    took(home, 2, took(home, 1, None))
    altered(home, "UPDATE title SET reason = 'nicer' WHERE seq = 1")
    with pytest.raises(TitleError, match="was changed"):
        ledger.verify(Settings(home=home), "orders")


@guarded(
    "a gap shows, also where somebody computed the digests anew",
    without(ledger.verify, ("(entry.seq, entry.follows) != (seq + 1, seq) or ", "")),
)
def _(home: Path) -> None:
    first = took(home, 1, None)
    forged = replace(took(home, 2, first), seq=3, follows=2)
    altered(home, "DELETE FROM title WHERE seq = 2")
    inserted(home, replace(forged, digest=forged.chained(first.digest)))
    with pytest.raises(TitleError, match="was changed"):
        ledger.verify(Settings(home=home), "orders")


@guarded(
    "a silent ledger is not 'no champion yet'",
    instead(
        ledger.head,
        "try:\n    with connected(settings) as connection:\n        return _head(connection, use_case)\nexcept Exception:\n    return None",
    ),
)
def _(home: Path) -> None:
    check_home(Settings(home=home))
    (home / "ledger.db").write_text("this is not SQLite, however often it is asked " * 20)
    with pytest.raises(Unavailable):
        ledger.head(Settings(home=home), "orders")


@guarded(
    "looks are counted up, also by two at once",
    without(ledger.count_comparison, ("comparisons.c.looks + row.excluded.looks", "row.excluded.looks")),
)
def _(home: Path) -> None:
    counted = [ledger.count_comparison(Settings(home=home), "orders", "w", looks) for looks in (1, 50)]
    assert counted == [1, 51]


@guarded(
    "a rollback never goes to who was found bad",
    without(title.fallback, ("standing.pop(entry.previous_version, None)", "pass")),
)
def _(_: Path) -> None:
    actions = [("crowned", 1, None), ("promoted", 2, 1), (title.ROLLED_BACK, 1, 2)]
    entries = [
        ledger.LedgerEntry("c", seq, seq - 1, "", action, version, before, "r", "b", "{}", "d", "")
        for seq, (action, version, before) in enumerate(actions, start=1)
    ]
    assert title.fallback(entries) is None


@guarded(
    "a challenger that was refused challenges no more",
    without(title._still_challenging, ("return None if refused else waiting", "return waiting")),
)
def _(home: Path) -> None:
    settings = Settings(home=home)
    ledger.record_verdict(settings, "orders", verdict_document(decision=Decision.KEEP))
    assert title._still_challenging(settings, "orders", 2, None) is None


@guarded(
    "who holds the title does not challenge it",
    without(title._still_challenging, (" or (head is not None and waiting == head.version)", "")),
)
def _(home: Path) -> None:
    head = took(home, 2, None)
    assert title._still_challenging(Settings(home=home), "orders", 2, head) is None


@guarded(
    "one command at a time works on a use case",
    without(locks.hold_file, ("lock.acquire(timeout=wait_seconds, poll_interval=0.25)", "pass")),
)
def _(home: Path) -> None:
    (home / "locks").mkdir()
    with (home / "locks" / "orders.data.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy), locks.hold_file(Settings(home=home), "orders"):
            pass


@guarded(
    "one process at a time mirrors the title",
    without(promotion_database.alone, (".acquire(timeout=MIRROR_SECONDS)", ""), ("    with lock:", "    if True:")),
)
def _(home: Path) -> None:
    (home / "locks").mkdir()
    with (home / "locks" / "orders.title.lock").open("w") as held, pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion_database, "MIRROR_SECONDS", 0.05)
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Busy), promotion_database.alone(Settings(home=home), "orders"):
            pass


@guarded("accepted and quarantined are what was received", instead(Ingested.__post_init__, "pass"))
def _(_: Path) -> None:
    with pytest.raises(AssertionError, match="3 != 1 \\+ 1"):
        Ingested(batch=1, files=1, received=3, accepted=1, quarantined=1, records=1, outcomes=0)


def told(refusals: Any) -> str:
    return "; ".join(refusal.why for refusal in refusals.values())


def part_of(bad: int, *findings: expectations.ExpectationResult) -> validation.ConformedRows:
    reasons = Counter({"amount: above 1000": bad})
    return validation.ConformedRows("records", None, 10, bad, 0, 0, reasons, list(findings))  # type: ignore[arg-type]


@guarded(
    "a batch of which too much fails is refused",
    without(quarantine._refusal_of, ("if share > contract.batch.max_bad_share:", "if False:")),
)
def _(home: Path) -> None:
    assert not quarantine.refusals_of(contract_in(home), [part_of(2)], {})
    assert "30.0% of its 10 records fail" in told(quarantine.refusals_of(contract_in(home), [part_of(3)], {}))


@guarded(
    "rows that cannot be read count for the batch",
    without(quarantine.refusals_of, ("broken.get(part.source, Counter[str]())", "Counter[str]()")),
)
def _(home: Path) -> None:
    assert quarantine.refusals_of(contract_in(home), [part_of(0)], {"records": Counter({"a NUL byte": 5})})


@guarded(
    "a batch that is not itself as usual is refused",
    without(quarantine._refusal_of, ("if finding.whole_batch and not finding.holds:", "if False:")),
)
def _(home: Path) -> None:
    few = expectations.ExpectationResult("table row count to be between", "", False, 10, 10, ("10",), True)
    assert "10 rows of records" in told(quarantine.refusals_of(contract_in(home), [part_of(0, few)], {}))


@guarded(
    "no expectation passes on no rows",
    without(expectations.expect, ("if facts.rows == 0:", "if facts.rows == 0: return []\n    if False:")),
)
def _(_: Path) -> None:
    facts = expectations.BatchFacts(0, 1, None, datetime.now(UTC))
    with pytest.raises(DataError):
        expectations.expect(None, [], facts, BatchRules(), time=None, clean=True)  # type: ignore[arg-type]


@guarded(
    "what landed before is not taken in again, whatever it is called",
    without(batches._new_files, ("if content not in digests:", "if True:")),
)
def _(home: Path) -> None:
    contract, settings, folder = contract_in(home), Settings(home=home), home / "landing"
    folder.mkdir()
    (folder / "orders-1.csv").write_text("order_id\no1\n")
    batch = batches.plan(settings, contract, folder, NOON.replace(tzinfo=UTC))
    assert batch is not None
    batches.close(settings, contract, batch, "done", {})
    (folder / "orders-2.csv").write_text("order_id\no1\n")
    assert batches.plan(settings, contract, folder, NOON.replace(tzinfo=UTC)) is None


@pytest.fixture(autouse=True)
def _forget_ledger() -> Any:
    """A ledger with other tables than ours is known to nobody after its test."""
    yield
    promotion_database._open.cache_clear()


@pytest.mark.parametrize("guard", [pytest.param(guard, id=guard.name) for guard in GUARDS])
def test_the_rule_holds(guard: Guard, tmp_path: Path) -> None:
    guard.scenario(tmp_path)


@pytest.mark.parametrize("guard", [pytest.param(guard, id=guard.name) for guard in GUARDS])
def test_without_its_guard_the_rule_is_broken(guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard.sabotage(monkeypatch)
    fails(guard, tmp_path)


def test_every_guard_has_a_name_of_its_own() -> None:
    assert [name for name, times in Counter(guard.name for guard in GUARDS).items() if times > 1] == []
