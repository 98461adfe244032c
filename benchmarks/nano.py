"""How fast the embedded model generates, and what keeping prefixes saves.

Tokens per second of wall time suffer from whatever else runs on the machine; tokens per second of
CPU time are what one idle core gives (all of it counted: prompts, sampling with logprobs, event
loop). Beside them stands a bound measured in the same run: the products with the weights alone,
for a whole batch at once, by the same BLAS on one thread.

Goal: at least 3,000 tokens a second with 64 calls in flight on two idle cores.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.tasks.nano import problem
from reasoning.backends.nano import WEIGHTS, Nano, nano
from reasoning.backends.nano.model import load_weights
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.tree import RolloutTree, Sample


@dataclass(frozen=True, slots=True)
class Cost:
    """What some calls took: tokens generated, prompt tokens and those not computed, seconds."""

    tokens: int
    prompt: int
    cached: int
    wall: float
    cpu: float


def questions(n: int) -> list[Problem]:
    """`n` different problems of the task the model knows."""
    return [Problem(f"p{i}", problem("test", i).question) for i in range(n)]


def timed(calls: Callable[[], Awaitable[Sequence[Sample]]]) -> Cost:
    """Run on a fresh event loop."""

    async def main() -> Sequence[Sample]:
        return await calls()

    wall, cpu = time.perf_counter(), time.process_time()
    samples = asyncio.run(main())
    return Cost(
        tokens=sum(s.generated_tokens for s in samples),
        prompt=sum(s.prompt_tokens for s in samples),
        cached=sum(s.cached_tokens for s in samples),
        wall=time.perf_counter() - wall,
        cpu=time.process_time() - cpu,
    )


async def whole(generator: Nano, in_flight: int, tokens: int) -> list[Sample]:
    """About `tokens` tokens of whole solutions, `in_flight` of them at any time."""
    samples: list[Sample] = []
    left, numbers = tokens, iter(range(10**9))
    problems = questions(in_flight)

    async def worker(item: Problem) -> None:
        nonlocal left
        while left > 0:
            prompt = Prompt(item, RolloutTree(item.id).root, 0)
            params = Sampling(max_tokens=256)
            sample = await generator.generate(prompt, params, seed=next(numbers), meter=_ignore)
            left -= sample.generated_tokens
            samples.append(sample)

    async with TaskGroup() as group:
        for item in problems:
            group.create_task(worker(item))
    return samples


async def stepwise(generator: Nano, paths: int, steps: int) -> list[Sample]:
    """`paths` solutions, each resubmitted after every step, as tree searches do."""
    samples: list[Sample] = []

    async def worker(item: Problem) -> None:
        node = (tree := RolloutTree(item.id)).root
        params = Sampling(max_tokens=64, stop=("\n\n",))
        for seed in range(steps):
            prompt = Prompt(item, node, 0)
            sample = await generator.generate(prompt, params, seed=seed, meter=_ignore)
            samples.append(sample)
            if sample.finish == "end":
                return
            node = tree.add(node, 0, sample)

    async with TaskGroup() as group:
        for item in questions(paths):
            group.create_task(worker(item))
    return samples


def bound(path: Path, rows: int) -> float:
    """CPU seconds that the products of `rows` rows with all weights take, at the least."""
    weights = load_weights(path)
    matrices = [w for name, w in weights.items() if w.ndim == 2]  # the embedding gives the logits
    inputs = {w.shape[1]: np.ones((rows, w.shape[1]), np.float32) for w in matrices}
    best = float("inf")
    for _ in range(20):
        begin = time.process_time()
        for weight in matrices:
            np.matmul(inputs[weight.shape[1]], weight.T)
        best = min(best, time.process_time() - begin)
    return best


def _ignore(_: int) -> None:
    """No meter."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--path", type=Path, default=WEIGHTS, help="checkpoint folder")
    parser.add_argument("--tokens", type=int, default=4000, help="tokens per measurement")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 16, 64, 128])
    parser.add_argument("--paths", type=int, default=64, help="paths of the stepwise run")
    args = parser.parse_args()

    print("in flight   tokens   tokens/s  tokens/CPU s   bound/CPU s   share")
    for n in args.in_flight:
        generator = nano(path=args.path, max_batch=n)
        timed(lambda g=generator: whole(g, 1, 1))  # type: ignore[misc]
        cost = timed(lambda g=generator, k=n: whole(g, k, args.tokens if k > 1 else 500))  # type: ignore[misc]
        per_cpu, most = cost.tokens / cost.cpu, n / bound(args.path, n)
        print(
            f"{n:9}{cost.tokens:9}{cost.tokens / cost.wall:11.0f}{per_cpu:14.0f}"
            f"{most:14.0f}{per_cpu / most:8.0%}"
        )

    print("\nstepwise   prompt tokens   from cache   wall s   CPU s")
    for name, capacity in (("kept", 32768), ("cold", 0)):
        generator = nano(path=args.path, cache_tokens=capacity)
        cost = timed(lambda g=generator: stepwise(g, args.paths, 12))  # type: ignore[misc]
        print(
            f"{name:8}{cost.prompt:16}{cost.cached / cost.prompt:13.0%}"
            f"{cost.wall:9.2f}{cost.cpu:8.2f}"
        )


if __name__ == "__main__":
    main()
