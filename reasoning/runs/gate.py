"""How many calls a run has in flight: who may call next, and when another problem is begun."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from heapq import heappop, heappush
from itertools import count

from reasoning.clock import VirtualClock
from reasoning.generate import Generator, Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.tree import FloatArray, Sample
from reasoning.wrapping import Wrapping

TURNS = 100
"""Of the event loop that a new problem has to make its first calls before the next may begin."""


class Gate:
    """Lets `most` calls through at a time, those of the earliest problem first.

    So a problem that has begun is ended before later ones get far, its races start together as far
    as they can, and few problems are in progress at a time: another one begins only where all the
    calls that those before it ask for leave room. What passes is the same in whatever order.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = 0
        self._line: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = count()
        self._arrived = 0
        self._open = 0
        self._left = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether there are calls enough, or problems enough that may make some."""
        return self.running + len(self._line) >= self.most or self._open >= self.most

    async def room(self) -> None:
        """Wait until another problem may begin."""
        before, turns = self._arrived, 0
        while self._arrived == before and self._open and turns < TURNS and not self.full:
            turns += 1
            await asyncio.sleep(0)
        while self.full:
            self._left.clear()
            await self._left.wait()

    def begin(self) -> None:
        """A problem begins; `end` tells that it is over."""
        self._open += 1

    def end(self) -> None:
        self._open -= 1
        self._left.set()

    def call(self, place: int, *, waits: bool = True) -> AbstractAsyncContextManager[None]:
        """Room for one call of the `place`-th problem; it is counted even if it never `waits`."""
        return _Call(self, place, waits)

    async def _wait(self, place: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mine = (place, next(self._arrivals), turn)
        heappush(self._line, mine)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._line = [other for other in self._line if other is not mine]
                self._line.sort()
                self._left.set()
            else:  # let in and cancelled at once
                self._leave()
            raise

    def _leave(self) -> None:
        self.running -= 1
        self._admit()
        self._left.set()

    def _admit(self) -> None:
        while self._line and self.running < self.most:
            *_, turn = heappop(self._line)
            if not turn.done():
                self.running += 1
                turn.set_result(None)


class _Call(AbstractAsyncContextManager[None]):
    """One call on its way through a gate. (A generator would cost as much as all that it does.)"""

    __slots__ = ("gate", "place", "waits")

    def __init__(self, gate: Gate, place: int, waits: bool) -> None:
        self.gate = gate
        self.place = place
        self.waits = waits

    async def __aenter__(self) -> None:
        self.gate._arrived += 1
        if self.waits:
            await self.gate._wait(self.place)
        else:
            self.gate.running += 1

    async def __aexit__(self, *_: object) -> None:
        self.gate._leave()


class Gated(Wrapping):
    """A generator whose calls go through a gate, each with the place of its problem in the run.

    In virtual time nobody is kept busy, and nobody waits: its races come out as they would alone.
    """

    def __init__(self, generator: Generator, gate: Gate, places: Mapping[str, int]) -> None:
        super().__init__(generator)
        self._gate = gate
        self._places = places

    async def generate(
        self, prompt: Prompt, params: Sampling, *, seed: int, meter: Meter
    ) -> Sample:
        async with self._call(prompt.problem):
            return await self.generator.generate(prompt, params, seed=seed, meter=meter)

    async def score_text(
        self, prompt: Prompt, sample: Sample, *, question: bool, meter: Meter
    ) -> FloatArray:
        async with self._call(prompt.problem):
            return await self.generator.score_text(prompt, sample, question=question, meter=meter)

    def _call(self, problem: Problem) -> AbstractAsyncContextManager[None]:
        virtual = isinstance(self.generator.clock(problem), VirtualClock)
        return self._gate.call(self._places.get(problem.id, 0), waits=not virtual)
