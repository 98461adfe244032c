"""What the orchestration itself costs: CPU per call, and memory that must not grow.

Every problem draws n samples from `scripted` at zero latency, all problems in flight at once.
Prints CPU microseconds a call beside a bound measured in the same run, the cost of the bare
generator awaited in a task of its own. Goal: at most 100 microseconds a call.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import time
import tracemalloc
from asyncio import TaskGroup

from reasoning.backends.scripted import Scripted
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.result import run_search
from reasoning.runs.stages import chained
from reasoning.search import Search
from reasoning.tree import RolloutTree, Sample

SAMPLE = Sample("The answer is \\boxed{7}", finish="end", generated_tokens=5)


async def searched(problems: int, n: int) -> None:
    """`problems` searches side by side, results dropped as they come."""
    generator = Scripted(lambda prompt, seed: SAMPLE)
    strategy = chained("self_consistency", (), None, {"n": n})

    async def one(i: int) -> None:
        search = Search(Problem(f"p{i}", "What is 3 + 4?"), generator)
        await run_search(search, strategy)

    async with TaskGroup() as group:
        for i in range(problems):
            group.create_task(one(i))


async def bare(problems: int, n: int) -> None:
    """The same calls with nothing around them."""
    generator = Scripted(lambda prompt, seed: SAMPLE)
    params = Sampling(max_tokens=1024)

    async def one(i: int) -> None:
        root = RolloutTree().root
        problem = Problem(f"p{i}", "What is 3 + 4?")
        async with TaskGroup() as group:
            for slot in range(n):
                group.create_task(
                    generator.generate(
                        Prompt(problem, root, slot), params, seed=slot, meter=lambda k: None
                    )
                )

    async with TaskGroup() as group:
        for i in range(problems):
            group.create_task(one(i))


def cpu_us_a_call(work: object, problems: int, n: int) -> float:
    start = time.process_time()
    asyncio.run(work(problems, n))  # type: ignore[operator]
    return (time.process_time() - start) / (problems * n) * 1e6


def kept_bytes(problems: int, n: int) -> int:
    """Bytes still allocated after `problems` searches are over."""
    asyncio.run(searched(10, n))
    gc.collect()
    tracemalloc.start()
    asyncio.run(searched(problems, n))
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=10_000)
    parser.add_argument("--n", type=int, default=8)
    options = parser.parse_args()
    floor = cpu_us_a_call(bare, options.problems, options.n)
    ours = cpu_us_a_call(searched, options.problems, options.n)
    print(f"{options.problems} problems in flight, {options.n} calls each")
    print(f"bare generator     {floor:7.1f} us CPU a call")
    print(f"whole search       {ours:7.1f} us CPU a call, {ours / floor:.1f} times the bare one")
    print(
        f"peak memory        {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:7.0f} MiB"
    )
    for problems in (options.problems // 10, options.problems):
        kept = kept_bytes(problems, options.n)
        print(f"kept after {problems:>6} {kept / 1024:8.0f} KiB")


if __name__ == "__main__":
    main()
