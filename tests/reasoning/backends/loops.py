"""Event loops for tests of engines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on a fresh loop; a hang fails instead of blocking the suite."""
    return asyncio.run(asyncio.wait_for(main, 600))


async def together(*calls: Awaitable[T]) -> list[T]:
    """Results in order, through a task group."""

    async def wrap(call: Awaitable[T]) -> T:
        return await call

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wrap(call)) for call in calls]
    return [task.result() for task in tasks]
