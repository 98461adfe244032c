"""Best-of-N by a verifier (Cobbe et al., 2021, arXiv:2110.14168)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "best"
SCORES = True
INDEPENDENT = True


async def best_of_n(search: Search, *, n: Annotated[int, Field(ge=1)], hedge: bool = False) -> None:
    """Sample n whole solutions in parallel and score each as it lands; the best score wins.

    With aggregator weighted_majority this is weighted best-of-N (Li et al., 2022,
    arXiv:2206.02336). With `hedge` the first sample is greedy; pass@k leaves it out.
    """

    together = search.verifier is not None and search.verifier.together > 1
    wait = together or search.budget.bounds("verifier_calls")

    async def land(node: Node) -> None:
        search.emit(node)
        if not wait:
            await search.score(node)

    nodes = await search.draws(search.root, n, until="end", hedge=hedge, land=land)
    await search.score(*nodes)  # if they wait: who is scored must not depend on who lands first
