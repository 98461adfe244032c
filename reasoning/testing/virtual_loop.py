"""An event loop whose time is virtual: it jumps to the next timer once nothing else can run.

    asyncio.Runner(loop_factory=VirtualLoop).run(main())

Code that keeps the loop's time (`asyncio.sleep`, `call_later`, a `LoopClock`) then runs through
hours in no time, always in the same order. Sockets and threads still take real time, of
which a virtual clock knows nothing: use it where nothing but simulated servers is awaited.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

from reasoning.clock import RealClock


class _Leaping(selectors.DefaultSelector):
    """Does not wait for the next timer, but has time jump there."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[Any, int]]:
        if timeout is None:  # no timer: only a thread or a socket can go on
            return super().select(None)
        events = super().select(0)
        if not events:
            self.loop.seconds += max(0.0, timeout)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 seconds."""

    def __init__(self) -> None:
        self.seconds = 0.0
        selector = _Leaping()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.seconds


class LoopClock(RealClock):
    """The running loop's own time, real or virtual."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()
