"""The forms in which a record may come: MLflow's, Azure's, the Open Inference Protocol's, CSV and JSON lines.

Each is taken apart into records or columns, and from there on all are the same.
"""

import csv
import io
import unicodedata
from collections.abc import Sequence
from typing import Any

from contender.ingestion.cell_forms import BLANKS
from contender.serving import json_body
from contender.serving.door import Checked, Door, kind_of
from contender.serving.refusals import Fault, Refusal

JSON, CSV = "application/json", "text/csv"
JSON_LINES = ("application/jsonl", "application/x-ndjson", "application/jsonlines", "application/x-jsonlines")
MOST_ROWS = 10_000

_FORMS = ("data", "input_data", "dataframe_split", "dataframe_records", "instances", "inputs")
_DATATYPES = {
    "BOOL": ("boolean",),
    "BYTES": ("category", "text", "timestamp", "boolean"),
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"), ("number", "integer")),
    **dict.fromkeys(("FP16", "FP32", "FP64"), ("number", "integer")),
}
csv.field_size_limit(1 << 24)


def read(door: Door, kind: str, body: bytes) -> Checked:
    """The records in a body of one of the content types above.

    Raises:
        Refusal: it has another form, too many rows, or fields that are wrong.
    """
    if kind == CSV:
        return _csv(door, body)
    if kind in JSON_LINES:
        return _json_lines(door, body)
    document = json_body.decode(body, _most_lists(door))
    if not isinstance(document, dict) or isinstance(document, json_body.Repeated):
        raise _no_form("an object with a name twice" if isinstance(document, dict) else kind_of(document))
    if len(document) != 1 or (form := next(iter(document))) not in _FORMS:
        raise _no_form("none of them alone" if document else "an empty object")
    given = document[form]
    if form == "dataframe_split":
        return _split(door, given, form)
    if form == "input_data" and isinstance(given, dict) and "data" in given and "data" not in door.names:
        return _split(door, given, form)
    if isinstance(given, dict) and form in ("input_data", "inputs"):
        return _named_tensors(door, given, form)
    if not isinstance(given, list):
        raise _no_form(f"{kind_of(given)} in '{form}'")
    return _list(door, given, form)


def _list(door: Door, given: list[Any], form: str) -> Checked:
    """Records as objects, or, as a tensor, as lists of values in the contract's order."""
    _bound(len(given))
    if form in ("data", "dataframe_records") or not any(isinstance(row, list) for row in given):
        return door.check_records(given)
    return _rows(door, door.names, given, form)


def _split(door: Door, given: Any, form: str) -> Checked:
    if not isinstance(given, dict) or isinstance(given, json_body.Repeated):
        raise _no_form(f"{kind_of(given)} in '{form}'")
    rows, names = given.get("data"), given.get("columns")
    if unknown := set(given) - {"columns", "index", "data"}:
        raise _no_form(f"{len(unknown)} other names in '{form}'")
    if not isinstance(rows, list) or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _no_form(f"'{form}' without a list of 'columns' and one of 'data'")
    _bound(len(rows))
    return _rows(door, names, rows, form)


def _rows(door: Door, names: Sequence[str], rows: list[Any], form: str) -> Checked:
    """Rows of values in the order of names."""
    found = [("row", at, row) for at, row in enumerate(rows) if not isinstance(row, list) or len(row) != len(names)]
    if found:
        counts: dict[str, list[int]] = {}
        for _, at, row in found:
            counts.setdefault(f"{len(row):,} values" if isinstance(row, list) else kind_of(row), []).append(at)
        order = ", ".join(f"'{name}'" for name in door.names)
        needed = f"{len(names):,} values" + (f", of {order} in this order" if names is door.names else "")
        raise Refusal.of([Fault(form, at, told, needed) for told, at in counts.items()])
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return door.check_columns(dict(zip(names, columns, strict=True)), len(rows), _twice(names))


def _named_tensors(door: Door, given: dict[str, Any], form: str) -> Checked:
    """A list of values for each name; of shape (rows,) or (rows, 1)."""
    repeated = given.names if isinstance(given, json_body.Repeated) else ()
    columns = {name: _flat(values) for name, values in given.items()}
    wrong = [name for name, values in columns.items() if values is None]
    if wrong or not columns:
        raise _no_form(f"'{form}' without a list of values for each field")
    kept = {name: values for name, values in columns.items() if values is not None}
    lengths = {len(values) for values in kept.values()}
    if len(lengths) != 1:
        raise _no_form(f"'{form}' with lists of {len(lengths)} lengths, needed is one value a record in each")
    _bound(max(lengths))
    return door.check_columns(kept, max(lengths), repeated)


def _flat(values: Any) -> list[Any] | None:
    if not isinstance(values, list):
        return None
    if values and all(isinstance(value, list) and len(value) == 1 for value in values):
        return [value[0] for value in values]
    return values


