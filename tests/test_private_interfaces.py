"""Every name that a dependency never promised is still there, by the table in docs/private-interfaces.md."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PAGE = "docs/private-interfaces.md"
DOCUMENTED = {"_asdict", "_exit", "_mapping", "_replace"}
"""Of named tuples, of SQLAlchemy's rows and of `os`: an underscore, and a promise all the same."""


@dataclass(frozen=True)
class Line:
    """A row of the page: `theirs` stands in `place` of a library, and `ours` in our `files`."""

    theirs: str
    ours: str
    place: tuple[str, ...]
    files: tuple[str, ...]
    without: str


def _lines() -> list[Line]:
    rows = [line for line in (ROOT / PAGE).read_text("utf-8").splitlines() if line.startswith("| `")]
    found = []
    for row in rows:
        what, place, files, _, without = (cell.strip() for cell in row.strip("|").split(" | "))
        spans = re.findall("`([^`]+)`", what)
        places, users = (tuple(re.findall("`([^`]+)`", cell)) for cell in (place, files))
        found.append(Line(spans[0], spans[-1], places, users, without.strip("| ")))
    return found


LINES = _lines()


@cache
def _library(place: tuple[str, ...]) -> str:
    """Source of a module, or bytes of a class in a JAR as text; empty where there is none. Nothing is imported."""
    top, _, rest = re.sub("[./]", "/", place[0], count=1).partition("/")
    spec = find_spec(top)
    assert spec is not None, f"The package {top} is not installed."
    folder = Path((spec.submodule_search_locations or [str(Path(spec.origin or "").parent)])[0])
    if len(place) == 2:
        jars = list(folder.glob(rest))
        if len(jars) != 1:
            return ""
        with ZipFile(jars[0]) as jar:
            name = f"{place[1]}.class"
            return jar.read(name).decode("latin-1") if name in jar.namelist() else ""
    module = folder / rest.replace(".", "/")
    found = [path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file()]
    return found[0].read_text("utf-8") if found else ""


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.ours} of {line.place[0]}")
def test_what_nobody_promised_is_still_there(line: Line) -> None:
    where = " ".join(line.place)
    end = r"(?!\w)" if re.search(r"\w$", line.theirs) else ""
    assert re.search(rf"(?<!\w){re.escape(line.theirs)}{end}", _library(line.place)), (
        f"{where} no longer holds {line.theirs!r}, which {' and '.join(line.files)} needs. Without it: {line.without}. "
        f"Find what took its place there, or another way, and write it into {PAGE}."
    )


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line.ours} of {line.place[0]}")
def test_the_page_lists_nothing_that_we_do_without(line: Line) -> None:
    for file in line.files:
        assert line.ours in (ROOT / file).read_text("utf-8"), f"{file} does without {line.ours!r}: correct {PAGE}."


def test_every_private_attribute_that_we_read_stands_on_the_page() -> None:
    trees = {
        path: ast.parse(path.read_text("utf-8"))
        for package in ("contender", "flows", "tasks")
        for path in (ROOT / package).rglob("*.py")
    }
    own = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    listed = {line.ours for line in LINES} | own | DOCUMENTED
    unlisted = {
        f"{path.relative_to(ROOT)} reads {node.attr}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.match("_[a-z]", node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
        and not (isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name))
        and node.attr not in listed
    }
    assert not unlisted, f"{sorted(unlisted)}: say in {PAGE} why there is no other way, and what breaks without it."
