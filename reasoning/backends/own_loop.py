"""An event loop in a thread of its own, for engines that are bound to the loop they start on.

What runs there is not held up by what searches compute, and whoever owns it serves any number of
loops, one after the other or at once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from reasoning.errors import EngineError

T = TypeVar("T")


class OwnLoop:
    """Starts with the first work it is given. Closed, it starts anew with the next."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Event, threading.Thread] | None
        self._running = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `work()` returns or raises, awaited on the own loop.

        Cancelled, it cancels the work and raises CancelledError once the work has ended. Raises
        EngineError if the loop is closed meanwhile.
        """
        ended: concurrent.futures.Future[T] = concurrent.futures.Future()
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            tasks.append(loop.create_task(work()))
            tasks[0].add_done_callback(pass_on)

        def pass_on(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                ended.set_exception(EngineError(f"{self._name} was closed during a call"))
            elif error := task.exception():
                ended.set_exception(error)
            else:
                ended.set_result(task.result())

        loop = self._started()
        loop.call_soon_threadsafe(start)
        here = asyncio.wrap_future(ended)
        try:
            await asyncio.wait([here])
        except asyncio.CancelledError:
            loop.call_soon_threadsafe(lambda: tasks[0].cancel())
            while not here.done():
                with suppress(asyncio.CancelledError):  # one is enough, and is raised below
                    await asyncio.wait([here])
            here.exception()  # seen
            raise
        return here.result()

    async def close(self) -> None:
        """Cancel what is left on the loop and end its thread."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            loop, end, thread = running
            loop.call_soon_threadsafe(end.set)
            await asyncio.to_thread(thread.join)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._running is None:
                loop, end = asyncio.new_event_loop(), asyncio.Event()
                thread = threading.Thread(
                    target=_serve, args=(loop, end), name=self._name, daemon=True
                )
                self._running = loop, end, thread
                thread.start()
            return self._running[0]


def _serve(loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    """Run until `end`; the runner cancels and awaits whatever is left then."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(end.wait())
