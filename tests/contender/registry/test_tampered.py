"""No tampered model is opened by any door, whoever approved its digest, and nothing in it ever runs."""

import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import skops.io

from contender.contracts.contract import Contract
from contender.errors import Unavailable, UntrustedModel
from contender.features.row_transformers import OwnFeatures
from contender.features.training_keys import hashes_of
from contender.registry import model_files, model_versions, tracking, trusted_types
from contender.scoring import batch_scoring
from contender.settings import Settings
from contender.training.calibration import Calibrated
from contender.training.candidates import build
from contender.values import ModelVersion, TableVersion
from tests.contender import tampering as by

pytestmark = [
    pytest.mark.slow,
    # MLflow warns of its own type hints on import; it hides that from people, but not from "warnings are errors".
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]

HOOK = "def features(records):\n    return records[['a']].assign(double=records['a'] * 2)[['double']]\n"

SEEN_IN_THE_FILES = {
    # What MLflow would obey.
    "MLmodel names another loader": (
        by.described(by.flavor("python_function", loader_module="evil"), by.write(Path("evil.py"), by.module)),
        "has the file 'evil.py'",
    ),
    "MLmodel names the loader os": (by.described(by.flavor("python_function", loader_module="os")), "module: os"),
    "MLmodel names a loader of MLflow that unpickles": (
        by.described(by.flavor("python_function", loader_module="mlflow.pyfunc.model")),
        "mlflow.pyfunc.model",
    ),
    "MLmodel names a pickle that lies beside": (
        by.described(
            by.flavor("sklearn", pickled_model="model.pkl", serialization_format="cloudpickle"),
            by.write(Path("model.pkl"), by.pickled),
        ),
        "has the file 'model.pkl'",
    ),
    "MLmodel says that model.skops is a pickle": (
        by.described(by.flavor("sklearn", serialization_format="pickle"), by.write(Path("model.skops"), by.pickled)),
        "serialization_format: pickle",
    ),
    "MLmodel trusts os.system": (by.described(by.trusting), "trusts os.system"),
    "MLmodel brings a folder of code": (
        by.described(by.flavor("python_function", code="code"), by.write(Path("code/sitecustomize.py"), by.module)),
        "has the file 'code/sitecustomize.py'",
    ),
    "MLmodel takes code from outside": (by.described(by.flavor("python_function", code="../..")), r"'code: \.\./\.\.'"),
    "MLmodel has a third flavor": (by.described(by.flavor("evil", data="x")), "two flavors"),
    "MLmodel has a YAML tag that runs a command": (by.tagged, "tags or aliases"),
    "MLmodel grows without end through aliases": (by.bomb_of_aliases, "tags or aliases"),
    "MLmodel is not YAML": (by.write(Path("MLmodel"), lambda _: b"a: [\x00"), "not YAML"),
    "MLmodel is gone": (by.removed("MLmodel"), "lacks the file 'MLmodel'"),
    "a file's name looks like another's": (by.write(Path("MLmod\u0435l"), by.module), "has the file 'MLmod\u0435l'"),
    "requirements.txt has a package from an address": (
        by.appended("requirements.txt", "\nevil @ https://example.invalid/evil.whl\n"),
        "asks for 'evil @ https",
    ),
    "requirements.txt has another index": (
        by.appended("requirements.txt", "\n--index-url https://example.invalid\n"),
        "asks for '--index-url",
    ),
    "conda.yaml has another package": (by.replaced("conda.yaml", "- pip:", "- evil\n- pip:"), "asks for 'evil'"),
    "python_env.yaml has other requirements": (
        by.replaced("python_env.yaml", "requirements.txt", "/tmp/evil.txt"),
        "from elsewhere",
    ),
    # Pickles.
    "model.skops is a pickle": (by.write(Path("model.skops"), by.pickled), "skops format"),
    "model.skops is of joblib": (by.write(Path("model.skops"), by.joblibbed), "skops format"),
    "a pickle lies beside the model": (by.write(Path("model.pkl"), by.pickled), "has the file 'model.pkl'"),
    "a pickle is added to model.skops": (by.entry("model.pkl"), "an entry is called 'model.pkl'"),
    "an array is a pickle": (by.array(lambda _, canary: by.pickled(canary)), "magic string"),
    "an array holds pickled objects": (by.array(by.array_of_pickles), "holds pickled objects"),
    "an array is an archive of pickles": (by.array(by.array_of_arrays), "magic string"),
    "an array has code in its header": (by.array(by.array_with_code_in_its_header), "ast.Call"),
    # What skops would build.
    "a dict's keys are made by os.system": (by.node(by.keys_made_by_system), "holds os.system"),
    "a list is a process": (by.node(by.list_that_is_a_process), "holds subprocess.Popen"),
    "a process is constructed": (by.node(by.constructed_process), "holds subprocess.Popen"),
    "a transformer around os.system": (by.function_that_runs, "holds posix.system"),
    "a partial of os.system": (by.partial_that_runs, "holds posix.system"),
    "a partial of Popen": (by.partial_of_popen, "holds subprocess.Popen"),
    "eval as a function": (by.node(lambda _: by.named("FunctionNode", "builtins.eval")), "holds builtins.eval"),
    "exec as a type": (by.node(lambda _: by.named("TypeNode", "builtins.exec")), "holds builtins.exec"),
    "pickle.loads as a function": (by.node(lambda _: by.named("FunctionNode", "_pickle.loads")), "_pickle.loads"),
    "joblib.load as a function": (
        by.node(lambda _: by.named("FunctionNode", "joblib.numpy_pickle.load")),
        "joblib.numpy_pickle.load",
    ),
    "a call of a method": (by.caller_of_method, "operator.methodcaller"),
    "a look-up of an attribute": (by.getter_of_attribute, "operator.attrgetter"),
    "a method of a type that is allowed": (by.node(by.method_of_hook), "OwnFeatures by MethodNode"),
    "a constructor of a type that is allowed": (by.node(by.constructed_hook), "OwnFeatures by ConstructorFromReduce"),
    "an allowed function in place of a type": (
        by.node(lambda _: by.named("TypeNode", "sklearn.utils.validation.check_array")),
        "check_array by TypeNode",
    ),
    "a loader that skops does not have": (by.node(lambda _: by.named("PickleNode", "builtins.str")), "by PickleNode"),
    "a part without a loader": (by.node(lambda _: {"__class__": "system", "__module__": "os"}), "holds os.system"),
    "a reference to nothing": (by.node(by.cached_unknown), "str by CachedNode"),
    "a part that lacks its content": (by.node(lambda _: by.named("ListNode", "builtins.list")), "put together"),
    "a function of numpy.random as a bit generator": (by.schema(by.other_bit_generator), "put together"),
    "an old protocol, where functions have two names": (by.schema(by.old_function), "protocol 0"),
    "a protocol to come": (by.schema(lambda found, _: found | {"protocol": 99}), "protocol 99"),
    "a dict in place of a model": (
        by.schema(lambda found, _: found["content"] | {"protocol": 2}),
        "builtins.dict in place of a model",
    ),
    # Zip.
    "two schemas": (by.second_schema, "two entries called 'schema.json'"),
    "an entry that climbs out": (by.entry("../../evil.npy"), "called '../../evil.npy'"),
    "an entry with an absolute path": (by.entry("/tmp/1.npy"), "called '/tmp/1.npy'"),
    "an entry that is a link": (by.link("1.npy"), "is a link"),
    "an entry that unpacks to 64 MiB": (by.entry("1.npy", packed=True), "is packed or encrypted"),
    "an entry that nothing names": (by.entry("1.npy"), "do not know each other"),
    "an entry said to be 4 GiB large": (by.patched(by.said_to_be_huge), "packed or encrypted"),
    "an encrypted entry": (by.patched(by.encrypted), "packed or encrypted"),
    "an entry of two names": (by.patched(by.other_local_name), "differ"),
    "entries that overlap": (by.patched(by.overlapping), "an overlap"),
    "a schema with a look-alike name": (by.renamed("schema.js\u043en"), "an entry is called 'schema.js\u043en'"),
    "a schema in capitals": (by.renamed("SCHEMA.JSON"), "an entry is called 'SCHEMA.JSON'"),
    "a zip cut in half": (by.patched(by.cut), "not a zip file"),
    "a zip behind another": (by.patched(by.twice), "other bytes"),
    "a zip behind a script": (by.patched(by.behind_a_script), "other bytes"),
    "a zip with a comment": (by.patched(by.commented), "skops format"),
    "a byte of an array changed": (by.patched(by.other_byte), "Bad CRC-32"),
    # The schema as text.
    "a schema that is not UTF-8": (by.raw_schema(lambda found, _: b"\xff\xfe\xfa" + found), "skops format"),
    "a schema that is not JSON": (by.raw_schema(lambda found, _: found[:-2]), "JSONDecodeError"),
    "a schema that says a thing twice": (
        by.raw_schema(lambda found, _: b'{"protocol": 2,' + found.lstrip()[1:]),
        "says something twice",
    ),
    "a schema that is a list": (by.raw_schema(lambda found, _: b"[" + found + b"]"), "not one object"),
    "a schema nested 100,000 deep": (by.nested, "RecursionError"),
    "a schema nested 300 deep": (by.schema(by.nested_below_pythons_limit), "nested deeper"),
    # Numbers that hurt.
    "an array said to be of a petabyte": (by.array(by.array_said_to_be_huge), "not as large as it says"),
    "a tree that points outside of itself": (by.tree(by.outside), "points outside"),
    "a tree that goes round in a circle": (by.tree(by.circle), "in a circle"),
}
"""How it was tampered with, and what the error names even where the attacker could have the digest approved."""

