"""Time, real or virtual.

A search reads the clock of its generator. Engines run in real time; replayed samples run in
virtual time, where a token takes a tick, so that racing strategies see the order and pay the
costs they would live, in no time at all and the same way on every machine.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from pydantic import Field

Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Speed: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""Tokens a second, in one stream."""


class Handle(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """What a search needs of time; `now` and delays are seconds (ticks, if virtual)."""

    def now(self) -> float: ...
    async def sleep(self, delay: float) -> None: ...
    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle: ...


class RealClock:
    """The system's time, and the running event loop's alarms."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        return asyncio.get_running_loop().call_later(delay, callback)


class PatientClock(RealClock):
    """Real time, for alarms of few different delays which hardly ever ring; for one event loop.

    Of alarms with the same delay those set first are due first, so that one timer of the loop is
    enough for all of them, and to set one and take it off takes a third of the time.
    """

    def __init__(self) -> None:
        self._lines: dict[float, dict[_Waiting, None]] = {}

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        line = self._lines.get(delay)
        if line is None:
            line = self._lines[delay] = {}
            super().call_later(delay, partial(self._ring, delay))
        alarm = _Waiting(line, self.now() + delay, callback)
        line[alarm] = None
        return alarm

    def _ring(self, delay: float) -> None:
        """Ring what is due; the first of the others says when to look again."""
        line, now = self._lines[delay], self.now()
        try:
            for alarm in list(itertools.takewhile(lambda alarm: alarm.due <= now, line)):
                if line.pop(alarm, alarm) is None:  # unless another one has taken it off just now
                    alarm.callback()
        finally:  # what goes wrong in one of them is no reason for the others not to ring
            if line:
                super().call_later(next(iter(line)).due - now, partial(self._ring, delay))
            else:
                del self._lines[delay]


class _Waiting:
    """An entry of a patient clock's line."""

    __slots__ = ("callback", "due", "line")

    def __init__(
        self, line: dict[_Waiting, None], due: float, callback: Callable[[], object]
    ) -> None:
        self.line = line
        self.due = due
        self.callback = callback

    def cancel(self) -> None:
        self.line.pop(self, None)
        self.callback = int  # whose it was may keep this, and would be in a cycle


class _Alarm:
    """An entry of a virtual clock's agenda."""

    __slots__ = ("callback", "clock")

    def __init__(self, clock: VirtualClock, callback: Callable[[], object] | None) -> None:
        self.clock = clock
        self.callback = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """Time that jumps to the next sleeper once everything else that could run has run.

    A clock belongs to one problem: others neither delay nor hasten it. While `hold` is in force
    (work goes on outside the event loop) time stands still. An alarm set by `call_later`, a
    deadline say, rings when sleepers carry time past it, but nobody waits for it alone.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._agenda: list[tuple[float, int, _Alarm]] = []
        self._count = itertools.count()
        self._sleepers = 0
        self._holds = 0

    def now(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        alarm = _Alarm(self, callback)
        heapq.heappush(self._agenda, (self._now + max(0.0, delay), next(self._count), alarm))
        return alarm

    async def sleep(self, delay: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        handle = self.call_later(delay, wake)
        self._sleepers += 1
        _Driver.here().watch(self)
        try:
            await future
        finally:
            self._sleepers -= 1
            handle.cancel()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Stop time while real work is awaited."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._sleepers:
                _Driver.here().watch(self)

    @property
    def stuck(self) -> bool:
        """Nobody sleeps, or time is held: there is nothing to advance to."""
        return not self._sleepers or self._holds > 0

    def advance(self) -> None:
        """Jump to the next entry; ring all that is due at that moment, in the order it was set."""
        while self._agenda and self._agenda[0][2].callback is None:
            heapq.heappop(self._agenda)
        if not self._agenda:
            return
        self._now = self._agenda[0][0]
        while self._agenda and self._agenda[0][0] <= self._now:
            callback = heapq.heappop(self._agenda)[2].callback
            if callback is not None:
                callback()


class ClockPerProblem:
    """Virtual clocks by problem id, each kept for as long as a search uses it."""

    def __init__(self) -> None:
        self._clocks: WeakValueDictionary[str, VirtualClock] = WeakValueDictionary()

    def adopt(self, problem_id: str, clock: Clock) -> None:
        """Take another's clock for a problem."""
        if isinstance(clock, VirtualClock):
            self._clocks[problem_id] = clock

    def __call__(self, problem_id: str) -> VirtualClock:
        clock = self._clocks.get(problem_id)
        if clock is None:
            clock = self._clocks[problem_id] = VirtualClock()
        return clock


class _Driver:
    """Moves the virtual clocks of one event loop whenever that loop has nothing else to run."""

    _PATIENCE = 50  # idle turns that mean quiet on loops that hide their queue (uvloop)

    def __init__(self) -> None:
        # Insertion-ordered, so that clocks move in the order in which they began to wait.
        self._clocks: dict[VirtualClock, None] = {}
        self._polling = False
        self._turns = 0

    @classmethod
    def here(cls) -> _Driver:
        loop = asyncio.get_running_loop()
        driver = _drivers.get(loop)
        if driver is None:
            driver = _drivers[loop] = cls()
        return driver

    def watch(self, clock: VirtualClock) -> None:
        self._clocks[clock] = None
        self._turns = 0
        if not self._polling:
            self._polling = True
            asyncio.get_running_loop().call_soon(self._poll)

    def _poll(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self._turns += 1
        ready = getattr(loop, "_ready", None)
        if self._turns > self._PATIENCE if ready is None else not ready:
            self._turns = 0
            for clock in [clock for clock in self._clocks if clock.stuck]:
                del self._clocks[clock]
            for clock in list(self._clocks):
                clock.advance()
        self._polling = bool(self._clocks)
        if self._polling:
            loop.call_soon(self._poll)


_drivers: WeakKeyDictionary[asyncio.AbstractEventLoop, _Driver] = WeakKeyDictionary()


async def stream(
    tokens: int, token_seconds: float, clock: Clock, meter: Callable[[int], None]
) -> None:
    """Let `tokens` arrive one after another; if cancelled, those that had arrived are metered."""
    if not token_seconds:
        meter(tokens)
        return
    start = clock.now()
    try:
        await clock.sleep(tokens * token_seconds)
    except asyncio.CancelledError:
        meter(min(tokens, int((clock.now() - start) / token_seconds + 1e-6)))
        raise
    meter(tokens)


class Deadline:
    """`with Deadline(clock, seconds) as deadline`: cancel the body, of a task, once time is up.

    Leaving the block swallows that cancellation, and `expired` tells. Cancellations from outside
    pass through. None means no deadline.
    """

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self.expired = False
        self._clock = clock
        self._seconds = seconds
        self._handle: Handle | None = None

    def __enter__(self) -> Deadline:
        if self._seconds is not None:
            task = asyncio.current_task()
            assert task is not None, "a deadline needs a task to cancel"
            self._task, self._cancelling = task, task.cancelling()
            self._handle = self._clock.call_later(self._seconds, self._expire)
        return self

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if self._handle is not None:
            self._handle.cancel()
        if not self.expired:
            return False
        outside = self._task.uncancel() > self._cancelling
        return not outside and kind is not None and issubclass(kind, asyncio.CancelledError)
