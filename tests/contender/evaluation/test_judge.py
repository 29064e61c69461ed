"""The judge: who takes the title, who does not, and why."""

from datetime import timedelta

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from contender.contracts.sections import Judging, Threshold
from contender.errors import ModelError, TooFewOutcomes
from contender.evaluation.bootstrap import Gains
from contender.evaluation.guardrails import check_losses
from contender.evaluation.metrics import dummy_scores
from contender.evaluation.significance_tests import permuted
from contender.values import Decision
from tests.contender.verdicts import judged

ROWS = 3_000


def _rules(**changes):
    return Judging(**({"metric": "roc_auc", "newest": timedelta(days=28), "min_gain": 0.01} | changes))


def _scores(y, strength, seed):
    return 1 / (1 + np.exp(-(y * strength - 1.5 + np.random.default_rng(seed).normal(size=len(y)))))


def _y(rows=ROWS, seed=0):
    return (np.random.default_rng(seed).random(rows) < 0.25).astype(int)


def _judge(lift=0.0, *, y=None, strength=1.0, seed=2, **changes):
    y = _y() if y is None else y
    rules = changes.pop("rules", _rules())
    given = {
        "kind": "binary",
        "y": y,
        "champion": _scores(y, strength, seed),
        "challenger": _scores(y, strength + lift, seed + 1_000),
        "dummy": np.full(len(y), 0.25),
        "rules": rules,
        "threshold": 0.5,
        "latency_ms": {"p95": 3.0},
        "seed": 7,
        "draws": 500,
    }
    return judged(**(given | changes))


@pytest.mark.parametrize(
    ("lift", "decision"),
    [
        pytest.param(0.50, "PROMOTE", id="clearly better"),
        pytest.param(0.05, "INCONCLUSIVE", id="better, but it may be luck"),
        pytest.param(-0.5, "KEEP", id="worse"),
    ],
)
def test_the_challenger_must_win_beyond_luck(lift, decision):
    verdict = _judge(lift)
    assert verdict.decision == decision
    assert verdict.against == "champion"
    assert verdict.rows == ROWS
    assert verdict.gain == pytest.approx(verdict.challenger_score - verdict.champion_score)
    assert verdict.interval.low < verdict.gain < verdict.interval.high
    assert verdict.interval.level == pytest.approx(0.90)
    assert (verdict.outcomes_needed is not None) == (decision == "INCONCLUSIVE")


@pytest.mark.parametrize("min_gain", [0.0, 0.01])
def test_a_tie_keeps_the_champion(min_gain):
    y = _y()
    verdict = _judge(y=y, challenger=_scores(y, 1.0, 2), rules=_rules(min_gain=min_gain))
    assert verdict.decision is Decision.KEEP
    assert verdict.gain == 0


def test_a_sure_gain_that_is_not_worthwhile_keeps_the_champion():
    y = _y()
    champion = _scores(y, 1.0, 2)
    verdict = _judge(y=y, challenger=np.clip(champion + 0.002 * y, 0, 1), rules=_rules(min_gain=0.05))
    assert verdict.interval.low > 0
    assert verdict.decision is Decision.KEEP
    assert "stays below the smallest worthwhile gain 0.05" in verdict.reasons[0]


def test_more_outcomes_than_asked_for_would_settle_it():
    verdict = _judge(0.10, seed=4, rules=_rules(min_gain=0.001))
    assert verdict.decision is Decision.INCONCLUSIVE
    assert 1 <= verdict.outcomes_needed <= 100 * ROWS
    assert f"about {verdict.outcomes_needed:,} more outcomes would settle it" in verdict.reasons


def test_the_same_seed_gives_the_same_verdict():
    assert _judge(0.2) == _judge(0.2)


@pytest.mark.parametrize(
    ("strength", "decision"),
    [
        pytest.param(1.0, "PROMOTE", id="better than the base rate"),
        pytest.param(-1.0, "KEEP", id="worse than the base rate"),
    ],
)
def test_the_first_model_must_beat_the_dummy(strength, decision):
    verdict = _judge(champion=None, strength=strength)
    assert (verdict.decision, verdict.against, verdict.champion_score) == (decision, "dummy", 0.5)


