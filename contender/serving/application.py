"""The server as an ASGI application: one table of routes, one way in and one way out for every request."""

import asyncio
import hashlib
import os
import re
import time
import traceback
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from contender.contracts.contract import Contract
from contender.serving import api_description, request_forms, routes
from contender.serving.answers import Answers, Kept
from contender.serving.api_keys import RANK, ApiKey, Keys, Rates
from contender.serving.champions import Champion, Served
from contender.serving.door import Checked, Door
from contender.serving.measures import CONTENT_TYPE, Measures
from contender.serving.refusals import Refusal
from contender.settings import Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ARM = "champion"
"""Who answered; there are no others yet."""

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACE = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_LOOKS_SECONDS = 0.1
_KINDS = (request_forms.JSON, request_forms.CSV, *request_forms.JSON_LINES)
_LISTED = f"{request_forms.JSON}, {request_forms.CSV} and {request_forms.JSON_LINES[0]}"
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Limits:
    """What a worker takes in: beyond it requests are turned away.

    Requests wait for at most about `wait_seconds`, by how long those before took each; four may always wait.
    """

    body_bytes: int = 16 << 20
    waiting: int = 128
    wait_seconds: float = 0.5
    bulk_waiting: int = 8
    bulk_bytes: int = 32 << 10
    body_seconds: float = 20.0


