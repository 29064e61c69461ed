"""Each guard that works on Spark or MLflow is missed as well; see `test_sabotage` for how a guard is removed."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow.models import infer_signature
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.contracts.sections import Column
from contender.errors import SeenRows, TitleError, TooFewOutcomes, Unavailable, UntrustedModel, UsageError
from contender.features import dataset, feature_tables
from contender.features.training_keys import hashes_of
from contender.ingestion import cells, intake, row_checks
from contender.lake import tables
from contender.promotion import comparison, judging_window, ledger, release, title
from contender.registry import http_limits, model_files, model_versions, trusted_types
from contender.scoring import batch_scoring as scoring_door
from contender.settings import Settings
from contender.training.candidates import build
from contender.values import BATCH, KEY, TIME, Decision, ModelVersion, Scorecard
from tests.contender.features.test_dataset import ORDERS, with_rules, write
from tests.contender.test_sabotage import Guard, both, collecting, contract_in, fails, files_of, instead, without

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@dataclass
class Stores:
    """What scenarios share: a home with forty days of orders, another with a registry, and Spark."""

    spark: Any
    orders: Any
    make_home: Any
    registered: Settings


_names = itertools.count(1)
stores: Stores | None = None
GUARDS: list[Guard] = []
guarded = collecting(GUARDS)


def here() -> Stores:
    assert stores is not None
    return stores


@pytest.fixture(scope="module", autouse=True)
def _stores(spark: Any, make_home: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    global stores
    orders = make_home()
    write(orders, spark, 1, orders.noon + timedelta(days=10), [20], outcomes=False, prefix="late")
    write(orders, spark, 2, orders.noon + timedelta(days=45), range(ORDERS))
    outcomes = tables.find(orders.settings, "orders", "outcomes")
    assert outcomes is not None
    known = tables.read(orders.settings, outcomes).where(f"{KEY} = 'order-20'")
    late = known.replace("order-20", "late-20").withColumn(BATCH, known[BATCH] + 1)
    tables.append(orders.settings, "orders", "outcomes", late, application="ingest", transaction=3)
    feature_tables.update_features(orders.settings, orders.contract)
    stores = Stores(spark, orders, make_home, Settings(home=tmp_path_factory.mktemp("registered")))
    yield
    stores = None


COLUMNS = {
    "amount": Column(type="number", min=0, max=1000, required=True),
    "shop": Column(type="category", values=("a", "b"), unseen="quarantine"),
    "at": Column(type="timestamp"),
    "free": Column(type="number"),
}
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


def reasons_of(**values: str) -> list[str]:
    """Why a row is refused that is good but for these values."""
    row = {"amount": "10", "shop": "a", "at": "2026-01-10T08:00:00", "free": "1"} | values
    staged = here().spark.createDataFrame(
        [("f", 1, *row.values())], f"_file string, _row bigint, {', '.join(f'{n} string' for n in row)}"
    )
    checks = row_checks.checks_of(COLUMNS, key=None, time="at", at=NOON, skew=timedelta(hours=1))
    (found,) = row_checks.conform(staged, COLUMNS, checks, ["NA"]).select("_reasons").collect()
    return list(found[0])


def rule_without(kind: row_checks.CheckKind) -> Any:
    """Lets every row pass one kind of check."""
    passed = replace(row_checks.RULES[kind], fails=lambda *_: F.lit(False))
    return lambda patch: patch.setitem(row_checks.RULES, kind, passed)


@guarded("a value below its range is quarantined", rule_without("min"))
def _(_: Path) -> None:
    assert reasons_of(amount="-1") == ["amount: below 0"]


@guarded("a value above its range is quarantined", rule_without("max"))
def _(_: Path) -> None:
    assert reasons_of(amount="1001") == ["amount: above 1000"]


@guarded(
    "a value outside of its set is quarantined",
    rule_without("in set"),
)
def _(_: Path) -> None:
    assert reasons_of(shop="z") == ["shop: none of the 2 known values"]


@guarded("a time in the future is quarantined", rule_without("not in the future"))
def _(_: Path) -> None:
    assert reasons_of(at="2026-01-10T13:30:00") == ["at: in the future"]


@guarded(
    "what is not of its type is quarantined",
    without(
        row_checks._fails,
        ("fails = RULES[check.kind].fails(", 'fails = F.lit(check.kind != "readable") & RULES[check.kind].fails('),
    ),
)
def _(_: Path) -> None:
    assert reasons_of(free="many") == ["free: not a finite number"]


@guarded(
    "an infinite number is none",
    without(cells._typed, ('F.when(~F.isnan(number) & (F.abs(number) != float("inf")), number)', "number")),
)
def _(_: Path) -> None:
    assert reasons_of(free="1e999") == ["free: not a finite number"]


@guarded(
    "what is missing and needed is quarantined",
    rule_without("present"),
)
def _(_: Path) -> None:
    assert reasons_of(amount="NA") == ["amount: missing"]


def repeated(*known: str) -> list[list[str]]:
    """Reasons of two rows with one key, after rows that were accepted before."""
    schema = f"{KEY} string, {TIME} timestamp, _file string, _row bigint, free double, _reasons array<string>"
    spark = here().spark
    rows = spark.createDataFrame([("k", NOON, "f", 1, 1.0, []), ("k", NOON, "f", 2, 2.0, [])], schema)
    before = spark.createDataFrame([(key, NOON, "e", 1, 1.0, []) for key in known], schema) if known else None
    marked = row_checks.mark_repeated(rows, before, {"free": COLUMNS["free"]}, KEY)
    return [row[0] for row in marked.orderBy("_row").select("_reasons").collect()]


@guarded(
    "a key that comes again in a batch is quarantined",
    without(
        row_checks.mark_repeated,
        ('F.when(F.col("_place") > 1, F.col("_first"))\n    else:', "F.lit(None).cast('bigint')\n    else:"),
    ),
)
def _(_: Path) -> None:
    assert repeated() == [[], [f"{KEY}: came before with other values"]]


@guarded(
    "a key that was accepted before is quarantined",
    without(row_checks.mark_repeated, ('F.coalesce("_known", ', "F.coalesce(")),
)
def _(_: Path) -> None:
    assert repeated("k")[0] == [f"{KEY}: the same row came before"]


@guarded(
    "nothing that lands is dropped",
    without(intake.take_in, ('_append(settings, contract, "quarantine", quarantined, batch, {})', "pass")),
)
def _(_: Path) -> None:
    home = here().make_home(("max_bad_share = 0.2", "max_bad_share = 0.5"))
    home.land("orders-1.csv", "o1,2026-01-10T08:00:00,a,red,10,1,true", "o2,2026-01-10T08:00:00,z,red,10,1,true")
    taken, _findings = home.take_in()
    assert taken.received == len(home.rows("records")) + len(home.rows("quarantine")) == 2


@guarded(
    "what is written again under one number adds nothing",
    without(tables.append, ('.option("txnAppId", application).option("txnVersion", transaction)', "")),
)
def _(home: Path) -> None:
    settings = Settings(home=home)
    for _again in range(2):
        frame = here().spark.range(3)
        tables.append(settings, "orders", "records", frame, application="ingest", transaction=1)
    assert tables.count(settings, "orders", "records") == 3


def split(as_of: int = 50, **rules: Any) -> dataset.Split:
    orders = here().orders
    return dataset.split(orders.settings, with_rules(orders.contract, **rules), orders.noon + timedelta(days=as_of))


def keys(rows: Any) -> set[str]:
    dataset._load.cache_clear()
    return set(dataset.load(here().orders.settings, here().orders.contract, rows)[KEY])


@guarded(
    "an embargo lies between training and judging",
    without(
        dataset.split, ("gap = max(contract.judging.embargo, contract.outcome.matures_after)", "gap = timedelta(0)")
    ),
)
def _(_: Path) -> None:
    found = split(embargo=3)
    assert found.training.end <= found.judging.start - timedelta(days=3)


@guarded(
    "training knows no outcome that came after judging began",
    without(dataset.split, ("known_by = as_of if timeless else min(start, as_of)", "known_by = as_of")),
)
def _(_: Path) -> None:
    found = split()
    assert "late-20" not in keys(found.training)
    assert "order-65" not in keys(found.training)


@guarded(
    "only outcomes known by then count",
    without(dataset._known, ("(F.col(KNOWN_AT) <= F.lit(_aware(rows.as_of))) & ", "")),
)
def _(_: Path) -> None:
    assert "late-20" not in keys(split(as_of=44, newest=100).judging)
    assert "late-20" in keys(split(as_of=45, newest=100).judging)


@guarded(
    "immature rows are not judged on", without(dataset.split, ("horizon - contract.outcome.matures_after", "horizon"))
)
def _(_: Path) -> None:
    assert "order-79" not in keys(split(matures_after=5).judging)


def score_twice(home: Path) -> None:
    """Score one batch with two versions, one after the other; what a model would answer does not matter here."""
    orders = here().orders
    settings = Settings(home=home, use_cases=orders.settings.use_cases, lake=str(home / "lake"))
    for table in ("records", "features"):
        version = tables.find(orders.settings, "orders", table)
        assert version is not None
        frame = tables.read(orders.settings, version).where(F.col(BATCH) == 2)
        tables.append(settings, "orders", table, frame, application="ingest", transaction=2, note={"until": 2})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            scoring_door,
            "with_scores",
            lambda rows, *_: rows.select(KEY, TIME, BATCH, F.lit(0.2).alias("score"), F.lit(0).alias("prediction")),
        )
        for number in (1, 2):
            model = ModelVersion("orders", number, "run", "", "d", datetime(2026, 1, 1))  # noqa: DTZ001
            scoring_door.score_pending(settings, orders.contract, model, home, NOON)
    found = tables.read_small(settings, "orders", "predictions")
    assert found is not None
    assert set(found["model_version"].to_pylist()) == {1}, "one version per batch"
    assert len(found) == len(set(found[KEY].to_pylist())) == ORDERS, "one prediction per record"


PENDING = (" and until > done", ""), (".where(F.col(BATCH) > done)", "")


@guarded(
    "a record has one prediction, of one version (what is pending, and the transaction)",
    both(
        without(scoring_door.score_pending, *PENDING),
        without(tables.append, ('.option("txnAppId", application).option("txnVersion", transaction)', "")),
    ),
)
def _(home: Path) -> None:
    score_twice(home)


def versions_of(count: int = 3) -> list[ModelVersion]:
    """Versions of a use case of this scenario's own, without files."""
    name, made = f"case_{next(_names)}", []
    with model_versions.connected(here().registered) as client:
        client.create_registered_model(name)
        for number in range(1, count + 1):
            tags = {"digest": str(number) * 64, "trained_until": "2026-04-01", "form": model_versions.FORM_VERSION}
            client.create_model_version(name, (here().registered.home / "nothing").as_uri(), tags=tags)
            made.append(model_versions.find(here().registered, name, number))
    return made


