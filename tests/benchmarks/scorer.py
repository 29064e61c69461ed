"""The scorer alone on one core, beside scikit-learn and, where it is installed, tl2cgen: same model, same rows.

    uv run python tests/benchmarks/scorer.py [--json] [--rows 100000] [--python OTHER/bin/python]

Histogram gradient boosting of 200 trees on 30 columns, 6 of them categories, a tenth of all cells missing. Answers are
compared before the clock runs. scikit-learn is asked as the pipeline that a version is. `--python` names an interpreter
of another environment with treelite, tl2cgen and scikit-learn in our version; the trees alone are compared there, on
the features that our arrays make, since tl2cgen knows no encoders.
"""

import argparse
import json
import os
import pickle
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from contender.inference import arrays, equality, lowering
from contender.inference.scorer import LoweredScorer
from contender.training.calibration import Calibrated
from contender.training.candidates import build
from contender.values import ModelColumn

CATEGORIES, COLUMNS, TREES, TRAINED, TURNS = 6, 30, 200, 20_000, 5

_TL2CGEN = """
import json, pickle, sys, tempfile, time, warnings
warnings.simplefilter("ignore")
import numpy as np
try:
    import tl2cgen, treelite
except ImportError as error:
    print(json.dumps({"why_not": str(error)}))
    sys.exit()
from sklearn.utils import parallel
model, matrix = pickle.load(open(sys.argv[1], "rb"))
trees = treelite.sklearn.import_model(model)
began = time.perf_counter()
with tempfile.TemporaryDirectory() as folder:
    tl2cgen.export_lib(trees, toolchain="gcc", libpath=folder + "/trees.so", params={"parallel_comp": 2})
    compiled = time.perf_counter() - began
    predictor = tl2cgen.Predictor(folder + "/trees.so", nthread=1)
    data, one = tl2cgen.DMatrix(matrix, dtype="float64"), matrix[:1]
    found = predictor.predict(data).ravel()
    rows, single = [], []
    for _ in range(5):
        began = time.perf_counter()
        predictor.predict(data)
        rows.append(time.perf_counter() - began)
    for _ in range(300):
        began = time.perf_counter()
        predictor.predict(tl2cgen.DMatrix(one, dtype="float64"))
        single.append(time.perf_counter() - began)
general = []
for _ in range(100):
    began = time.perf_counter()
    treelite.gtil.predict(trees, one, nthread=1)
    general.append(time.perf_counter() - began)
began = time.perf_counter()
treelite.gtil.predict(trees, matrix[:20000], nthread=1)
gtil = time.perf_counter() - began
try:
    import skl2onnx
    skl2onnx.to_onnx(model, matrix[:1])
    onnx = None
except Exception as error:
    onnx = f"{type(error).__name__}: {error}"[:160]
print(json.dumps({
    "seconds": min(rows), "one_row_us": 1e6 * float(np.median(single)), "compile_seconds": compiled,
    "treelite_one_row_us": 1e6 * float(np.median(general)), "treelite_rows_per_second": min(20000, len(matrix)) / gtil,
    "greatest_difference": float(np.abs(found - model.predict_proba(matrix)[:, 1]).max()), "onnx": onnx,
}))
"""


def rows_of(count: int, seed: int) -> pd.DataFrame:
    """A model's input with a tenth of the cells missing."""
    random = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for place in range(COLUMNS):
        if place < CATEGORIES:
            texts = np.array([f"{place}-{k}" for k in range((4, 8, 12, 30, 100, 200)[place])], dtype=object)
            found[f"category {place}"] = random.choice(texts, count)
            found[f"category {place}"][random.random(count) < 0.1] = None
        else:
            found[f"number {place}"] = np.where(random.random(count) < 0.1, np.nan, random.normal(size=count))
    return pd.DataFrame(found)


