"""What answers for a model: its arrays where they were proven equal to scikit-learn, else its pipeline as it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contender.errors import ModelError
from contender.inference import arrays
from contender.inference.arrays import FINISH, KERNELS, Lowered
from contender.registry.model_files import Opened, arrays_in, load_folder, refuse_missing_columns, wanted_by
from contender.values import ModelColumn

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NONE = "It was logged without arrays; the next version of the model has them."
_NEEDED = {
    "number": "a number",
    "time": "a time, or seconds since 1970",
    **dict.fromkeys(("category", "text", "words"), "a text"),
}


class Scorer(ABC):
    """Answers for one model: probabilities of shape (rows, classes) in the order of `classes`, or values (rows,).

    It may be asked by several threads at once.

    Attributes:
        columns: what the model is given, by the names that users see, in order.
        classes: of a classifier, as texts or integers; None for regression.
        lowered: whether arrays answer, and not the pipeline.
        why_plain: why the pipeline answers, in one sentence; None where arrays do.
    """

    columns: tuple[ModelColumn, ...]
    classes: NDArray[Any] | None
    why_plain: str | None

    @property
    def lowered(self) -> bool:
        return self.why_plain is None

    @abstractmethod
    def answer(self, frame: "pd.DataFrame") -> NDArray[np.float64]:
        """What the model says of rows, columns by the names of `columns`; others are passed over.

        Raises:
            ModelError: a column is lacking, or holds what the model was never trained with, such as text for numbers.
        """

    @abstractmethod
    def answer_columns(self, columns: Mapping[str, "pa.Array"]) -> NDArray[np.float64]:
        """The same for Arrow's columns by name; texts that are dictionary-encoded stay so.

        Raises:
            ModelError: as `answer`.
        """

    @abstractmethod
    def answer_record(self, values: Sequence[object]) -> NDArray[np.float64]:
        """The same for one record: shape (1, classes) or (1,).

        Args:
            values: in the order of `columns`; numbers as int, float or bool, times as datetime (naive ones are UTC) or
                seconds since 1970, texts as str, what is missing as None or NaN.

        Raises:
            ModelError: a value is of another type, or there are more or fewer.
        """


class PlainScorer(Scorer):
    """Answers by the pipeline itself."""

    def __init__(self, opened: Opened, why: str) -> None:
        self._opened = opened
        self.why_plain = why
        self.columns = columns_of(opened)
        found = getattr(opened.model, "classes_", None)
        self.classes = None if found is None else np.asarray(found)

    def answer(self, frame: "pd.DataFrame") -> NDArray[np.float64]:
        return self._opened.answer(frame)

    def answer_columns(self, columns: Mapping[str, "pa.Array"]) -> NDArray[np.float64]:
        import pandas as pd

        wanted = [column.name for column in self.columns if column.name in columns]
        return self.answer(pd.DataFrame({name: columns[name].to_pandas() for name in wanted}))

    def answer_record(self, values: Sequence[object]) -> NDArray[np.float64]:
        import pandas as pd

        record = zip(self.columns, *cells_of(self.columns, values), strict=True)
        return self.answer(pd.DataFrame({column.name: np.array([cell], dtype=kind) for column, cell, kind in record}))


class LoweredScorer(Scorer):
    """Answers by arrays that were proven equal to the pipeline."""

    why_plain = None

    def __init__(self, lowered: Lowered) -> None:
        from contender.inference import kernels  # numba: not for those who only ask why a pipeline answers

        self._lowered = lowered
        self._kernel, self._end = getattr(kernels, lowered.kernel), kernels.finish
        self._given = tuple(lowered.arrays[name] for name in KERNELS[lowered.kernel])
        self._finish = (lowered.link, lowered.logarithm, *(lowered.arrays[name] for name in FINISH))
        self._codes = {name: {text: k for k, text in enumerate(texts)} for name, texts in lowered.categories.items()}
        self._words = words_of(lowered)
        self.columns = lowered.columns
        self.classes = None if lowered.classes is None else np.array(lowered.classes)

    def answer(self, frame: "pd.DataFrame") -> NDArray[np.float64]:
        self._refuse_missing(frame.columns)
        given = {column.name: frame[column.name] for column in self.columns}
        return self._answer(len(frame), given, _numbers_of_series, _codes_of_series, _texts_of_series)

    def answer_columns(self, columns: Mapping[str, "pa.Array"]) -> NDArray[np.float64]:
        self._refuse_missing(columns)
        rows = len(next(iter(columns.values())))
        return self._answer(rows, columns, _numbers_of_array, _codes_of_array, _texts_of_array)

    def answer_record(self, values: Sequence[object]) -> NDArray[np.float64]:
        if len(values) != len(self.columns):
            raise wrong_count(self.columns, values)
        numbers: list[float] = []
        codes: list[int] = []
        words: list[list[str]] = []
        for column, value in zip(self.columns, values, strict=True):
            kind = column.kind
            if kind == "number" or kind == "time":
                numbers.append(value if type(value) is float else number_of(column, value))
            elif kind == "category":
                text = value if type(value) is str else text_of(column, value) or ""
                codes.append(self._codes[column.name].get(text, -1))
            elif kind == "words":
                words.append([text_of(column, value) or ""])
        if self._words is not None:
            numbers += self._words(words)[0].tolist()
        made = np.array(numbers, dtype=np.float64).reshape(-1, 1)
        return self._evaluate(made, np.array(codes, dtype=np.int32).reshape(-1, 1))

    def _answer(
        self,
        rows: int,
        given: Mapping[str, Any],
        numbers_of: Callable[[ModelColumn, Any], NDArray[np.float64]],
        codes_of: Callable[[ModelColumn, Any, Mapping[str, int]], NDArray[np.int32]],
        texts_of: Callable[[ModelColumn, Any], list[str]],
    ) -> NDArray[np.float64]:
        lowered, words = self._lowered, len(self._lowered.arrays["word_levels"])
        numbers = np.empty((len(lowered.numbers) + words, rows))
        codes = np.empty((len(lowered.categories), rows), dtype=np.int32)
        texts = []
        at = coded = 0
        for column in self.columns:
            if column.kind in ("number", "time"):
                numbers[at] = numbers_of(column, given[column.name])
                at += 1
            elif column.kind == "category":
                codes[coded] = codes_of(column, given[column.name], self._codes[column.name])
                coded += 1
            elif column.kind == "words":
                texts.append(texts_of(column, given[column.name]))
        if self._words is not None:
            numbers[at:] = self._words(texts).T
        return self._evaluate(numbers, codes)

    def _evaluate(self, numbers: NDArray[np.float64], codes: NDArray[np.int32]) -> NDArray[np.float64]:
        found = self._kernel(numbers, codes, *self._given)
        if self._lowered.kernel == "forest":
            found, overflow = found
            if overflow:
                raise ModelError(
                    "A record has a number beyond 3.4e38 on either side of zero, which a random forest cannot compare; "
                    "correct it, or give the column a range in the contract."
                )
        answer: NDArray[np.float64] = self._end(found, *self._finish)
        return answer if self.classes is not None else answer[:, 0]

    def _refuse_missing(self, columns: Iterable[str]) -> None:
        refuse_missing_columns([column.name for column in self.columns], columns, "The model")


def open_scorer(opened: Opened) -> Scorer:
    """What answers for a model whose files were the approved ones."""
    return scorer_in(opened.arrays) or PlainScorer(opened, why_plain(opened.arrays) or _NONE)


def open_folder(folder: Path, digest: str, name: str = "The model") -> Scorer:
    """What answers for the model in a folder; its skops file is opened only where the pipeline itself must answer.

    Args:
        digest: what the ledger approved; nothing is read beyond the bytes before it fits.
        name: how an error calls the model.

    Raises:
        UntrustedModel: the files are not those.
    """
    content = arrays_in(folder, digest, name)
    return scorer_in(content) or PlainScorer(load_folder(folder, digest, name), why_plain(content) or _NONE)


def scorer_in(content: bytes | memoryview | None) -> LoweredScorer | None:
    """What answers by the arrays in a file whose digest was approved; None where there are none that were proven."""
    try:
        if content is None or arrays.evidence_in(content).get("why_plain"):
            return None
        lowered = arrays.unpack(content)
    except arrays.Malformed:
        return None
    return None if lowered is None else LoweredScorer(lowered)


def why_plain(content: bytes | memoryview | None) -> str | None:
    """Why the pipeline itself answers, in one sentence; None where the arrays in a file do."""
    if content is None:
        return _NONE
    try:
        said = arrays.evidence_in(content).get("why_plain")
        there = arrays.unpack(content) is not None
    except arrays.Malformed as error:
        return f"Its arrays cannot be used: {error}."
    return str(said) if said else None if there else _NONE


def words_of(lowered: Lowered) -> Callable[[list[list[str]]], NDArray[np.float64]] | None:
    """What scores texts by their words, as in training: shape (rows, scores); None where nothing asks for it."""
    counts = lowered.arrays["word_counts"]
    if not counts.sum():
        return None
    import pandas as pd

    from contender.features.word_scores import WordScores

    scores, at = WordScores(regression=True), 0
    scores.weights_, scores.levels_ = {}, {}
    for name, count in zip(lowered.words, counts.tolist(), strict=True):
        if count:
            scores.weights_[name] = lowered.arrays["word_weights"][at : at + count]
            scores.levels_[name] = lowered.arrays["word_levels"][at : at + count]
        at += count
    names = lowered.words
    return lambda texts: scores.transform(pd.DataFrame(dict(zip(names, texts, strict=True)), dtype=object))


def _numbers_of_series(column: ModelColumn, values: "pd.Series[Any]") -> NDArray[np.float64]:
    import pandas as pd

    kind = getattr(values.dtype, "kind", "O")
    if kind == "M" and column.kind == "time":
        naive = values.dt.tz_convert("UTC").dt.tz_localize(None) if values.dt.tz is not None else values
        micros = naive.to_numpy(dtype="datetime64[us]")
        return np.where(np.isnat(micros), np.nan, micros.astype(np.int64) / 1e6)
    if kind == "O":
        found = pd.api.types.infer_dtype(values, skipna=True)
        if found not in ("floating", "integer", "mixed-integer-float", "boolean", "empty"):
            one = next(value for value in values if not isinstance(value, (int, float)) and value is not None)
            return (
                np.array([number_of(column, value) for value in values]) if found == "datetime" else _raise(column, one)
            )
    elif kind not in "fiub":
        _raise(column, values.iloc[0])
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _raise(column: ModelColumn, value: object) -> Any:
    raise unlike(column, value, _NEEDED[column.kind])


def _codes_of_series(column: ModelColumn, values: "pd.Series[Any]", codes: Mapping[str, int]) -> NDArray[np.int32]:
    import pandas as pd

    places, found = pd.factorize(values)
    known = [codes.get(text_of(column, one) or "", -1) for one in found]
    return np.array([*known, codes.get("", -1)], dtype=np.int32)[places]  # the place of a missing one is -1


def _texts_of_series(column: ModelColumn, values: "pd.Series[Any]") -> list[str]:
    return [text_of(column, value) or "" for value in values]


def _numbers_of_array(column: ModelColumn, values: "pa.Array") -> NDArray[np.float64]:
    import pyarrow as pa

    kind = values.type
    if column.kind == "time" and pa.types.is_timestamp(kind):
        micros = values.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64())
        return np.asarray(micros.to_numpy(zero_copy_only=False) / 1e6, dtype=np.float64)
    if pa.types.is_boolean(kind):
        values = values.cast(pa.uint8())
    elif not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        _raise(column, next(iter(values)).as_py())
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)


def _codes_of_array(column: ModelColumn, values: "pa.Array", codes: Mapping[str, int]) -> NDArray[np.int32]:
    import pyarrow as pa

    if pa.types.is_null(values.type):
        return np.full(len(values), codes.get("", -1), dtype=np.int32)
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    known = [codes.get(text_of(column, one) or "", -1) for one in encoded.dictionary.to_pylist()]
    places = encoded.indices.fill_null(len(known)) if encoded.null_count else encoded.indices
    every = np.array([*known, codes.get("", -1)], dtype=np.int32)
    return np.asarray(every[places.to_numpy(zero_copy_only=False)], dtype=np.int32)


def _texts_of_array(column: ModelColumn, values: "pa.Array") -> list[str]:
    return [text_of(column, value) or "" for value in values.to_pylist()]


def columns_of(opened: Opened) -> tuple[ModelColumn, ...]:
    """A model's input, in order: names by its signature, kinds as its pipeline was told."""
    return columns_for(opened.model, opened.described)