def crown(version: ModelVersion, after: ledger.LedgerEntry | None = None) -> ledger.LedgerEntry:
    entry = title.crown(here().registered, version.name, version, after=after, reason="r", by="test", evidence={})
    title.follow_verdict(here().registered, version.name, version, Decision.PROMOTE)
    return entry


def head(name: str) -> int | None:
    entry = ledger.head(here().registered, name)
    return entry.version if entry else None


@guarded(
    "the champion's digest is the one that the ledger approved",
    without(title._approved, ("check_digest(version, entry.model_digest)", "pass")),
)
def _(_: Path) -> None:
    version = versions_of(1)[0]
    crown(replace(version, digest="f" * 64))
    with pytest.raises(UntrustedModel):
        title.holder(here().registered, version.name)


@guarded("aliases follow the ledger", without(title.repair, ("if changed:", "if False:")))
def _(_: Path) -> None:
    first, second, _third = versions_of()
    crown(second, after=crown(first))
    model_versions.set_aliases(here().registered, first.name, champion=3, previous=None, challenger=None)
    title.repair(here().registered, first.name)
    assert model_versions.aliases(here().registered, first.name) == {"champion": 2, "previous": 1}


@guarded(
    "the alias is set after the ledger, and by it",
    without(
        title.crown,
        (
            "return ledger.take_title(",
            "model_versions.set_aliases(settings, use_case, champion=version.version, previous=None, challenger=None)\n    return ledger.take_title(",
        ),
    ),
)
def _(_: Path) -> None:
    first, second, third = versions_of()
    entry = crown(first)
    crown(second, after=entry)
    with pytest.raises(TitleError):
        crown(third, after=entry)
    assert model_versions.aliases(here().registered, first.name)["champion"] == 2


