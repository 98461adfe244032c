"""PaCoRe, parallel rounds that pass on their conclusions (2026, arXiv:2601.05593)."""

from __future__ import annotations

from reasoning.search import Search
from searchers.turns.rounds import REFINE, Sizes, reading_rounds

AGGREGATOR = "majority"


async def pacore(
    search: Search,
    *,
    widths: Sizes = (
        32,
        4,
        1,
    ),
    refine: str = REFINE,
) -> None:
    """Draw widths[0] solutions; each of the next round reads the conclusions of all of them.

    Only what follows a thought is passed on, so that many long thoughts fit one context; everyone
    sees them in an order of their own. The last round votes: the paper's [32, 4], with its last
    answer written out as a 1. The paper trains its model to make use of what it reads; without that
    this is a prompt. One width is self-consistency.
    """
    await reading_rounds(search, widths, None, refine, "pacore")
