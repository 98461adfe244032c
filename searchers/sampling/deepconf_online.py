"""DeepConf online: traces cut in flight (Fu et al., 2025, arXiv:2508.15260)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.aggregators.certainty import group_means
from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "majority"
READS = "confidence"
STEPS = True


async def deepconf_online(
    search: Search,
    *,
    n: Annotated[int, Field(ge=2)],
    warmup: Annotated[int, Field(ge=1)] = 16,
    keep: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    window: Annotated[int, Field(ge=1)] = 2048,
    check: Annotated[int, Field(ge=1)] = 256,
    consensus: Annotated[float, Field(gt=0, le=1)] = 0.95,
) -> None:
    """Draw `warmup` whole samples, then n - warmup that are cut when they are less sure than those.

    Sure is the least mean confidence of `window` tokens in a row (`sampling.confidence_k`); the bar
    is the (1 - keep)-quantile of the warm-up's: .1 is the paper's "low" and cuts most, .9 "high".
    The vote counts who was not cut, and of the warm-up those over the bar, by that number. Nobody
    is begun any more once one answer has `consensus` of the vote, as the paper has it (its code
    does not stop). Samples are looked at every `check` tokens, and what is drawn beyond the cut is
    paid for. keep towards 1 is a weighted self-consistency.
    """
    first = await search.draws(search.root, min(warmup, n), until="end", land=search.emit)
    known = [value for node in first if (value := least(node, window)) is not None]
    if not known:
        return
    bar = float(np.quantile(known, 1 - keep))
    for node in first:
        sure = least(node, window)
        search.emit(node, sure if sure is not None and sure >= bar else 0.0)
    left = n - len(first)

    async def follow(view: Search, _: int) -> None:
        node, sure = view.root, None
        while (more := await view.draw(node, until="end", max_tokens=check)) is not None:
            node = more
            sure = least(node, window)
            full = node.generated_tokens >= window
            if sure is None or (full and sure < bar):
                return
            if node.sample.finish != "length":
                break
        view.emit(node, 0.0 if sure is None else sure)

    while left > 0 and not await _settled(search, consensus) and not search.budget.exhausted:
        size = min(left, warmup)
        await search.split(size, follow)
        left -= size


def least(node: Node, window: int) -> float | None:
    """The least mean confidence of `window` tokens in a row on the path; None if it is unknown."""
    parts = [piece.sample.confidence for piece in node.attempt()]
    if not parts or any(part is None for part in parts):
        return None
    values = np.concatenate([part for part in parts if part is not None]).astype(float)
    return float(group_means(values, window).min()) if len(values) else None


async def _settled(search: Search, consensus: float) -> bool:
    """Whether one answer has that share of the vote."""
    votes: dict[str, float] = {}
    for c in await search.agreed(search.candidates):
        if c.answer is not None:
            votes[c.answer.key] = votes.get(c.answer.key, 0.0) + c.weight
    return bool(votes) and max(votes.values()) >= consensus * sum(votes.values()) > 0