UNPROVEN = instead(title._proven, "return model_versions.find(settings, use_case, number), Proven(0, {})")


@guarded("a rollback proves the model first", UNPROVEN)
def _(_: Path) -> None:
    first, second, _third = versions_of()
    crown(second, after=crown(first))
    with pytest.raises(UntrustedModel):
        title.rollback(here().registered, first.name, to=None, reason="worse", by="test")
    assert head(first.name) == 2


@guarded(
    "the title is given by a reason (which is asked for before the model is proved)",
    both(instead(title._need, "pass"), UNPROVEN),
)
def _(_: Path) -> None:
    first, second, _third = versions_of()
    crown(second, after=crown(first))
    for change in (title.rollback, title.promote):
        with pytest.raises(UsageError, match="--reason is blank"):
            change(here().registered, first.name, to=1, reason=" ", by="test")


@guarded(
    "who never held the title is not rolled back to",
    both(
        without(
            title.rollback,
            ("if restored is None:", "if restored is None:\n        restored = entries[-1]\n    if False:"),
        ),
        UNPROVEN,
    ),
)
def _(_: Path) -> None:
    first, second, _third = versions_of()
    crown(second, after=crown(first))
    with pytest.raises(UsageError):
        title.rollback(here().registered, first.name, to=3, reason="r", by="test")


