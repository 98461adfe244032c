"""Recursive self-aggregation (2025, arXiv:2509.26626)."""

from __future__ import annotations

from itertools import repeat
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.turns.rounds import REFINE, reading_rounds

AGGREGATOR = "majority"


async def rsa(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1, le=10_000)] = 8,
    k: Annotated[int, Field(ge=1)] = 4,
    rounds: Annotated[int, Field(ge=0)] = 3,
    refine: str = REFINE,
) -> None:
    """Keep n solutions; `rounds` times replace each by one that has read k of them, drawn by lot.

    The k are different ones, in a drawn order, and what is read of them stands behind their
    thoughts. The last n vote. It assumes that a model makes more of several partly right solutions
    than it could of one: k=1 refines each alone. rounds=0 is self-consistency.
    """
    await reading_rounds(search, repeat(n, rounds + 1), k, refine, "rsa")