def test_the_first_model_must_meet_the_thresholds():
    rules = _rules(thresholds={"roc_auc": Threshold(min=0.95)})
    verdict = _judge(champion=None, rules=rules)
    assert verdict.decision is Decision.KEEP
    assert any(reason.startswith("roc_auc is 0.7") for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({"rules": _rules(thresholds={"brier": Threshold(max=0.01)})}, "brier at most", id="threshold"),
        pytest.param({"latency_ms": {"p95": 200.1}}, "latency_p95_ms", id="latency"),
        pytest.param({"overconfident": True}, "calibration (Brier)", id="calibration"),
        pytest.param({"rules": _rules(max_flips=0.001)}, "flips to wrong", id="flips"),
    ],
)
def test_a_broken_guardrail_keeps_the_champion_whatever_the_gain(changes, name):
    if changes.pop("overconfident", False):
        changes["challenger"] = (_scores(_y(), 1.5, 9) * 10).clip(0, 1) ** 0.1
        changes["rules"] = _rules(max_flips=1.0)
    verdict = _judge(0.8, **changes)
    assert verdict.decision is Decision.KEEP
    assert [rail.name for rail in verdict.guardrails if not rail.holds] == [name]


@pytest.mark.parametrize("latency_ms", [{}, {"p95": float("nan")}])
def test_latency_that_was_not_measured_is_a_refusal(latency_ms):
    with pytest.raises(ModelError, match="latency was not measured"):
        _judge(latency_ms=latency_ms)


