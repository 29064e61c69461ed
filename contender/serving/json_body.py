"""JSON as this server takes it: bounded before it is read, exact numbers, and no name given twice."""

import json
import re
from typing import Any, NoReturn

import msgspec

from contender.serving.refusals import Refusal

DEPTH = 32
"""Levels of lists and objects within one another, at most."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NO_BRACKET = bytes(sorted(set(range(256)) - set(b"[]{}")))


class Repeated(dict[str, Any]):
    """An object in which a name stands twice; `names` are those."""

    names: tuple[str, ...] = ()


class NotFinite:
    """NaN or an infinity, which are no JSON."""

    def __init__(self, name: str) -> None:
        self.name = name


def decode(body: bytes, most_lists: int) -> Any:
    """The document in a body: numbers as they stand, objects with a repeated name as `Repeated`.

    Args:
        most_lists: lists and objects that it may have.

    Raises:
        Refusal: it is no JSON, nested too deeply, or has more lists and objects.
    """
    if body.count(b"[") + body.count(b"{") > DEPTH:
        _bound(body, most_lists)
    if b"\\" not in body:
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass
        else:
            # Outside of strings a colon stands behind each name, and nowhere else.
            if body.count(b":") == _colons(found):
                return found
    return _carefully(body)


def _bound(body: bytes, most_lists: int) -> None:
    depth = opened = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NO_BRACKET):
        if bracket in b"[{":
            depth += 1
            opened += 1
            if depth > DEPTH:
                raise Refusal.too_large("lists and objects within one another", f"{DEPTH} levels")
            if opened > most_lists + DEPTH:
                raise Refusal.too_large("more lists and objects than so many rows need", "10,000 rows")
        else:
            depth -= 1


def _colons(found: Any) -> int:
    kind = type(found)
    if kind is str:
        return int(found.count(":"))
    total = 0
    if kind is dict:
        total = len(found) + "".join(found).count(":")
        found = found.values()
    elif kind is not list:
        return 0
    for value in found:
        kind = type(value)
        if kind is str:
            total += value.count(":")
        elif kind is dict or kind is list:
            total += _colons(value)
    return total


def _carefully(body: bytes) -> Any:
    try:
        text = body.decode()
        found = json.loads(text, object_pairs_hook=_object, parse_constant=NotFinite)
        # Half of a pair of surrogates is no text.
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        _refuse("a text in it is half of a character")
    except UnicodeDecodeError as error:
        _refuse(f"byte {error.start} is not UTF-8")
    except json.JSONDecodeError as error:
        _refuse(f"line {error.lineno}, column {error.colno} is not as JSON has it")
    except (ValueError, RecursionError):
        _refuse("a number in it has thousands of digits")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    repeated = Repeated(found)
    repeated.names = tuple(name for name in found if names.count(name) > 1)
    return repeated


def _refuse(what: str) -> NoReturn:
    raise Refusal(400, f"The body is no JSON: {what}. Send JSON in UTF-8 (RFC 8259).")
