"""How a command ends: interrupted, terminated, or with one clear line for a mistake."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from reasoning import garbage

T = TypeVar("T")

INTERRUPTED = {128 + n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
"""Exit codes of commands that a signal has ended."""


def awaited(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; a request to terminate and a closed terminal cancel it, as Ctrl-C does.

    So what it notes when it is cancelled is noted. Raises SystemExit with 128 and the signal's
    number. A signal that is ignored so far (nohup) still is.
    """
    heard: list[int] = []
    try:
        with garbage.rarely():
            return asyncio.run(_cancelled_by_signals(work, heard))
    except asyncio.CancelledError:
        if not heard:
            raise
        raise SystemExit(128 + heard[0]) from None


async def _cancelled_by_signals(work: Coroutine[Any, Any, T], heard: list[int]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def end(number: int) -> None:
        heard.append(number)
        task.cancel()

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        return await work
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
