"""vLLM under data parallelism, one server with two engines: each is called by its rank."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Callable
from typing import Any

from reasoning.backends.openai import OpenAI
from reasoning.generate import Prompt, Sampling
from reasoning.problem import Problem
from reasoning.tree import RolloutTree, Sample

TREES, SIBLINGS = 6, 5
BLOCK = 32  # tokens in a block of the engines' prefix caches


def answered(url: str) -> dict[str, float]:
    """Calls that each engine of the server has answered, by its own count."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as reply:
        text = reply.read().decode()
    found: dict[str, float] = {}
    line = r'^vllm:request_success_total\{.*?engine="(\d)".*?\} (\S+)$'
    for engine, value in re.findall(line, text, re.MULTILINE):
        found[engine] = found.get(engine, 0.0) + float(value)
    return found


def test_a_tree_stays_with_an_engine_and_all_are_used(serve: Callable[..., Any]) -> None:
    server = serve("--data-parallel-size", "2")
    generator = OpenAI([f"{server.url}/v1"], "nano")
    params = Sampling(max_tokens=16)

    async def tree(i: int) -> list[Sample]:
        numbers = " + ".join(str(10 + (7 * i + 3 * j) % 90) for j in range(40))
        problem = Problem(f"p{i}", f"What is {numbers}?")
        root = RolloutTree(problem.id).root

        def call(slot: int) -> Any:
            prompt = Prompt(problem, root, slot)
            return generator.generate(prompt, params, seed=100 * i + slot, meter=lambda _: None)

        first = await call(0)
        return [first, *await asyncio.gather(*(call(slot) for slot in range(1, SIBLINGS)))]

    async def main() -> tuple[list[list[Sample]], dict[str, float], dict[str, float]]:
        await generator.generate(  # what the server is, is found out
            Prompt(Problem("q", "What is 1 + 1?"), RolloutTree("q").root, 0),
            params,
            seed=1,
            meter=lambda _: None,
        )
        before = answered(server.url)
        trees = await asyncio.gather(*map(tree, range(TREES)))
        after = answered(server.url)
        await generator.aclose()
        return trees, before, after

    trees, before, after = asyncio.run(main())
    served = dict(generator.served)  # what the server was asked before is under its URL
    served.pop(f"{server.url}/v1", None)
    assert set(served) == {f"{server.url}/v1, rank {rank}" for rank in (0, 1)}, served
    assert sum(served.values()) >= TREES * SIBLINGS, served
    calls = {engine: after[engine] - before[engine] for engine in ("0", "1")}
    assert sum(calls.values()) == TREES * SIBLINGS
    assert min(calls.values()) >= 2 * SIBLINGS, f"trees are shared out: {calls}"
    for first, *others in trees:
        found = [sample.cached_tokens for sample in others]
        told = f"of {first.prompt_tokens}, {first.cached_tokens}, then {found}"
        assert min(found) >= max(BLOCK, first.cached_tokens + 1), (
            f"siblings find their prompt where the first has computed it: {told}"
        )
