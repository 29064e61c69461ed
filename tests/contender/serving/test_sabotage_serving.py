"""Each guard of the server is missed; see `tests.contender.test_sabotage` for how a guard is removed."""

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contender.contracts.contract import Contract
from contender.errors import UsageError
from contender.serving import api_keys, door, json_body, request_forms, text_cells, title_copy, workers
from contender.serving.api_keys import Keys, Rates
from contender.serving.application import Application, Limits
from contender.serving.champions import Champion
from contender.serving.door import Door
from contender.serving.refusals import Refusal
from contender.serving.title_copy import Title
from contender.settings import Settings
from contender.values import ModelColumn
from tests.conftest import CONTRACT
from tests.contender.serving.conftest import RECORD, post, record, send
from tests.contender.test_sabotage import Guard, collecting, fails, instead, without

GUARDS: list[Guard] = []
guarded = collecting(GUARDS)


def contract_in(home: Path, *changes: tuple[str, str]) -> Contract:
    text = CONTRACT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = home / "data" / "orders" / "contract.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return Contract.read(path)


def door_in(home: Path, *changes: tuple[str, str]) -> Door:
    return Door(contract_in(home, *changes))


class Halves:
    """A scorer that says 0.5 of everything."""

    columns = (ModelColumn("amount", "number"),)
    classes, why_plain = np.array([0, 1]), None

    def answer_record(self, values: Any) -> Any:
        return np.array([[0.5, 0.5]])

    def answer(self, frame: Any) -> Any:
        return np.full((len(frame), 2), 0.5)


def app_in(home: Path, **limits: Any) -> Application:
    contract = contract_in(home)
    made = Application(Settings(home=home), [contract], lambda *_, **__: None, limits=Limits(**limits))
    made.served["orders"].champion = Champion(contract, Halves(), Title(version=1))  # type: ignore[arg-type]
    return made


def refused(home: Path, body: str | bytes, kind: str = request_forms.JSON, **changes: Any) -> None:
    with pytest.raises(Refusal):
        request_forms.read(door_in(home), kind, body if isinstance(body, bytes) else body.encode())


def with_amount(literal: str, field: str = "amount") -> str:
    return json.dumps({"data": [record(**{field: "HERE"})]}).replace('"HERE"', literal)


@guarded("a text is no number", without(door._number, ("return UNREADABLE", "return float(value)")))
def _(home: Path) -> None:
    refused(home, with_amount('"1"'))


@guarded("a whole number beyond 2^53 is not rounded", without(door._number, ("if -EXACT <= value <= EXACT", "if True")))
def _(home: Path) -> None:
    with pytest.raises(Refusal):
        door_in(home, (", min = 0, max = 1000", "")).check_records([record(amount=2**53 + 1)])


@guarded("a fraction is no integer", without(door._whole, ("value.is_integer() and ", "")))
def _(home: Path) -> None:
    refused(home, with_amount("1.5", "items"))


@guarded(
    "what is too large for floating point is no number", without(door._number, (" if value - value == 0", " if True"))
)
def _(home: Path) -> None:
    with pytest.raises(Refusal):
        door_in(home, (", min = 0, max = 1000", "")).check_records([record(amount=float("inf"))])


@guarded("ranges are held", without(Door._judge, ("value > column.max", "False")))
def _(home: Path) -> None:
    refused(home, with_amount("1001"))


@guarded("what the contract requires is there", without(Door._judge, ("if name in self._needed:", "if False:")))
def _(home: Path) -> None:
    refused(home, with_amount("null"))


@guarded("closed sets are held", without(Door._judge, ("value not in allowed", "False")))
def _(home: Path) -> None:
    refused(home, with_amount('"d"', "shop"))


@guarded("no record is of the future", without(Door._judge, ("value > latest", "False")))
def _(home: Path) -> None:
    refused(home, with_amount('"2099-01-01"', "ordered_at"))


@guarded("an unknown field is told", without(Door.check_records, ("if name not in self._known:", "if False:")))
def _(home: Path) -> None:
    refused(home, json.dumps({"data": [record(amont=1)]}))


@guarded("an unknown column is told", without(Door.check_columns, ("if name not in self._known:", "if False:")))
def _(home: Path) -> None:
    refused(home, json.dumps({"dataframe_split": {"columns": [*RECORD, "amont"], "data": [[*RECORD.values(), 1]]}}))


@guarded(
    "a name that stands twice is seen",
    without(json_body.decode, ('if body.count(b":") == _colons(found):', "if True:")),
)
def _(home: Path) -> None:
    refused(home, with_amount('1, "amount": 2'))


