"""Rows a second of our scoring on Spark, beside `mlflow.pyfunc.spark_udf` with the same model on the same rows.

    uv run python tests/benchmarks/scoring.py [--json] [--rows 1000000]

A champion is trained on 20,000 simulated payments; their features, repeated, are the rows. Workers are started and
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

from contender import lake, registry
from contender.contract import Contract
from contender.scoring import with_scores
from contender.settings import Settings

DATA = Path(__file__).resolve().parents[2] / "data"
CONTENDER = Path(sys.executable).with_name("contender")
PAYMENTS, WARM_UP_ROWS = 20_000, 2_000


def measure(folder: Path, rows: int) -> dict[str, Any]:
    """Rows a second both ways, and how many times as fast ours is."""
    # Workers of Spark need the model's registry as well.
    os.environ |= {"CONTENDER_HOME": str(folder / "home"), "CONTENDER_USE_CASES": str(DATA)}
    for arguments in (["simulate", "--payments", str(PAYMENTS)], ["run", "payments"]):
        subprocess.run([CONTENDER, *arguments], cwd=folder, stdout=sys.stderr, check=True)
    settings = Settings()
    contract = Contract.of("payments", settings.use_cases)
    champion = registry.champion_alias(settings, "payments")
    features = lake.find(settings, "payments", "features")
    assert champion is not None
    assert features is not None
    folder_of_model = registry.load(settings, champion, champion.digest).folder
    every = lake.read(settings, features)
    repeated = every.crossJoin(F.broadcast(every.sparkSession.range(-(-rows // every.count())).select()))
    repeated.limit(rows).write.parquet(str(folder / "rows"))
    wanted = every.sparkSession.read.parquet(str(folder / "rows"))

    ours = seconds_of(lambda some: with_scores(some, contract, champion, folder_of_model), wanted)
    with registry.connected(settings):
        import mlflow

        udf = mlflow.pyfunc.spark_udf(
            wanted.sparkSession, champion.uri, result_type=ArrayType(DoubleType()), env_manager="local"
        )
        inputs = F.struct(*[column.name for column in contract.model_columns])
        theirs = seconds_of(lambda some: some.select("_key", udf(inputs).alias("answer")), wanted)
    return {
        "rows": rows,
        "model": champion.family,
        "rows_per_second": rows / ours,
        "spark_udf_rows_per_second": rows / theirs,
        "ratio_to_spark_udf": theirs / ours,
    }


def seconds_of(scored: Any, rows: DataFrame) -> float:
    """Seconds to score all rows and throw the answers away, once the workers are warm."""
    scored(rows.limit(WARM_UP_ROWS).repartition(rows.rdd.getNumPartitions())).write.format("noop").mode("append").save()
    began = time.perf_counter()
    scored(rows).write.format("noop").mode("append").save()
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure scoring on Spark.")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="contender-benchmark-") as scratch:
        found = measure(Path(scratch), given.rows)
        lake.stop()
    if given.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:<26}  {f'{value:,.2f}' if isinstance(value, float) else value}")
