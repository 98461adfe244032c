"""How thoughts are ended and begun: what the searchers of this family share."""

from __future__ import annotations

from typing import Any

from reasoning.search import Search
from reasoning.tree import Node

END = "</think>"
"""The mark that ends a thought, unless a searcher is told another."""


def closed(search: Search, thought: Node, end: str) -> Node:
    """`thought` with its mark behind it: written if it is not there, the same node if it is."""
    return thought if end in thought.text else search.write(thought, f"\n{end}\n\n")


async def answered(search: Search, thought: Node, end: str, **draw: Any) -> Node:
    """The answer behind a thought, which is ended if it is open; the thought itself if a limit is
    used up, or if the model has ended its solution by then."""
    if thought.finished:
        return thought
    return await search.draw(closed(search, thought, end), until="end", **draw) or thought