SEEN_BY_THE_DIGEST = {
    "the leaves' values changed": by.tree(by.other_leaf),
    "the own features have a line more": by.schema(by.other_hook),
    "the signature has its columns in another order": by.described(by.other_signature),
    "another answer is asked of the model": by.described(by.flavor("python_function", predict_fn="predict")),
    "the input example changed": by.appended("input_example.json", " "),
    "an older version is required": by.replaced("requirements.txt", "skops==", "skops==0.1+"),
}
"""What only a comparison with the approved files can tell."""

NO_PLAIN_FILES = {
    "a link to the model": (by.moved_and(by.symbolic), "'model.skops' as a link"),
    "a second name of the model's file": (by.moved_and(by.hard), "'model.skops' as a link"),
    "a pipe in place of the model": (by.moved_and(by.pipe), "has no file 'model.skops'"),
    "a folder in place of the model": (by.moved_and(by.directory), "has no file 'model.skops'"),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def records() -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {"a": random.normal(size=300), "b": random.normal(size=300), "c": random.choice(["x", "y"], 300)}
    )


@pytest.fixture(scope="module")
def version(settings: Settings, records: pd.DataFrame) -> ModelVersion:
    """Boosting with own features, calibrated and registered as a training does it."""
    columns = {"a": {"type": "number"}, "b": {"type": "number"}, "c": {"type": "category"}}
    contract = Contract.model_validate(
        {
            "name": "payments",
            "question": "Which one?",
            "kind": "binary",
            "records": {"files": "*.csv", "landing": "landing", "columns": columns},
            "outcome": {"target": "y", "known_after": "1 day", "columns": {"y": {"type": "number"}}},
            "judging": {"metric": "roc_auc", "newest": "20 %", "min_gain": 0.01},
            "scoring": {"warning": 0.5, "critical": 0.8},
            "folder": Path("nowhere"),
        }
    )
    y = (records["a"] + (records["c"] == "x") > 0.5).to_numpy()
    own = OwnFeatures(HOOK).fit(records)
    model = build("boosting", "binary", contract.model_columns, own, {"max_iter": 5}, seed=1).fit(records, y)
    return tracking.log_challenger(
        settings,
        contract,
        tracking.FittedModel(
            Calibrated.on(model, model.predict_proba(records), y), "boosting", {}, [], {}, {"a": 0.5}, seed=1
        ),
        tracking.LearntRows(
            datetime.fromisoformat("2026-04-01"),
            records.head(3),
            records.assign(y=y).head(50),
            hashes_of(map(str, records.index)),
            [(TableVersion("payments", "records", 0), "/lake/records")],
        ),
        git_revision=None,
    )


