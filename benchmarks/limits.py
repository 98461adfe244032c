"""What a limit costs in time: samples that could be long, and are not, under a small limit.

64 samples of 300 tokens each, which `max_tokens` would let grow to 32,768, with and without a
limit of 65,536 tokens: virtual time (a token takes a tick) and CPU. Goal: 1.2 times at most.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from reasoning.backends.scripted import Scripted
from reasoning.budget import Budget
from reasoning.generate import Sampling
from reasoning.problem import Problem
from reasoning.result import run_search
from reasoning.runs.stages import chained
from reasoning.search import Search
from reasoning.tree import Sample

SAMPLE = Sample("The answer is \\boxed{7}", finish="end", generated_tokens=300)


def drawn(n: int, limit: int | None) -> tuple[float, float, int]:
    """Ticks, CPU milliseconds and tokens of one search."""
    problem = Problem("p", "What is 3 + 4?")
    generator = Scripted(lambda prompt, seed: SAMPLE, token_seconds=1.0)
    search = Search(
        problem,
        generator,
        sampling=Sampling(max_tokens=32_768),
        budget=Budget(tokens=limit),
        clock=generator.clock(problem),
    )
    strategy = chained("self_consistency", (), None, {"n": n})
    start = time.process_time()
    result = asyncio.run(run_search(search, strategy))
    cpu = (time.process_time() - start) * 1e3
    return result.usage.seconds, cpu, result.usage.generated_tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=64)
    parser.add_argument("--limit", type=int, default=65_536)
    parser.add_argument("--rounds", type=int, default=9, help="the best CPU of so many is printed")
    options = parser.parse_args()
    free, held = (
        min((drawn(options.n, limit) for _ in range(options.rounds)), key=lambda run: run[1])
        for limit in (None, options.limit)
    )
    for name, (ticks, cpu, tokens) in (("without a limit", free), ("under the limit", held)):
        print(f"{name}: {ticks:.0f} ticks, {cpu:.1f} ms CPU, {tokens} tokens")
    print(f"ratio: {held[0] / free[0]:.2f} in virtual time, {held[1] / free[1]:.2f} in CPU")


if __name__ == "__main__":
    main()
