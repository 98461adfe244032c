"""One client's connection: uvicorn's, which bounds the head of a request and tells of a leave."""

from __future__ import annotations

from asyncio import Transport
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reasoning.clock import Clock, Handle, PatientClock
from reasoning.http.reading import dumps
from reasoning.serve.refusal import RequestError
from reasoning.serve.searching import LEFT

HOLD = "reasoning.hold"
"""The extension of a server that can send the head of an answer together with the first of its
body: called before the answer begins, with the seconds for which the head may wait. None at all: it
is written in the same step."""
HEAD = 1 << 16
"""Bytes of a request's head, at most."""


class _Wire:
    """A client's transport, which can hold the head of an answer back for what comes next."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing
        self._clock = clock
        self._patience: float | None = None
        self._held = b""
        self._alarm: Handle | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def hold(self, seconds: float) -> None:
        """What is written next goes out with what comes behind it, but so much later at most."""
        self._patience = seconds

    def write(self, data: bytes) -> None:
        if self._patience is not None:
            if self._patience:
                self._alarm = self._clock.call_later(self._patience, self._let_go)
            self._held, self._patience = self._held + data, None
        elif self._held:
            self._let_go(data)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Nothing more comes."""
        if self._held:
            self._let_go()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def _let_go(self, more: bytes = b"") -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        held, self._held = self._held, b""
        if not self.is_closing():
            self._transport.write(held + more)


class Client(HttpToolsProtocol):
    """Tells what runs for the client at once that it has left."""

    seconds = 30.0
    """In which a request has to come."""
    clock = PatientClock()
    """For alarms that hardly ever ring, two of every request."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        alarms: Any = SimpleNamespace(
            create_task=self.loop.create_task, call_later=self.clock.call_later
        )
        self.loop = alarms  # of which uvicorn asks nothing else
        self._extensions: dict[str, Any] = {LEFT: set()}
        self._coming = True  # a request is, or the first one has not begun
        self._has_head = False
        self._behind = False  # it begins in what has brought the end of another
        self._size = 0
        self._late: Handle | None = self.clock.call_later(self.seconds, self._is_late)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wire = _Wire(transport, self.clock)
        self.transport = cast(Transport, self._wire)
        self._extensions[HOLD] = self._wire.hold

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._coming, self._has_head, self._size = True, False, 0

    def on_headers_complete(self) -> None:
        self._has_head = True
        self.scope["extensions"] = self._extensions
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._wire.flush()  # the answer to HEAD has no body
        super().on_response_complete()

    def on_message_complete(self) -> None:
        self._coming, self._behind = False, True
        if self._late is not None:
            self._late.cancel()
            self._late = None
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._behind = False
        super().data_received(data)
        if not self._coming:
            self._stay()
            return
        if not (self._has_head or self._behind):
            self._size += len(data)
        if self._size > HEAD:
            self._refuse(f"the head of the request has more than {HEAD:,} bytes", 431)
        elif self._late is None:
            self._late = self.clock.call_later(self.seconds, self._is_late)

    def _stay(self) -> None:
        """What came last is no request, or the rest of one that has been answered: uvicorn, which
        has taken its alarm off, does not set it again."""
        if self.cycle.response_complete and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def give_up(self) -> None:
        """The server ends now: nothing more is begun, and who does not read is not waited for."""
        self.pipeline.clear()
        if self.flow.write_paused:
            self._wire.abort()

    def _is_late(self) -> None:
        before = self.cycle is not None and not (self.cycle.response_complete or self._has_head)
        if before or self.pipeline:  # the answer to an earlier request is under way
            self._late = self.clock.call_later(self.seconds, self._is_late)
            return
        part = "body" if self._has_head else "head"
        self._refuse(f"the {part} of the request has not come in time", 408)

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
        """Answer in the place of the endpoint, unless that does by now, and hang up."""
        if self.transport.is_closing():
            return
        answered = self.cycle is not None and self.cycle.response_started
        if not answered or (self.cycle.response_complete and not self._has_head):
            body = dumps(RequestError(why, status=status).body)
            lines = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            lines += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            self.transport.write(f"{lines}connection: close\r\n\r\n".encode() + body)
        self.transport.close()
