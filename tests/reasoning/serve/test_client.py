"""A client's connection: what is sent together, and what has to come in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from reasoning.backends.scripted import Scripted
from reasoning.clock import Handle, RealClock
from reasoning.serve.app import Service
from reasoning.serve.client import _Wire
from reasoning.serve.desk import Settings
from reasoning.serve.running import Server

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


class Alarm:
    """One of a clock's alarms."""

    def __init__(self, among: dict[object, Any]) -> None:
        self.among = among

    def cancel(self) -> None:
        self.among.pop(self, None)


class Hand(RealClock):
    """A clock whose alarms ring when the test says so."""

    def __init__(self) -> None:
        self.alarms: dict[object, tuple[float, Callable[[], object]]] = {}

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        alarm = Alarm(self.alarms)
        self.alarms[alarm] = delay, callback
        return alarm

    def ring(self, delay: float) -> None:
        for alarm, (seconds, callback) in list(self.alarms.items()):
            if seconds == delay:
                del self.alarms[alarm]
                callback()


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
    clock.ring(0.05)
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
    clock.ring(0.05)
    assert line.sent == []


def raw(listening: Any, asked: bytes, most: int = -1) -> bytes:
    """What comes back; all of it, or in one read of so many bytes."""

    async def work() -> bytes:
        async with listening() as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked)
            found = await reader.read(most)
            writer.close()
            return found

    return asyncio.run(work())


def request(**body: Any) -> bytes:
    data = json.dumps({"model": "sample", "messages": ASKED, **body})
    return f"{HEAD}Content-Length: {len(data)}\r\n\r\n{data}".encode()


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_comes_at_once_is_sent_at_once(
    listening: Any, monkeypatch: pytest.MonkeyPatch, clock: Hand, stream: bool
) -> None:
    """The head and all of the body in one packet, which is what one read finds."""
    monkeypatch.setattr("reasoning.serve.running.PatientClock", lambda: clock)
    found = raw(listening, request(stream=stream), most=1 << 16)
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n" if stream else b"}")


def test_a_body_that_does_not_come_is_refused(
    listening: Any, monkeypatch: pytest.MonkeyPatch, clock: Hand
) -> None:
    waits = f"{HEAD}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    found = late(listening, monkeypatch, clock, waits, b"100 Continue\r\n\r\n")
    head, _, body = found.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert "body" in json.loads(body)["error"]["message"]


def test_a_body_that_nobody_reads_any_more_has_to_end_in_time_too(
    listening: Any, monkeypatch: pytest.MonkeyPatch, clock: Hand
) -> None:
    """An answer that came before the body was whole stays the only one."""
    text = HEAD.replace("application/json", "text/plain") + "Content-Length: 9\r\n\r\n{"
    assert late(listening, monkeypatch, clock, text, b'"code":null}}') == b""


def late(
    listening: Any, monkeypatch: pytest.MonkeyPatch, clock: Hand, asked: str, until: bytes
) -> bytes:
    """What comes behind `until` where what is asked for is late from then on."""
    monkeypatch.setattr("reasoning.serve.running.PatientClock", lambda: clock)

    async def work() -> bytes:
        async with listening(settings=Settings(port=0, reading=7.0)) as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked.encode())
            await reader.readuntil(until)
            clock.ring(7.0)
            found = await reader.read()
            writer.close()
            return found

    return asyncio.run(work())


def test_half_a_request_is_not_late_while_the_one_before_is_answered(
    listening: Any, monkeypatch: pytest.MonkeyPatch, clock: Hand
) -> None:
    """The stream before it goes on, and nothing is written into it."""
    monkeypatch.setattr("reasoning.serve.running.PatientClock", lambda: clock)

    class Slow(Scripted):
        async def generate(self, *args: Any, **named: Any) -> Any:
            began.set()
            await go_on.wait()
            return await super().generate(*args, **named)

    async def work() -> tuple[bytes, bytes]:
        async with listening(Slow(["7"]), settings=Settings(port=0, reading=7.0)) as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(stream=True) + HEAD.encode())
            await began.wait()
            clock.ring(7.0)
            go_on.set()
            stream = await reader.readuntil(b"\r\n0\r\n\r\n")
            clock.ring(7.0)
            rest = await reader.read()
            writer.close()
            return stream, rest

    began, go_on = asyncio.Event(), asyncio.Event()
    stream, rest = asyncio.run(work())
    assert stream.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"[DONE]" in stream
    assert b"HTTP/1.1" not in stream[1:]
    assert rest.startswith(b"HTTP/1.1 408")


