"""Streams that nobody looks at before their end are read from time to time, several events at once.

To be woken for an event costs a client more than all that it does with it. So where many such
streams are open, the loop does not watch them: what has come waits in the socket until the stream
has its turn, the more rarely the older it is and the more of them there are.
"""

from __future__ import annotations

from collections.abc import Sized
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from reasoning.clock import Clock

_TICK = 0.005
_MOST = 80
"""Streams that are read in a tick, at most."""
_MANY = 20
"""Streams that are read in a tick once they are old. Where there are fewer in all, none waits."""
_LATE, _LITTLE = 0.1, 0.02
"""Of its age a stream waits so much at most, so that its end is known a tenth late at most; and so
much in any case."""


class Stream(Protocol):
    """What can be read without being watched."""

    def rest(self) -> bool:
        """Watch it no longer; False if that cannot be."""

    def look(self) -> bool:
        """Take in what has come; whether it still rests."""


class Rounds:
    """The streams that are read from time to time, among `live`, all that carry a call."""

    def __init__(self, live: Sized, clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self._resting: list[tuple[float, int, float, Stream]] = []
        self._turns = count()

    def offer(self, stream: Stream, age: float) -> None:
        """Something of a stream has come, `age` seconds after it was asked for."""
        many = len(self._live)
        if many < _MANY or age * _LATE < _TICK * many / _MOST or not stream.rest():
            return
        if not self._resting:
            self._clock.call_later(_TICK, self._read)
        now = self._clock.now()
        self._wait(stream, now - age, now)

    def _wait(self, stream: Stream, begun: float, now: float) -> None:
        age, turn = now - begun, _TICK * len(self._live) / _MANY
        wait = max(min(age * _LATE, turn), age * _LITTLE)
        heappush(self._resting, (now + wait, next(self._turns), begun, stream))

    def _read(self) -> None:
        now = self._clock.now()
        for _ in range(_MOST):
            if not self._resting or self._resting[0][0] > now + _TICK / 2:
                break
            _, _, begun, stream = heappop(self._resting)
            if stream.look():
                self._wait(stream, begun, now)
        if self._resting:
            self._clock.call_later(_TICK, self._read)
