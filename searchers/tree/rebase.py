"""REBASE: reward balanced search (Wu et al., 2024, arXiv:2408.00724)."""

from __future__ import annotations

from collections.abc import Iterable

from reasoning.search import Search
from searchers.kernels.allocate import softmax_shares
from searchers.tree.engine import Positive, Temperature, at_least_partial, grow_in_rounds
from searchers.tree.leaf import Leaf, is_open, values

AGGREGATOR = "weighted_majority"
STEPS = True


async def rebase(
    search: Search,
    *,
    width: Positive,
    balance_temperature: Temperature = 0.2,
    merge_duplicates: bool = False,
    max_steps: Positive = 25,
) -> None:
    """Share out `width` next steps in proportion to softmax(score / balance_temperature).

    Rounding is the official code's: best first, each path gets its share of what is left, rounded
    up. A path that ends or is cut off takes one step of the width with it for good, so that the
    search shrinks to nothing. The token limit holds for the whole path, as the paper means it (the
    official code compares it with the last step alone).

    `merge_duplicates` drops siblings that repeat a text; these take nothing with them.
    """
    remaining = width

    def allocate(leaves: list[Leaf], _: int) -> Iterable[int]:
        nonlocal remaining
        running = is_open(leaves)
        remaining -= int((~running).sum())
        shares = running.astype(int)
        shares[running] = softmax_shares(values(leaves)[running], remaining, balance_temperature)
        return shares

    with at_least_partial(search):
        await grow_in_rounds(
            search, width, allocate, max_steps=max_steps, merge_duplicates=merge_duplicates
        )
