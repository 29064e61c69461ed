"""Rows a second of our scoring on Spark, beside `mlflow.pyfunc.spark_udf` with the same model on the same rows.

    uv run python tests/benchmarks/scoring.py [--json] [--rows 1000000]

A model is trained on 20,000 simulated payments; their features, repeated, are the rows. Workers are started and
have loaded the model before the clock runs, in both ways.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DoubleType

from contender.contracts.contract import Contract
from contender.lake import tables
from contender.registry import model_versions
from contender.scoring.batch_scoring import with_scores
from contender.settings import Settings

DATA = Path(__file__).resolve().parents[2] / "data"
CONTENDER = Path(sys.executable).with_name("contender")
PAYMENTS, WARM_UP_ROWS, TURNS = 20_000, 2_000, 3


def measure(folder: Path, rows: int) -> dict[str, Any]:
    """Rows a second both ways, and how many times as fast ours is."""
    # Workers of Spark need the model's registry as well.
    os.environ |= {"CONTENDER_HOME": str(folder / "home"), "CONTENDER_USE_CASES": str(DATA)}
    for arguments in (["simulate", "--payments", str(PAYMENTS)], ["run", "payments"]):
        subprocess.run([CONTENDER, *arguments], cwd=folder, stdout=sys.stderr, check=True)
    settings = Settings()
    contract = Contract.of("payments", settings.use_cases)
    # On so few payments it may not take the title; how fast it answers is all that counts here.
    model = model_versions.find(settings, "payments", 1)
    features = tables.find(settings, "payments", "features")
    assert features is not None
    folder_of_model = model_versions.fetch_approved(settings, model, model.digest)
    every = tables.read(settings, features)
    repeated = every.crossJoin(F.broadcast(every.sparkSession.range(-(-rows // every.count())).select()))
    repeated.limit(rows).write.parquet(str(folder / "rows"))
    wanted = every.sparkSession.read.parquet(str(folder / "rows"))

    with model_versions.connected(settings):
        import mlflow

        udf = mlflow.pyfunc.spark_udf(
            wanted.sparkSession, model.uri, result_type=ArrayType(DoubleType()), env_manager="local"
        )
        inputs = F.struct(*[column.name for column in contract.model_columns])
        ways = {
            "ours": lambda some: with_scores(some, contract, model, folder_of_model),
            "theirs": lambda some: some.select("_key", udf(inputs).alias("answer")),
        }
        warm = wanted.limit(WARM_UP_ROWS).repartition(wanted.rdd.getNumPartitions())
        for way in ways.values():
            seconds_of(way(warm))
        # In turns, so that neither has the warmer machine; the best of each, as others only ever slow it down.
        turns = [{name: seconds_of(way(wanted)) for name, way in ways.items()} for _ in range(TURNS)]
    ours, theirs = (min(turn[name] for turn in turns) for name in ways)
    return {
        "rows": rows,
        "model": model.family,
        "rows_per_second": rows / ours,
        "spark_udf_rows_per_second": rows / theirs,
        "ratio_to_spark_udf": theirs / ours,
    }


def seconds_of(scored: DataFrame) -> float:
    """Seconds to score all rows and throw the answers away."""
    began = time.perf_counter()
    scored.write.format("noop").mode("append").save()
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure scoring on Spark.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="contender-benchmark-") as scratch:
        found = measure(Path(scratch), given.rows)
        tables.stop()
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:<26}  {f'{value:,.2f}' if isinstance(value, float) else value}")