@guarded(
    "a name that stands twice is no record", without(Door.check_records, ("isinstance(record, Repeated)", "False"))
)
def _(home: Path) -> None:
    refused(home, with_amount('1, "amount": 2'))


@guarded("a spelling of a missing time is no time", without(Door._column, ("if typed.text in spelt:", "if False:")))
def _(home: Path) -> None:
    made = door_in(
        home, ('ordered_at = { type = "timestamp"', 'ordered_at = { missing = ["1900-01-01"], type = "timestamp"')
    )
    with pytest.raises(Refusal):
        made.check_records([record(ordered_at="1900-01-01")])


@guarded("a number that means missing is missing", instead(Door._marks_of, "return frozenset()"))
def _(home: Path) -> None:
    made = door_in(
        home, ("amount = { ", 'amount = { missing = ["-999"], '), ("required = true, min = 0", "min = -9999")
    )
    assert made.check_records([record(amount=-999)]).values["amount"] == [None]


@guarded(
    "a day that is not in the calendar is no time", without(text_cells.time_of, ("return UNREADABLE", "return 0.0"))
)
def _(home: Path) -> None:
    refused(home, with_amount('"2026-02-30"', "ordered_at"))


@guarded("levels are counted before they are read", without(json_body._bound, ("if depth > DEPTH:", "if False:")))
def _(home: Path) -> None:
    with pytest.raises(Refusal) as found:
        json_body.decode(b"[" * 40 + b"]" * 40, 100)
    assert found.value.status == 413


@guarded(
    "lists are counted before they are read",
    without(json_body._bound, ("if opened > most_lists + DEPTH:", "if False:")),
)
def _(home: Path) -> None:
    with pytest.raises(Refusal):
        json_body.decode(b"[" + b"{}," * 200 + b"{}]", 100)


@guarded("rows are counted", instead(request_forms._bound, "return"))
def _(home: Path) -> None:
    refused(home, json.dumps({"data": [{}] * 10_001}).replace("{}", json.dumps(RECORD)))


@guarded(
    "a tensor has the shape of its data",
    without(request_forms.read_tensors, ("shape not in", "False and shape not in")),
)
def _(home: Path) -> None:
    tensors = [{"name": n, "shape": [2], "datatype": "BYTES", "data": [v]} for n, v in RECORD.items()]
    for tensor, datatype in zip(tensors[4:], ("FP64", "INT64", "BOOL"), strict=True):
        tensor["datatype"] = datatype
    with pytest.raises(Refusal):
        request_forms.read_tensors(door_in(home), json.dumps({"inputs": tensors}).encode())


@guarded("a length that is told is believed", without(Application._body, ('b"0")) > most', 'b"0")) < 0')))
def _(home: Path) -> None:
    headers = {"content-type": "application/json", "content-length": "100"}
    found = send(app_in(home, body_bytes=50), "/score", [{"body": b" " * 100, "more_body": False}], headers)
    assert (found.status, found.read) == (413, 0)


@guarded("a length that is not told is counted", without(Application._body, ("max(size, came) > most", "False")))
def _(home: Path) -> None:
    piece = {"body": b" " * 100, "more_body": True}
    found = send(app_in(home, body_bytes=50), "/score", [piece] * 3 + [{}], {"content-type": "application/json"})
    assert found.status == 413


@guarded(
    "what is packed is counted unpacked",
    without(Application._body, ("max(size, came) > most", "came > most"), ("unpack.unconsumed_tail", "False")),
)
def _(home: Path) -> None:
    body = gzip.compress(b" " * 10_000)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    found = send(app_in(home, body_bytes=500), "/score", [{"body": body, "more_body": False}], headers)
    assert found.status == 413


@guarded(
    "who has no key is not let in",
    without(
        Application._admit,
        ("if given is None:", "if False:"),
        ("if key is None:", "if key is None: return\n    if False:"),
    ),
)
def _(home: Path) -> None:
    api_keys.add(Settings(home=home), "shop", "score", None, 0)
    assert post(app_in(home), {"data": [RECORD]}).status_code == 401


@guarded("a key opens what its role says", without(Application._admit, ("RANK[key.role] < RANK[access]", "False")))
def _(home: Path) -> None:
    key = api_keys.add(Settings(home=home), "shop", "score", None, 0)
    found = post(app_in(home), None, "/metrics", headers={"authorization": f"Bearer {key}"})
    assert found.status_code == 405
    from tests.contender.serving.conftest import ask

    assert ask(app_in(home), "GET", "/metrics", headers={"authorization": f"Bearer {key}"}).status_code == 403


