"""Hypotheses pruned in flight by what they add (2025, arXiv:2508.03979)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "majority"
STEPS = True


async def token_set_cover(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 8,
    cover: Annotated[float, Field(gt=0, le=1)] = 0.9,
    every: Annotated[int, Field(ge=1)] = 256,
    least: Annotated[int, Field(ge=1)] = 2,
) -> None:
    """Draw n solutions side by side; every so many tokens drop those that the others cover.

    Each live one covers the set of words of its newest piece and costs 1 / exp(its mean
    log-probability); the greedy weighted set cover keeps who is needed to reach the share `cover`
    of all words, at least `least`. Who has ended keeps its vote. The paper's formula could not be
    read, and this is a reconstruction from its abstract: what it promises is that fewer tokens are
    spent the lower `cover` is. cover=1 with no two alike, or least=n, is self-consistency.
    """
    live: list[Node] = [search.root] * n
    while live:
        draw = partial(search.draw, until="end", max_tokens=every)
        nodes = await search.side_by_side([partial(draw, node) for node in live])
        going = [node for node in nodes if node.sample.finish == "length"]
        for node in nodes:
            if node.sample.finish != "length":
                search.emit(node)
        if len(nodes) < len(live):  # a limit is used up, or the path's own length
            for node in going:
                search.emit(node)
        pieces = [set(node.sample.text.split()) for node in going]
        weights = [_probability(node) for node in going]
        live = [going[i] for i in covering(pieces, weights, cover, least)]


def covering(
    sets: Sequence[set[str]], weights: Sequence[float], share: float, least: int
) -> list[int]:
    """The places that greedily cover `share` of the union, the most new words times weight first.

    `least` of them at least, in ascending order; ties to the lowest.
    """
    everything = set().union(*sets)
    covered: set[str] = set()
    chosen: list[int] = []
    left = list(range(len(sets)))
    while left and (len(covered) < share * len(everything) or len(chosen) < least):
        best = max(left, key=lambda i: (len(sets[i] - covered) * weights[i], weights[i], -i))
        chosen.append(best)
        left.remove(best)
        covered |= sets[best]
    return sorted(chosen)


def _probability(node: Node) -> float:
    values = node.sample.logprobs
    return 1.0 if values is None or not len(values) else math.exp(float(values.mean()))
