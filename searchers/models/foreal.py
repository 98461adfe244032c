"""FoReaL-decoding (2025, arXiv:2506.06998)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.models.routing import Hold, route

AGGREGATOR = "first"
MODELS = ("small", "large")
STEPS = True
SENTENCE = (". ", ".\n", "! ", "? ", "\n")


async def foreal(
    search: Search,
    *,
    small: str,
    large: str = "",
    n: Annotated[int, Field(ge=1)] = 15,
    p: Annotated[float, Field(ge=0, le=1)] = 1.0,
    first: Annotated[int, Field(ge=0)] = 0,
    stop: Annotated[tuple[str, ...], Field(min_length=1)] = SENTENCE,
    max_steps: Annotated[int, Field(ge=1)] = 1000,
) -> None:
    """Have the large model lead sentences with their first n tokens, and the small one end them.

    A sentence is led with probability p, the `first` ones always (the paper has such a number, and
    its value could not be found: 0), else the small model writes all of it. Sentences end at `stop`
    (the paper: punctuation or a new line). It assumes that who begins a sentence decides what it
    will say. "" is the recipe's generator. p=0 is the small model, sentence by sentence.
    """
    rng, ends, led = search.rng("foreal"), (*search.sampling.stop, *stop), 0

    async def write(node: Node, hold: Hold) -> Node | None:
        nonlocal led
        lead, led = led < first or rng.random() < p, led + 1
        led_to: Node | None = node
        if lead:
            led_to = await search.draw(
                node, until="end", model=large, max_tokens=n, stop=ends, land=hold
            )
        if led_to is None or (lead and led_to.sample.finish != "length"):
            return led_to
        rest = await search.draw(led_to, until="end", model=small, stop=ends, land=hold)
        return rest or (led_to if lead else None)

    await route(search, write, max_steps=max_steps)
