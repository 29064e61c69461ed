"""Gathers what the reasons for one prediction need: the prediction, the model that made it, and the features it saw."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contender.contracts.contract import Contract
from contender.errors import ModelError, UntrustedModel, UsageError
from contender.lake import tables
from contender.promotion import ledger
from contender.registry import model_versions
from contender.settings import Settings
from contender.values import KEY

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from contender.registry.model_files import Loaded
    from contender.scoring.shapley import Reason

_BACKGROUND = 200
"""Rows that stand for all: with 100 the average of a rare class's scores still differs by half from draw to draw."""


@dataclass(frozen=True)
class Explained:
    """A prediction as it was written, and its reasons.

    The contributions of `reasons` add up to `explained_score - average_score`. `explained_score` is what the model says
    now; it is `score` as long as the lake still holds the features that the prediction was made from.
    """

    key: str
    score: float
    prediction: Any
    band: str
    model_version: int
    scored_at: datetime
    explained_score: float
    average_score: float
    background: int
    reasons: "tuple[Reason, ...]"
    method: str

    @property
    def same_features(self) -> bool:
        """Whether the model still says what it said then."""
        return abs(self.explained_score - self.score) <= 1e-6 * max(1.0, abs(self.score))


def explain(settings: Settings, contract: Contract, key: str) -> Explained:
    """The reasons for the newest prediction of one record, in the words of the contract's columns.

    Read without Spark: the record's rows from the files that may hold its key, and the background, 200 rows, from the
    newest 100,000 rows of features; both as the lake was when the prediction was made, if it still knows.

    Raises:
        UsageError: nobody holds the title, or the key has no prediction, or there is no such record.
        ModelError: the lake has no features of the record any more, or none that the model can be asked with.
        UntrustedModel: the model that made the prediction is not one that the ledger approved.
        Unavailable: MLflow or the ledger does not answer.
    """
    from contender.scoring import shapley

    made = _prediction(settings, contract, key)
    loaded = _maker(settings, contract, int(made["model_version"]))
    row, background = _features(settings, contract, key, int(made["source_version"]))
    signature: Any = loaded.pyfunc.metadata.signature
    names = [name for name in signature.inputs.input_names() if name in row]
    answer = _answer(contract, loaded, made["prediction"])
    found = shapley.reasons_for(answer, row[names], background[names], settings.seed)
    return Explained(
        key=key,
        score=float(made["score"]),
        prediction=made["prediction"],
        band=made["band"],
        model_version=int(made["model_version"]),
        scored_at=made["scored_at"],
        explained_score=found.score,
        average_score=found.average,
        background=found.background,
        reasons=_readable(contract, found.reasons),
        method=shapley.METHOD,
    )


def _prediction(settings: Settings, contract: Contract, key: str) -> dict[str, Any]:
    """The newest prediction of a record."""
    use_case = contract.name
    if ledger.head(settings, use_case) is None:
        raise UsageError(
            f"Nobody holds the title of {use_case} yet; 'contender run {use_case}' trains a first champion."
        )
    found = tables.read_key(settings, use_case, "predictions", key)
    if found is not None and len(found):
        return max(found.to_pylist(), key=lambda row: (row["scored_at"], row["model_version"]))
    record = tables.read_key(settings, use_case, "records", key)
    if record is not None and len(record):
        raise UsageError(f"'{key}' of {use_case} has no prediction yet; 'contender score {use_case}' makes it.")
    some = tables.read_newest(settings, use_case, "predictions", 1, settings.seed)
    example = f", for instance '{some[KEY][0].as_py()}'" if some is not None and len(some) else ""
    column = f"column '{contract.records.key}'" if contract.records.key else f"column '{KEY}' of the table 'records'"
    raise UsageError(f"{use_case} has no record '{key}'; check the key, which is a value of {column}{example}.")


def _maker(settings: Settings, contract: Contract, version: int) -> "Loaded":
    """The model that made a prediction, with the digest that the ledger approved."""
    digest = ledger.approved_digest(settings, contract.name, version)
    if digest is None:
        raise UntrustedModel(
            f"Version {version} of {contract.name} made this prediction and the ledger has never approved it; restore "
            "the ledger's database from a backup."
        )
    return model_versions.load(settings, model_versions.find(settings, contract.name, version), digest)


def _features(settings: Settings, contract: Contract, key: str, version: int) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """A record's features, one row, and a sample of everybody's."""
    import pyarrow as pa

    def read(at: int | None) -> "tuple[pa.Table | None, pa.Table | None]":
        mine = tables.read_key(settings, contract.name, "features", key, at)
        return mine, tables.read_newest(settings, contract.name, "features", _BACKGROUND, settings.seed, at)

    try:
        mine, others = read(version)
    except FileNotFoundError:
        mine = others = None
    if mine is None:
        mine, others = read(None)
    if mine is None or others is None or not len(mine):
        raise ModelError(
            f"The features of '{key}' are no longer in the lake; 'contender ingest {contract.name}' computes those of "
            "every record again."
        )
    # Together, so that a column that is missing in one of them has its type from both.
    frame = pa.concat_tables([mine.slice(0, 1), others]).to_pandas()
    frame = frame.rename(columns={contract.stored_names[column.name]: column.name for column in contract.model_columns})
    return frame.iloc[:1], frame.iloc[1:]


def _answer(contract: Contract, loaded: "Loaded", prediction: Any) -> "Callable[[pd.DataFrame], NDArray[np.float64]]":
    """The score of rows as it is written to `predictions`; of several classes, the predicted one's probability."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    column: Any = ...
    if contract.kind == "binary":
        column = (..., 1)
    elif contract.kind == "multiclass":
        column = (..., np.asarray(loaded.model.classes_).astype(str).tolist().index(prediction))

    def answer(frame: "pd.DataFrame") -> "NDArray[np.float64]":
        # Trees wait for all threads after each tree: on a busy machine that makes 6 s of 0.3 s.
        with threadpool_limits(1, user_api="openmp"):
            return np.asarray(loaded.answer(frame)[column])

    return answer


def _readable(contract: Contract, reasons: "tuple[Reason, ...]") -> "tuple[Reason, ...]":
    """The reasons with times as times and not as seconds."""
    from dataclasses import replace

    times = {column.name for column in contract.model_columns if column.kind == "time"}
    return tuple(
        replace(reason, value=_moment(reason.value), usual=_moment(reason.usual)) if reason.feature in times else reason
        for reason in reasons
    )


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
