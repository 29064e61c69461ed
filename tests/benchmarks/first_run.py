"""From a stranger's file to a champion and predictions: how long, how much memory, how good beside a plain script.

    uv run python tests/benchmarks/first_run.py [--json] [--only telco,shelter]

Every command is the installed `contender`, a process of its own in an empty folder: `init`, `run`, and `run` again
without news. The peer is the script below, in the same sitting and a process of its own, too: pandas, the three
candidates of scikit-learn with their defaults, the better one by three folds, tried on the very rows on which the
champion was judged, and all rows scored into Parquet. Scores are the use case's own metric.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from main_job import REAL, run, say

from contender.evaluation.metrics import sign


@dataclass(frozen=True)
class Table:
    """One public file, what is asked of it, and how pandas has to read it."""

    file: str
    target: str
    init: tuple[str, ...] = ()
    reading: tuple[tuple[str, Any], ...] = ()
    leave_out: tuple[str, ...] = ()


TABLES = {
    "telco": Table("public/telco/WA_Fn-UseC_-Telco-Customer-Churn.csv", "Churn", reading=(("encoding", "utf-8-sig"),)),
    "credit": Table("public/credit-default/default of credit card clients.csv", "Y", reading=(("skiprows", [1]),)),
    "shelter": Table(
        "public/shelter/aac_shelter_outcomes.csv",
        "outcome_type",
        leave_out=("outcome_subtype", "datetime", "monthyear"),
    ),
    "airquality": Table(
        "public/airquality/AirQualityUCI.csv",
        "CO(GT)",
        ("--time", "Date Time"),
        (("sep", ";"), ("decimal", ","), ("na_values", [-200])),
        ("Date", "Time"),
    ),
}


def measure(name: str, table: Table, folder: Path) -> dict[str, Any]:
    """The figures of one table."""
    say(f"{name}: init, run, run again, script")
    (folder / "landing").mkdir(parents=True)
    source = folder / "landing" / Path(table.file).name
    shutil.copy(REAL / table.file, source)
    cases = {"CONTENDER_USE_CASES": str(folder / "data")}
    drafted = run(folder, "init", str(source), "--name", name, "--target", table.target, *table.init, **cases)
    ran = run(folder, "run", name, "--json", **cases)
    again = run(folder, "run", name, "--json", **cases)
    document = ran.document
    verdict = document["verdict"]
    script = plain_script(folder, name, table, verdict)
    return {
        "table": name,
        "rows": document["records"],
        "quarantined": document["quarantined"],
        "init_seconds": drafted.seconds,
        "run_seconds": ran.seconds,
        "again_seconds": again.seconds,
        "peak_gib": max(one.peak_bytes for one in (drafted, ran, again)) / 2**30,
        "metric": verdict["metric"],
        "score": verdict["challenger_score"],
        "judged_rows": verdict["rows"],
        "decision": verdict["decision"],
        "interval": verdict.get("interval"),
        **script,
        "no_worse": no_worse(verdict, script["script_score"]),
        "run_over_script": ran.seconds / script["script_seconds"],
    }


def no_worse(verdict: dict[str, Any], other: float) -> bool:
    """Whether the champion's score is the script's or better, but for half of the interval that its own gain has."""
    interval = verdict.get("interval") or {"low": 0.0, "high": 0.0}
    behind = sign(verdict["metric"]) * (other - verdict["challenger_score"])
    return bool(behind <= (interval["high"] - interval["low"]) / 2)


def plain_script(folder: Path, name: str, table: Table, verdict: dict[str, Any]) -> dict[str, Any]:
    """What the script reaches on the rows of the verdict, in a process of its own."""
    asked = {"folder": str(folder), "name": name, "window": verdict["window"], "metric": verdict["metric"]}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--script", json.dumps(asked)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the script for {name} ended with {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout) | {"script_seconds": time.perf_counter() - began}


def script(asked: dict[str, Any]) -> dict[str, float]:
    """The plain script itself: read, split as the verdict did, search, fit, score, write."""
    from deltalake import DeltaTable
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import (
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import get_scorer
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    folder, table = Path(asked["folder"]), TABLES[asked["name"]]
    frame = pd.read_csv(folder / "landing" / Path(table.file).name, **dict(table.reading))
    frame = frame.loc[:, ~frame.columns.str.startswith("Unnamed: 1")]
    records = DeltaTable(folder / ".contender" / "lake" / asked["name"] / "records").to_pyarrow_table(
        columns=["_row", "_time"]
    )
    start, end = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in asked["window"].split(".."))
    times = dict(zip(records["_row"].to_pylist(), records["_time"].to_pylist(), strict=True))
    when = pd.Series([times.get(row) for row in range(1, len(frame) + 1)], index=frame.index)
    target = frame[table.target]
    kept = target.notna() & when.notna()
    regression = asked["metric"] in ("rmse", "mae", "r2")
    y = target if regression else target.astype(str)
    unique = [column for column in frame.columns if frame[column].nunique() == len(frame)]
    x = frame.drop(columns=[table.target, *table.leave_out, *unique])
    judged = kept & (when >= start) & (when < end + pd.Timedelta(minutes=1))
    training = kept & (when < start)
    if regression:
        models: list[Any] = [
            Ridge(),
            RandomForestRegressor(random_state=0),
            HistGradientBoostingRegressor(random_state=0),
        ]
    else:
        models = [
            LogisticRegression(max_iter=1000),
            RandomForestClassifier(random_state=0),
            HistGradientBoostingClassifier(random_state=0),
        ]
    texts = make_column_selector(dtype_include=object)
    numbers = make_column_selector(dtype_exclude=object)
    scorer = {
        "roc_auc": "roc_auc",
        "average_precision": "average_precision",
        "log_loss": "neg_log_loss",
        "accuracy": "accuracy",
        "rmse": "neg_root_mean_squared_error",
        "mae": "neg_mean_absolute_error",
        "r2": "r2",
    }[asked["metric"]]
    found = []
    for model in models:
        columns = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore", max_categories=50, sparse_output=False), texts),
            (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        )
        pipeline = make_pipeline(columns, model)
        found.append((np.mean(cross_val_score(pipeline, x[training], y[training], cv=3, scoring=scorer)), pipeline))
    best = max(found, key=lambda one: one[0])[1].fit(x[training], y[training])
    score = abs(get_scorer(scorer)(best, x[judged], y[judged])) if judged.any() else float("nan")
    scores = best.predict(x) if regression else best.predict_proba(x).max(axis=1)
    pd.DataFrame({"score": scores}).to_parquet(folder / "script.parquet")
    return {"script_score": float(score), "script_judged_rows": int(judged.sum())}


def tell(rows: list[dict[str, Any]]) -> None:
    """The figures for people, a line for each."""
    for row in rows:
        print(row["table"])
        for name, value in row.items():
            if name != "table":
                print(f"  {name:<18} {f'{value:,.4g}' if isinstance(value, float) else value}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure a stranger's first run.")
    parser.add_argument("--json", action="store_true", help="print one JSON document, a row for each table")
    parser.add_argument("--only", default=",".join(TABLES), help="tables, separated by commas")
    parser.add_argument("--script", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.script:
        print(json.dumps(script(json.loads(given.script))))
        sys.exit()
    if not (REAL / "public").is_dir():
        sys.exit(f"{REAL / 'public'} is not there; put the public tables there, or set CONTENDER_REAL_DATA.")
    with tempfile.TemporaryDirectory(prefix="contender-benchmark-") as scratch:
        rows = [measure(name, TABLES[name], Path(scratch) / name) for name in given.only.split(",")]
    print(json.dumps(rows, indent=2)) if given.json else tell(rows)
