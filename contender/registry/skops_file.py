"""A skops file as bytes: taken apart and judged without building anything that it describes.

Two readers of one zip may see two different files: names twice, bytes before, between or behind the entries, packed
or encrypted parts. So only the one layout passes that skops itself writes, where every byte has one meaning.
"""

import io
import json
import math
import re
import struct
from collections.abc import Iterator
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from contender.errors import UntrustedModel

_SCHEMA = "schema.json"
_NAME = re.compile(r"[0-9]{1,20}\.npy|schema\.json", re.ASCII)
_LOCAL_HEADER_BYTES, _END_BYTES = 30, 22
_LARGEST_SCHEMA_BYTES = 256 << 20
"""Six times what 6,000 trees need; parsed, it takes ten times as much memory."""

_DEEPEST = 100
"""Models of ours are 33 deep; Python gives up at about a thousand."""


def read_schema(data: bytes, name: str) -> dict[str, Any]:
    """What the file says it holds, once it is certain that there is nothing else in it.

    Args:
        name: how an error calls the model.

    Raises:
        UntrustedModel: it is not a file as skops writes it, or an array in it is not what it says.
    """
    try:
        entries = _entries(data)
        schema = json.loads(entries.pop(_SCHEMA), object_pairs_hook=_once)
        if not isinstance(schema, dict):
            raise _Flaw(f"{_SCHEMA} is not one object")
        if unnamed := sorted(set(entries) ^ set(_files_in(schema))):
            raise _Flaw(f"the entry '{unnamed[0]}' and {_SCHEMA} do not know each other")
        for entry, content in entries.items():
            _check_array(entry, content)
    except Exception as error:  # whatever crafted bytes make the parsers raise means the same
        found = str(error) if isinstance(error, _Flaw) else f"{type(error).__name__}: {str(error)[:160]}"
        raise UntrustedModel(
            f"{name} is not a model in the skops format ({found}); log it again with 'retrain', or roll back to a "
            "version that is approved."
        ) from error
    return schema


def walk(schema: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object of a schema, the outer before the inner."""
    waiting = [(schema, 0)]
    while waiting:
        part, depth = waiting.pop()
        if depth > _DEEPEST:
            raise _Flaw(f"{_SCHEMA} is nested deeper than {_DEEPEST}")
        if isinstance(part, dict):
            yield part
        if isinstance(part, dict | list):
            inner = part.values() if isinstance(part, dict) else part
            waiting.extend((child, depth + 1) for child in inner)


class _Flaw(ValueError):
    """What is wrong with the bytes, without whose they are."""


def _entries(data: bytes) -> dict[str, bytes]:
    """Contents by name; reading them checks their checksums."""
    with ZipFile(io.BytesIO(data)) as file:
        end, names = 0, set[str]()
        for entry in sorted(file.infolist(), key=lambda entry: entry.header_offset):
            if not _NAME.fullmatch(entry.orig_filename):
                raise _Flaw(f"an entry is called {entry.orig_filename!r}")
            if entry.orig_filename in names:
                raise _Flaw(f"there are two entries called '{entry.filename}'")
            if entry.external_attr >> 16 & 0o170000 not in (0, 0o100000):
                raise _Flaw(f"the entry '{entry.filename}' is a link or a special file")
            if entry.compress_type != ZIP_STORED or entry.flag_bits or entry.file_size != entry.compress_size:
                raise _Flaw(f"the entry '{entry.filename}' is packed or encrypted")
            if entry.header_offset != end:
                raise _Flaw(f"there are other bytes, or an overlap, before the entry '{entry.filename}'")
            names.add(entry.orig_filename)
            end += _LOCAL_HEADER_BYTES + len(entry.orig_filename) + entry.file_size
        tail = struct.unpack_from("<4s4H2LH", data, len(data) - _END_BYTES)
        marker, directory_bytes, directory_at, comment = tail[0], *tail[-3:]
        if (marker, directory_at, comment) != (b"PK\5\6", end, 0) or end + directory_bytes + _END_BYTES != len(data):
            raise _Flaw("there are other bytes between or behind the entries")
        if _SCHEMA not in names:
            raise _Flaw(f"there is no {_SCHEMA}")
        if file.getinfo(_SCHEMA).file_size > _LARGEST_SCHEMA_BYTES:
            raise _Flaw(f"{_SCHEMA} is larger than {_LARGEST_SCHEMA_BYTES:,} bytes")
        return {name: file.read(name) for name in names}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Flaw(f"{_SCHEMA} says something twice")
    return found


def _files_in(schema: Any) -> Iterator[str]:
    return (part["file"] for part in walk(schema) if "__loader__" in part and "file" in part)


def _check_array(entry: str, content: bytes) -> None:
    """Return only for numbers or texts of exactly the size declared: neither pickles nor room for them."""
    file = io.BytesIO(content)
    if np.lib.format.read_magic(file) != (1, 0):  # type: ignore[no-untyped-call]
        raise _Flaw(f"the array '{entry}' is of another version of numpy's format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
    if dtype.hasobject:
        raise _Flaw(f"the array '{entry}' holds pickled objects")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise _Flaw(f"the array '{entry}' is not as large as it says")
    if dtype.names and len(shape) == 1:
        _check_tree(entry, np.frombuffer(content, dtype, offset=file.tell()))


def _check_tree(entry: str, nodes: Any) -> None:
    """Return only when every node's children come after it: scikit-learn follows them without looking."""
    names = ("left", "right") if "is_leaf" in nodes.dtype.names else ("left_child", "right_child")
    inner = nodes["is_leaf"] == 0 if "is_leaf" in nodes.dtype.names else nodes["left_child"] != -1
    position = np.arange(len(nodes))[inner]
    for name in names:
        children = nodes[name][inner].astype(np.int64)
        if not len(nodes) or (children <= position).any() or (children >= len(nodes)).any():
            raise _Flaw(f"a tree in '{entry}' points outside of itself, or in a circle")
