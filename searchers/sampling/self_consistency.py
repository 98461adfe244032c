"""Self-consistency (Wang et al., 2022, arXiv:2203.11171)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search

AGGREGATOR = "majority"
INDEPENDENT = True


async def self_consistency(
    search: Search, *, n: Annotated[int, Field(ge=1)], hedge: bool = False
) -> None:
    """Sample n whole solutions in parallel; the most frequent answer wins.

    With `hedge` the first of them is greedy (2025, arXiv:2506.20544); pass@k leaves it out.
    """
    await search.draws(search.root, n, until="end", hedge=hedge, land=search.emit)
