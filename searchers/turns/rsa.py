"""Recursive self-aggregation (2025, arXiv:2509.26626)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat
from typing import Annotated, Any

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from searchers.turns.rounds import REFINE, reading_rounds

AGGREGATOR = "majority"
_N, _K = 8, 4


def ABOUT(stated: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802  a constant that depends
    """Raises RecipeError for more to read than there is."""
    n, k = stated.get("n", _N), stated.get("k", _K)
    if k > n:
        raise RecipeError(
            f"rsa: k={k} is more than n={n}: what a round can read are the n solutions of the one "
            "before; set k from 1 to n"
        )
    return {}


async def rsa(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1, le=10_000)] = _N,
    k: Annotated[int, Field(ge=1)] = _K,
    rounds: Annotated[int, Field(ge=0)] = 3,
    refine: str = REFINE,
) -> None:
    """Keep n solutions; `rounds` times replace each by one that has read k of them, drawn by lot.

    The k are different ones, in a drawn order, and what is read of them stands behind their
    thoughts. The last n vote. It assumes that a model makes more of several partly right solutions
    than it could of one: k=1 refines each alone. rounds=0 is self-consistency.
    """
    await reading_rounds(search, repeat(n, rounds + 1), k, refine, "rsa")
