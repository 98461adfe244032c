"""What tree search itself costs: CPU per step, bookkeeping beside another library's, memory.

1. A whole search on `scripted` at zero latency: CPU microseconds a step, generated and scored
   (tree, seeds, budget, scoring, heap). Goal: at most 150.
2. 1,000 simulations of MCTS without any model: selection, growth by two children, back-up. Goal:
   less than 50 ms of CPU. Beside it treequest's StandardMCTS in the same process, if it is
   installed (`pip install treequest`): as many nodes, made by a function that does nothing.
3. A tree of 10,000, 100,000 and 1,000,000 nodes: CPU time and bytes a node, which must not grow.
   Goal: 0.6 GB for the million, of 8 tokens each. Every node has a text of its own and one score;
   tokens come on top, at some 90 bytes for the two containers and 8 for an id and its logprob. What
   does grow, up to a bound, is the share of Python's cyclic garbage collector, which visits
   everything alive now and then; so the time is given without it and with it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import numpy as np

from reasoning.backends.scripted import Scripted
from reasoning.generate import Meter, Prompt, Sampling
from reasoning.problem import Problem
from reasoning.search import Search
from reasoning.tree import Node, RolloutTree, Sample
from reasoning.verify import Scores, Verifier
from searchers.kernels.ucb import Branch, descend, puct_bound
from searchers.tree.astar import astar
from searchers.tree.mcts import mcts

LOGPROBS = np.full(8, -0.5, dtype=np.float32)


class Noise(Verifier):
    """Scores by the node's own key, at once."""

    name = "noise"

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        del problem
        return (node.key % 1000 / 1000,)


def step(prompt: Prompt, seed: int) -> Sample:
    """A step of eight tokens; about every twentieth ends its solution."""
    end = seed % 20 == 0
    text = f"\\boxed{{{seed % 7}}}" if end else f"step {seed % 1000}\n\n"
    ids = tuple(range(prompt.slot, prompt.slot + 8))
    return Sample(text, ids, LOGPROBS, finish="end" if end else "stop", generated_tokens=8)


def searched(searcher: Callable[[Search], Coroutine[Any, Any, None]]) -> tuple[int, float]:
    """Steps of a search with a verifier, and CPU seconds it took."""
    problem = Problem("p", "What is 3 + 4?")
    sampling = Sampling(max_tokens=100_000)
    search = Search(problem, Scripted(step), verifier=Noise(), sampling=sampling)
    search.budget.tokens.limit = 10**9
    begin = time.process_time()
    asyncio.run(searcher(search))
    return len(search.tree), time.process_time() - begin


def ours(simulations: int, children: int = 2) -> float:
    """CPU seconds of so many simulations on a bare tree."""
    tree = RolloutTree("p")
    rewards = np.random.default_rng(0).random(simulations * children).tolist()
    bound = puct_bound()
    begin = time.process_time()
    root = Branch(tree.root)
    sample = Sample("x", finish="stop")
    for i in range(simulations):
        leaf = descend(root, bound)
        nodes = [tree.add(leaf.node, slot, sample) for slot in range(children)]
        scores = rewards[i * children : (i + 1) * children]
        leaf.grow(nodes, scores, [1 / children] * children)
        best = max(leaf.children, key=lambda child: child.reward)
        best.back_up(best.reward)
    return time.process_time() - begin


def theirs(simulations: int, children: int = 2) -> float | None:
    """CPU seconds of treequest for as many nodes; None if it is not installed."""
    if importlib.util.find_spec("treequest") is None:
        return None
    from treequest import StandardMCTS

    rewards = iter(np.random.default_rng(0).random(simulations * children).tolist())

    def generate(_: object) -> tuple[str, float]:
        return "x", next(rewards)

    algorithm: Any = StandardMCTS(samples_per_action=children)
    begin = time.process_time()
    state = algorithm.init_tree()
    for _ in range(simulations * children):
        state = algorithm.step(state, {"a": generate}, inplace=True)
    return time.process_time() - begin


def resident() -> int:
    """Bytes of memory this process holds now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def planted(size: int, tokens: int, collect: bool) -> tuple[float, float]:
    """CPU microseconds and bytes a node of a tree of `size` nodes, four children each.

    With or without the garbage collector. Every node has a text, a score and, if there are any,
    token ids and logprobs of its own.
    """
    gc.collect()
    if not collect:
        gc.disable()
    before = resident()
    tree = RolloutTree("p")
    layer, count = [tree.root], 0
    begin = time.process_time()
    while count < size:
        fresh = []
        for parent in layer:
            for slot in range(min(4, size - count)):
                sample = Sample(f"step {count}\n\n")
                if tokens:
                    ids = tuple((300 + 7919 * count + i) % 150_000 for i in range(tokens))
                    logprobs = np.full(tokens, -0.5, dtype=np.float32)
                    sample = Sample(sample.text, ids, logprobs, generated_tokens=tokens)
                node = tree.add(parent, slot, sample)
                node.scores["noise"] = (count / size,)
                fresh.append(node)
                count += 1
        layer = fresh
    seconds = time.process_time() - begin
    assert len(tree) == size
    return seconds / size * 1e6, (resident() - before) / size


def in_a_process(size: int, tokens: int, collect: bool) -> tuple[float, float]:
    """`planted` in a process of its own, so that no size inherits another's memory."""
    command = [sys.executable, __file__, "--plant", str(size), str(tokens), str(int(collect))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    microseconds, memory = map(float, done.stdout.split())
    return microseconds, memory


def best(measure: Callable[[], float], rounds: int) -> float:
    return min(measure() for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="the best of so many is printed")
    parser.add_argument("--nodes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--plant", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plant:
        size, tokens, collect = options.plant
        print(*planted(size, tokens, bool(collect)))
        return

    for name, searcher in (
        ("astar", partial(astar, parallel=8, goals=60)),
        ("mcts", partial(mcts, simulations=300, max_steps=60)),
    ):

        def cost(searcher: Any = searcher) -> float:
            steps, seconds = searched(searcher)
            return seconds / steps * 1e6

        print(f"{name}: {best(cost, options.rounds):.0f} us CPU a step, generated and scored")

    mine = best(lambda: ours(1000), options.rounds)
    print(f"1,000 simulations of MCTS, two children each: {mine * 1e3:.1f} ms CPU")
    other = theirs(1000)
    if other is None:
        print("treequest is not installed: pip install treequest")
    else:
        print(f"treequest, as many nodes: {other * 1e3:.0f} ms, {other / mine:.0f} times as much")

    for tokens in (0, 8):
        for size in options.nodes:
            bare, memory = in_a_process(size, tokens, collect=False)
            collected, _ = in_a_process(size, tokens, collect=True)
            print(
                f"{size:>9,} nodes of {tokens} tokens: {bare:.1f} us ({collected:.1f} with the "
                f"collector) and {memory:.0f} B each, {memory * size / 1e9:.2f} GB"
            )


if __name__ == "__main__":
    main()
