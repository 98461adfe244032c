"""What searching adds to vLLM, on a real engine with the embedded model, in process.

Four questions, each answered by ratios within one run, so that a busy machine does not matter:

- Of the prompt tokens that a tree search resubmits, which share comes from the prefix cache? Of
  what the block size allows: only whole blocks are kept, and the last token is computed again.
- When calls are cancelled, how many tokens does the engine produce that nobody wanted any more?
  The engine's own count, against what was metered.
- Is one request for each sample dearer than one request for `n` samples?
- How long does a search take beside a bare loop over the engine that makes the same calls, with
  the same prompts, seeds and dependencies? For which share of it has the engine no request?

Goals: above 0.95 of what the block size allows; at most one engine step after a cancellation.

    OMP_NUM_THREADS=1 python -m benchmarks.vllm        (one or two minutes on a CPU)
"""

from __future__ import annotations

import argparse
import asyncio
import time
from asyncio import TaskGroup
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from evals.tasks.nano import problem
from reasoning.backends.nano import WEIGHTS
from reasoning.backends.vllm import Vllm
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search, Searcher, Step
from reasoning.verify import Verifier
from searchers.sampling.first_finish import first_finish
from searchers.sampling.self_consistency import self_consistency
from searchers.tree.astar import astar
from searchers.tree.beam_search import beam_search
from verifiers.logprob import logprob
from verifiers.nano_prm import nano_prm

BLOCK = 32
STEP = Step(max_tokens=48)

Call = tuple[list[int], Any]
Calls = dict[str, dict[int, list[Call]]]
"""By problem and depth: prompt and sampling parameters."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds: of the clock, and of this process' CPU (the engine's core is another process)."""

    wall: float
    cpu: float
    idle: float = 0.0
    """Of these seconds, those in which the engine had no request."""


class Watched(Vllm):
    """Notes what the engine is asked, and what its core says it has produced."""

    def __init__(self, model: Path, options: dict[str, Any]) -> None:
        super().__init__(str(model), options)
        self.calls: Calls = defaultdict(lambda: defaultdict(list))
        self.served: list[tuple[int, int]] = []  # of resubmitted prompts: length, cached
        self.produced = 0
        self._inside, self._idle, self._left = 0, 0.0, 0.0

    async def watch(self) -> None:
        """Start, and count from now on what the core hands over."""
        await self.astart()
        core = self._engine.engine_core
        receive = core.get_output_async

        async def counted() -> Any:
            outputs = await receive()
            self.produced += sum(len(output.new_token_ids) for output in outputs.outputs)
            return outputs

        core.get_output_async = counted

    async def fresh(self) -> None:
        """Forget calls and cached prefixes."""
        self.calls.clear()
        self.served.clear()
        await self._loop.run(self._engine.reset_prefix_cache)

    async def bare(self, work: Callable[[Any], Awaitable[None]]) -> Cost:
        """What `work` costs with the engine itself, on the engine's own loop."""
        return await self.timed(partial(self._loop.run, partial(_awaited, work, self._engine)))

    async def timed(self, work: Callable[[], Awaitable[Any]]) -> Cost:
        """What `work` costs from an empty cache."""
        await self.fresh()
        wall, cpu = time.perf_counter(), time.process_time()
        self._idle, self._left = 0.0, wall
        await work()
        end = time.perf_counter()
        return Cost(end - wall, time.process_time() - cpu, self._idle + end - self._left)

    async def _collect(
        self, ids: list[int], request: Any, prompt: Prompt, found: list[Any]
    ) -> None:
        self.calls[prompt.problem.id][prompt.parent.depth].append((ids, request))
        if not self._inside:
            self._idle += time.perf_counter() - self._left
        self._inside += 1
        try:
            await super()._collect(ids, request, prompt, found)
        finally:
            self._inside -= 1
            self._left = time.perf_counter()
        if prompt.parent.depth:
            self.served.append((len(ids), found[0].num_cached_tokens or 0))


async def _awaited(work: Callable[[Any], Awaitable[None]], engine: Any) -> None:
    await work(engine)


def questions(n: int) -> list[Problem]:
    return [Problem(f"p{i}", problem("test", i).question) for i in range(n)]


async def searches(
    generator: Vllm, searcher: Searcher, problems: Iterable[Problem], verifier: Verifier | None
) -> list[Search]:
    """All problems at once."""
    found = [
        Search(
            p, generator, verifier=verifier, sampling=Sampling(max_tokens=256), step=STEP, seed=1
        )
        for p in problems
    ]
    async with TaskGroup() as group:
        for search in found:
            group.create_task(searcher(search))
    return found


async def the_same_calls(engine: Any, calls: Calls) -> None:
    """Problems side by side, each depth by depth, as a tree search that works in rounds."""
    from vllm.inputs import tokens_input

    async def one(name: str, ids: list[int], request: Any) -> None:
        async for _ in engine.generate(tokens_input(ids), request, name):
            pass

    async def rounds(name: str, depths: dict[int, list[Call]]) -> None:
        for depth in sorted(depths):
            async with TaskGroup() as group:
                for i, call in enumerate(depths[depth]):
                    group.create_task(one(f"{name}-{depth}-{i}", *call))

    async with TaskGroup() as group:
        for name, depths in calls.items():
            group.create_task(rounds(name, depths))


