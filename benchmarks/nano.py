"""How fast the embedded model generates, and what keeping prefixes saves.

Tokens per second of wall time suffer from whatever else runs on the machine; tokens per second of
CPU time are what one idle core gives (all of it counted: prompts, sampling with logprobs, event
loop). Beside them stand bounds measured in the same run, with one thread: the products with the
weights alone, for a whole batch at once; these and the products of attention with caches of 128
positions, all sequences of a layer in one call; and these with the passes over single elements
(norms, rotation, softmax, silu). Less than that NumPy does not take for these numbers. In it no
cache is written, no token drawn, and nothing said.

Goals: at least 3,000 tokens a second with 64 calls in flight on two idle cores; with --against
CHECKOUT (git worktree add) twice the tokens a CPU second of that version, unless a bound forbids.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from unittest.mock import patch

import numpy as np

from evals.tasks.nano import problem
from reasoning.backends.nano import WEIGHTS, Nano, nano
from reasoning.backends.nano.model import (
    BUCKET,
    KV,
    Config,
    FloatArray,
    Span,
    Transformer,
    _rotate,
    _swiglu,
    load_weights,
)
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


def flops(path: Path, rows: int) -> int:
    """Floating point operations of a step's products with the weights."""
    return 2 * rows * sum(w.size for w in load_weights(path).values() if w.ndim == 2)


def bounds(path: Path, rows: int) -> list[float]:
    """CPU seconds that a step of `rows` sequences of 2 * BUCKET positions takes at the least: for
    the products with the weights, with attention's too, with the passes over elements as well; and
    what the model takes."""
    c, weights = Config.load(path), load_weights(path)
    matrices = [w for w in weights.values() if w.ndim == 2]  # the embedding gives the logits
    inputs = {w.shape[1]: np.ones((rows, w.shape[1]), np.float32) for w in matrices}
    rng = np.random.default_rng(0)
    caches = rng.random((c.layers, 2, rows, c.kv_heads, 2 * BUCKET, c.head_dim), np.float32)
    query = rng.random((rows, c.kv_heads, c.heads // c.kv_heads, c.head_dim), np.float32)
    scores = np.matmul(query, caches[0, 0].swapaxes(-1, -2))
    turned = rng.random((rows, c.heads + c.kv_heads, c.head_dim), np.float32)
    angle = rng.random((rows, 1, c.head_dim // 2), np.float32)
    inner = weights["model.layers.0.mlp.down_proj.weight"].shape[1]
    wide = rng.random((rows, 2 * inner), np.float32)
    model = Transformer(c, weights)
    sequences = [KV(c) for _ in range(rows)]
    for kv in sequences:
        kv.append(np.ones((c.layers, 2, c.kv_heads, 2 * BUCKET - 1, c.head_dim), np.float32))

    def weighted() -> None:
        for weight in matrices:
            np.matmul(inputs[weight.shape[1]], weight.T)

    def attended() -> None:
        for keys, values in caches:
            np.matmul(np.matmul(query, keys.swapaxes(-1, -2)), values)

    def passed() -> None:
        for _ in range(c.layers):
            model._normalise(inputs[c.hidden])
            _rotate(turned, angle, angle)
            np.exp(scores - scores.max(axis=-1, keepdims=True)).sum(axis=-1)
            model._normalise(inputs[c.hidden])
            _swiglu(wide)

    def stepped() -> None:
        model.forward([Span(kv, [7]) for kv in sequences])
        for kv in sequences:
            kv.length -= 1

    least = accumulate(map(quickest, (weighted, attended, passed)))
    return [*least, quickest(stepped)]


@contextmanager
def watched() -> Iterator[list[float]]:
    """The CPU seconds of each pass through the model."""
    forward, spent = Transformer.forward, list[float]()

    def timed_forward(self: Transformer, spans: Sequence[Span]) -> FloatArray:
        begin = time.thread_time()
        found = forward(self, spans)
        spent.append(time.thread_time() - begin)
        return found

    with patch.object(Transformer, "forward", timed_forward):
        yield spent


def quickest(work: Callable[[], None]) -> float:
    """The CPU seconds of the quickest of twenty times."""
    best = float("inf")
    for _ in range(20):
        begin = time.process_time()
        work()
        best = min(best, time.process_time() - begin)
    return best


def of(checkout: Path, in_flight: int, tokens: int) -> float:
    """Tokens a CPU second of another version, by its own benchmark."""
    options = ["--in-flight", str(in_flight), "--tokens", str(tokens), "--paths", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.nano", *options],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[1].split()[3])


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
    parser.add_argument("--against", type=Path, help="a checkout of another version")
    args = parser.parse_args()

    print(
        "in flight  tokens  tokens/s  tokens/CPU s | ms a step: weights, attention, passes; model"
    )
    for n in args.in_flight:
        generator = nano(path=args.path, max_batch=n)
        timed(lambda g=generator: whole(g, 1, 1))  # type: ignore[misc]
        with watched() as spent:
            cost = timed(lambda g=generator, k=n: whole(g, k, args.tokens if k > 1 else 500))  # type: ignore[misc]
        inside = sum(spent)
        per_cpu = cost.tokens / cost.cpu
        *least, step = bounds(args.path, n)
        print(
            f"{n:9}{cost.tokens:8}{cost.tokens / cost.wall:10.0f}{per_cpu:14.0f} | "
            + ", ".join(f"{part * 1e3:.2f} ({part / step:.0%})" for part in least)
            + f"; {step * 1e3:.2f}"
        )
        # What is not the model's (sampling, stop strings, the event loop) has to stay.
        most = 1 / (1 - inside / cost.cpu * (1 - least[-1] / step))
        speed = flops(args.path, n) / least[0] / 1e9
        print(
            f"{'':9}products with the weights at {speed:.1f} GFLOP/s of these shapes; the model is "
            f"{inside / cost.cpu:.0%} of all: at its bound {most:.2f} times as many tokens"
        )
        if args.against:
            theirs = of(args.against.resolve(), n, args.tokens)
            print(f"{'':9}{theirs:32.0f} theirs, ratio {per_cpu / theirs:.2f}")

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
