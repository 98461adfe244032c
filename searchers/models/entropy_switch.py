"""Entropy adaptive decoding (2025, arXiv:2502.06833)."""

from __future__ import annotations

from collections import deque
from math import log
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.uncertainty import entropies
from searchers.models.routing import Hold, route

AGGREGATOR = "first"
MODELS = ("small", "large")
STEPS = True


async def entropy_switch(
    search: Search,
    *,
    small: str,
    large: str = "",
    threshold: Annotated[float, Field(ge=0)] = 0.1,
    window: Annotated[int, Field(ge=1)] = 16,
    least: Annotated[int, Field(ge=0)] = 16,
    every: Annotated[int, Field(ge=1)] = 8,
    max_steps: Annotated[int, Field(ge=1)] = 10_000,
) -> None:
    """Switch between two models in the middle of a text, by how unsure the running one is.

    The mean entropy, in bits, of the last `window` tokens, each under the model that wrote it (of
    its 20 likeliest tokens, renormalised): the large model runs above `threshold`, else the small
    one, if the last switch is `least` tokens ago. The small one begins. The paper decides at every
    token; here `every` tokens are one call. Its window, threshold and least distance could not be
    found: the threshold here was chosen on training problems of the embedded models
    (docs/methods_models.md says how; it belongs to a model), the others are choices of ours. An
    unsure model is assumed to be a wrong one.

    "" is the recipe's generator. threshold=0 has the large model run unless the window has no
    entropy at all; log2(20) = 4.33 and above is the small one alone.
    """
    recent: deque[float] = deque(maxlen=window)
    model, since = small, 0

    async def write(node: Node, hold: Hold) -> Node | None:
        nonlocal model, since
        more = await search.draw(
            node, until="end", model=model, max_tokens=every, top_logprobs=20, land=hold
        )
        if more is None or more.sample.finish != "length":
            return more
        recent.extend(x / log(2) for x in entropies(more.sample.top_logprobs))
        since += more.sample.generated_tokens
        wanted = large if recent and sum(recent) / len(recent) > threshold else small
        if wanted != model and since >= least:
            model, since = wanted, 0
        return more

    await route(search, write, max_steps=max_steps, loops=False)
