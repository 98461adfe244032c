"""What a hostile server may send without end is bounded: in bytes, and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reasoning.http import connection as http
from reasoning.http.connection import Connection, Reply


class Line:
    """A connection whose bytes come from the test, in a time that the test moves."""

    def __init__(self, watch: Callable[[Reply], bool] | None = None) -> None:
        self.time = 0.0
        self.closed = False
        self.connection = Connection(lambda: self.time)
        self.connection.connection_made(self)  # type: ignore[arg-type]
        self.reply = Reply(watch)
        self.connection.send(b"GET / HTTP/1.1\r\n\r\n", self.reply)

    def write(self, data: bytes) -> None:
        """As a transport: what is asked does not matter here."""

    def abort(self) -> None:
        self.closed = True

    def feed(self, data: bytes) -> bool:
        """Whether the connection would take more."""
        self.connection.data_received(data)
        return not self.reply.finished.done()


def begun(kind: str, status: int = 200) -> bytes:
    lines = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
    return lines.encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def until_it_ends(line: Line, pieces: Iterator[bytes], most: int) -> int:
    """Bytes that went through until the connection had enough."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if not line.feed(piece):
            return size
        assert size < most, "it takes anything"
    raise AssertionError


def repeated(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


HEADERS = {
    "many headers": b"x-more: " + b"y" * 1000 + b"\r\n",
    "one long header": b"y" * 5000,
    "hints ahead": b"",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_lines_before_a_body_are_bounded(kind: str) -> None:
    async def work() -> None:
        line = Line()
        hint = b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n"
        line.feed(b"HTTP/1.1 200 OK\r\nx-a: " if kind != "hints ahead" else hint)
        until_it_ends(line, repeated(HEADERS[kind] or hint * 50), 4 * http.HEAD)
        assert line.closed
        with pytest.raises(ConnectionError, match="bytes of headers came"):
            line.reply.finished.result()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("content", "what"),
    [("application/json", "of an answer"), ("text/event-stream", "in one event")],
)
def test_a_body_is_bounded(content: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY", 1 << 20)
    monkeypatch.setattr(http, "LINE", 1 << 20)

    async def work() -> None:
        line = Line()
        line.feed(begun(content))
        until_it_ends(line, repeated(chunk(b"x" * 50_000)), 2 << 20)
        with pytest.raises(ConnectionError, match=rf"more than 1,048,576 bytes {what} came"):
            line.reply.finished.result()

    asyncio.run(work())


def test_a_long_stream_is_no_long_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LINE", 1 << 16)

    def read(reply: Reply) -> bool:
        del reply.body[: reply.body.rfind(b"\n") + 1]
        return False

    async def work() -> None:
        line = Line(read)
        line.feed(begun("text/event-stream"))
        for _ in range(100):
            assert line.feed(chunk(b"data: " + b"x" * 10_000 + b"\n\n"))

    asyncio.run(work())


def test_of_an_error_the_beginning_is_read() -> None:
    async def work() -> None:
        line = Line()
        line.feed(begun("text/html", 500))
        until_it_ends(line, repeated(chunk(b"x" * 50_000)), 2 * http.ERROR)
        assert line.reply.finished.result() is None
        assert line.closed

    asyncio.run(work())


SAID: dict[str, tuple[str, bytes, bool]] = {
    "an event": ("text/event-stream", b"data: {}\n\n", True),
    "an event at the end": ("text/event-stream", b"data: {}\r\n\r\ndata: {", True),
    "a comment": ("text/event-stream", b": still here\n\n", False),
    "empty lines": ("text/event-stream", b"\n\n\n", False),
    "half an event": ("text/event-stream", b"data: {", False),
    "a byte": ("application/json", b"{", False),
    "a portion": ("application/json", b" " * http.PORTION, True),
}


@pytest.mark.parametrize("piece", SAID)
def test_a_server_is_heard_when_it_says_something(piece: str) -> None:
    content, data, heard = SAID[piece]

    async def work() -> None:
        line = Line()
        line.time = 1.0
        line.feed(begun(content))
        assert line.connection.heard == 1.0
        line.time = 2.0
        line.feed(chunk(data))
        assert line.connection.heard == (2.0 if heard else 1.0)

    asyncio.run(work())


@pytest.mark.parametrize("content", ["text/event-stream", "application/json"])
def test_a_drip_is_silence_but_for_what_it_adds_up_to(content: str) -> None:
    """Byte after byte of an event: heard once, when it is whole."""

    async def work() -> None:
        line = Line()
        line.feed(begun(content))
        times: list[Any] = []
        for byte in b"data: {}\n\ndata: {":
            line.time += 1
            line.feed(chunk(bytes([byte])))
            if not times or times[-1] != line.connection.heard:
                times.append(line.connection.heard)
        assert times == ([0.0, 9.0, 10.0] if content == "text/event-stream" else [0.0])

    asyncio.run(work())


def test_what_is_read_goes_into_one_place() -> None:
    space = memoryview(bytearray(64))

    async def work() -> bytes:
        first, second = Line(), Line()
        said = b"HTTP/1.1 200 -\r\ncontent-length: 40\r\n\r\n", b"1" * 20, b"2" * 20
        for line in (first, second):
            line.connection = Connection(lambda: 0.0, space)
            line.connection.connection_made(line)  # type: ignore[arg-type]
            line.connection.send(b"GET / HTTP/1.1\r\n\r\n", line.reply)
        for data in said:
            for line in (first, second):
                line.connection.get_buffer(-1)[: len(data)] = data
                line.connection.buffer_updated(len(data))
        assert first.reply.whole
        assert first.reply.body == second.reply.body
        return bytes(first.reply.body)

    assert asyncio.run(work()) == b"1" * 20 + b"2" * 20