@dataclass
class Exchange:
    """One request, and what becomes of it."""

    scope: Scope
    receive: Receive
    started: float
    headers: Mapping[bytes, bytes]
    request_id: str
    given_id: bool
    trace: bytes | None
    route: str = ""
    use_case: str = ""
    version: int | None = None
    rows: int = 0
    key: ApiKey | None = None
    more: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What is sent."""

    status: int
    body: bytes
    kind: str = request_forms.JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Application:
    """Answers for some use cases in one process.

    Args:
        say: told what happens, as an event and its fields; each line is a JSON document.
        answers: of all workers.
        rates: of all workers.
    """

    def __init__(
        self,
        settings: Settings,
        contracts: Sequence[Contract],
        say: Callable[..., None],
        *,
        answers: Answers | None = None,
        rates: Rates | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self._say, self._limits = say, limits
        self.served = {contract.name: Served(settings, contract, say) for contract in contracts}
        self._bulk_doors = {contract.name: Door(contract) for contract in contracts}
        self._bulk = ThreadPoolExecutor(1, thread_name_prefix="bulk")
        self._keys, self._rates = Keys(settings), rates or Rates()
        self._answers = answers or Answers(None)
        self._measures = Measures()
        self._waiting = self._bulk_waiting = 0
        self._each_seconds = 0.0
        self._description = _encode(api_description.describe(contracts, self._keys.needed))
        self._following: asyncio.Task[None] | None = None
        self.flush: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._exchange(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.look()
                self._following = asyncio.create_task(self._follow())
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._following is not None:
                    self._following.cancel()
                    with suppress(asyncio.CancelledError):
                        await self._following
                self._bulk.shutdown(wait=True)
                self.flush()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _follow(self) -> None:
        """Take over new champions and keys, beside the requests."""
        while True:
            await asyncio.sleep(_LOOKS_SECONDS)
            try:
                self._keys.look()
                for served in self.served.values():
                    if served.is_due:
                        before = served.champion
                        await asyncio.to_thread(served.look)
                        if served.champion is not before:
                            self._measures.switches.labels(served.contract.name).inc()
                self.flush()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may do better
                self._say("look failed", why=type(error).__name__, where=_frames(error))

    def look(self) -> None:
        """Take over what there is, before the first request."""
        for served in self.served.values():
            try:
                if served.is_due:
                    served.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look may do better
                self._say("look failed", why=type(error).__name__, where=_frames(error))

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _begin(scope, receive)
        try:
            answer = await self._answer(exchange)
        except Refusal as refusal:
            answer = Answer(refusal.status, _encode(refusal.document(exchange.request_id)), headers=refusal.headers)
        except _Gone:
            return
        except Exception as error:  # noqa: BLE001 - the caller learns an id, and the log what and where
            self._measures.errors.labels(exchange.route).inc()
            self._say(
                "fault",
                request_id=exchange.request_id,
                route=exchange.route,
                why=type(error).__name__,
                where=_frames(error),
            )
            document = {"error": "Something broke here; the log has it by this id.", "request_id": exchange.request_id}
            answer = Answer(500, _encode(document))
        await _send(send, exchange, answer)
        seconds = time.perf_counter() - exchange.started
        self._measures.requests.labels(exchange.use_case, exchange.route, str(answer.status)).inc()
        if exchange.rows and answer.status == 200:
            of = (exchange.use_case, str(exchange.version), ARM)
            self._measures.seconds.labels(*of).observe(seconds)
            self._measures.records.labels(*of).inc(exchange.rows)
        self._say(
            "request",
            request_id=exchange.request_id,
            trace_id=exchange.trace[3:35].decode() if exchange.trace else None,
            method=scope["method"],
            route=exchange.route or None,
            status=answer.status,
            ms=round(seconds * 1000, 3),
            use_case=exchange.use_case or None,
            version=exchange.version,
            rows=exchange.rows or None,
            key=exchange.key.id if exchange.key else None,
        )

    async def _answer(self, exchange: Exchange) -> Answer:
        scope = exchange.scope
        found = routes.find(scope["method"], scope["path"])
        if isinstance(found, set):
            if not found:
                raise Refusal(404, "There is no such route; /openapi.json has those that there are.")
            allowed = ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))
            raise Refusal(405, f"This route takes {allowed}.", headers={"allow": allowed})
        route, parts = found
        exchange.route = route.path
        self._admit(exchange, route.access)
        if exchange.given_id and not _REQUEST_ID.fullmatch(exchange.headers[b"x-request-id"]):
            raise Refusal(400, "The header X-Request-Id has other than 1 to 128 letters of ASCII without blanks.")
        answer: Answer = await getattr(self, f"_{route.handler}")(exchange, parts)
        return answer

    def _admit(self, exchange: Exchange, access: routes.Access) -> None:
        """Return only if whoever asks may."""
        if access == "anyone" or not self._keys.needed:
            return
        challenge = {"www-authenticate": 'Bearer realm="contender"'}
        given = exchange.headers.get(b"authorization")
        if given is None:
            raise Refusal(401, "An API key is needed: send the header 'Authorization: Bearer KEY'.", headers=challenge)
        key = self._keys.key_of(given)
        if key is None:
            raise Refusal(401, "This API key opens nothing: it is unknown, expired or revoked.", headers=challenge)
        exchange.key = key
        if RANK[key.role] < RANK[access]:
            raise Refusal(403, f"This route needs a key of the role '{access}'; this one has '{key.role}'.")
        if wait := self._rates.wait_seconds(key):
            seconds = max(1, int(wait) + (wait % 1 > 0))
            raise Refusal(
                429,
                f"This key may ask {key.per_minute:,} times a minute; ask again in {seconds} s.",
                headers={"retry-after": str(seconds)},
            )

    # Scores

    async def _score(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        served = self._served(exchange, parts.get("use_case"))
        kind = _content_type(exchange.headers, _KINDS)
        body = await self._body(exchange)

        def work(champion: Champion, door: Door) -> tuple[Checked, bytes]:
            checked = request_forms.read(door, kind, body)
            scored = champion.score(checked, door)
            rows = zip(scored.scores, scored.predictions, scored.bands, scored.missing, strict=True)
            document = {
                "predictions": [
                    {"score": score, "prediction": prediction, "band": band, "missing": missing}
                    for score, prediction, band, missing in rows
                ],
                "use_case": served.contract.name,
                "model_version": champion.version,
                "arm": ARM,
                "answered_by": champion.answered_by,
                "request_id": exchange.request_id,
            }
            return checked, _encode(document)

        return await self._scored(exchange, served, body, work)

    async def _infer(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        served = self._served(exchange, parts["use_case"])
        _content_type(exchange.headers, (request_forms.JSON,))
        body = await self._body(exchange)
        version = parts.get("version")

        def work(champion: Champion, door: Door) -> tuple[Checked, bytes]:
            _need_version(champion, version)
            checked, identifier, wanted = request_forms.read_tensors(door, body)
            scored = champion.score(checked, door)
            shape = [checked.rows]
            kinds = {"score": "FP64", "prediction": api_description.DATATYPES[served.contract.kind], "band": "BYTES"}
            data = {"score": scored.scores, "prediction": scored.predictions, "band": scored.bands}
            if unknown := [name for name in wanted if name not in data]:
                raise Refusal(400, f"{len(unknown)} of the outputs that were asked for are none of {', '.join(data)}.")
            document = {
                "model_name": served.contract.name,
                "model_version": str(champion.version),
                **({"id": identifier} if identifier is not None else {}),
                "parameters": {
                    "arm": ARM,
                    "answered_by": champion.answered_by,
                    "request_id": exchange.request_id,
                },
                "outputs": [
                    {
                        "name": name,
                        "datatype": kinds[name],
                        "shape": shape,
                        "data": data[name],
                        **({"parameters": {"missing": scored.missing}} if name == "score" else {}),
                    }
                    for name in wanted or data
                ],
            }
            return checked, _encode(document)

        return await self._scored(exchange, served, body, work)

    async def _scored(
        self,
        exchange: Exchange,
        served: Served,
        body: bytes,
        work: Callable[[Champion, Door], tuple[Checked, bytes]],
    ) -> Answer:
        asked = key = None
        if exchange.given_id:
            parts = (exchange.scope["path"].encode(), exchange.headers.get(b"content-type", b""), body)
            asked = hashlib.sha256(b"\0".join(parts)).digest()
            key = f"{exchange.key.id if exchange.key else ''} {exchange.request_id}"
            if (kept := self._answers.get(key)) is not None:
                if kept.asked != asked:
                    raise Refusal(
                        409, "This X-Request-Id came before with another request; give each request an id of its own."
                    )
                exchange.version = kept.version
                return Answer(200, kept.body, headers={"x-contender-repeated": "true"})
        champion = served.champion
        if champion is None:
            raise _nobody(served)
        name = served.contract.name
        if len(body) > self._limits.bulk_bytes:
            checked, document = await self._in_bulk(lambda: work(champion, self._bulk_doors[name]))
        else:
            # Who is ready to be answered is counted first, and only then the first of them is answered.
            await self._wait_turn()
            began = time.perf_counter()
            try:
                checked, document = work(champion, served.door)
            finally:
                self._leave()
            self._each_seconds += 0.05 * (time.perf_counter() - began - self._each_seconds)
        exchange.version, exchange.rows = champion.version, checked.rows
        if champion.not_looked_up:
            exchange.more["x-contender-not-looked-up"] = ", ".join(map(quote, champion.not_looked_up[:50]))
        if key is not None and asked is not None:
            self._answers.put(key, Kept(asked, champion.version, document))
        return Answer(200, document, headers=exchange.more)

    async def _wait_turn(self) -> None:
        limits, waiting = self._limits, self._waiting
        if waiting >= limits.waiting or (waiting >= 4 and waiting * self._each_seconds > limits.wait_seconds):
            self._measures.dropped.inc()
            raise Refusal.later("More is asked than can be answered just now; nothing was scored. Ask again.")
        self._waiting += 1
        self._measures.waiting.inc()
        try:
            await asyncio.sleep(0)
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        self._waiting -= 1
        self._measures.waiting.dec()

    async def _in_bulk(self, work: Callable[[], tuple[Checked, bytes]]) -> tuple[Checked, bytes]:
        """Many records are scored beside the requests for one."""
        if self._bulk_waiting >= self._limits.bulk_waiting:
            self._measures.dropped.inc()
            raise Refusal.later("More is asked than can be answered just now; nothing was scored. Ask again.", 2)
        self._bulk_waiting += 1
        self._measures.waiting.inc()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._bulk, work)
        finally:
            self._bulk_waiting -= 1
            self._measures.waiting.dec()

    def _served(self, exchange: Exchange, name: str | None) -> Served:
        if name is None:
            if len(self.served) > 1:
                raise Refusal(
                    404, f"Several use cases are served here; ask /USE_CASE/score, of {', '.join(self.served)}."
                )
            served = next(iter(self.served.values()))
        elif (found := self.served.get(name)) is not None:
            served = found
        else:
            raise Refusal(404, "No such use case is served here; /v2 lists those that are.")
        exchange.use_case = served.contract.name
        return served

    async def _body(self, exchange: Exchange) -> bytes:
        """The body, unpacked; what is too long is not read to its end."""
        headers, most = exchange.headers, self._limits.body_bytes
        coding = headers.get(b"content-encoding", b"identity").strip().lower()
        if coding not in (b"identity", b"gzip", b""):
            raise Refusal(415, "The body is packed in a way that is not read; send it plain, or by gzip.")
        allowed = f"{most:,} bytes"
        with suppress(ValueError):
            if int(headers.get(b"content-length", b"0")) > most:
                raise Refusal.too_large("more bytes", allowed)
        unpack = zlib.decompressobj(31) if coding == b"gzip" else None
        found, size, came = [], 0, 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await exchange.receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    piece: bytes = message.get("body", b"")
                    came += len(piece)
                    if unpack is not None and piece:
                        piece = unpack.decompress(piece, most - size + 1)
                    size += len(piece)
                    if max(size, came) > most or (unpack is not None and unpack.unconsumed_tail):
                        raise Refusal.too_large("more bytes", allowed)
                    found.append(piece)
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise Refusal(
                408, f"The body did not come within {self._limits.body_seconds:g} s; send it again.", headers=_CLOSE
            ) from None
        except zlib.error:
            raise Refusal(400, "The body is not what gzip makes; send it whole, or plain.") from None
        if unpack is not None and (not unpack.eof or unpack.unused_data):
            raise Refusal(400, "The body is not one whole piece of gzip; send it whole, or plain.")
        return b"".join(found)

    # What the server says of itself

    async def _model(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        served = self._served(exchange, parts["use_case"])
        if served.champion is None:
            raise _nobody(served)
        _need_version(served.champion, parts.get("version"))
        return Answer(200, _encode(api_description.model(served.contract, served.champion.version)))

    async def _model_ready(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        served = self._served(exchange, parts["use_case"])
        if served.champion is None:
            raise _nobody(served)
        _need_version(served.champion, parts.get("version"))
        return Answer(200, _encode({"name": served.contract.name, "ready": True}))

    async def _server(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        document = {
            "name": "contender",
            "version": _version_of("contender"),
            "extensions": [],
            "models": [*self.served],
        }
        return Answer(200, _encode(document))

    async def _live(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        return Answer(200, _encode({"live": True, "status": "ok"}))

    async def _ready(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        told = {name: _state_of(served) for name, served in self.served.items()}
        ready = all(served.champion is not None for served in self.served.values())
        document = {"ready": ready, "status": "ok" if ready else "waiting", "use_cases": told}
        return Answer(200 if ready else 503, _encode(document), headers={} if ready else {"retry-after": "5"})

    async def _ping(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        for served in self.served.values():
            if served.champion is None:
                raise _nobody(served)
        return Answer(200, b"\n")

    async def _version(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        return Answer(200, _version_of("mlflow").encode(), "text/plain; charset=utf-8")

    async def _openapi(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        return Answer(200, self._description)

    async def _metrics(self, exchange: Exchange, parts: Mapping[str, str]) -> Answer:
        return Answer(200, self._measures.text(), CONTENT_TYPE)


_CLOSE = {"connection": "close"}


class _Gone(Exception):
    """Whoever asked does not wait for the answer any more."""


def _begin(scope: Scope, receive: Receive) -> Exchange:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    given = headers.get(b"x-request-id")
    trace = headers.get(b"traceparent")
    return Exchange(
        scope,
        receive,
        time.perf_counter(),
        headers,
        given.decode() if given is not None and _REQUEST_ID.fullmatch(given) else _new_id(),
        given is not None,
        trace if trace is not None and _TRACE.fullmatch(trace) else None,
    )


async def _send(send: Send, exchange: Exchange, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.kind.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        (b"x-request-id", exchange.request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    if exchange.version is not None:
        headers.append((b"x-contender-model-version", str(exchange.version).encode()))
    if exchange.trace is not None:
        # The caller's trace, and a span of ours in it.
        match = _TRACE.fullmatch(exchange.trace)
        assert match is not None
        headers.append((b"traceparent", b"00-%b-%b-%b" % (match[1], os.urandom(8).hex().encode(), match[2])))
    headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    body = b"" if exchange.scope["method"] == "HEAD" else answer.body
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _content_type(headers: Mapping[bytes, bytes], known: tuple[str, ...]) -> str:
    return _known_type(headers.get(b"content-type", b""), known)


@lru_cache(maxsize=256)
def _known_type(told: bytes, known: tuple[str, ...]) -> str:
    given, _, rest = told.decode("latin-1").lower().partition(";")
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", rest)
    if given.strip() not in known or (charset and charset[1] not in ("utf-8", "utf8", "us-ascii")):
        listed = _LISTED if len(known) > 1 else known[0]
        raise Refusal(415, f"The body's content type is not one that is read; send {listed}, in UTF-8.")
    return given.strip()


def _need_version(champion: Champion, version: str | None) -> None:
    if version is not None and unquote(version) != str(champion.version):
        raise Refusal(404, f"That version does not answer here; version {champion.version} does.")


def _nobody(served: Served) -> Refusal:
    if served.title.version is None:
        return Refusal.later(f"There is no champion yet of {served.contract.name}; ask again when one is crowned.", 5)
    return Refusal.later(
        f"Version {served.title.version} of {served.contract.name} is champion and does not answer here yet.", 2
    )


def _state_of(served: Served) -> dict[str, Any]:
    champion, title = served.champion, served.title
    told: dict[str, Any] = {
        "version": champion.version if champion else None,
        "answers_since": champion.since if champion else None,
        "champion_since": champion.crowned_at if champion else None,
        "ledger": "silent" if title.silent_since else "answers",
    }
    if champion is not None and champion.why_plain:
        told["answered_by_pipeline"] = champion.why_plain
    if champion is not None and champion.not_looked_up:
        told["not_looked_up"] = list(champion.not_looked_up)
    if champion is None and title.version is None:
        told["why"] = "no champion yet"
    if title.silent_since:
        told |= {"ledger_silent_since": title.silent_since, "title_as_of": title.seen_at}
    if behind := served.why or title.behind:
        told["behind"] = behind
    return told


def _new_id() -> str:
    return os.urandom(16).hex()


def _frames(error: BaseException) -> list[str]:
    """Where it happened, without what was being worked on."""
    found = traceback.extract_tb(error.__traceback__)[-6:]
    return [f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in found]  # noqa: PTH119


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def json_lines(write: Callable[[bytes], object]) -> tuple[Callable[..., None], Callable[[], None]]:
    """What writes events as lines of JSON, some at a time, and what writes those that wait."""
    waiting: list[bytes] = []

    def say(event: str, **fields: Any) -> None:
        kept = {name: value for name, value in fields.items() if value is not None}
        waiting.append(_encode({"at": time.time(), "event": event, "pid": os.getpid(), **kept}))
        if event != "request" or len(waiting) >= 100:
            flush()

    def flush() -> None:
        if waiting:
            write(b"\n".join(waiting) + b"\n")
            waiting.clear()

    return say, flush