@guarded(
    "a version of somebody else's is not trusted",
    without(
        model_versions.find,
        (
            'if not {"digest", "trained_until"} <= set(tags):',
            "tags = {'digest': '', 'trained_until': '2026-04-01', FORM: FORM_VERSION} | tags\n    if False:",
        ),
    ),
)
def _(_: Path) -> None:
    with model_versions.connected(here().registered) as client:
        name = f"case_{next(_names)}"
        client.create_registered_model(name)
        client.create_model_version(name, (here().registered.home / "nothing").as_uri())
    with pytest.raises(UntrustedModel):
        model_versions.find(here().registered, name, 1)


@guarded(
    "a silent registry is not 'no champion' (asked for the model, and at the end of each conversation)",
    both(
        without(
            model_versions.aliases,
            (
                "except MlflowException as error:\n            if error.error_code != _MISSING:\n                raise\n",
                "except Exception:\n",
            ),
        ),
        instead(http_limits.refuse_silence, "pass"),
    ),
)
def _(home: Path) -> None:
    with pytest.raises(Unavailable):
        model_versions.aliases(Settings(home=home, tracking_uri="http://127.0.0.1:9"), "orders")


DESCRIBED = {
    "inputs": json.dumps([{"type": "double", "name": "a", "required": True}]),
    "outputs": json.dumps([{"type": "double", "required": True}]),
}


def logged(family: str = "logistic") -> tuple[ModelVersion, ledger.LedgerEntry]:
    """A champion with files, and with what it was trained on."""
    settings, name = here().registered, f"case_{next(_names)}"
    folder = settings.home / name
    folder.mkdir()
    for file, content in files_of(lambda found: found.update(signature=DESCRIBED)).items():
        (folder / file).write_bytes(content)
    version = registered(settings, name, folder, ["a", "b"], family)
    return version, crown(version)


def registered(settings: Settings, name: str, folder: Path, keys: list[str], family: str) -> ModelVersion:
    with model_versions.connected(settings) as client:
        run = client.create_run("0").info
        client.log_artifacts(run.run_id, str(folder), "model")
        tags = {
            "digest": model_files.digest_of(folder),
            "trained_until": "2026-04-01",
            "family": family,
            "form": model_versions.FORM_VERSION,
        }
        tags[model_versions.TRAINING_KEYS] = model_versions.log_training_keys(client, run.run_id, hashes_of(keys))
        client.create_registered_model(name)
        client.create_model_version(name, f"{run.artifact_uri}/model", run_id=run.run_id, tags=tags)
    return model_versions.find(settings, name, 1)


def contract_of(home: Path, name: str) -> Contract:
    return contract_in(home, ('name = "orders"', f'name = "{name}"'))


@guarded(
    "what a model was trained on is what was kept",
    without(model_versions.training_keys, (" or hashlib.sha256(path.read_bytes()).hexdigest() != stamp", "")),
)
def _(_: Path) -> None:
    version, _entry = logged()
    with model_versions.connected(here().registered) as client:
        model_versions.log_training_keys(client, version.run_id, hashes_of(["c"]))
    with pytest.raises(UntrustedModel):
        model_versions.training_keys(here().registered, version)


