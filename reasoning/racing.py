"""The race between calls."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def race(k: int, runs: Sequence[Callable[[], Awaitable[T | None]]]) -> list[T]:
    """Start all runs, return the first `k` results that are not None, in order of arrival.

    The losers are cancelled and have ended when this returns. Fewer than `k` if fewer succeed.
    """
    if k < 1:
        raise ValueError(f"a race has 1 winner or more, not {k}")
    winners: list[T] = []

    async def enter(run: Callable[[], Awaitable[T | None]]) -> None:
        result = await run()
        if result is None or len(winners) == k:
            return
        winners.append(result)
        if len(winners) == k:
            for task in tasks:
                if task is not asyncio.current_task():
                    task.cancel()

    async with TaskGroup() as group:
        tasks = [group.create_task(enter(run)) for run in runs]
    return winners
