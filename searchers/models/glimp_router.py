"""GlimpRouter (2026, arXiv:2601.05110)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.models.routing import Hold, route
from searchers.sampling.cntp import entropy
from searchers.thinking.closing import END, answered

AGGREGATOR = "first"
MODELS = ("small", "large")
STEPS = True


async def glimp_router(
    search: Search,
    *,
    small: str,
    large: str = "",
    threshold: Annotated[float, Field(ge=0)] = 1.0,
    end: Annotated[str, Field(min_length=1)] = END,
    max_steps: Annotated[int, Field(ge=1)] = 200,
) -> None:
    """Let the large model write a step where the small one does not know how to begin it.

    Before each step the small model is asked for one token, greedily: the entropy H = -sum p ln p
    of the 20 likeliest, renormalised, in nats. From `threshold` on the large model writes the step,
    else the small one. Once a step holds `end`, the thought is over, and the answer behind it is
    always the large one's. That an easy beginning makes an easy step is an assumption. A glimpse
    that fails counts as unsure.

    `small` and `large` are names of the recipe's `models`, "" is its generator. threshold=0 is the
    large model step by step, glimpses paid; above ln 20 = 2.996 the small one writes all thoughts.
    """
    stop = (*search.sampling.stop, end)

    async def write(node: Node, hold: Hold) -> Node | None:
        seen = await search.probe(node, top=20, model=small)
        unsure = seen is None or entropy(seen.sample.top_logprobs) >= threshold
        return await search.draw(node, model=large if unsure else small, stop=stop, land=hold)

    async def close(node: Node) -> Node | None:
        return await answered(search, node, end, model=large) if end in node.text else None

    await route(search, write, max_steps=max_steps, close=close)
