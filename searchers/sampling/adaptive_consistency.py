"""Adaptive-Consistency (Aggarwal et al., 2023, arXiv:2305.11860)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.kernels.stopping import lead_is_safe

AGGREGATOR = "majority"
VOTES = True


async def adaptive_consistency(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 40,
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95,
    window: Annotated[int, Field(ge=1)] = 1,
    hedge: bool = False,
) -> None:
    """Draw samples until the leading answer is a majority with this confidence, n at most.

    The criterion is the paper's Beta: two answers, a uniform prior. `window` samples are drawn side
    by side between two looks; 1 is the paper's and the most frugal, more is quicker. With `hedge`
    the first sample is greedy.
    """
    votes: Counter[str] = Counter()
    for start in range(0, n, window):
        size = min(window, n - start)
        nodes = await search.draws(
            search.root, size, until="end", hedge=hedge and not start, land=search.emit
        )
        votes.update(answer.key for answer in await search.answers(*nodes) if answer)
        if lead_is_safe(votes.values(), confidence) or (not nodes and search.budget.exhausted):
            return
