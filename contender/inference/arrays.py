"""One file of plain arrays: how a lowered model lies beside its skops file, and what of it is believed.

The file is the length of a JSON header (8 bytes, little-endian), the header, and each array's bytes at a multiple of
64, so that it can be mapped into memory. The header holds `form`, what a `Lowered` knows beside arrays, and of each
array its type, shape and place.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contender.values import ModelColumn

FORM = 1
"""Of the file; it goes up with the meaning of an array or with a kernel's answer, and another one is not read."""

_ALIGNED = 64
_TYPES = {
    "f8": np.float64,
    "f4": np.float32,
    "i8": np.int64,
    "i4": np.int32,
    "u8": np.uint64,
    "u1": np.uint8,
    "b1": np.bool_,
}

_INPUTS = ("parts", "inputs", "table_starts", "table_values")

KERNELS: Mapping[str, tuple[str, ...]] = {
    "boost": (
        *_INPUTS,
        *("split_starts", "split_inputs", "split_left", "split_limits", "split_masks"),
        *("set_starts", "set_columns", "set_tables", "set_masks", "place_starts", "places", "leaf_values", "base"),
    ),
    "forest": (
        *_INPUTS,
        *("tree_starts", "node_inputs", "node_limits", "node_left", "node_missing_right", "node_leaf", "leaf_values"),
    ),
    "linear": (
        *("parts", "term_parts", "fills", "centres", "widths", "quantiles", "references", "weights"),
        *("gap_parts", "gap_weights", "table_starts", "table_weights", "base"),
    ),
}
"""What each kernel is given after the numbers and codes, in its order."""

FINISH = ("slopes", "intercepts")


VALUE, HOUR, WEEKDAY, WEEKEND, DAY_OF_YEAR, MONTH, YEAR, SPAN = range(8)
"""What a feature is made from a record's numbers, as in `RecordFeatures`."""
AS_IS, SINE, COSINE = range(3)

IDENTITY, LOGISTIC, SOFTMAX, EXPONENTIAL = range(4)
"""How a model's sum becomes its answer."""

LEAVES = 64
"""Of a boosted tree, at most."""


class Malformed(ValueError):
    """A file of arrays is not one, or its arrays point outside of each other."""


