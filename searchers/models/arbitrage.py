"""Arbitrage, and reward-guided drafting, its baseline (2025, arXiv:2512.05033)."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Annotated, Literal

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.models.routing import Hold, route

AGGREGATOR = "first"
MODELS = ("small", "large")
STEPS = True
_USUAL = {"gain": 0.0, "reward": 0.7, "likelihood": -0.3}


async def arbitrage(
    search: Search,
    *,
    small: str,
    large: str = "",
    by: Literal["gain", "reward", "likelihood"] = "reward",
    delta: float | None = None,
    max_steps: Annotated[int, Field(ge=1)] = 150,
) -> None:
    """Draft every step by the small model; take the large one's where that is worth more.

    "gain": both write the step, and the draft is kept iff r(large) - r(draft) <= delta (0), r the
    verifier's score of the path. That is the paper's oracle: both are always paid, so it bounds
    what a router can reach. "reward": the draft is kept iff r(draft) >= delta (.7). "likelihood":
    iff the mean log-probability of its tokens, as the large model reads them, is delta (-0.3 nats,
    chosen on training problems of the embedded models: docs/methods_models.md) or more. The paper's
    trained router is not here. Scores of single steps are taken to be comparable. What is not kept
    is paid for, and stays in the tree.

    "" is the recipe's generator. delta=.inf ("gain") or -.inf keeps every draft, the other
    infinity none.
    """
    bound = _USUAL[by] if delta is None else delta

    async def worth(node: Node) -> float:
        await search.score(node)
        score = search.reward(node)
        return -inf if score is None else score

    async def both(node: Node, hold: Hold) -> Node | None:
        def land(step: Node) -> None:
            hold(step)
            if step.finished:
                search.emit(step, 0.0, rank=1.0)

        calls = [partial(search.draw, node, model=m) for m in (small, large)]
        steps = await search.side_by_side(calls, land)
        if len(steps) < 2:
            return steps[0] if steps else None
        draft, target = [await worth(step) for step in steps]
        gain = 0.0 if target == draft else target - draft
        return steps[0] if gain <= bound else steps[1]

    async def drafted(node: Node, hold: Hold) -> Node | None:
        draft = await search.draw(node, model=small, land=hold)
        if draft is None:
            return None
        value = await (worth(draft) if by == "reward" else _read(search, draft, large))
        return draft if value >= bound else await search.draw(node, model=large) or draft

    await route(search, both if by == "gain" else drafted, max_steps=max_steps)


async def _read(search: Search, step: Node, model: str) -> float:
    """The mean log-probability of a step's tokens in the eyes of `model`, nats."""
    values = await search.likelihood(step, model=model)
    return -inf if values is None or not len(values) else float(values.mean())