def measure(rows: int, python: str | None) -> dict[str, Any]:
    """Answers compared, then times: ours, scikit-learn's and tl2cgen's."""
    columns = [ModelColumn(str(name), "category" if "category" in str(name) else "number") for name in rows_of(1, 0)]
    frame = rows_of(TRAINED, 0)
    random = np.random.default_rng(1)
    hidden = frame.iloc[:, CATEGORIES:].fillna(0).sum(axis=1) / 3 + frame["category 3"].isin(["3-1", "3-5", "3-7"])
    outcomes = (hidden + random.normal(size=TRAINED) > 0.2).to_numpy().astype(np.int64)
    params = {"max_iter": TREES, "max_leaf_nodes": 31}
    with threadpool_limits(1):
        model = build("boosting", "binary", columns, None, params, 0).fit(frame, outcomes)
        calibrated = Calibrated.on(model, model.predict_proba(frame), outcomes)
        _, evidence = equality.lower_and_prove(calibrated, columns, frame.head(5_000), (0.5, 0.7, 0.9))
        assert evidence.why_plain is None, evidence
        lowered = arrays.unpack(arrays.pack(lowering.lower(calibrated, columns), {}))
        assert lowered is not None
        ours, many = LoweredScorer(lowered), rows_of(rows, 2)
        greatest = float(np.abs(ours.answer(many) - calibrated.predict_proba(many)).max())
        assert greatest <= equality.LIMIT, greatest
        record, one = many.iloc[0].tolist(), many.head(1)
        record_us = 1e6 * typical(lambda: ours.answer_record(record), 2_000)
        learn_us = 1e6 * typical(lambda: calibrated.predict_proba(one), 60)
        # In turns, so that neither has the warmer machine; the best of each, as others only ever slow it down.
        turns = [
            (seconds(lambda: ours.answer(many)), seconds(lambda: calibrated.predict_proba(many))) for _ in range(TURNS)
        ]
        mine, theirs = (min(turn[k] for turn in turns) for k in (0, 1))
        made = model[:-1].transform(many)
        trees = seconds_of_trees(ours, many)
        bare = min(seconds(lambda: model[-1].predict_proba(made)) for _ in range(3))
    other = tl2cgen(model[-1], np.asarray(made, dtype=np.float64), python)
    reason = other.get("why_not")
    return {
        "rows": rows,
        "one_row_us": record_us,
        "sklearn_one_row_us": learn_us,
        "one_row_to_sklearn": learn_us / record_us,
        "rows_per_second": rows / mine,
        "rows_to_sklearn": theirs / mine,
        "trees_rows_to_sklearn": bare / trees,
        "rows_to_tl2cgen": None if reason else other["seconds"] / trees,
        "tl2cgen": {"why_not": reason} if reason else other,
        "greatest_difference": greatest,
        "proof": str(evidence),
    }


def seconds_of_trees(ours: LoweredScorer, many: pd.DataFrame) -> float:
    """The kernels alone on numbers and codes that are there, as tl2cgen is given them."""
    kept: list[Any] = []
    whole = ours._evaluate
    ours._evaluate = lambda *given: (kept.append(given), whole(*given))[1]  # type: ignore[method-assign]
    ours.answer(many)
    ours._evaluate = whole  # type: ignore[method-assign]
    return min(seconds(lambda: whole(*kept[0])) for _ in range(TURNS))


def tl2cgen(model: Any, matrix: Any, python: str | None) -> dict[str, Any]:
    """What tl2cgen takes for the trees, in an environment of its own; or why it cannot be asked."""
    if python is None:
        return {"why_not": "no --python with tl2cgen was given; it does not belong to our environment"}
    with tempfile.TemporaryDirectory(prefix="contender-benchmark-") as folder:
        given = Path(folder) / "given.pickle"
        given.write_bytes(pickle.dumps((model, matrix)))
        clean = {"PATH": os.environ["PATH"]}
        done = subprocess.run([python, "-c", _TL2CGEN, given], capture_output=True, text=True, check=False, env=clean)
        if done.returncode:
            return {"why_not": done.stderr.strip().splitlines()[-1][:200]}
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def seconds(work: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def typical(work: Callable[[], Any], times: int) -> float:
    """Median seconds of a call."""
    work()
    return float(np.median([seconds(work) for _ in range(times)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the scorer alone.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--python", help="an interpreter that has treelite, tl2cgen and scikit-learn")
    given = parser.parse_args()
    found = measure(given.rows, given.python)
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:<24}  {f'{value:,.4g}' if isinstance(value, float) else value}")