def released(home: Path) -> tuple[Settings, str]:
    version, entry = logged()
    target = Settings(home=here().registered.home, environment="staging")
    release.copy_version(here().registered, target, contract_of(home, version.name), entry, version)
    return target, version.name


@guarded(
    "a release is never champion at once",
    without(
        release.copy_version,
        (
            "    return arrived",
            "    title.crown(target, contract.name, arrived, after=None, reason='r', by='b', evidence={})\n    return arrived",
        ),
    ),
)
def _(home: Path) -> None:
    target, name = released(home)
    assert title.holder(target, name) is None
    assert "champion" not in model_versions.aliases(target, name)


@guarded(
    "a release goes to another environment",
    without(release.approved, ("if source.environment == target.environment:", "if False:")),
)
def _(home: Path) -> None:
    version, _entry = logged()
    with pytest.raises(UsageError):
        release.approved(here().registered, here().registered, contract_of(home, version.name))


@guarded(
    "only an approved family is released",
    without(release.approved, ("if champion.family not in candidates_in(contract, target.environment):", "if False:")),
)
def _(home: Path) -> None:
    version, _entry = logged(family="unheard of")
    staging = Settings(home=here().registered.home, environment="staging")
    with pytest.raises(UsageError):
        release.approved(here().registered, staging, contract_of(home, version.name))


def compared(home: Path, *, seen: str = "another", failures: tuple[str, ...] = (), before: int = 0) -> Any:
    """The verdict on a first model that knows the judging rows by heart, whatever its keys say."""
    orders = here().orders
    rules = with_rules(orders.contract, newest=100)
    contract = rules.model_copy(
        update={"judging": rules.judging.model_copy(update={"min_rows": 50, "min_per_class": 5, "max_comparisons": 2})}
    )
    rows = split(newest=100).judging
    settings = Settings(home=home, use_cases=orders.settings.use_cases, lake=str(orders.settings.home / "lake"))
    frame, y, _slices = comparison.judging_rows(contract, dataset.load(orders.settings, contract, rows))
    model = build("random_forest", "binary", contract.model_columns, None, {"n_estimators": 20}, seed=1)
    model.fit(frame, y)
    version = with_files(settings, home / "files", trusted_types.dumps(model), infer_signature(frame, y), seen)
    for _look in range(before):
        ledger.count_comparison(settings, "orders", judging_window.name_of(rows))
    scorecard = Scorecard(version, len(frame), {}, latency_ms={"p50": 1.0, "p95": 1.0})
    return comparison.compare(settings, contract, scorecard, None, rows, failures)


def with_files(settings: Settings, folder: Path, model: bytes, signature: Any, seen: str) -> ModelVersion:
    folder.mkdir()
    files = files_of(lambda found: found.update(signature=signature.to_dict()), model__skops=model)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return registered(settings, "orders", folder, [seen], "random_forest")


@guarded(
    "models are compared on rows that none has seen",
    without(
        comparison.gather,
        (
            "judging_window.refuse_seen_rows(settings, contract, rows, filter(None, (challenger.model, champion)))",
            "pass",
        ),
    ),
)
def _(home: Path) -> None:
    with pytest.raises(SeenRows):
        compared(home, seen="order-70")


@guarded(
    "every comparison looks at its window",
    without(comparison.gather, ("looks = judging_window.looks_at(settings, contract, rows)", "looks = 1")),
)
def _(home: Path) -> None:
    with pytest.raises(TooFewOutcomes, match="looked at 2 times"):
        compared(home, before=2)


@guarded(
    "a limit that MLflow finds broken keeps the champion", without(comparison.decide, ("if failures:", "if False:"))
)
def _(home: Path) -> None:
    assert compared(home, failures=("roc_auc is too low",)).decision is Decision.KEEP


@pytest.mark.parametrize("guard", [pytest.param(guard, id=guard.name) for guard in GUARDS])
def test_the_rule_holds(guard: Guard, tmp_path: Path) -> None:
    guard.scenario(tmp_path)


@pytest.mark.parametrize("guard", [pytest.param(guard, id=guard.name) for guard in GUARDS])
def test_without_its_guard_the_rule_is_broken(guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard.sabotage(monkeypatch)
    fails(guard, tmp_path)
