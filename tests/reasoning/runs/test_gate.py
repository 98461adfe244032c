"""How many calls are in flight, whose turn it is, and how many problems are in progress."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from reasoning.backends.scripted import Scripted, scripted
from reasoning.clock import RealClock
from reasoning.runs.gate import Gate
from reasoning.runs.recipe import parse
from reasoning.runs.run import run
from reasoning.tree import Sample


class Slow(Scripted):
    """Takes turns of the event loop, and notes what is in flight and which problems have begun."""

    def __init__(self) -> None:
        super().__init__(scripted().script)
        self.now = self.most = self.begun_at_most = 0
        self.open: dict[str, int] = {}
        self.order: list[str] = []

    def clock(self, problem: Any) -> Any:
        return RealClock()

    async def generate(self, prompt: Any, params: Any, **kwargs: Any) -> Sample:
        self.now += 1
        self.open[prompt.problem.id] = self.open.get(prompt.problem.id, 0) + 1
        self.order.append(prompt.problem.id)
        self.most = max(self.most, self.now)
        try:
            for _ in range(20 + prompt.slot % 7):
                await asyncio.sleep(0)
            return await super().generate(prompt, params, **kwargs)
        finally:
            self.now -= 1
            done = sum(n == 8 for n in self.open.values())
            self.begun_at_most = max(self.begun_at_most, len(self.open) - done)


def ran(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, concurrency: int, **change: Any
) -> tuple[Slow, dict[str, Any]]:
    slow = Slow()
    monkeypatch.setattr("reasoning.backends.scripted.scripted", lambda: slow)
    recipe = {
        "task": {"name": "countdown", "n": 16},
        "generator": "scripted",
        "strategies": [{"searcher": "self_consistency", "n": 8}],
        "concurrency": concurrency,
        **change,
    }
    return slow, asyncio.run(run(parse(recipe), tmp_path / str(concurrency)))


@pytest.mark.parametrize("concurrency", [3, 20])
def test_calls_are_bounded_and_kept_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, concurrency: int
) -> None:
    slow, _ = ran(monkeypatch, tmp_path, concurrency)
    assert slow.most == concurrency
    assert slow.begun_at_most <= 2 + concurrency // 8  # of 16


def test_the_calls_of_a_problem_go_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow, _ = ran(monkeypatch, tmp_path, 8)
    assert [len(set(slow.order[i : i + 8])) for i in range(0, 128, 8)] == [1] * 16


def test_results_do_not_depend_on_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = [ran(monkeypatch, tmp_path, most)[1]["strategies"][0] for most in (1, 64)]
    assert {**both[0], "seconds": 0} == {**both[1], "seconds": 0}


def test_strategies_that_share_nothing_run_side_by_side(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    apart = {"strategies": [{"searcher": "self_consistency", "n": n} for n in (4, 5)]}
    slow, _ = ran(
        monkeypatch, tmp_path, 9, **apart, share_samples=False, task={"name": "countdown", "n": 1}
    )
    assert slow.most == 9


def test_who_is_cancelled_in_line_or_just_let_in_keeps_no_place() -> None:
    async def main() -> None:
        gate, held = Gate(1), asyncio.Event()

        async def call(place: int, wait: bool = True) -> None:
            async with gate.call(place):
                if wait:
                    await held.wait()

        tasks = [asyncio.create_task(call(place)) for place in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()  # in line
        await asyncio.sleep(0)
        tasks[0].cancel()  # has its place, which the third gets
        await asyncio.sleep(0)
        tasks[2].cancel()  # let in, and cancelled before it could tell
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.running == 0
        await asyncio.wait_for(call(5, wait=False), 1)
        assert not gate.full

    asyncio.run(main())


def test_the_earliest_problem_goes_first() -> None:
    async def main() -> list[int]:
        gate, seen = Gate(1), list[int]()

        async def call(place: int) -> None:
            async with gate.call(place):
                seen.append(place)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for place in (7, 3, 9, 1):
                group.create_task(call(place))
        return seen

    assert asyncio.run(main()) == [7, 1, 3, 9]  # the first found nobody in line