def read_tensors(door: Door, body: bytes) -> tuple[Checked, str | None, list[str]]:
    """The records of a request of the Open Inference Protocol, version 2, its id, and the outputs that it asks for.

    Raises:
        Refusal: as `read`.
    """
    document = json_body.decode(body, _most_lists(door))
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list) or not document["inputs"]:
        raise _no_tensor("a body without a list of 'inputs'")
    if unknown := set(document) - {"id", "inputs", "outputs", "parameters"}:
        raise _no_tensor(f"{len(unknown)} other names beside 'inputs'")
    identifier = document.get("id")
    if identifier is not None and not isinstance(identifier, str):
        raise _no_tensor("an 'id' that is no text")
    wanted = document.get("outputs", [])
    if not isinstance(wanted, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in wanted
    ):
        raise _no_tensor("'outputs' without names")
    columns: dict[str, list[Any]] = {}
    names: list[str] = []
    faults: list[Fault] = []
    for place, tensor in enumerate(document["inputs"]):
        whole = isinstance(tensor, dict) and not isinstance(tensor, json_body.Repeated)
        if not whole or {"name", "shape", "datatype", "data"} - set(tensor):
            raise _no_tensor(f"input {place} without 'name', 'shape', 'datatype' and 'data', each once")
        name, shape, datatype, data = (tensor[one] for one in ("name", "shape", "datatype", "data"))
        values = _flat(data)
        if not isinstance(name, str) or values is None:
            raise _no_tensor(f"input {place} without a name, or with data that are no list")
        # A tensor of a shape with any other number of values, or of other types, was made by mistake.
        if shape not in ([len(values)], [len(values), 1]) or any(type(size) is not int for size in shape):
            faults.append(Fault(name[:80], [], "another shape than its data", f"[{len(values)}] or [{len(values)}, 1]"))
        if not isinstance(datatype, str) or not _fits(door, name, datatype):
            faults.append(Fault(name[:80], [], "a datatype that does not fit", _datatypes(door, name)))
        names.append(name)
        columns[name] = values
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1:
        raise _no_tensor(f"inputs of {len(lengths)} lengths")
    if faults:
        raise Refusal.of(faults)
    _bound(max(lengths))
    return door.check_columns(columns, max(lengths), _twice(names)), identifier, [one["name"] for one in wanted]


def _fits(door: Door, name: str, datatype: str) -> bool:
    kind = door.type_of(name)
    return datatype in _DATATYPES and (kind is None or kind in _DATATYPES[datatype])


def _datatypes(door: Door, name: str) -> str:
    kind = door.type_of(name)
    return f"one of {', '.join(one for one, kinds in _DATATYPES.items() if kind is None or kind in kinds)}"


def _csv(door: Door, body: bytes) -> Checked:
    """A header and rows, parted by commas, as RFC 4180 has it; cells are written as those of the contract's files."""
    try:
        lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, None)
        rows: list[list[str]] = []
        header = [unicodedata.normalize("NFC", name).strip(BLANKS) for name in header or ()]
        for row in lines:
            # Of one column an empty line is a missing value.
            if row or len(header) == 1:
                rows.append(row or [""])
                _bound(len(rows))
    except UnicodeDecodeError as error:
        raise Refusal(400, f"The body is no CSV: byte {error.start} is not UTF-8. Send CSV in UTF-8.") from None
    except csv.Error:
        raise Refusal(
            400, "The body is no CSV: its quotes do not close. Send CSV as RFC 4180 has it, with a header."
        ) from None
    if not header:
        raise Refusal(400, "The body is no CSV: it has no header. Send a line of names and a line for each record.")
    wrong = [at for at, row in enumerate(rows) if len(row) != len(header)]
    if wrong:
        raise Refusal.of([Fault("record", wrong, "more or fewer cells", f"{len(header):,} cells, as the header has")])
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return door.check_cells(dict(zip(header, columns, strict=True)), len(rows), _twice(header))


def _json_lines(door: Door, body: bytes) -> Checked:
    if body.count(b"\n") > 2 * MOST_ROWS:
        raise Refusal.too_large("too many lines", f"{MOST_ROWS:,} rows")
    lines = [line for line in body.split(b"\n") if line.strip()]
    _bound(len(lines))
    return door.check_records([json_body.decode(line, json_body.DEPTH) for line in lines])


def _bound(rows: int) -> None:
    if rows > MOST_ROWS:
        raise Refusal.too_large(f"more than {MOST_ROWS:,} rows", f"{MOST_ROWS:,}")


def _most_lists(door: Door) -> int:
    """Lists and objects of a body of so many rows: in a tensor each value may be a list of its own."""
    return MOST_ROWS * (len(door.names) + 1)


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _no_form(found: str) -> Refusal:
    return Refusal(
        400,
        f"The body holds {found}; needed is one object with one of {', '.join(_FORMS)}, such as "
        '{"data": [{"FIELD": VALUE, …}]}.',
    )


def _no_tensor(found: str) -> Refusal:
    return Refusal(
        400,
        f"The request has {found}; needed is what the Open Inference Protocol, version 2, has: "
        '{"inputs": [{"name": …, "shape": [ROWS], "datatype": "FP64", "data": […]}, …]}.',
    )
