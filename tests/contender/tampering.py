"""Ways to tamper with a model's files; each payload would leave a file where none was, if anybody ran it."""

import io
import json
import os
import pickle
import stat
import struct
import subprocess
import zipfile
from collections.abc import Callable
from functools import partial
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skops.io
import yaml
from sklearn.preprocessing import FunctionTransformer

Entries = dict[str, bytes]
Tamper = Callable[[Path, Path], None]
"""Changes the files in a folder so that they would make the second path."""


class Payload:
    """What makes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def write(path: Path, content: Callable[[Path], bytes]) -> Tamper:
    def tamper(folder: Path, canary: Path) -> None:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content(canary))

    return tamper


def pickled(canary: Path) -> bytes:
    return pickle.dumps(Payload(canary))


def joblibbed(canary: Path) -> bytes:
    buffer = io.BytesIO()
    joblib.dump({"model": Payload(canary)}, buffer)
    return buffer.getvalue()


def module(canary: Path) -> bytes:
    loader = "class Model:\n    predict = predict_proba = print\n\ndef _load_pyfunc(path):\n    return Model\n"
    return f"import os\nos.system('touch {canary}')\n{loader}".encode()


def entries_of(folder: Path) -> Entries:
    with zipfile.ZipFile(folder / "model.skops") as file:
        return {name: file.read(name) for name in file.namelist()}


def write_entries(folder: Path, entries: Entries) -> None:
    with zipfile.ZipFile(folder / "model.skops", "w") as file:
        for name, content in entries.items():
            file.writestr(name, content)


def schema(edit: Callable[[dict[str, Any], Path], Any]) -> Tamper:
    """Edits what the file says it holds; a value that is returned takes its place."""

    def tamper(folder: Path, canary: Path) -> None:
        entries = entries_of(folder)
        found = json.loads(entries["schema.json"])
        entries["schema.json"] = json.dumps(edit(found, canary) or found).encode()
        write_entries(folder, entries)

    return tamper


def node(make: Callable[[Path], dict[str, Any]]) -> Tamper:
    """Puts one node where the model keeps an attribute, which skops builds while it loads."""

    def edit(found: dict[str, Any], canary: Path) -> None:
        found["content"]["content"]["intercepts"] = make(canary)

    return schema(edit)


def built(thing: Callable[[Path], Any]) -> Tamper:
    """Puts an object there, in the words of skops itself."""

    def make(canary: Path) -> dict[str, Any]:
        with zipfile.ZipFile(io.BytesIO(skops.io.dumps(thing(canary)))) as file:
            dumped: dict[str, Any] = json.loads(file.read("schema.json"))
        return without_ids(dumped)

    return node(make)


def without_ids(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: without_ids(value) for key, value in found.items() if key != "__id__"}
    return [without_ids(value) for value in found] if isinstance(found, list) else found


def named(loader: str, name: str, **more: Any) -> dict[str, Any]:
    where, _, what = name.rpartition(".")
    return {"__loader__": loader, "__module__": where, "__class__": what, **more}


def text(said: str) -> dict[str, Any]:
    return named("JsonNode", "builtins.str", content=json.dumps(said), is_json=True)


def keys_made_by_system(canary: Path) -> dict[str, Any]:
    kinds = named("ListNode", "builtins.list", content=[named("TypeNode", "os.system")])
    return named("DictNode", "builtins.dict", key_types=kinds, content={f"touch {canary}": text("")})


def list_that_is_a_process(canary: Path) -> dict[str, Any]:
    return named("ListNode", "subprocess.Popen", content=[text("touch"), text(str(canary))])


def constructed_process(canary: Path) -> dict[str, Any]:
    words = named("ListNode", "builtins.list", content=[text("touch"), text(str(canary))])
    arguments = named("TupleNode", "builtins.tuple", content=[words])
    return named("ConstructorFromReduceNode", "subprocess.Popen", content=arguments)


def constructed_hook(canary: Path) -> dict[str, Any]:
    arguments = named("TupleNode", "builtins.tuple", content=[text(module(canary).decode())])
    return named("ConstructorFromReduceNode", "contender.features.row_transformers.OwnFeatures", content=arguments)


def method_of_hook(canary: Path) -> dict[str, Any]:
    hook = named("ObjectNode", "contender.features.row_transformers.OwnFeatures")
    return named(
        "MethodNode", "contender.features.row_transformers.OwnFeatures", content={"func": "_call", "obj": hook}
    )


def old_function(found: dict[str, Any], canary: Path) -> None:
    found["protocol"] = 0
    hidden = {"module_path": "os", "function": "system"}
    innocent = named("FunctionNode", "sklearn.utils.validation.check_array", content=hidden)
    kinds = named("ListNode", "builtins.list", content=[innocent])
    attack = named("DictNode", "builtins.dict", key_types=kinds, content={f"touch {canary}": text("")})
    found["content"]["content"]["intercepts"] = attack


def other_bit_generator(found: dict[str, Any], canary: Path) -> None:
    """Has skops call a function of numpy.random that it takes for a class."""
    for part in parts(found):
        if part.get("__loader__") == "RandomGeneratorNode":
            part["content"]["bit_generator"]["content"]["bit_generator"]["content"] = '"set_state"'


def cached_unknown(canary: Path) -> dict[str, Any]:
    return named("CachedNode", "builtins.str") | {"__id__": 1}


def parts(found: Any) -> list[dict[str, Any]]:
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else []
    mine = [found] if isinstance(found, dict) else []
    return mine + [part for child in inner for part in parts(child)]


def nested(folder: Path, canary: Path) -> None:
    entries = entries_of(folder)
    entries["schema.json"] = b'{"content":' * 100_000 + b"1" + b"}" * 100_000
    write_entries(folder, entries)


def nested_below_pythons_limit(found: dict[str, Any], canary: Path) -> Any:
    for _ in range(300):
        found = named("ListNode", "builtins.list", content=[found])
    return found


def raw_schema(content: Callable[[bytes, Path], bytes]) -> Tamper:
    def tamper(folder: Path, canary: Path) -> None:
        entries = entries_of(folder)
        entries["schema.json"] = content(entries["schema.json"], canary)
        write_entries(folder, entries)

    return tamper


def array(content: Callable[[bytes, Path], bytes]) -> Tamper:
    """Replaces the first array that is in the file."""

    def tamper(folder: Path, canary: Path) -> None:
        entries = entries_of(folder)
        name = min(name for name in entries if name.endswith(".npy"))
        entries[name] = content(entries[name], canary)
        write_entries(folder, entries)

    return tamper


def saved(thing: Any, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, thing, allow_pickle=allow_pickle)
    return buffer.getvalue()


def array_of_pickles(_: bytes, canary: Path) -> bytes:
    return saved(np.array([Payload(canary)], dtype=object), allow_pickle=True)


def array_of_arrays(_: bytes, canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([Payload(canary)], dtype=object))
    return buffer.getvalue()


def array_said_to_be_huge(_: bytes, canary: Path) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)})
    return header.getvalue()


def array_with_code_in_its_header(_: bytes, canary: Path) -> bytes:
    header = f"{{'descr': __import__('os').system('touch {canary}'), 'fortran_order': False, 'shape': ()}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def tree(change: Callable[[np.ndarray], None]) -> Tamper:
    """Changes the nodes of every tree."""

    def tamper(folder: Path, canary: Path) -> None:
        entries = entries_of(folder)
        for name in entries:
            nodes = None if name == "schema.json" else np.load(io.BytesIO(entries[name]))
            if nodes is not None and nodes.dtype.names:
                change(nodes)
                entries[name] = saved(nodes)
        write_entries(folder, entries)

    return tamper


def outside(nodes: np.ndarray) -> None:
    nodes["left"][0] = 1 << 30


def circle(nodes: np.ndarray) -> None:
    nodes["right"][0] = 0


def other_leaf(nodes: np.ndarray) -> None:
    nodes["value"] += 1e-3


def entry(name: str, kind: int = 0, packed: bool = False) -> Tamper:
    """Adds an entry to the file."""

    def tamper(folder: Path, canary: Path) -> None:
        added = zipfile.ZipInfo(name)
        added.external_attr = (kind | 0o777) << 16 if kind else 0
        content = b"\0" * (64 << 20) if packed else b"/etc/passwd" if kind else pickled(canary)
        with zipfile.ZipFile(folder / "model.skops", "a") as file:
            file.writestr(added, content, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)

    return tamper


link = partial(entry, kind=stat.S_IFLNK)


def renamed(name: str) -> Tamper:
    def tamper(folder: Path, canary: Path) -> None:
        entries = entries_of(folder)
        entries[name] = entries.pop("schema.json")
        write_entries(folder, entries)

    return tamper


def second_schema(folder: Path, canary: Path) -> None:
    evil = json.loads(entries_of(folder)["schema.json"])
    evil["content"]["content"]["intercepts"] = keys_made_by_system(canary)
    added = zipfile.ZipInfo("schema.json")
    with zipfile.ZipFile(folder / "model.skops", "a") as file:
        file.filelist, file.NameToInfo = list(file.filelist), {}  # else it warns of the name
        file.writestr(added, json.dumps(evil))


def patched(change: Callable[[bytearray], bytes | None]) -> Tamper:
    """Changes the bytes of the model's file."""

    def tamper(folder: Path, canary: Path) -> None:
        content = bytearray((folder / "model.skops").read_bytes())
        (folder / "model.skops").write_bytes(change(content) or content)

    return tamper