def columns_for(model: Any, described: Mapping[str, Any]) -> tuple[ModelColumn, ...]:
    """The same for an estimator and what its file `MLmodel` says."""
    pipeline = getattr(model, "model", model)
    kinds = getattr(getattr(pipeline, "named_steps", {}).get("features"), "kinds", {})
    usual = {"string": "category"}
    return tuple(
        ModelColumn(name, kinds.get(name, usual.get(told, "number"))) for name, told in wanted_by(described).items()
    )


def cells_of(columns: Sequence[ModelColumn], values: Sequence[object]) -> tuple[list[object], list[type]]:
    """One record's values as a model takes them: floats (missing: NaN) and texts (missing: None), and their types.

    Raises:
        ModelError: a value is of another type, or there are more or fewer than columns.
    """
    if len(values) != len(columns):
        raise wrong_count(columns, values)
    numeric = [column.kind in ("number", "time") for column in columns]
    cells: list[object] = [
        number_of(column, value) if number else text_of(column, value)
        for column, value, number in zip(columns, values, numeric, strict=True)
    ]
    return cells, [float if number else object for number in numeric]


def number_of(column: ModelColumn, value: object) -> float:
    """A number or a time as a model takes it: a float, missing as NaN.

    Raises:
        ModelError: it is neither, or an integer beyond all floats.
    """
    if value is None:
        return np.nan
    if isinstance(value, (int, float, np.number, np.bool_)):
        try:
            return float(value)
        except (OverflowError, TypeError):
            raise unlike(column, value, _NEEDED[column.kind]) from None
    if isinstance(value, datetime) and column.kind == "time":
        if value != value:  # pandas' missing time
            return np.nan
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return (aware - _EPOCH) / _SECOND
    raise unlike(column, value, _NEEDED[column.kind])


def text_of(column: ModelColumn, value: object) -> str | None:
    """A text as a model takes it; None where it is missing.

    Raises:
        ModelError: it is none.
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and value != value):
        return None
    raise unlike(column, value, _NEEDED[column.kind])


def wrong_count(columns: Sequence[ModelColumn], values: Sequence[object]) -> ModelError:
    """The error that a record has more or fewer values than there are columns."""
    return ModelError(f"A record has {len(values)} values, needed are {len(columns)}: one for each column.")


def unlike(column: ModelColumn, value: object, needed: str) -> ModelError:
    """The error that a value is of a type which a column does not have."""
    return ModelError(f"'{column.name}' is {value!r:.60} ({type(value).__name__}), needed is {needed}, or nothing.")
