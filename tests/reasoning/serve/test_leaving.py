"""Work ends as soon as the client that waits for it has left, however the server says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from reasoning.serve.searching import LEFT, LeftError, while_there

Way = Callable[[], tuple[dict[str, Any], Callable[[], None], Any]]


def by_call() -> tuple[dict[str, Any], Callable[[], None], Any]:
    """A request's scope, how its client leaves, and what receives its messages."""
    calls: set[Callable[[], None]] = set()

    async def never() -> Any:
        raise AssertionError("nobody has to ask")

    def leave() -> None:
        for call in list(calls):
            call()

    return {"extensions": {LEFT: calls}}, leave, never


def by_message() -> tuple[dict[str, Any], Callable[[], None], Any]:
    gone = asyncio.Event()
    messages = iter(["http.request"])

    async def receive() -> Any:
        if kind := next(messages, None):
            return {"type": kind}
        await gone.wait()
        return {"type": "http.disconnect"}

    return {}, gone.set, receive


WAYS = pytest.mark.parametrize("way", [by_call, by_message])


@WAYS
@pytest.mark.parametrize("ends", ["cancelled", "by itself"])
def test_who_has_left_ends_the_work(way: Way, ends: str) -> None:
    async def work() -> list[str]:
        scope, leave, receive = way()
        told = []

        async def waits() -> None:
            told.append("begun")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append("cancelled")
                if ends == "cancelled":
                    raise
                raise LeftError from None  # as a stream does that writes to nobody

        asyncio.get_running_loop().call_later(0.01, leave)
        with pytest.raises(LeftError):
            await while_there(scope, receive, waits())
        leave()
        await asyncio.sleep(0.01)  # nobody listens any more
        return told

    assert asyncio.run(work()) == ["begun", "cancelled"]


@WAYS
def test_what_the_work_gives_and_raises_comes_through(way: Way) -> None:
    async def gives(value: int) -> int:
        await asyncio.sleep(0)
        if value < 0:
            raise LookupError("nothing there")
        return value

    async def work() -> None:
        scope, leave, receive = way()
        assert await while_there(scope, receive, gives(7)) == 7
        with pytest.raises(LookupError):
            await while_there(scope, receive, gives(-1))
        leave()  # behind the answer, as clients do
        await asyncio.sleep(0.01)
        assert not scope.get("extensions", {}).get(LEFT)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(work())


@WAYS
def test_other_cancellations_pass_through(way: Way) -> None:
    async def work() -> None:
        scope, leave, receive = way()
        task = asyncio.create_task(while_there(scope, receive, asyncio.sleep(60)))
        await asyncio.sleep(0.01)
        leave()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
