"""Work on another thread's loop behaves as if it were awaited here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from reasoning.backends.own_loop import OwnLoop
from reasoning.errors import EngineError, GenerationError


def run(work: Callable[[OwnLoop], Awaitable[None]]) -> None:
    """Await `work` with an own loop, and see that its thread ends."""
    own = OwnLoop("own loop under test")

    async def main() -> None:
        try:
            await work(own)
        finally:
            await own.close()

    asyncio.run(main())
    assert not [t for t in threading.enumerate() if t.name == "own loop under test"]


def test_results_come_back_from_one_other_thread() -> None:
    async def work(own: OwnLoop) -> None:
        async def where() -> int:
            return threading.get_ident()

        found = {await own.run(where), await own.run(where)}
        assert len(found) == 1
        assert found != {threading.get_ident()}

    run(work)


def test_errors_come_back() -> None:
    async def work(own: OwnLoop) -> None:
        async def fail() -> None:
            raise GenerationError("no")

        with pytest.raises(GenerationError, match="no"):
            await own.run(fail)

    run(work)


@pytest.mark.parametrize("turns", range(4))
def test_cancelled_it_has_waited_for_the_end_of_the_work(turns: int) -> None:
    async def work(own: OwnLoop) -> None:
        began, ended = [], []

        async def forever() -> None:
            began.append(True)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(True)

        call = asyncio.ensure_future(own.run(forever))
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert began == ended

    run(work)


def test_a_second_cancellation_does_not_cut_the_wait_short() -> None:
    async def work(own: OwnLoop) -> None:
        begun, ending, may_end = (threading.Event() for _ in range(3))
        ended = []

        async def slow_to_end() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                may_end.wait()
                ended.append(True)

        call = asyncio.ensure_future(own.run(slow_to_end))
        await asyncio.to_thread(begun.wait)
        call.cancel()
        await asyncio.to_thread(ending.wait)
        call.cancel()
        await asyncio.sleep(0)
        assert not call.done()
        may_end.set()
        await asyncio.wait([call])
        assert call.cancelled()
        assert ended

    run(work)


def test_two_loops_share_it() -> None:
    own = OwnLoop("own loop under test")

    async def where() -> int:
        return threading.get_ident()

    first = asyncio.run(own.run(where))
    assert asyncio.run(own.run(where)) == first
    asyncio.run(own.close())


def test_closing_ends_calls_and_the_next_call_starts_anew() -> None:
    async def work(own: OwnLoop) -> None:
        begun = threading.Event()

        async def forever() -> None:
            begun.set()
            await asyncio.Event().wait()

        async def one() -> int:
            return 1

        call = asyncio.ensure_future(own.run(forever))
        await asyncio.to_thread(begun.wait)
        await own.close()
        with pytest.raises(EngineError, match="closed"):
            await call
        assert await own.run(one) == 1

    run(work)