def test_an_answer_without_a_body_is_sent(listening: Any) -> None:
    head = "HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    found = raw(listening, head.encode())
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(b"\r\n\r\n")


def test_a_head_is_not_as_long_as_what_it_came_with(listening: Any) -> None:
    """The end of a long body and the beginning of the next request, in one read."""
    long = request(messages=[{"role": "user", "content": "a" * 100_000}])
    last = request().replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    async def work() -> bytes:
        async with listening() as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(long + last[:20])
            found = await reader.readuntil(b"}}}")
            writer.write(last[20:])
            found += await reader.read()
            writer.close()
            return found

    assert asyncio.run(work()).count(b"HTTP/1.1 200 OK\r\n") == 2


def test_answers_come_in_the_order_of_their_requests(listening: Any) -> None:
    """Of several that were sent at once, whole and as streams."""
    asked = [request(stream=True), request(), request(stream=True), request()]
    asked[-1] = asked[-1].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    found = raw(listening, b"".join(asked)).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [b"[DONE]" in answer for answer in found] == [True, False, True, False]


@pytest.mark.parametrize(
    ("asked", "rest"),
    [
        (HEAD + "Content-Length: 2\r\n\r\n{}", b"\r\n"),
        (HEAD.replace("application/json", "text/plain") + "Content-Length: 2\r\n\r\n{", b"}"),
    ],
    ids=["an empty line", "the rest of what was refused"],
)
def test_what_comes_behind_an_answer_and_asks_nothing_keeps_no_connection(
    listening: Any, monkeypatch: pytest.MonkeyPatch, clock: Hand, asked: str, rest: bytes
) -> None:
    monkeypatch.setattr("reasoning.serve.running.PatientClock", lambda: clock)

    async def work() -> bytes:
        async with listening() as url:
            port = int(url.rpartition(":")[2].partition("/")[0])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked.encode())
            await reader.readuntil(b"}}")
            before = set(clock.alarms)
            writer.write(rest)
            while before <= clock.alarms.keys():  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0)  # it has not been read
            (seconds,) = {delay for delay, _ in clock.alarms.values()}
            clock.ring(seconds)
            found = await reader.read()
            writer.close()
            return found

    assert asyncio.run(work()) == b""


def ended(offers: Any, generator: Any, asked: bytes, under_way: Callable[[Any], bool]) -> bytes:
    """What comes back where the server is told to end twice once something is under way."""

    async def work() -> bytes:
        up, found = asyncio.Event(), offers(generator)
        server = Server(Service(found, Settings(port=0)), up.set)
        async with found.open():
            serving = asyncio.create_task(server.serve())
            await up.wait()
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
            writer.write(asked)
            while not under_way(server):  # noqa: ASYNC110 (nobody tells of it)
                await asyncio.sleep(0)
            server._end()
            server._end()
            await serving
            await server.give_up()
            assert not server.server_state.tasks
        found = await reader.read()
        writer.close()
        return found

    return asyncio.run(work())


class Never(Scripted):
    """Has been asked so often, and does not answer."""

    asked = 0

    async def generate(self, *args: Any, **named: Any) -> Any:
        self.asked += 1
        await asyncio.Event().wait()


@pytest.mark.parametrize("stream", [False, True])
def test_told_twice_to_end_a_server_gives_up_what_runs_and_begins_nothing(
    offers: Any, stream: bool
) -> None:
    model = Never(["7"])
    asked = request(stream=stream) + request()
    found = ended(offers, model, asked, lambda _: bool(model.asked))
    assert found.count(b"HTTP/1.1") == 1
    assert b'"code":"ending"' in found
    assert model.asked == 1


def test_a_client_that_does_not_read_keeps_no_server_from_its_end(offers: Any) -> None:
    class Long(Scripted):
        async def generate(self, prompt: Any, params: Any, *, seed: int, meter: Any) -> Any:
            while True:
                prompt.hear("long " * 10_000)
                await asyncio.sleep(0)

    def unread(server: Any) -> bool:
        return any(client.flow.write_paused for client in server.server_state.connections)

    found = ended(offers, Long(["7"]), request(stream=True), unread)
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"ending" not in found
