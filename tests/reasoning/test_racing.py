"""Races: who comes first, and what becomes of the others."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from reasoning.clock import VirtualClock
from reasoning.racing import race


class Track:
    """Runners with a time and a result; what they did."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.ended: list[str] = []
        self.live = 0

    async def run(self, name: str, seconds: float, result: object = "name") -> str | None:
        self.live += 1
        try:
            await self.clock.sleep(seconds)
            if isinstance(result, Exception):
                raise result
            return name if result else None
        finally:
            self.live -= 1
            self.ended.append(name)

    def race(self, k: int, *runners: tuple[object, ...]) -> list[str]:
        async def work() -> list[str]:
            winners = await race(k, [partial(self.run, *runner) for runner in runners])  # type: ignore[arg-type]
            assert self.live == 0, "a loser is still on the track"
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return winners

        return asyncio.run(work())


def test_the_first_win_in_order_of_arrival() -> None:
    track = Track()
    assert track.race(2, ("a", 3), ("b", 1), ("c", 2), ("d", 4)) == ["b", "c"]
    assert track.clock.now() == 2
    assert sorted(track.ended) == ["a", "b", "c", "d"]


def test_ties_go_by_the_order_of_the_runs() -> None:
    assert Track().race(1, ("a", 1), ("b", 1)) == ["a"]
    assert Track().race(2, ("c", 2), ("a", 1), ("b", 1), ("d", 1)) == ["a", "b"]


def test_those_without_a_result_do_not_finish() -> None:
    track = Track()
    assert track.race(1, ("a", 1, None), ("b", 2), ("c", 3)) == ["b"]
    assert track.clock.now() == 2


def test_fewer_finishers_than_places() -> None:
    assert Track().race(2, ("a", 1, None), ("b", 2)) == ["b"]
    assert Track().race(5, ("a", 2), ("b", 1)) == ["b", "a"]
    assert Track().race(1, ("a", 1, None)) == []
    assert Track().race(3) == []


@pytest.mark.parametrize("k", [0, -1])
def test_a_race_has_a_winner(k: int) -> None:
    with pytest.raises(ValueError, match=f"1 winner or more, not {k}"):
        Track().race(k, ("a", 1))


def test_an_exception_ends_the_race() -> None:
    track = Track()
    with pytest.raises(ExceptionGroup) as caught:
        track.race(2, ("a", 1), ("b", 2, KeyError("b")), ("c", 3))
    assert [str(error) for error in caught.value.exceptions] == ["'b'"]
    assert sorted(track.ended) == ["a", "b", "c"]
    assert track.live == 0
    assert track.clock.now() == 2


def test_results_that_are_false_are_results() -> None:
    async def zero() -> int:
        return 0

    assert asyncio.run(race(1, [zero])) == [0]


def test_cancelled_from_outside_it_ends_all() -> None:
    track = Track()

    async def work() -> None:
        runs = [partial(track.run, name, 5) for name in "abc"]
        task = asyncio.ensure_future(race(1, runs))
        track.clock.call_later(1, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()
        assert track.live == 0

    asyncio.run(work())


def test_a_winner_may_clean_up_slowly_and_losers_too() -> None:
    """A loser that takes its time to end is waited for; its late result is no win."""
    clock = VirtualClock()

    async def stubborn() -> str:
        try:
            await clock.sleep(5)
        except asyncio.CancelledError:
            await clock.sleep(1)
            raise
        return "stubborn"

    async def quick() -> str:
        await clock.sleep(1)
        return "quick"

    assert asyncio.run(race(1, [stubborn, quick])) == ["quick"]
    assert clock.now() == 2