@dataclass(frozen=True, eq=False)
class Lowered:
    """A fitted pipeline as plain arrays.

    Args:
        kernel: one of `KERNELS`.
        columns: what the model is given, in order.
        classes: of a classifier, in the order of its probabilities; None for regression.
        categories: of each column of categories its texts, whose place is their code; others have the code -1.
        words: columns of texts that words are learnt from, in order; their scores follow the numbers.
        link: how sums become answers.
        logarithm: the model learnt log(1 + y).
        arrays: by name.
    """

    kernel: str
    columns: tuple[ModelColumn, ...]
    classes: tuple[int, ...] | tuple[str, ...] | None
    categories: Mapping[str, tuple[str, ...]]
    words: tuple[str, ...]
    link: int
    logarithm: bool
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Columns that are numbers and times, in order."""
        return tuple(column.name for column in self.columns if column.kind in ("number", "time"))


def pack(lowered: Lowered | None, evidence: Mapping[str, Any]) -> bytes:
    """The content of a file, with what is known of the equality; without arrays where nothing was lowered."""
    placed: dict[str, Any] = {}
    chunks: list[bytes] = []
    size = 0
    for name, array in (lowered.arrays if lowered else {}).items():
        content = np.ascontiguousarray(array).tobytes()
        kind = next(code for code, dtype in _TYPES.items() if array.dtype == dtype)
        placed[name] = {"type": kind, "shape": list(array.shape), "at": size}
        padded = content + b"\0" * (-len(content) % _ALIGNED)
        chunks.append(padded)
        size += len(padded)
    header: dict[str, Any] = {"form": FORM, "evidence": dict(evidence), "arrays": placed}
    if lowered:
        header["model"] = {
            "kernel": lowered.kernel,
            "columns": [[column.name, column.kind] for column in lowered.columns],
            "classes": None if lowered.classes is None else list(lowered.classes),
            "categories": {name: list(texts) for name, texts in lowered.categories.items()},
            "words": list(lowered.words),
            "link": lowered.link,
            "logarithm": lowered.logarithm,
        }
    said = json.dumps(header).encode()
    said += b" " * (-(8 + len(said)) % _ALIGNED)
    return len(said).to_bytes(8, "little") + said + b"".join(chunks)


def evidence_in(content: bytes | memoryview) -> Mapping[str, Any]:
    """What a file says of the equality.

    Raises:
        Malformed: it is no such file, or of another form.
    """
    found = _header(content)[0].get("evidence")
    if not isinstance(found, dict):
        raise Malformed("it says nothing of the equality")
    return found


def unpack(content: bytes | memoryview) -> Lowered | None:
    """The arrays in a file, as views of its bytes; None where the model was not lowered.

    Raises:
        Malformed: it is no such file, of another form, or one of its arrays points outside of another.
    """
    header, start = _header(content)
    if "model" not in header:
        return None
    try:
        model = header["model"]
        arrays = {}
        for name, told in header["arrays"].items():
            dtype, shape = np.dtype(_TYPES[told["type"]]), tuple(told["shape"])
            count = int(np.prod(shape, dtype=np.int64))
            if min((*shape, told["at"]), default=0) < 0:
                raise Malformed(f"the array '{name}' has a size below zero")
            found = np.frombuffer(content, dtype, count, start + told["at"]).reshape(shape)
            found.flags.writeable = False
            arrays[name] = found
        classes = model["classes"]
        lowered = Lowered(
            kernel=model["kernel"],
            columns=tuple(ModelColumn(name, kind) for name, kind in model["columns"]),
            classes=None if classes is None else tuple(classes),
            categories={name: tuple(texts) for name, texts in model["categories"].items()},
            words=tuple(model["words"]),
            link=model["link"],
            logarithm=model["logarithm"],
            arrays=arrays,
        )
        _check(lowered)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed(f"{type(error).__name__}: {str(error)[:160]}") from error
    return lowered


def _header(content: bytes | memoryview) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(bytes(content[:8]), "little")
    try:
        if not 0 < length <= len(content) - 8:
            raise ValueError("its header is not as long as it says")
        header = json.loads(bytes(content[8 : 8 + length]))
        if not isinstance(header, dict):
            raise ValueError("its header is not one object")
    except ValueError as error:
        raise Malformed(str(error)) from error
    if header.get("form") != FORM:
        raise Malformed(f"it has the form {header.get('form')}, and this release reads {FORM}")
    return header, 8 + length


def _check(lowered: Lowered) -> None:
    """Return only if no kernel would read outside of an array, or for ever: compiled loops do not look."""
    of, a = lowered, lowered.arrays
    if of.kernel not in KERNELS or of.link not in range(4):
        raise Malformed(f"there is no kernel '{of.kernel}' with the link {of.link}")
    _shapes(of)
    columns = [column for column in of.columns if column.kind == "category"]
    if list(of.categories) != [column.name for column in columns]:
        raise Malformed("categories and columns do not know each other")
    sizes = [len(texts) + 1 for texts in of.categories.values()]  # with the unseen
    numbers = len(of.numbers) + a["word_levels"].shape[0]
    _within("parts", a["parts"][:, 0], 8)
    _within("parts", a["parts"][:, 1:3], numbers)
    made, outputs = a["parts"].shape[0], a["base"].shape[0] if "base" in a else a["leaf_values"].shape[1]
    if of.kernel == "linear":
        _within("term_parts", a["term_parts"], made)
        _within("gap_parts", a["gap_parts"], made)
        _tables("table_starts", a["table_starts"], sizes, a["table_weights"].shape[0])
        if len(a["quantiles"]) and (a["quantiles"].shape[1] < 2 or not np.isfinite(a["quantiles"]).all()):
            raise Malformed("the array 'quantiles' holds none")
    else:
        by_table = a["inputs"][:, 1] >= 0
        _within("inputs", a["inputs"][~by_table, 0], made)
        _within("inputs", a["inputs"][by_table, 0], len(sizes))
        _within("inputs", a["inputs"][by_table, 1], len(a["table_starts"]))
        for column, table in a["inputs"][by_table]:
            _tables("table_starts", a["table_starts"][table : table + 1], [sizes[column]], len(a["table_values"]))
    if of.kernel == "boost":
        _rising("split_starts", a["split_starts"], len(a["split_inputs"]))
        _rising("set_starts", a["set_starts"], len(a["set_tables"]))
        _within("split_inputs", a["split_inputs"], len(a["inputs"]))
        _within("set_columns", a["set_columns"], len(sizes))
        _tables("place_starts", a["place_starts"], [sizes[c] for c in a["set_columns"]], len(a["places"]))
        for column in range(len(a["set_columns"])):
            start = int(a["place_starts"][column])
            highest = int(a["places"][start : start + sizes[a["set_columns"][column]]].max())
            mine = a["set_tables"][a["set_tables"][:, 0] == column, 1]
            _within("set_tables", mine, len(a["set_masks"]) - highest)
        _within("set_tables", a["set_tables"][:, 0], len(a["set_columns"]))
    if of.kernel == "forest":
        nodes = len(a["node_left"])
        _rising("tree_starts", a["tree_starts"], nodes)
        _within("node_inputs", a["node_inputs"], len(a["inputs"]))
        place, leaf = np.arange(nodes), a["node_left"] == np.arange(nodes)
        if (a["node_left"] < place).any() or (a["node_left"][~leaf] >= nodes - 1).any():
            raise Malformed("a tree points outside of itself, or in a circle")
        if not np.isposinf(a["node_limits"][leaf]).all() or a["node_missing_right"][leaf].any():
            raise Malformed("a leaf has a limit")
        _within("node_leaf", a["node_leaf"], len(a["leaf_values"]))
    answers = {LOGISTIC: 2}.get(of.link, outputs)
    if (of.classes is None and answers != 1) or (of.classes is not None and len(of.classes) != answers):
        raise Malformed("classes and outputs do not fit")
    if len(a["slopes"]) not in ((0,) if of.classes is None else (0, 1) if answers == 2 else (0, answers)):
        raise Malformed("the calibration does not fit the classes")


_AXES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("parts",), ("parts", "6")),
    **dict.fromkeys(("inputs",), ("inputs", "2")),
    "table_starts": ("tables",),
    "table_values": ("values",),
    "split_starts": ("trees+1",),
    **dict.fromkeys(("split_inputs", "split_left", "split_limits", "split_masks"), ("splits",)),
    "set_starts": ("trees+1",),
    **dict.fromkeys(("set_columns", "place_starts"), ("set columns",)),
    "set_tables": ("sets", "2"),
    "set_masks": ("masks",),
    "places": ("places",),
    "base": ("outputs",),
    "tree_starts": ("trees+1",),
    **dict.fromkeys(("node_inputs", "node_limits", "node_left", "node_missing_right", "node_leaf"), ("nodes",)),
    **dict.fromkeys(("term_parts", "fills", "centres", "widths"), ("terms",)),
    "quantiles": ("ranked", "ranks"),
    "references": ("ranks",),
    "weights": ("terms", "outputs"),
    "gap_parts": ("gaps",),
    "gap_weights": ("gaps", "2", "outputs"),
    "table_weights": ("weights", "outputs"),
    **dict.fromkeys(FINISH, ("sigmoids",)),
    "word_weights": ("word scores", "hashes"),
    "word_levels": ("word scores",),
    "word_counts": ("word columns",),
}
_INTEGERS = {"parts", "inputs", "set_tables"}


def _shapes(of: Lowered) -> None:
    """Return only if all arrays of a kernel are there, of their types, and agree in their sizes."""
    sizes = {"2": 2, "6": 6, "word columns": len(of.words)}
    wanted = {*KERNELS[of.kernel], *FINISH, "word_weights", "word_levels", "word_counts"}
    if strange := sorted(wanted ^ set(of.arrays)):
        raise Malformed(f"the array '{strange[0]}' is lacking, or not needed")
    for name, array in of.arrays.items():
        axes = _AXES.get(name, ())
        if name == "leaf_values":
            axes = ("trees", "64") if of.kernel == "boost" else ("leaves", "outputs")
            sizes |= {"64": LEAVES}
        if array.ndim != len(axes) or array.dtype != dtype_of(name):
            raise Malformed(f"the array '{name}' is not of its type")
        for axis, size in zip(axes, array.shape, strict=True):
            if sizes.setdefault(axis, size) != size:
                raise Malformed(f"the array '{name}' does not fit the others")
    if of.kernel != "linear" and (
        sizes["trees+1"] < 2 or sizes.get("trees", sizes["trees+1"] - 1) != sizes["trees+1"] - 1
    ):
        raise Malformed("there are no trees, or not as many as their leaves say")
    if of.kernel == "linear" and sizes["ranked"] not in (0, *range(sizes["terms"] + 1)):
        raise Malformed("there are more ranked terms than terms")
    if int(of.arrays["word_counts"].sum()) != sizes["word scores"] or (of.arrays["word_counts"] < 0).any():
        raise Malformed("scores of words do not fit their columns")


def dtype_of(name: str) -> Any:
    """The type of an array, by its name."""
    if name in ("split_masks", "set_masks"):
        return np.uint64
    if name in ("split_left", "node_missing_right"):
        return np.bool_
    if name in ("places",):
        return np.uint8
    if name == "word_weights":
        return np.float32
    ends = ("_starts", "_inputs", "_columns", "_parts", "_left", "_leaf", "_counts")
    return np.int64 if name in _INTEGERS or name.endswith(ends) else np.float64


def _within(name: str, values: NDArray[Any], below: int) -> None:
    if len(values) and (int(values.min()) < 0 or int(values.max()) >= below):
        raise Malformed(f"the array '{name}' points outside of what it is for")


def _tables(name: str, starts: NDArray[Any], sizes: list[int], end: int) -> None:
    if len(starts) != len(sizes) or any(
        not 0 <= int(start) <= end - size for start, size in zip(starts, sizes, strict=True)
    ):
        raise Malformed(f"the array '{name}' points outside of what it is for")


def _rising(name: str, starts: NDArray[Any], end: int) -> None:
    if int(starts[0]) != 0 or int(starts[-1]) != end or (np.diff(starts) < 0).any():
        raise Malformed(f"the array '{name}' does not cut what it is for")