async def siblings(engine: Any, calls: Calls, n: int, *, together: bool) -> None:
    """`n` samples of every problem: in one request, or in a request each."""
    from vllm.inputs import tokens_input

    async def one(name: str, ids: list[int], request: Any) -> None:
        async for _ in engine.generate(tokens_input(ids), request, name):
            pass

    async with TaskGroup() as group:
        for name, depths in calls.items():
            ids, request = depths[0][0]
            for i in range(1 if together else n):
                request = request.clone()
                request.n = n if together else 1
                request.seed = 1 if together else 1 + i  # child i of a request draws with seed + i
                group.create_task(one(f"{name}-{i}-{together}", ids, request))


async def cache(generator: Watched, problems: Sequence[Problem]) -> None:
    judge = nano_prm()
    for name, searcher in {
        "beam_search": partial(beam_search, width=4, expansions=4),
        "astar": partial(astar, width=4, parallel=4),
    }.items():
        await generator.fresh()
        await searches(generator, searcher, problems, judge)
        prompts = sum(size for size, _ in generator.served)
        cached = sum(hit for _, hit in generator.served)
        allowed = sum((size - 1) // BLOCK * BLOCK for size, _ in generator.served)
        print(
            f"{name}: {len(generator.served):,} resubmitted prompts, {prompts:,} tokens, "
            f"{cached:,} from the cache: {cached / allowed:.4f} of the {allowed:,} that blocks of "
            f"{BLOCK} allow (goal 0.95), {cached / prompts:.3f} of all"
        )
    await judge.aclose()


async def cancellation(generator: Watched, problems: Sequence[Problem]) -> None:
    await generator.fresh()
    before = generator.produced
    race = partial(first_finish, n=8)
    found = await searches(generator, race, problems, None)
    # One more call: when it is back, so is everything from before it.
    found += await searches(generator, partial(self_consistency, n=1), questions(1), None)
    cancelled = sum(search.usage.cancelled_calls for search in found)
    late = generator.produced - before - sum(s.usage.generated_tokens for s in found)
    print(
        f"cancellation: {cancelled} calls cancelled of {8 * len(problems)}; the engine produced "
        f"{late} tokens that were not metered, {late / max(1, cancelled):.3f} a cancelled call "
        "(goal: at most 1, the step it was in)"
    )


async def requests(generator: Watched, calls: Calls, n: int, repeats: int) -> None:
    ratios = []
    for _ in range(repeats):
        apart = await generator.bare(partial(siblings, calls=calls, n=n, together=False))
        together = await generator.bare(partial(siblings, calls=calls, n=n, together=True))
        ratios.append((apart.wall / together.wall, apart.cpu / together.cpu))
    print(
        f"requests: {n} requests of a sample each take {shown(ratios)} times one request for "
        f"{n} samples"
    )


async def overhead(generator: Watched, problems: Sequence[Problem], repeats: int) -> Calls:
    """Prints how searches compare to bare loops; returns the calls of self-consistency."""
    kept: Calls = {}
    for name, searcher, verifier in (
        ("self_consistency, n=16", partial(self_consistency, n=16), None),
        ("beam_search, 4 x 4", partial(beam_search, width=4, expansions=4), logprob()),
    ):
        ratios, idle = [], []
        for _ in range(repeats):
            ours = await generator.timed(partial(searches, generator, searcher, problems, verifier))
            calls = {name: dict(depths) for name, depths in generator.calls.items()}
            bare = await generator.bare(partial(the_same_calls, calls=calls))
            ratios.append((ours.wall / bare.wall, ours.cpu / bare.cpu))
            idle.append(ours.idle / ours.wall)
            kept = kept or calls
        count = sum(len(found) for depths in calls.values() for found in depths.values())
        print(
            f"{name}: {count:,} calls take {shown(ratios)} times a bare loop with the same ones; "
            f"the engine has no request {median(idle):.1%} of the time"
        )
    return kept


def shown(ratios: Sequence[tuple[float, float]]) -> str:
    """Medians, and the range."""
    parts = []
    for name, values in zip(("the time", "the CPU"), zip(*ratios, strict=True), strict=True):
        low, high = min(values), max(values)
        parts.append(f"{median(values):.3f} ({low:.2f} to {high:.2f}) {name}")
    return " and ".join(parts)


async def main(model: Path, count: int, repeats: int) -> None:
    options: dict[str, Any] = {"max_model_len": 1024, "block_size": BLOCK, "max_num_seqs": 128}
    options |= {"kv_cache_memory_bytes": 512 << 20, "dtype": "float32", "enforce_eager": True}
    generator = Watched(model, options)
    problems = questions(count)
    try:
        await generator.watch()
        await searches(generator, partial(self_consistency, n=4), problems, None)  # warm
        await cache(generator, problems)
        await cancellation(generator, problems)
        calls = await overhead(generator, problems, repeats)
        await requests(generator, calls, 16, repeats)
    finally:
        await generator.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, default=WEIGHTS, help="a checkpoint [nano's]")
    parser.add_argument("--problems", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.model, given.problems, given.repeats))
