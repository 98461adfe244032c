"""Two servers of two sizes: searches that ask both, one of which is killed in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from evals.tasks.nano import nano as task
from reasoning.backends import nano as nano_backend
from reasoning.backends.nano import nano
from reasoning.backends.openai import Limits, OpenAI
from reasoning.generate import Generator, Sampling
from reasoning.search import Search, Step
from searchers.models.cascade import cascade
from searchers.models.spec_reason import spec_reason
from searchers.turns.pdr import pdr
from tests.engines.test_openai_vllm import metric_of

PROBLEMS = task(n=8).problems
SEARCHES: dict[str, tuple[Any, dict[str, Any]]] = {
    "cascade": (cascade, {"order": ("small", ""), "thresholds": (-0.08,)}),
    "spec_reason": (spec_reason, {"small": "small", "threshold": 4.5, "max_steps": 8}),
    "pdr": (pdr, {"drafts": (2, 1), "distiller": "small", "workspace": 24}),
}


def searches(small: Generator, large: Generator) -> list[tuple[Search, Any, dict[str, Any]]]:
    """Every search on every problem, greedily: what comes out depends on the models alone."""
    sampling, step = Sampling(max_tokens=160, temperature=0.0), Step(max_tokens=48)
    return [
        (Search(p, large, models={"small": small}, sampling=sampling, step=step), *found)
        for found in SEARCHES.values()
        for p in PROBLEMS
    ]


async def run(small: Generator, large: Generator, meanwhile: Any = None) -> list[Search]:
    todo = searches(small, large)
    async with asyncio.TaskGroup() as group:
        for search, searcher, params in todo:
            group.create_task(searcher(search, **params))
        if meanwhile is not None:
            group.create_task(meanwhile())
    return [search for search, _, _ in todo]


def told(search: Search) -> list[Any]:
    """Who wrote what, and what was put forward."""
    return [
        (n.path, n.sample.model, n.text, n.sample.generated_tokens, n.emitted) for n in search.tree
    ]


def test_one_of_two_servers_is_killed_and_nothing_is_lost(
    serve: Callable[..., Any], vllm_server: str
) -> None:
    """Everything is as on the embedded models undisturbed, and each server wrote its own part."""
    alone = asyncio.run(run(nano(model="nano_draft"), nano()))
    server = serve(model=nano_backend.DRAFT)
    limits = Limits(patience=900)
    small = OpenAI([f"{server.url}/v1"], "nano", limits=limits)
    large = OpenAI([f"{vllm_server}/v1"], "nano", limits=limits)

    async def kill() -> None:
        while await asyncio.to_thread(metric_of, server.url, "generation_tokens_total") < 100:
            pass
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(serve, port=server.port, model=nano_backend.DRAFT)

    async def work() -> list[Search]:
        await small.astart()
        await large.astart()
        before = await asyncio.to_thread(metric_of, vllm_server, "generation_tokens_total")
        found = await run(small, large, kill)
        after = await asyncio.to_thread(metric_of, vllm_server, "generation_tokens_total")
        usage = [search.usage for search in found]
        mine = sum(u.generated_tokens - u.models["small"].generated_tokens for u in usage)
        assert mine <= after - before
        await small.aclose()
        await large.aclose()
        return found

    found = asyncio.run(asyncio.wait_for(work(), 1200))
    for mine, theirs in zip(found, alone, strict=True):
        assert mine.failures == []
        assert told(mine) == told(theirs)
        assert {n.sample.model for n in mine.tree} <= {"", "small"}
    wrote = {model for search in found for model in {n.sample.model for n in search.tree}}
    assert wrote == {"", "small"}
