"""Samples of several models, the first layer of Archon (2024, arXiv:2409.15254)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.search import Search

AGGREGATOR = "majority"
MODELS = ("members",)


async def ensemble(
    search: Search,
    *,
    members: Annotated[tuple[str, ...], Field(min_length=1)],
    n: Annotated[int, Field(ge=1, le=10_000)] = 1,
) -> None:
    """Draw n samples of each member, side by side; all vote alike.

    `members` are names of the recipe's `models`, "" is its generator. As the first of several
    stages it is how Archon begins: `critique` has candidates criticised, `rank_filter` keeps the
    best, `verify_filter` those that hold, `gensynthesis` fuses them, in any order. It assumes that
    models err differently. One member is self-consistency.
    """
    draw = partial(search.draw, search.root, until="end")
    calls = [partial(draw, model=member) for member in members for _ in range(n)]
    await search.side_by_side(calls[: search.affordable(len(calls))], search.emit)
