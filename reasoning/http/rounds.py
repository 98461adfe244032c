"""Streams that nobody looks at before their end are read from time to time, several events at once.

To be woken for an event costs a client more than all that it does with it. So where many such
streams are open, the loop does not watch them: what has come waits in the socket until the stream
has its turn, the more rarely the older it is and the more of them there are.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sized
from typing import Protocol

from reasoning.clock import Clock

_SPACE = 1 << 16
"""Bytes that are read at once, at most."""
_TICK = 0.010
_MOST = 160
"""Streams that are read in a tick, at most."""
_OFTEN = 40
"""Streams that are read in a tick once they are old."""
_MANY = 20
"""Where there are fewer streams in all, none waits."""
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
        self._turns: defaultdict[int, list[tuple[float, Stream]]] = defaultdict(list)
        """By the number of the tick: when each stream was begun, and it."""
        self._due: deque[tuple[float, Stream]] = deque()
        self._at = 0
        self.space = memoryview(bytearray(_SPACE))
        """What is read is put here first: to have memory for each read costs as much as to read."""

    def offer(self, stream: Stream, age: float) -> None:
        """Something of a stream has come, `age` seconds after it was asked for."""
        many = len(self._live)
        if many < _MANY or age * _LATE < _TICK * many / _MOST or not stream.rest():
            return
        now = self._clock.now()
        if not self._turns and not self._due:
            self._at = round(now / _TICK)
            self._clock.call_later(_TICK, self._read)
        self._wait(stream, now - age, now)

    def _wait(self, stream: Stream, begun: float, now: float) -> None:
        age, turn = now - begun, _TICK * len(self._live) / _OFTEN
        wait = max(min(age * _LATE, turn), age * _LITTLE)
        self._turns[max(self._at + 1, round((now + wait) / _TICK))].append((begun, stream))

    def _read(self) -> None:
        now = self._clock.now()
        before, self._at = self._at, round(now / _TICK)
        for tick in range(before + 1, self._at + 1):
            self._due.extend(self._turns.pop(tick, ()))
        for _ in range(min(_MOST, len(self._due))):
            begun, stream = self._due.popleft()
            if stream.look():
                self._wait(stream, begun, now)
        if self._turns or self._due:
            self._clock.call_later(_TICK, self._read)
