"""A client's connection: what is sent together, and what has to come in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from reasoning.clock import Handle, RealClock
from reasoning.serve.client import _Wire
from reasoning.serve.desk import Settings

ASKED: Any = [{"role": "user", "content": "What is 3 + 4?"}]
HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


class Line:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


class Hand(RealClock):
    """A clock whose alarms ring when the test says so."""

    def __init__(self) -> None:
        self.alarms: dict[object, tuple[float, Callable[[], object]]] = {}

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        class Alarm:
            def cancel(alarm) -> None:  # noqa: N805
                self.alarms.pop(alarm, None)

        alarm = Alarm()
        self.alarms[alarm] = delay, callback
        return alarm


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def wire(line: Line, clock: Hand) -> _Wire:
    return _Wire(line, clock)  # type: ignore[arg-type]


def test_a_head_that_is_held_goes_out_with_what_follows(
    wire: _Wire, line: Line, clock: Hand
) -> None:
    for _ in range(2):
        wire.hold(0.05)
        wire.write(b"head ")
        assert [delay for delay, _ in clock.alarms.values()] == [0.05]
        wire.write(b"body")
        wire.write(b"more")
        assert not clock.alarms
    assert line.sent == [b"head body", b"more"] * 2


def test_a_head_waits_no_longer_than_it_may(wire: _Wire, line: Line, clock: Hand) -> None:
    wire.hold(0.05)
    wire.write(b"head")
    ((_, ring),) = clock.alarms.values()
    ring()
    wire.write(b"body")
    assert line.sent == [b"head", b"body"]
    assert not clock.alarms


def test_who_hangs_up_has_sent_what_is_held(wire: _Wire, line: Line, clock: Hand) -> None:
    wire.hold(0.0)
    wire.write(b"head")
    assert not clock.alarms, "nobody waits for what is written in the same step"
    wire.close()
    assert (line.sent, line.closed) == ([b"head"], True)


def test_nothing_is_sent_to_a_client_that_has_left(wire: _Wire, line: Line, clock: Hand) -> None:
    wire.hold(0.05)
    wire.write(b"head")
    line.close()
    ((_, ring),) = clock.alarms.values()
    ring()
    assert line.sent == []


def raw(listening: Any, *parts: bytes, most: int = -1, **settings: Any) -> bytes:
    """What comes back where `parts` are sent, each once something has come in answer to the one
    before; of all that, or in one read of so many bytes."""

    async def work() -> bytes:
        async with listening(settings=Settings(port=0, **settings)) as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            found = b""
            for i, part in enumerate(parts):
                found += await reader.read(1) if i else b""
                writer.write(part)
            found += await reader.read(most)
            writer.close()
            return found

    return asyncio.run(work())


def request(**body: Any) -> bytes:
    data = json.dumps({"model": "sample", "messages": ASKED, **body})
    return f"{HEAD}Content-Length: {len(data)}\r\n\r\n{data}".encode()


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_comes_at_once_is_sent_at_once(listening: Any, stream: bool) -> None:
    """The head and all of the body in one packet, which is what one read finds."""
    found = raw(listening, request(stream=stream), most=1 << 16)
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n" if stream else b"}")


def test_a_body_that_does_not_come_is_refused(listening: Any) -> None:
    found = raw(listening, f"{HEAD}Content-Length: 9\r\n\r\n{{".encode(), reading=0.05)
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert "body" in json.loads(body)["error"]["message"]


def test_a_body_that_nobody_reads_any_more_has_to_end_in_time_too(listening: Any) -> None:
    """An answer that came before the body was whole stays the only one."""
    head = HEAD.replace("application/json", "text/plain") + "Content-Length: 9\r\n\r\n{"
    found = raw(listening, head.encode(), reading=0.05)
    assert found.startswith(b"HTTP/1.1 415")
    assert found.count(b"HTTP/1.1") == 1


def test_half_a_request_behind_another_is_no_part_of_its_answer(listening: Any) -> None:
    """The stream before it may still run: nothing is written into that."""
    found = raw(listening, request(stream=True) + HEAD.encode(), reading=0.05)
    stream, *others = found.split(b"HTTP/1.1 ")[1:]
    assert stream.startswith(b"200")
    assert stream.endswith(b"0\r\n\r\n")
    assert [other[:3] for other in others] == [b"408"]
