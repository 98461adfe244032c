"""short-m@k (Hassid et al., 2025, arXiv:2505.17813)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.drawing import hedged
from reasoning.errors import RecipeError
from reasoning.racing import race
from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "majority"


async def short_m_at_k(
    search: Search,
    *,
    k: Annotated[int, Field(ge=1)],
    m: Annotated[int, Field(ge=1)] = 3,
    hedge: bool = False,
) -> None:
    """Race k whole solutions, stop when the first m have ended, vote among those m.

    A tie goes to the shortest trace. The tokens of the k - m cancelled traces are paid for. A
    truncated trace and one without an answer do not finish. With `hedge` the first is greedy.
    """
    if m > k:
        raise RecipeError(f"short_m_at_k waits for m of k solutions: m={m} is more than k={k}")
    await finishers(search, winners=m, runners=k, hedge=hedge)


async def finishers(search: Search, *, winners: int, runners: int, hedge: bool = False) -> None:
    """Race `runners` whole solutions and emit the first `winners`, ranked by their length."""

    landed = 0

    async def run(i: int) -> Node | None:
        nonlocal landed
        draw = partial(search.draw, search.root, until="end")
        node = await (hedged(draw) if hedge and not i else draw())
        if node is None or not node.finished or search.answer(node) is None:
            return None
        landed += 1
        if landed <= winners:  # at once: time may be up before the race is won
            search.emit(node, rank=node.generated_tokens)
        return node

    await race(winners, [partial(run, i) for i in range(runners)])
