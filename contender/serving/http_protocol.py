"""HTTP as uvicorn speaks it, with an end to what a client may send before its request begins, and to how long it takes.

uvicorn bounds neither: headers of any length are held in memory, and who sends a letter a minute is waited for.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 << 10
HEAD_SECONDS = 20.0


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose request line and headers are too long, or do not come in time."""

    _awaited: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        if self._awaited is None:
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._came()
        super().on_headers_complete()

    def _await_head(self) -> None:
        self._awaited = self.loop.call_later(HEAD_SECONDS, self._refuse, b"408 Request Timeout")

    def _came(self) -> None:
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None

    def _refuse(self, status: bytes) -> None:
        self._came()
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()