def central(content: bytearray) -> int:
    return content.index(b"PK\1\2")


def other_byte(content: bytearray) -> None:
    content[content.index(b"\x93NUMPY") + 130] ^= 1


def said_to_be_huge(content: bytearray) -> None:
    struct.pack_into("<L", content, central(content) + 24, 0xFFFFFFF0)


def encrypted(content: bytearray) -> None:
    content[central(content) + 8] |= 1


def other_local_name(content: bytearray) -> None:
    content[content.index(b".npy")] = ord("_")


def overlapping(content: bytearray) -> None:
    first = central(content)
    second = content.index(b"PK\1\2", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]


def twice(content: bytearray) -> bytes:
    return bytes(content * 2)


def behind_a_script(content: bytearray) -> bytes:
    return b"#!/bin/sh\n" + content


def cut(content: bytearray) -> bytes:
    return bytes(content[: len(content) // 2])


def commented(content: bytearray) -> bytes:
    return bytes(content[:-2]) + struct.pack("<H", 4) + b"PK\5\6"


def described(edit: Callable[[dict[str, Any]], None], add: Tamper | None = None) -> Tamper:
    """Rewrites the file `MLmodel`, and puts beside it what it then asks for."""

    def tamper(folder: Path, canary: Path) -> None:
        path = folder / "MLmodel"
        found = yaml.safe_load(path.read_text())
        edit(found)
        path.write_text(yaml.safe_dump(found))
        if add:
            add(folder, canary)

    return tamper


def flavor(name: str, **more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["flavors"].setdefault(name, {}).update(more)


def trusting(found: dict[str, Any]) -> None:
    found["flavors"]["sklearn"]["skops_trusted_types"] += ["os.system", "subprocess.Popen"]


def other_signature(found: dict[str, Any]) -> None:
    inputs = json.loads(found["signature"]["inputs"])
    found["signature"]["inputs"] = json.dumps(inputs[::-1])


def tagged(folder: Path, canary: Path) -> None:
    with (folder / "MLmodel").open("a") as file:
        file.write(f"metadata: !!python/object/apply:os.system ['touch {canary}']\n")


def bomb_of_aliases(folder: Path, canary: Path) -> None:
    rows = ["l0: &l0 [0]"] + [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    with (folder / "MLmodel").open("a") as file:
        file.write("\n".join(rows) + "\n")


def appended(file: str, line: str) -> Tamper:
    def tamper(folder: Path, canary: Path) -> None:
        with (folder / file).open("a") as opened:
            opened.write(line)

    return tamper


def removed(file: str) -> Tamper:
    return lambda folder, canary: (folder / file).unlink()


def replaced(file: str, old: str, new: str) -> Tamper:
    def tamper(folder: Path, canary: Path) -> None:
        content = (folder / file).read_text()
        assert old in content
        (folder / file).write_text(content.replace(old, new))

    return tamper


def moved_and(make: Callable[[Path, Path], None]) -> Tamper:
    """Puts the honest file beside the folder, and something that looks like it in its place."""

    def tamper(folder: Path, canary: Path) -> None:
        away = folder.parent / "away.skops"
        (folder / "model.skops").rename(away)
        make(folder / "model.skops", away)

    return tamper


def symbolic(path: Path, away: Path) -> None:
    path.symlink_to(away)


def hard(path: Path, away: Path) -> None:
    path.hardlink_to(away)


def pipe(path: Path, away: Path) -> None:
    os.mkfifo(path)


def directory(path: Path, away: Path) -> None:
    path.mkdir()
    away.rename(path / "model.skops")


def other_hook(found: dict[str, Any], canary: Path) -> None:
    """The use case's own features, with a line of somebody else's before them."""
    for part in parts(found):
        if part.get("__class__") == "OwnFeatures":
            source = part["content"]["content"]["source"]
            source["content"] = json.dumps(module(canary).decode() + json.loads(source["content"]))


function_that_runs = built(lambda canary: FunctionTransformer(os.system, kw_args={"command": f"touch {canary}"}))
partial_that_runs = built(lambda canary: partial(os.system, f"touch {canary}"))
partial_of_popen = built(lambda canary: partial(subprocess.Popen, ["touch", str(canary)]))
caller_of_method = built(lambda canary: methodcaller("system", f"touch {canary}"))
getter_of_attribute = built(lambda canary: attrgetter("__globals__"))
