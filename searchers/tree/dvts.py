"""Diverse verifier tree search (Beeching, Tunstall and Rush, 2024, Scaling test-time compute with
open models; Hugging Face search-and-learn). No arXiv paper; Snell et al. (2024, arXiv:2408.03314)
is what it builds on.
"""

from __future__ import annotations

from reasoning.search import Search
from searchers.tree.beam_search import beam
from searchers.tree.engine import Natural, Positive, at_least_partial

AGGREGATOR = "best"
STEPS = True


async def dvts(
    search: Search,
    *,
    subtrees: Positive,
    expansions: Positive = 4,
    lookahead: Natural = 0,
    merge_duplicates: bool = False,
    max_steps: Positive = 40,
) -> None:
    """Grow independent subtrees, in each of them always the best of `expansions` next steps.

    Paths are never compared across subtrees, so that one bad score cannot take over the search,
    and a subtree runs ahead without waiting for the others; the budget is split among them, and
    what one leaves when it ends is the others'. A subtree ends when its best step ends the
    solution. All solutions are candidates, also those that ended earlier and were beaten;
    search-and-learn puts forward all `expansions` paths of the last step only, ended or not.

    `lookahead`, `merge_duplicates` and `max_steps` are those of beam_search.
    """

    async def grow(subtree: Search, _: int) -> None:
        await beam(
            subtree,
            1,
            expansions,
            lookahead=lookahead,
            merge_duplicates=merge_duplicates,
            max_steps=max_steps,
        )

    with at_least_partial(search):
        await search.split(subtrees, grow)
