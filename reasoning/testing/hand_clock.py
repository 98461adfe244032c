"""Clocks for code that waits in real time, moved by the test instead of by time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from reasoning.clock import Handle, RealClock

_GLANCE = 0.001
"""Real seconds until it is looked again whether something still goes on outside the loop."""


class _Alarm:
    def __init__(self, time: float, callback: Callable[[], object]) -> None:
        self.time = time
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class HandClock(RealClock):
    """Stands still until `move` is called. `sleep` takes no time."""

    def __init__(self) -> None:
        self._time = 0.0
        self._alarms: list[_Alarm] = []

    def now(self) -> float:
        return self._time

    async def sleep(self, delay: float) -> None:
        del delay
        await asyncio.sleep(0)

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        alarm = _Alarm(self._time + delay, callback)
        self._alarms.append(alarm)
        return alarm

    def move(self, seconds: float) -> None:
        """Let time pass, and ring what is due by then."""
        self._until(self._time + seconds)

    def _until(self, time: float) -> None:
        self._time = time
        due = [alarm for alarm in self._alarms if alarm.time <= time]
        self._alarms = [alarm for alarm in self._alarms if alarm.time > time]
        for alarm in due:
            if alarm.callback is not None:
                alarm.callback()


class HastyClock(HandClock):
    """Jumps to its next alarm once nothing else goes on; what is due first rings first.

    That is once the event loop has nothing to run and `busy` is 0: it counts what goes on outside,
    such as calls to a server in a thread of its own. Alarms that are set for more than `most`
    seconds never ring: limits that are not to be met.
    """

    def __init__(self, most: float = 1000.0, busy: Callable[[], int] = lambda: 0) -> None:
        super().__init__()
        self.most = most
        self.busy = busy
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that is to look again."""

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        if delay > self.most:
            return _Alarm(math.inf, callback)
        alarm = super().call_later(delay, callback)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_soon(self._look)
        return alarm

    def _look(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self._alarms = [alarm for alarm in self._alarms if alarm.callback is not None]
        if not self._alarms:
            self._loop = None
        elif loop._ready:
            loop.call_soon(self._look)
        elif self.busy():
            loop.call_later(_GLANCE, self._look)
        else:
            self._until(min(alarm.time for alarm in self._alarms))
            loop.call_soon(self._look)
