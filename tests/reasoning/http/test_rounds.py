"""Streams that nobody looks at are read in rounds: at a bounded rate, in turn, and to their end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from reasoning.http import rounds
from reasoning.http.connection import Connection, Reply
from reasoning.http.rounds import Rounds
from reasoning.testing.hand_clock import HandClock

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b"data: {}\n\n"
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


class Toy:
    def __init__(self, looks: int = 10**9, able: bool = True) -> None:
        self.left, self.able, self.looks = looks, able, 0

    def rest(self) -> bool:
        return self.able

    def look(self) -> bool:
        self.looks += 1
        return self.looks < self.left


def test_so_many_are_read_in_a_tick_and_all_in_turn() -> None:
    clock, toys = HandClock(), [Toy() for _ in range(70)]
    turns = Rounds(toys, clock)
    for toy in toys:
        turns.offer(toy, age=1.0)
    for tick in range(1, 8):
        clock.move(rounds._TICK)
        assert sum(toy.looks for toy in toys) == tick * rounds._MANY
    assert [toy.looks for toy in toys] == [2] * 70
    assert not clock.move(0.0)


def test_who_is_done_is_read_no_more_and_then_nothing_ticks() -> None:
    clock, toys = HandClock(), [Toy(looks=3) for _ in range(rounds._MANY)]
    turns = Rounds(toys, clock)
    for toy in toys:
        turns.offer(toy, age=1.0)
    for _ in range(9):
        clock.move(rounds._TICK)
    assert {toy.looks for toy in toys} == {3}
    assert not clock._alarms


@pytest.mark.parametrize(
    ("live", "age", "able"),
    [
        (rounds._MANY - 1, 100.0, True),
        (40, 10 * 2 * rounds._TICK * 0.99, True),
        (40, 100.0, False),
    ],
    ids=["few", "young", "TLS"],
)
def test_who_does_not_wait(live: int, age: float, able: bool) -> None:
    clock, toy = HandClock(), Toy(able=able)
    Rounds(range(live), clock).offer(toy, age)
    clock.move(1.0)
    assert toy.looks == 0


class Pair:
    """A connection over a pair of sockets that rests from the second event on."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.near, self.far = socket.socketpair()
        self.reply = Reply(patient=True)

    async def begin(self) -> None:
        loop = asyncio.get_running_loop()
        _, self.connection = await loop.create_connection(
            lambda: Connection(self.clock.now), sock=self.near
        )
        self.connection.rounds = Rounds(range(100), self.clock)
        self.connection.send(b"GET / HTTP/1.1\r\n\r\n", self.reply)
        self.clock.move(100.0)
        await self.sent(HEAD + CHUNK, lambda: self.connection._resting)

    async def sent(self, data: bytes, until: Callable[[], bool]) -> None:
        self.far.sendall(data)
        while not until():  # noqa: ASYNC110  # the loop has to turn, and nobody tells
            await asyncio.sleep(0)

    def tick(self) -> None:
        self.clock.move(rounds._TICK)


def test_a_stream_is_read_to_its_end_and_the_connection_serves_again() -> None:
    async def work() -> None:
        pair = Pair()
        await pair.begin()
        for number in range(2, 5):
            pair.far.sendall(CHUNK * 10)
            await asyncio.sleep(0)
            assert len(pair.reply.body) == (10 * (number - 2) + 1) * len(EVENT)
            pair.tick()
        pair.far.sendall(CHUNK + b"0\r\n\r\n")
        pair.tick()
        await pair.reply.finished
        assert pair.reply.whole
        assert pair.reply.body == EVENT * 32
        assert pair.connection.usable
        again = Reply()
        pair.connection.send(b"GET / HTTP/1.1\r\n\r\n", again)
        await pair.sent(HEAD + CHUNK + b"0\r\n\r\n", again.finished.done)
        assert again.body == EVENT
        pair.connection.close()
        await asyncio.sleep(0)
        pair.far.close()

    asyncio.run(work())


def test_what_has_come_is_known_when_a_stream_is_left() -> None:
    async def work() -> None:
        pair = Pair()
        await pair.begin()
        pair.far.sendall(CHUNK * 3)
        pair.connection.close()
        assert pair.reply.body == EVENT * 4
        await asyncio.sleep(0)
        pair.tick()
        pair.far.close()

    asyncio.run(work())


def test_a_stream_that_breaks_says_so() -> None:
    async def work() -> None:
        pair = Pair()
        await pair.begin()
        pair.far.sendall(CHUNK)
        pair.far.close()
        pair.tick()
        pair.tick()
        with pytest.raises(ConnectionError, match="broke after 20 bytes"):
            await pair.reply.finished

    asyncio.run(work())
