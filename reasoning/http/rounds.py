"""Streams that nobody looks at before their end are read in rounds, several events of each at once.

To be woken for an event costs a client more than all that it does with it. So where many such
streams are open, the loop does not watch them: what has come waits in the socket, and every few
milliseconds some of them are read, those first that were read longest ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from typing import Protocol

from reasoning.clock import Clock

_TICK = 0.005
_MANY = 20
"""Streams that are read in a tick. Where there are fewer in all, none waits."""
_AGE = 10
"""A stream waits when it is so many rounds old, so that its end is known a tenth late at most."""


class Stream(Protocol):
    """What can be read without being watched."""

    def rest(self) -> bool:
        """Watch it no longer; False if that cannot be."""

    def look(self) -> bool:
        """Take in what has come; whether it still rests."""


class Rounds:
    """The streams that are read in rounds, among `live`, all that carry a call."""

    def __init__(self, live: Sized, clock: Clock) -> None:
        self._live = live
        self._clock = clock
        self._resting: deque[Stream] = deque()

    def offer(self, stream: Stream, age: float) -> None:
        """Something of a stream has come, `age` seconds after it was asked for."""
        many = len(self._live)
        if many < _MANY or age < _AGE * _TICK * many / _MANY or not stream.rest():
            return
        if not self._resting:
            self._clock.call_later(_TICK, self._read)
        self._resting.append(stream)

    def _read(self) -> None:
        for _ in range(min(_MANY, len(self._resting))):
            stream = self._resting.popleft()
            if stream.look():
                self._resting.append(stream)
        if self._resting:
            self._clock.call_later(_TICK, self._read)
