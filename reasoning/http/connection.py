"""One keep-alive HTTP/1.1 connection, and the reply that is read from it.

Parsing is httptools'. A general client costs several times as much CPU a call (measured by
`benchmarks/http.py`), which is more than all the rest of a step of a search.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import cast

import httptools

from reasoning.http.rounds import Rounds

_KEPT = frozenset([b"content-type", b"retry-after", b"date"])
_SAME = {b"llm_provider-retry-after": b"retry-after"}
"""What LiteLLM makes of a header of the server behind it."""

SPACE = 1 << 16
"""Bytes that are read at once, at most."""
HEAD = 1 << 16
"""Bytes of the lines before a body, at most."""
BODY = 1 << 28
"""Bytes of a body that are kept unread, at most: a whole answer with all its log-probabilities."""
LINE = 1 << 26
"""Bytes of a stream that are kept unread, at most: one event."""
ERROR = 1 << 20
"""Bytes of what a server says about an error that are read."""
_OVER = b"0\r\n\r\n"
"""The end of an answer in chunks, as a rule; where it looks otherwise nothing comes behind it."""
PORTION = 1 << 16
"""Bytes of a body that have to come before a server counts as heard again."""
_HELD = 1 << 14
"""Bytes of a stream that is read in rounds which are parsed together."""


class Reply:
    """What a server answers: filled as it comes in, `finished` once it is whole.

    `finished` raises ConnectionError if the connection breaks, TimeoutError if it falls silent.
    `watch`, if given, is called whenever more of the body has come; if it says True the rest is not
    wanted, and the connection is closed. It does not see what a server says about an error. It may
    drop from the body what it has read. `streamed`: it comes as events, a line each. `patient`: it
    does not matter when exactly they are read. `size`: how many bytes came. `before`: when the
    server was heard last before what was read last, such as the end.
    """

    __slots__ = (
        "before",
        "body",
        "enough",
        "finished",
        "headers",
        "patient",
        "size",
        "status",
        "streamed",
        "watch",
        "whole",
    )

    def __init__(
        self, watch: Callable[[Reply], bool] | None = None, *, patient: bool = False
    ) -> None:
        self.watch = watch
        self.patient = patient
        self.clear()

    def clear(self) -> None:
        """Forget what came: the request is sent once more."""
        self.status = 0
        self.size = 0
        self.before = 0.0
        self.headers: dict[bytes, bytes] = {}
        self.body = bytearray()
        self.whole = False
        self.enough = False
        self.streamed = False
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def most(self) -> int:
        """Bytes of the body that may be unread."""
        return LINE if self.streamed else BODY


class Connection(asyncio.BufferedProtocol):
    """Carries one request at a time. `heard` is when the server last said something, by `now`.

    Something is all that stands before a body, an event of a stream, a portion of another body: a
    server that lets bytes drip is silent. `begun`, if set, is told the status of every answer as
    soon as it is known. `rounds`, if set, may read a patient reply. `space` is where bytes are
    read into; connections of one loop may share it. (For other protocols asyncio has 256 KiB of
    memory made for each read, and in some processes glibc has the system map and unmap that each
    time, which costs twice as much as to read: python/cpython#85451.)
    """

    def __init__(self, now: Callable[[], float], space: memoryview | None = None) -> None:
        self.now = now
        self._space = space
        self._heard = now()
        self.begun: Callable[[int], None] | None = None
        self.rounds: Rounds | None = None
        self.usable = True
        """Open, and fit for another request."""
        self.used = False
        """Has carried a request before."""
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._until_closed = True
        self._head = 0
        self._portion = 0
        self._seen = 0
        self._asked = self._heard
        self._resting = False
        self._file = -1
        self._chunked = False
        self._held = bytearray()

    @property
    def heard(self) -> float:
        """Looks at what has come first."""
        self._take_in()
        return self._heard

    def send(self, data: bytes, reply: Reply) -> None:
        """Send a request; `reply` is filled from now on."""
        assert self._transport is not None, "a connection sends after it is made"
        assert self._reply is None, "a connection carries one request at a time"
        self._heard = self._asked = reply.before = self.now()
        self._reply = reply
        self._head = self._portion = self._seen = 0
        self._transport.write(data)

    def fail(self, error: OSError) -> None:
        """Break off: whoever waits for the reply gets `error`."""
        reply, self._reply = self._reply, None
        self.close()
        if reply is not None and not reply.finished.done():
            reply.finished.set_exception(error)

    def close(self) -> None:
        """At once, also for the server: it stops working for a request in flight."""
        if self._resting:  # what has come is there to be read
            self.look()
            self._take_in()
        self.usable = self._resting = False
        self._reply = None
        if self._transport is not None:
            self._transport.abort()

    # Called by the rounds.

    def rest(self) -> bool:
        """Leave what comes in the socket until somebody looks; False if it cannot be read there."""
        assert self._transport is not None
        if os.name != "posix" or self._transport.get_extra_info("ssl_object") is not None:
            return False
        self._file = self._transport.get_extra_info("socket").fileno()
        self._transport.pause_reading()
        self._resting = True
        return True

    def look(self) -> bool:
        """Read what has come meanwhile; whether there may be more."""
        if not self._resting or self.rounds is None:
            return False
        space = self.rounds.space
        try:
            size = os.readv(self._file, [space])
        except BlockingIOError:
            self._take_in()
            return self._resting
        except OSError as error:
            self.connection_lost(error)
            return False
        self._held += space[:size]
        if not size:
            self._wake()  # asyncio will see the end, too
        elif len(self._held) >= _HELD or not self._chunked or self._held.endswith(_OVER):
            self._take_in()
        return self._resting

    def _take_in(self) -> None:
        """Parse what was read in rounds."""
        if self._held:
            data, self._held = self._held, bytearray()
            self.data_received(data)

    def _wake(self) -> None:
        self._take_in()
        self._resting = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        self._space = self._space or memoryview(bytearray(SPACE))
        return self._space

    def buffer_updated(self, nbytes: int) -> None:
        assert self._space is not None, "it was read into"
        self.data_received(self._space[:nbytes])

    def data_received(self, data: bytes | bytearray | memoryview) -> None:
        """Take in what has come; it is not kept."""
        if self._reply is None:  # nothing was asked, or nobody listens any more
            self.close()
            return
        reply, heard = self._reply, self._heard
        reply.size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(ConnectionError(f"the answer is not HTTP ({error})"))
        if self._reply is not None and self._reply.status:
            self._look(self._reply)
            if self.rounds is not None and self._may_rest():
                self.rounds.offer(self, self._heard - self._asked)
        elif self._reply is not None:
            self._head += len(data)
            if self._head > HEAD:
                self.fail(ConnectionError(f"more than {HEAD:,} bytes of headers came"))
        if self._heard != heard:
            reply.before = heard

    def eof_received(self) -> None:
        reply = self._reply
        if reply is not None and reply.status and self._until_closed:
            self.usable = False
            self.on_message_complete()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._take_in()
        self.usable = self._resting = False
        if self._reply is not None:
            begun = f"after {len(self._reply.body)} bytes" if self._reply.status else "unanswered"
            self.fail(ConnectionError(f"the connection broke {begun}"))

    # Called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._until_closed = False
            self._chunked = b"chunked" in value.lower()
        name = _SAME.get(name, name)
        if name in _KEPT and self._reply is not None:
            self._reply.headers[name] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._reply is None or status < 200:  # hints ahead of the answer
            return
        self._reply.status = status
        self._reply.streamed = b"event-stream" in self._reply.headers.get(b"content-type", b"")
        self._heard = self.now()
        if self.begun is not None:
            self.begun(status)

    def on_body(self, data: bytes) -> None:
        if self._reply is not None:
            self._reply.body += data

    def _look(self, reply: Reply) -> None:
        """Look at what has come of the body, all pieces of it together."""
        if len(reply.body) == self._seen:
            return
        self._hear(reply)
        if reply.status >= 300:
            if len(reply.body) > ERROR:
                self._leave(reply)
        elif reply.watch is not None and reply.watch(reply):
            self._leave(reply)
        elif len(reply.body) > reply.most:
            what = "in one event" if reply.streamed else "of an answer"
            self.fail(ConnectionError(f"more than {reply.most:,} bytes {what} came"))
        self._seen = len(reply.body)

    def _hear(self, reply: Reply) -> None:
        """Note when the server has said something: comments and empty lines are nothing."""
        body = reply.body
        if not reply.streamed:
            self._portion += len(body) - self._seen
            if self._portion < PORTION:
                return
            self._portion = 0
        else:
            end = body.rfind(b"\n", self._seen)
            while end > 0 and body[end - 1] in b"\r\n":
                end -= 1
            if end < 0 or not body.startswith(b"data:", body.rfind(b"\n", 0, end) + 1):
                return
        self._heard = self.now()

    def _leave(self, reply: Reply) -> None:
        """What has come of the answer is enough."""
        reply.enough = True
        self._reply = None
        self.close()
        if not reply.finished.done():
            reply.finished.set_result(None)

    def _may_rest(self) -> bool:
        reply = self._reply
        return reply is not None and reply.patient and reply.streamed and not self._resting

    def on_message_complete(self) -> None:
        if self._resting:
            self._wake()
        if self._reply is not None and self._reply.status:
            self._look(self._reply)
        reply, self._reply = self._reply, None
        if reply is None or not reply.status:
            self._reply = reply
            return
        self.usable = self.usable and self._parser.should_keep_alive()
        self.used = True
        self._until_closed = True
        reply.whole = True
        if not reply.finished.done():
            reply.finished.set_result(None)
