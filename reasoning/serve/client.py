"""One client's connection: uvicorn's, which bounds the head of a request and tells of a leave."""

from __future__ import annotations

from asyncio import TimerHandle
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reasoning.http.reading import dumps
from reasoning.serve.refusal import RequestError
from reasoning.serve.searching import LEFT

HEAD = 1 << 16
"""Bytes of a request's head, at most."""


class Client(HttpToolsProtocol):
    """Tells what runs for the client at once that it has left."""

    seconds = 30.0
    """In which the head of a request has to come."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._extensions: dict[str, Any] = {LEFT: set()}
        self._open = True  # a head is coming, or the first one has not begun
        self._size = 0
        self._late: TimerHandle | None = self.loop.call_later(self.seconds, self._is_late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._open, self._size = True, 0

    def on_headers_complete(self) -> None:
        self._open = False
        if self._late is not None:
            self._late.cancel()
            self._late = None
        self.scope["extensions"] = self._extensions
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._open:
            return
        self._size += len(data)
        if self._size > HEAD:
            self._refuse(f"the head of the request has more than {HEAD:,} bytes", 431)
        elif self._late is None:
            self._late = self.loop.call_later(self.seconds, self._is_late)

    def _is_late(self) -> None:
        self._refuse("the head of the request has not come in time", 408)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._late is not None:
            self._late.cancel()
        for leave in list(self._extensions[LEFT]):
            leave()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what is no HTTP."""
        del msg
        self._refuse("the request is no HTTP", 400)

    def _refuse(self, why: str, status: int) -> None:
        """Answer before anything runs, and hang up."""
        if self.transport.is_closing():
            return
        body = dumps(RequestError(why, status=status).body)
        lines = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        lines += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{lines}connection: close\r\n\r\n".encode() + body)
        self.transport.close()
