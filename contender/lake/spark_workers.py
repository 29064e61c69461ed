"""Spark's Python workers, forked from one process that has loaded what scoring needs.

Without it each worker loads scikit-learn and MLflow for itself, for seconds, when its first rows wait already. Spark
runs this module in place of `pyspark.daemon`, which it does not change.
"""

import gc
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from pyspark.daemon import manager

from contender.lake import spark_session
from contender.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

LOADED = (
    "mlflow.models",
    "mlflow.pyfunc",
    "contender.registry.model_files",
    "contender.registry.trusted_types",
    "threadpoolctl",
    "contender.inference.scorer",
    "contender.inference.kernels",
)
"""What every worker shares; none of it starts a thread, which a fork would not survive."""


def start(settings: Settings) -> None:
    """Have Spark start the process from which workers are forked, and wait until it is ready."""
    spark_session.session(settings).range(1, numPartitions=1).mapInArrow(_as_they_are, "id bigint").collect()


def _as_they_are(batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    yield from batches


if __name__ == "__main__":
    for name in LOADED:
        import_module(name)
    # What is loaded stays in memory that all workers share, as long as no collection touches it.
    gc.freeze()
    manager()  # type: ignore[no-untyped-call]
