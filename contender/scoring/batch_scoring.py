"""Scores on Spark all records that the champion has not scored, once each, and cuts the scores into bands.

The model travels to the workers as the bytes that were approved; each worker checks the digest again, makes of them
once what answers, the arrays that were proven equal or else the pipeline, and asks it one Arrow batch at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from contender.contracts.contract import Contract
from contender.contracts.sections import Kind
from contender.features import feature_tables
from contender.lake import tables
from contender.scoring.decisions import PREDICTION_TYPES, decide
from contender.settings import Settings
from contender.values import BATCH, KEY, TIME, Band, ModelVersion, Scored

if TYPE_CHECKING:
    import pyarrow as pa

    from contender.inference.scorer import Scorer


def score_pending(settings: Settings, contract: Contract, model: ModelVersion, folder: Path, at: datetime) -> Scored:
    """Append a prediction for every record of the batches that were not scored yet, in one commit.

    Args:
        model: the champion, fixed by its version for the whole scoring.
        folder: the model's files, already verified against its digest.
    """
    source = tables.find(settings, contract.name, "features")
    until = feature_tables.newest_batch(settings, contract.name)
    done = tables.last_transaction(settings, contract.name, "predictions", "score")
    bands: dict[str, int] = {}
    table = tables.find(settings, contract.name, "predictions")
    if source is not None and until > done:
        pending = tables.read(settings, source).where(F.col(BATCH) > done)
        rows = with_scores(pending, contract, model, folder).select(
            KEY,
            TIME,
            "score",
            "prediction",
            band_of(contract).alias("band"),
            F.lit(model.version).alias("model_version"),
            F.lit(model.run_id).alias("run_id"),
            F.lit(at).alias("scored_at"),
            F.lit(at.date()).alias("scored_date"),
            F.lit(source.version).cast("bigint").alias("source_version"),
            BATCH,
        )
        # Counted while written: to count afterwards would read, or score, it all again.
        counted = Observation()
        rows = rows.observe(counted, *[F.count_if(F.col("band") == band.value).alias(band.value) for band in Band])
        table = tables.append(
            settings,
            contract.name,
            "predictions",
            rows,
            application="score",
            transaction=until,
            partition_by=["scored_date"],
        )
        bands = {band: int(count) for band, count in counted.get.items() if count}
    return Scored(model, sum(bands.values()), _alert(settings, contract), bands, table)


def with_scores(records: DataFrame, contract: Contract, model: ModelVersion, folder: Path) -> DataFrame:
    """`_key`, `_time`, `_batch`, `score` and `prediction` of rows of `features`.

    Raises:
        ModelError: the contract has taken away a column that the model was trained with.
    """
    from contender.registry import mlmodel, model_files

    spark = records.sparkSession
    packed = pack(folder)
    described = mlmodel.content_of(packed[mlmodel.DESCRIPTION], str(model))
    model_files.refuse_missing_columns(
        model_files.wanted_by(described), [one.name for one in contract.model_columns], str(model)
    )
    files = spark.sparkContext.broadcast(packed)
    shown = {contract.stored_names[column.name]: column.name for column in contract.model_columns}
    predict = _predictor(files, model.digest, contract.kind, contract.scoring.threshold, shown)
    schema = (
        f"{KEY} string, {TIME} timestamp, {BATCH} bigint, score double, prediction {PREDICTION_TYPES[contract.kind]}"
    )
    return records.mapInArrow(predict, schema)


def band_of(contract: Contract) -> Any:
    """The band of a score, as a Spark column."""
    score, cuts = F.col("score"), contract.scoring
    return (
        F.when(score >= cuts.critical, Band.CRITICAL.value)
        .when(score >= cuts.warning, Band.WARNING.value)
        .otherwise(Band.NORMAL.value)
    )


def pack(folder: Path) -> dict[str, bytes]:
    """The files of a model by name, so that any worker can have them."""
    from contender.registry.model_files import plain_files

    return {name: path.read_bytes() for name, path in plain_files(folder)}


def _predictor(
    files: Any, digest: str, kind: Kind, threshold: float, shown: Mapping[str, str]
) -> "Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]":
    def predict(batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        import pyarrow as pa

        scorer = None
        for batch in batches:
            if scorer is None:
                scorer = _scorer(files.value, digest)
            names = [name for name in batch.schema.names if name in shown]
            answer = scorer.answer_columns({shown[name]: batch.column(name) for name in names})
            score, prediction = decide(kind, answer, threshold, scorer.classes)
            yield pa.RecordBatch.from_arrays(
                [batch.column(name) for name in (KEY, TIME, BATCH)]
                + [pa.array(score, pa.float64()), pa.array(prediction)],
                names=[KEY, TIME, BATCH, "score", "prediction"],
            )

    return predict


_ready: "dict[str, Scorer]" = {}


def _scorer(files: Mapping[str, bytes], digest: str) -> "Scorer":
    """What answers for the verified model, made once per worker process."""
    if digest not in _ready:
        import tempfile

        from contender.inference.scorer import open_folder

        with tempfile.TemporaryDirectory(prefix="contender-") as scratch:
            for name, content in files.items():
                path = Path(scratch, "model", name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            _ready.clear()
            _ready[digest] = open_folder(Path(scratch) / "model", digest)
    return _ready[digest]


def _alert(settings: Settings, contract: Contract) -> int:
    """Bring `alerts` up to date with `predictions`, which is the authority."""
    table = tables.find(settings, contract.name, "predictions")
    if table is None:
        return 0
    until = tables.last_transaction(settings, contract.name, "predictions", "score")
    done = tables.last_transaction(settings, contract.name, "alerts", "alert")
    if done >= until:
        return 0
    loud = [Band.CRITICAL.value] if contract.scoring.alert == "CRITICAL" else [Band.CRITICAL.value, Band.WARNING.value]
    rows = tables.read(settings, table).where((F.col(BATCH) > done) & F.col("band").isin(loud))
    counted = Observation()
    rows = rows.observe(counted, F.count("*").alias("alerts"))
    tables.append(settings, contract.name, "alerts", rows, application="alert", transaction=until)
    return int(counted.get["alerts"])
