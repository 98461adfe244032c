"""One sample: the baseline that every other strategy has to beat."""

from __future__ import annotations

from reasoning.search import Search

AGGREGATOR = "first"
INDEPENDENT = True
SINGLE = True
"""Its one draw is the answer, whatever it says."""


async def sample(search: Search, *, temperature: float | None = None) -> None:
    """Draw one whole solution; greedy decoding at temperature 0.

    `temperature` overrides the recipe's own.
    """
    if node := await search.draw(search.root, until="end", temperature=temperature):
        search.emit(node)