@pytest.fixture
def stored(settings: Settings, version: ModelVersion, tmp_path: Path) -> Iterator[Path]:
    """The folder in MLflow's own store, as it was before once the test is over."""
    folder = settings.home / "artifacts" / version.name / "models" / version.model_id / "artifacts"
    shutil.copytree(folder, tmp_path / "kept")
    yield folder
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "kept", folder)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """What any payload would leave behind."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "the payload ran"
    assert "evil" not in sys.modules


def doors(settings: Settings, version: ModelVersion, folder: Path, digest: str) -> dict[str, Callable[[], Any]]:
    """Everything that opens a model, or hands its files to what does."""
    batch_scoring._ready.clear()
    return {
        "registry.load": lambda: model_versions.load(settings, version, digest),
        "registry.fetch_approved": lambda: model_versions.fetch_approved(settings, version, digest),
        "model_files.load_folder": lambda: model_files.load_folder(folder, digest, str(version)),
        "a Spark worker": lambda: batch_scoring._scorer(batch_scoring.pack(folder), digest),
    }


def test_the_honest_model_passes_every_door(
    settings: Settings, version: ModelVersion, stored: Path, records: pd.DataFrame
) -> None:
    for door, enter in doors(settings, version, stored, version.digest).items():
        opened = enter()
        if door != "registry.fetch_approved":
            assert opened.answer(records).shape == (300, 2)


@pytest.mark.parametrize(
    "tamper",
    [
        *(pytest.param(tamper, id=name) for name, (tamper, _) in SEEN_IN_THE_FILES.items()),
        *(pytest.param(tamper, id=name) for name, tamper in SEEN_BY_THE_DIGEST.items()),
    ],
)
def test_what_was_changed_after_approval_is_refused_by_its_digest(
    settings: Settings, version: ModelVersion, stored: Path, canary: Path, tamper: by.Tamper
) -> None:
    tamper(stored, canary)
    found = model_files.digest_of(stored)
    for door, enter in doors(settings, version, stored, version.digest).items():
        with pytest.raises(UntrustedModel, match=f"digest {found[:12]}…, needed is {version.digest[:12]}") as refused:
            enter()
        assert door == "a Spark worker" or str(version) in str(refused.value)


@pytest.mark.parametrize(
    ("tamper", "reason"), [pytest.param(*both, id=name) for name, both in SEEN_IN_THE_FILES.items()]
)
def test_an_approved_digest_does_not_help_what_no_model_of_ours_holds(
    settings: Settings, version: ModelVersion, stored: Path, canary: Path, tamper: by.Tamper, reason: str
) -> None:
    tamper(stored, canary)
    for door, enter in doors(settings, version, stored, model_files.digest_of(stored)).items():
        if door == "registry.fetch_approved" and "put together" in reason:
            continue  # it opens nothing, and only opening shows that the parts do not fit
        with pytest.raises(UntrustedModel, match=reason) as refused:
            enter()
        assert door == "a Spark worker" or str(version) in str(refused.value)


@pytest.mark.parametrize(("tamper", "reason"), [pytest.param(*both, id=name) for name, both in NO_PLAIN_FILES.items()])
def test_a_model_consists_of_plain_files(
    version: ModelVersion, stored: Path, canary: Path, tmp_path: Path, tamper: by.Tamper, reason: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(stored, folder)
    tamper(folder, canary)
    for enter in (model_files.load_folder, model_files.check_folder):
        with pytest.raises(UntrustedModel, match=reason):
            enter(folder, version.digest, str(version))


@pytest.mark.parametrize("make", [by.symbolic, by.pipe])
def test_links_and_pipes_in_the_store_are_neither_followed_nor_waited_for(
    settings: Settings, version: ModelVersion, stored: Path, canary: Path, make: Callable[[Path, Path], None]
) -> None:
    by.moved_and(make)(stored, canary)
    try:
        with pytest.raises(Unavailable, match="cannot be fetched"):
            model_versions.load(settings, version, version.digest)
    finally:
        (stored.parent / "away.skops").unlink()


def test_the_one_file_outside_of_the_digest_is_never_obeyed(
    settings: Settings, version: ModelVersion, stored: Path, canary: Path
) -> None:
    stamp = stored / model_files.STAMP
    stamp.write_bytes(by.pickled(canary))
    assert model_files.load_folder(stored, version.digest).folder == stored
    assert not (model_versions.load(settings, version, version.digest).folder / model_files.STAMP).exists()
    stamp.unlink()
    stamp.mkdir()
    (stamp / "evil.py").write_bytes(by.module(canary))
    with pytest.raises(UntrustedModel, match="not the approved one"):
        model_files.load_folder(stored, version.digest)


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(lambda folder, canary: (folder / "evil.py").write_bytes(by.module(canary)), id="a file added"),
        pytest.param(lambda folder, canary: (folder / "evil.py").symlink_to(canary), id="a link added"),
    ],
)
def test_the_copy_in_scratch_is_made_anew_when_somebody_changed_it(
    settings: Settings, version: ModelVersion, canary: Path, plant: Callable[[Path, Path], object]
) -> None:
    plant(model_versions.fetch_approved(settings, version, version.digest), canary)
    assert not (model_versions.load(settings, version, version.digest).folder / "evil.py").exists()


def test_what_is_changed_after_it_was_loaded_is_not_read_again(
    version: ModelVersion, stored: Path, canary: Path, records: pd.DataFrame
) -> None:
    opened = model_files.load_folder(stored, version.digest)
    for path in stored.iterdir():
        path.write_bytes(by.module(canary))
    assert opened.answer(records).shape == (300, 2)
    assert opened.pyfunc.metadata.flavors["python_function"]["loader_module"] == "mlflow.sklearn"


def test_own_features_of_an_unknown_origin_do_not_run_while_they_are_loaded(
    version: ModelVersion, stored: Path, canary: Path
) -> None:
    by.schema(by.other_hook)(stored, canary)
    assert (
        "os.system"
        in model_files.load_folder(stored, model_files.digest_of(stored)).model.model.named_steps["own"].source
    )


def test_the_payloads_would_run_if_they_were_let(version: ModelVersion, stored: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    pickle.loads(by.pickled(ran))
    assert ran.exists()
    ran.unlink()

    by.node(by.keys_made_by_system)(stored, ran)
    skops.io.load(stored / "model.skops", trusted=[*sorted(trusted_types.ALLOWED), "os.system"])
    assert ran.exists()
    ran.unlink()

    loader = by.described(by.flavor("python_function", loader_module="evil_loader", code="code"))
    loader(stored, ran)
    by.write(Path("code/evil_loader.py"), by.module)(stored, ran)
    mlflow.pyfunc.load_model(str(stored))
    assert ran.exists()
