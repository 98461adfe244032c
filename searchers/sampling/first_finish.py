"""First finish search (Agarwal et al., 2025, arXiv:2505.18149)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.sampling.short_m_at_k import finishers

AGGREGATOR = "first"


async def first_finish(
    search: Search, *, n: Annotated[int, Field(ge=1)], hedge: bool = False
) -> None:
    """Race n whole solutions and answer with the first that ends; the others are cancelled.

    Pays off for models whose short traces are more often right. A truncated trace and one without
    an answer do not finish. With `hedge` the first of them is greedy.
    """
    await finishers(search, winners=1, runners=n, hedge=hedge)
