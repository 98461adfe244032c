"""Clocks for code that waits in real time, moved by the test instead of by time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from reasoning.clock import Handle, RealClock


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
        self._time += seconds
        due = [alarm for alarm in self._alarms if alarm.time <= self._time]
        self._alarms = [alarm for alarm in self._alarms if alarm.time > self._time]
        for alarm in due:
            if alarm.callback is not None:
                alarm.callback()


class HastyClock(HandClock):
    """Every alarm of at most `most` seconds rings in the loop's next turn, as if it were time."""

    def __init__(self, most: float = 1000.0) -> None:
        super().__init__()
        self.most = most

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        if delay > self.most:
            return super().call_later(delay, callback)

        def ring() -> None:
            self._time += delay
            callback()

        return asyncio.get_running_loop().call_soon(ring)