@guarded("the secret of a key is compared", without(Keys.key_of, ("and same and", "and")))
def _(home: Path) -> None:
    key = api_keys.add(Settings(home=home), "shop", "score", None, 0)
    assert Keys(Settings(home=home)).key_of(f"Bearer {key[:-43]}{'a' * 43}".encode()) is None


@guarded("a key that has ended opens nothing", without(Keys.key_of, (" and known.stands(datetime.now(UTC))", "")))
def _(home: Path) -> None:
    key = api_keys.add(Settings(home=home), "shop", "score", timedelta(0) - timedelta(days=1), 0)
    assert Keys(Settings(home=home)).key_of(f"Bearer {key}".encode()) is None


@guarded(
    "after the last key nobody comes in",
    without(Keys.look, ("self.needed or bool(found)", "any(one.revoked_at is None for one in found)")),
)
def _(home: Path) -> None:
    api_keys.add(Settings(home=home), "shop", "score", None, 0)
    api_keys.revoke(Settings(home=home), "shop")
    assert Keys(Settings(home=home)).needed


@guarded("a key's rate is kept", without(Rates.wait_seconds, ("used + 1, now", "used, now")))
def _(home: Path) -> None:
    key, rates = api_keys.ApiKey("0a", "one", "score", "", "", per_minute=1), Rates()
    assert [rates.wait_seconds(key, 1.0) > 0 for _ in range(2)] == [False, True]


@guarded("other machines need keys", without(workers.check, ("if not read_keys(settings):", "if False:")))
def _(home: Path) -> None:
    with pytest.raises(UsageError):
        workers.check(Settings(home=home), workers.Listening(host="0.0.0.0", behind_proxy=True))


@guarded(
    "keys do not travel in the open",
    without(workers.check, ("where.certificate is None and not where.behind_proxy", "False")),
)
def _(home: Path) -> None:
    api_keys.add(Settings(home=home), "shop", "score", None, 0)
    with pytest.raises(UsageError):
        workers.check(Settings(home=home), workers.Listening(host="0.0.0.0"))


@guarded(
    "who asks too much is turned away",
    instead(Application._wait_turn, "self._waiting += 1\nself._measures.waiting.inc()"),
)
def _(home: Path) -> None:
    app = app_in(home, waiting=0)
    assert post(app, {"data": [RECORD]}).status_code == 503


@guarded(
    "an id with another request is no repetition",
    without(Application._scored, ("if kept.asked != asked:", "if False:")),
)
def _(home: Path) -> None:
    app, options = app_in(home), {"headers": {"x-request-id": "a"}}
    assert post(app, {"data": [RECORD]}, **options).status_code == 200
    assert post(app, {"data": [record(amount=1)]}, **options).status_code == 409


@guarded("an answer that is no number is none", without(Champion.score, ("not _are_finite(answer)", "False")))
def _(home: Path) -> None:
    app = app_in(home)
    app.served["orders"].champion.scorer.answer_record = lambda _: np.array([[np.nan, np.nan]])  # type: ignore
    assert post(app, {"data": [RECORD]}).status_code == 500


@guarded(
    "files that are not the approved ones are not copied",
    without(title_copy._is_whole, (" and digest_of(folder) == digest", "")),
)
def _(home: Path) -> None:
    settings = Settings(home=home)
    source = settings.scratch_of("orders") / "models" / ("0" * 64)
    source.mkdir(parents=True)
    (source / "model.skops").write_text("another")
    keeper = title_copy.Keeper(settings, "orders", lambda *_, **__: None)
    keeper._fetch = lambda *_: None  # type: ignore[method-assign]
    assert not keeper._has("0" * 64, 1)


@guarded(
    "a ledger that lost its entries takes nobody out of place",
    without(title_copy.Keeper.look, ("if self._title.version is not None:", "if False:")),
)
def _(home: Path) -> None:
    keeper = title_copy.Keeper(Settings(home=home), "orders", lambda *_, **__: None)
    keeper._write(Title(version=3, digest="d", seq=3))
    keeper._head = lambda: None  # type: ignore[method-assign]
    assert keeper.look().silent_since is not None


@pytest.mark.parametrize("guard", [pytest.param(guard, id=guard.name) for guard in GUARDS])
def test_the_rule_holds(guard: Guard, tmp_path: Path) -> None:
    guard.scenario(tmp_path)


@pytest.mark.parametrize("guard", [pytest.param(guard, id=guard.name) for guard in GUARDS])
def test_without_its_guard_the_rule_is_broken(guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard.sabotage(monkeypatch)
    fails(guard, tmp_path)
