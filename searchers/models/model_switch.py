"""ModelSwitch (Chen et al., 2025, arXiv:2504.00762)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field

from reasoning.search import Search

AGGREGATOR = "majority"
MODELS = ("order",)


async def model_switch(
    search: Search,
    *,
    order: Annotated[tuple[str, ...], Field(min_length=1)],
    k: Annotated[int, Field(ge=1)] = 5,
    threshold: Annotated[float, Field(gt=0, le=1)] = 1.0,
) -> None:
    """Ask the models in order, k samples each, until the samples of one agree; all of them vote.

    One agrees with itself if its most frequent answer has a share of `threshold` or more of its k
    samples; answers that mean the same are one, and a sample without an answer agrees with none.
    That a model which agrees is right is an assumption: put the best of equal price first. `order`
    has names of the recipe's `models`, "" is its generator. One model is self-consistency.
    """
    for model in order:
        nodes = await search.draws(search.root, k, until="end", model=model, land=search.emit)
        votes = Counter(answer.key for answer in await search.answers(*nodes) if answer)
        if votes and max(votes.values()) / k >= threshold:
            return
        if not nodes and search.budget.exhausted:
            return
