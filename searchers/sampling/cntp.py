"""Cautious next-token prediction (2025, arXiv:2507.03038)."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node, TopLogprobs
from searchers.kernels.uncertainty import entropies

AGGREGATOR = "majority"
STEPS = True
PUNCTUATION = (".", ",", "\n", "?", "!", ":", ";", ")", "]", "}")


async def cntp(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    trials: Annotated[int, Field(ge=1)] = 10,
    low: Annotated[float, Field(ge=0)] = 0.01,
    high: Annotated[float, Field(gt=0)] = 1.5,
    stop: Annotated[tuple[str, ...], Field(min_length=1)] = PUNCTUATION,
) -> None:
    """Sample n solutions segment by segment; where the model is unsure, the likeliest of several.

    A segment ends at punctuation. Before each, the entropy H of the next token (nats, over the 20
    likeliest) sets the number of tries, 1 + (trials - 1) clip((H - low) / (high - low), 0, 1); of
    these the one with the lowest perplexity goes on. The paper measures before every token, this
    before every segment. Likely segments are taken for right ones. One trial is a plain sample.
    """

    async def width(view: Search, node: Node) -> int:
        seen = await view.probe(node, top=20) if trials > 1 else None
        return tries(entropy(None if seen is None else seen.sample.top_logprobs), trials, low, high)

    ends = (*search.sampling.stop, *stop)
    at_root = await width(search, search.root)

    async def solve(view: Search, _: int) -> None:
        node, tried, landed = view.root, at_root, list[Node]()
        draw = partial(view.draws, until="end", stop=ends)
        try:
            while drawn := await draw(node, tried, land=landed.append):
                node, landed[:] = max(drawn, key=_mean), []
                if node.sample.finish != "stop" or not node.sample.text:
                    break
                tried = await width(view, node)
        finally:
            view.emit(max(landed, key=_mean, default=node))

    await search.split(n, solve)


def tries(entropy: float, trials: int, low: float, high: float) -> int:
    """How many segments to try at an entropy in nats."""
    part = (entropy - low) / (high - low) if high > low else float(entropy > low)
    return int(1 + (trials - 1) * min(1.0, max(0.0, part)))


def entropy(tops: TopLogprobs | None) -> float:
    """The entropy in nats of the first position's likeliest tokens, renormalised; 0 if unknown."""
    return next(iter(entropies(tops)), 0.0)


def _mean(node: Node) -> float:
    values = node.sample.logprobs
    return -math.inf if values is None or not len(values) else float(values.mean())
