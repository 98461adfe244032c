"""Searches that run as long as somebody waits for them."""

from __future__ import annotations

import asyncio
from asyncio import TaskGroup
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.types import Receive, Scope

from reasoning.errors import cause
from reasoning.events import Done, Event, Heard
from reasoning.result import Result
from reasoning.seeds import fold
from reasoning.serve.asking import Asked
from reasoning.serve.wording import Hearing, Said, said, so_far

T = TypeVar("T")


_SLOW = 0.05
"""Seconds a token of an engine that has much to do."""
LEFT = "reasoning.left"
"""The extension of a server that says so when a client has left: a set of what it is to call."""


class LeftError(Exception):
    """The client has left."""


def seed(asked: Asked, i: int) -> int:
    """The seed of choice number `i`; that of the first is the request's own.

    All have 53 bits, as many as clients in JavaScript read exactly, to ask for one again.
    """
    return fold(asked.seed, "choice", i) >> 10 if i else asked.seed


async def searched(asked: Asked) -> list[Said]:
    """What came of the searches for all choices, side by side. Raises as `Session.solve` does."""

    async def one(i: int) -> Said:
        if asked.offer.single and _may_be_late(asked):
            return await _as_far_as_it_comes(asked, i)
        if asked.direct is not None:
            return said(await asked.direct.solve(asked.problem, seed(asked, i)), asked)
        session = asked.offer.session
        result = await session.solve(asked.problem, seed=seed(asked, i), **asked.changes)
        return said(result, asked)

    if asked.n == 1:
        return [await one(0)]
    try:
        async with TaskGroup() as group:
            tasks = [group.create_task(one(i)) for i in range(asked.n)]
    except BaseExceptionGroup as errors:
        raise cause(errors) from errors
    return [task.result() for task in tasks]


def _may_be_late(asked: Asked) -> bool:
    """Whether a deadline may come before the whole answer. The recipe and the client say so where
    they set one; that of all requests may come first where many tokens may be drawn."""
    most, own = asked.limits.seconds, asked.offer.session.limits.seconds
    slow = most is not None and most < _SLOW * asked.sampling.max_tokens
    return slow or asked.hurried or own is not None


async def _as_far_as_it_comes(asked: Asked, i: int) -> Said:
    """What came of drawing one text: at a deadline what has been said of it."""
    heard, ends = Hearing(), list[Result]()

    def watch(event: Event) -> None:
        if isinstance(event, Heard):
            heard.take(event)
        elif isinstance(event, Done):
            ends.append(event.result)

    if asked.direct is not None:
        await asked.direct.tell(asked.problem, seed(asked, i), watch)
    else:
        stream = asked.offer.session.stream(
            asked.problem, pieces=True, seed=seed(asked, i), **asked.changes
        )
        async with aclosing(stream) as events:
            async for event in events:
                watch(event)
    (result,) = ends
    return so_far(said(result, asked), asked, heard)


async def while_there(scope: Scope, receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; cancelled, with all that it has started, as soon as the client has left.

    Raises LeftError then, and what the work raises.
    """
    task, left = asyncio.current_task(), False
    assert task is not None

    def leave() -> None:
        nonlocal left
        left = True
        task.cancel()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        leave()

    calls: set[Callable[[], None]] | None = scope.get("extensions", {}).get(LEFT)
    watching = asyncio.create_task(watch()) if calls is None else None
    if calls is not None:
        calls.add(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if not left or task.uncancel():
            raise
        raise LeftError from None
    finally:
        if calls is not None:
            calls.remove(leave)
        if watching is not None:
            watching.cancel()
