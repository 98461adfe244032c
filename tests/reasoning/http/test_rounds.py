"""Streams that nobody looks at are read in rounds: at a bounded rate, in turn, and to their end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from itertools import pairwise

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
    clock, toys = HandClock(), [Toy() for _ in range(200)]
    clock.move(100.0)
    turns = Rounds(toys, clock)
    for toy in toys:
        turns.offer(toy, age=1.0)
    looks = []
    for _ in range(40):
        clock.move(rounds._TICK)
        looks.append(sum(toy.looks for toy in toys))
    assert max(b - a for a, b in pairwise([0, *looks])) == rounds._MOST
    every = 200 // rounds._OFTEN  # ticks
    assert {toy.looks for toy in toys} <= {40 // every - 1, 40 // every}
    clock.move(0.0)


def test_a_stream_waits_a_tenth_of_its_age_at_most() -> None:
    clock, toy = HandClock(), Toy()
    seen: list[float] = []
    toy.look = lambda: not seen.append(clock.now())  # type: ignore[method-assign,func-returns-value]
    Rounds(range(1000), clock).offer(toy, age=1.0)
    for _ in range(200):
        clock.move(rounds._TICK)
    waits = [b - a for a, b in pairwise([0.0, *seen])]
    ages = [1.0 + at for at in [0.0, *seen]]
    assert all(w <= a * rounds._LATE + rounds._TICK for w, a in zip(waits, ages, strict=False))
    assert waits[0] < 0.11 < waits[-1] <= 1000 / rounds._OFTEN * rounds._TICK + rounds._TICK
    assert len(seen) < 15


def test_who_is_done_is_read_no_more_and_then_nothing_ticks() -> None:
    clock, toys = HandClock(), [Toy(looks=3) for _ in range(rounds._MANY)]
    turns = Rounds(toys, clock)
    for toy in toys:
        turns.offer(toy, age=1.0)
    for _ in range(20):
        clock.move(rounds._TICK)
    assert {toy.looks for toy in toys} == {3}
    assert not clock._alarms


@pytest.mark.parametrize(
    ("live", "age", "able"),
    [
        (rounds._MANY - 1, 100.0, True),
        (rounds._MOST, rounds._TICK / rounds._LATE * 0.99, True),
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
        self.clock.move(1.0)
        await self.sent(HEAD + CHUNK, lambda: self.connection._resting)

    async def sent(self, data: bytes, until: Callable[[], bool]) -> None:
        self.far.sendall(data)
        while not until():  # noqa: ASYNC110  # the loop has to turn, and nobody tells
            await asyncio.sleep(0)

    def tick(self) -> None:
        """So long that it is read, and that nothing more is found."""
        for _ in range(2 * 100 // rounds._OFTEN + 2):
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


def test_pieces_are_parsed_together_and_silence_counts_from_the_last() -> None:
    """What is held is looked at before anyone says that the server is silent."""

    async def work() -> None:
        pair = Pair()
        await pair.begin()
        pair.far.sendall(CHUNK * 3)
        for _ in range(100 // rounds._OFTEN + 1):
            pair.clock.move(rounds._TICK)
        assert pair.reply.body == EVENT, "held, to be parsed with what comes next"
        assert pair.connection.heard == pair.clock.now()
        assert pair.reply.body == EVENT * 4
        pair.connection.close()
        await asyncio.sleep(0)
        pair.far.close()

    asyncio.run(work())


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nx-more: 1\r\n\r\n"], ids=["plain", "trailer"])
def test_the_end_is_seen_whatever_it_looks_like(end: bytes) -> None:
    async def work() -> None:
        pair = Pair()
        await pair.begin()
        pair.far.sendall(CHUNK + end)
        pair.tick()
        await asyncio.wait_for(pair.reply.finished, 10)
        assert pair.reply.body == EVENT * 2
        pair.connection.close()
        await asyncio.sleep(0)
        pair.far.close()

    asyncio.run(work())
