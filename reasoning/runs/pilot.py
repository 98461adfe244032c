"""A few problems of a recipe run as the whole would be, with every call timed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from reasoning.errors import StoreError
from reasoning.problem import Problem
from reasoning.runs.manifest import describe, found, tell_found, tell_sizes
from reasoning.runs.plan import Plan, plan
from reasoning.runs.recipe import Recipe
from reasoning.runs.run import Watcher
from reasoning.runs.store import Store
from reasoning.runs.timing import Call, Stopwatch, Timed

T = TypeVar("T")


@dataclass(slots=True)
class Pilot:
    """What a pilot has seen. `at_once` is how many problems were in flight with each problem,
    `spans` the real time it was, `waves` who ran side by side, `start` the seconds until engines
    were ready."""

    todo: Plan
    store: Store
    waves: list[list[Problem]]
    calls: list[Call] = field(default_factory=list)
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    start: float = 0.0

    @property
    def searched(self) -> Mapping[str, float]:
        """The seconds of each problem's searches together, on their own clock."""
        found: Counter[str] = Counter()
        for result in self.store.results():
            found[result["problem"]] += result["usage"]["seconds"]
        return found

    @property
    def problems(self) -> list[Problem]:
        return [problem for wave in self.waves for problem in wave]

    @property
    def at_once(self) -> dict[str, int]:
        return {problem.id: len(wave) for wave in self.waves for problem in wave}

    @property
    def virtual(self) -> bool:
        """Whether its time is none of this machine's."""
        return any(call.virtual for call in self.calls)


def waves(problems: Sequence[T], concurrency: int) -> list[list[T]]:
    """One problem alone, then two, then four at once, and so on, the last as many as are left.

    What is fitted to it has to tell a call's own time from what its neighbours cost it.
    """
    found: list[list[T]] = []
    left, size = list(problems), 1
    while left:
        size = min(size, concurrency)
        rest = len(left) - size
        take = len(left) if size < rest + size <= min(2 * size, concurrency) else size
        found.append(left[:take])
        left, size = left[take:], 2 * size
    return found


def spread(problems: Sequence[T], count: int, seed: int = 0) -> list[T]:
    """One problem by chance from each of `count` equal parts of the task.

    From all over a task that is sorted, and not always the same of one in which kinds take turns.
    """
    count = min(count, len(problems))
    edges = [i * len(problems) // count for i in range(count + 1)]
    rng = random.Random(seed)
    return [problems[rng.randrange(low, high)] for low, high in pairwise(edges)]


async def pilot(
    recipe: Recipe,
    out: str | Path,
    *,
    problems: int = 8,
    limit: int | None = None,
    watch: Watcher,
    command: Sequence[str] = (),
) -> Pilot:
    """Run `problems` problems of the recipe into the new folder `out`, with every call timed.

    The folder is that of the whole run, which goes on in it. Raises StoreError if it holds results
    already, UserError for a mistake in the recipe, EngineError if the engine dies.
    """
    whole = plan(recipe, limit)
    chosen = spread(whole.problems, problems, recipe.seed)
    seen = Pilot(whole, Store(out), waves(chosen, recipe.concurrency))
    todo = _timed(whole, seen.calls)
    async with AsyncExitStack() as stack:
        stack.enter_context(seen.store.opened(describe(todo, command)))
        if next(seen.store.results(), None) is not None:
            raise StoreError(f"{out} holds results already; a pilot needs a new --out")
        for part in todo.plugins:
            stack.push_async_callback(part.aclose)
        begin = asyncio.get_running_loop().time()
        for wave in seen.waves:
            run = Stopwatch(replace(todo, problems=wave), seen.store, watch)
            run.spans = seen.spans
            await run.finish()
        seen.start = min(start for start, _ in seen.spans.values()) - begin
        tell_found(found(todo), seen.store)
        tell_sizes(found(todo), seen.store)
    return seen


def _timed(todo: Plan, calls: list[Call]) -> Plan:
    """The plan with every generator behind a watch."""
    watched = {id(g): Timed(g, calls) for arm in todo.arms for g in arm.models.values()}
    arms = [
        replace(arm, models={name: watched[id(g)] for name, g in arm.models.items()})
        for arm in todo.arms
    ]
    return replace(todo, arms=arms)