def test_harm_in_a_slice_keeps_the_champion_whatever_the_gain():
    y, region = _y(), np.array(["north", "south", "south", "south"] * (ROWS // 4))
    challenger = np.where(region == "north", _scores(y, 0.3, 8), _scores(y, 2.5, 9))
    verdict = _judge(y=y, challenger=challenger, slices={"region": region})
    assert verdict.gain > 0.05
    assert verdict.decision is Decision.KEEP
    assert any(reason.startswith("slice region=north loses") for reason in verdict.reasons)


def test_slices_too_small_to_tell_are_named_and_not_passed():
    region = np.array(["island"] * 40 + ["mainland"] * (ROWS - 40))
    verdict = _judge(0.5, slices={"region": region})
    assert "too small to tell: region=island (40 rows)" in verdict.reasons
    assert "slice region=island" not in {rail.name for rail in verdict.guardrails}


@pytest.mark.parametrize(
    ("loss", "error", "holds", "refuted"),
    [
        pytest.param(-0.01, 0.005, True, False, id="gains"),
        pytest.param(0.03, 0.005, True, False, id="loses for sure, and surely within the margin"),
        pytest.param(0.045, 0.005, False, False, id="within the margin, but not surely"),
        pytest.param(0.08, 0.005, False, True, id="loses for sure, beyond the margin"),
        pytest.param(0.03, 0.04, True, False, id="too few outcomes to tell, within the margin"),
        pytest.param(0.06, 0.04, False, False, id="too few outcomes to tell, beyond the margin"),
    ],
)
def test_a_loss_beyond_the_margin_must_be_ruled_out_where_outcomes_suffice(loss, error, holds, refuted):
    spread = np.random.default_rng(1).normal(-loss, error, 2_000)
    checked = check_losses([("slice", Gains(0.8, 0.8 - loss, -loss, spread, 10_000))], margin=0.05)[0]
    assert (checked.guardrail.holds, checked.refuted) == (holds, refuted)


@pytest.mark.parametrize(
    ("allowed_loss", "decision"),
    [
        pytest.param(None, "INCONCLUSIVE", id="no decay: must win"),
        pytest.param(0.05, "PROMOTE", id="decay: a larger loss is ruled out"),
        pytest.param(0.001, "INCONCLUSIVE", id="decay: a larger loss is not ruled out"),
    ],
)
def test_a_decaying_champion_yields_to_a_challenger_that_is_not_worse(allowed_loss, decision):
    assert _judge(0.0, non_inferiority=allowed_loss).decision == decision


def test_a_decaying_champion_does_not_yield_to_a_worse_challenger():
    assert _judge(-0.5, non_inferiority=0.01).decision is Decision.KEEP


def test_looks_at_the_same_window_raise_the_bar():
    once, often = _judge(0.23, looks=1), _judge(0.23, looks=5_000)
    assert (once.decision, often.decision) == (Decision.PROMOTE, Decision.INCONCLUSIVE)
    assert often.interval.level == pytest.approx(1 - 2 * 0.05 / 5_000)
    assert often.interval.low < once.interval.low


@pytest.mark.parametrize(
    ("planned", "counted", "decision"),
    [
        pytest.param(1, 1, "PROMOTE", id="the only one of its year"),
        pytest.param(5_000, 1, "INCONCLUSIVE", id="many are planned"),
        pytest.param(1, 5_000, "INCONCLUSIVE", id="many were made, whatever was planned"),
    ],
)
def test_comparisons_of_a_year_share_one_error(planned, counted, decision):
    rules = _rules(looks_per_year=planned)
    assert _judge(0.23, rules=rules, looks_in_year=counted).decision == decision


def test_few_positives_widen_the_interval_beyond_the_normal_one():
    spread = np.random.default_rng(1).normal(0.1, 0.02, 2_000)
    few, many = (Gains(0.7, 0.8, 0.1, spread, freedom).low(1e-4) for freedom in (19, 10_000))
    assert few < many < spread.min()


def test_a_contradicting_cross_check_stops_a_promotion():
    y = _y(300)
    decided = y.astype(float)
    champion = decided.copy()
    champion[:6] = 1 - decided[:6]
    challenger = decided.copy()
    challenger[6] = 1 - decided[6]
    verdict = _judge(y=y, champion=champion, challenger=challenger, rules=_rules(metric="accuracy", min_gain=0.001))
    assert any(reason.startswith("McNemar's test does not see") for reason in verdict.reasons)
    assert verdict.decision is Decision.INCONCLUSIVE


def test_delong_is_only_told_where_rows_are_clustered():
    verdict = _judge(0.5, clusters=np.arange(ROWS) // 3)
    assert verdict.promotes
    assert any("which takes rows to be independent" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        pytest.param({"y": np.zeros(0, int)}, TooFewOutcomes, "0 records with outcomes", id="no rows"),
        pytest.param({"y": _y(19)}, TooFewOutcomes, "19 .* 20 are needed", id="too few rows"),
        pytest.param({"y": (np.arange(90) < 4).astype(int)}, TooFewOutcomes, "4 .* 5 are needed", id="a rare class"),
        pytest.param({"y": np.zeros(400, int)}, TooFewOutcomes, "All 400 outcomes .* one class", id="one class"),
        pytest.param({"challenger": np.full(ROWS, np.nan)}, ModelError, "3,000 scores of the challenger", id="NaN"),
        pytest.param({"champion": np.full(ROWS - 1, 0.5)}, ModelError, "2,999 scores for 3,000", id="lengths"),
        pytest.param({"clusters": np.arange(ROWS) % 5}, TooFewOutcomes, "5 entities", id="too few entities"),
    ],
)
def test_what_cannot_be_judged_is_refused(changes, error, words):
    if "y" in changes:
        changes |= {name: np.full(len(changes["y"]), 0.5) for name in ("champion", "challenger", "dummy")}
    with pytest.raises(error, match=words):
        _judge(**changes)


def _first_model(kind, metric, share, seed, signal):
    """The verdict on a first model of a table of 100 rows with three columns, learnt on 79 and judged on 21 of them."""
    rng = np.random.default_rng(seed)
    drawn, columns = rng.random(100), rng.normal(size=(100, 3))
    if kind == "regression":
        y = rng.normal(size=100) + signal * columns[:, 0]
    else:
        y = np.digitize(np.arange(100), [100 * (1 - share)] if kind == "binary" else [33, 66])
        columns[:, 0] += signal * y
        # Spread evenly by class, as intake draws them.
        ranks = np.array([np.sum((y == label) & (drawn < place)) for label, place in zip(y, drawn, strict=True)])
        drawn = (ranks + 0.5) / np.bincount(y)[y] + drawn / 1e6
    order = np.argsort(drawn)
    fit, test = order[:79], order[79:]
    model = (Ridge() if kind == "regression" else LogisticRegression(C=0.1)).fit(columns[fit], y[fit])
    scores = model.predict(columns[test]) if kind == "regression" else model.predict_proba(columns[test])
    return _judge(
        kind=kind,
        y=y[test],
        champion=None,
        challenger=scores[:, 1] if kind == "binary" else scores,
        dummy=dummy_scores(kind, y[test], 21, 3),
        rules=_rules(metric=metric),
        seed=seed,
        draws=300,
    )


@pytest.mark.parametrize(
    ("kind", "metric", "share"),
    [
        pytest.param("binary", "roc_auc", 0.5, id="two classes alike"),
        pytest.param("binary", "average_precision", 0.25, id="one class rarer"),
        pytest.param("binary", "f1", 0.4, id="what a constant cannot reach"),
        pytest.param("multiclass", "log_loss", 0, id="three classes"),
        pytest.param("regression", "rmse", 0, id="numbers"),
    ],
)
def test_a_hundred_rows_of_noise_are_crowned_no_more_often_than_stated(kind, metric, share):
    crowned = sum(_first_model(kind, metric, share, seed, 0.0).promotes for seed in range(200))

    # One in twenty is stated; with that, 24 or more of 200 would be crowned in fewer than one of 1,000 such tests.
    assert crowned < 24
    won = sum(_first_model(kind, metric, share, seed, 2.0).promotes for seed in range(20))
    assert won >= 10, "a hundred rows with something to learn suffice"


def test_outcomes_dealt_out_at_random_say_how_rare_a_fit_is():
    y = np.arange(20) % 2
    rng = np.random.default_rng(0)
    sure = permuted("binary", "roc_auc", y, y.astype(float), 0.5, 0.05, rng)
    none = permuted("binary", "f1", y, np.ones(20), 0.5, 0.05, rng)

    assert (sure.gain, sure.p_value) == (pytest.approx(0.5, abs=0.05), pytest.approx(1 / 401))
    assert (none.gain, none.p_value) == (pytest.approx(0.0), 1.0)
    assert permuted("binary", "roc_auc", y, y.astype(float), 0.5, 0.001, rng).p_value < 0.001


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_other_kinds_are_judged_alike(kind):
    rng = np.random.default_rng(2)
    if kind == "regression":
        y = rng.normal(size=900)
        champion, challenger, metric = y + rng.normal(size=900), y + 0.5 * rng.normal(size=900), "rmse"
    else:
        y = rng.integers(0, 3, 900)
        noise = rng.dirichlet(np.ones(3), 900)
        champion, challenger, metric = noise, (noise + 2 * np.eye(3)[y] * rng.random((900, 1))) / 3, "log_loss"
        challenger = challenger / challenger.sum(axis=1, keepdims=True)
    dummy = dummy_scores(kind, y, 900)
    rules = _rules(metric=metric)
    assert _judge(kind=kind, y=y, champion=champion, challenger=challenger, dummy=dummy, rules=rules).promotes
    assert _judge(kind=kind, y=y, champion=None, challenger=challenger, dummy=dummy, rules=rules).promotes
    worse = _judge(kind=kind, y=y, champion=challenger, challenger=champion, dummy=dummy, rules=rules)
    assert worse.decision is Decision.KEEP


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_equal_models_are_rarely_promoted(metric):
    promoted = 0
    for seed in range(200):
        y = _y(1_500, seed)
        promoted += _judge(y=y, seed=seed, draws=200, rules=_rules(metric=metric, min_gain=0.0)).promotes
    assert promoted <= 6  # beyond 6 of 200 lies 0.5 % where the true rate is 1 %
