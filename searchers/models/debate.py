"""Debate of several agents (Du et al., 2023, arXiv:2305.14325)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "majority"
MODELS = ("seats",)
_ASK = (
    "Other agents have solved the same problem:\n\n{said}\n\nUse their solutions as further "
    "advice, examine them and your own, and answer the problem again in the same form as before."
)


async def debate(
    search: Search,
    *,
    seats: Annotated[tuple[str, ...], Field(min_length=2)] = ("", ""),
    rounds: Annotated[int, Field(ge=0)] = 2,
) -> None:
    """Let every seat solve the problem, then `rounds` times read the others and answer anew.

    Each seat goes on with its own conversation; what it reads of the others is what follows their
    thoughts. The vote is over the latest answers of all seats. `seats` has a name for every seat:
    of the recipe's `models`, or "" for its generator; two may be the same. The seats have to be
    apt to be persuaded by what is right: nothing here judges. rounds=0 is self-consistency.
    """
    latest = [search.root] * len(seats)

    async def speak(seat: int, before: list[Node]) -> Node | None:
        own = before[seat]
        others = [n for i, n in enumerate(before) if i != seat and n is not search.root]
        turn, read = (None, []) if own is search.root else (_asked(others), others)
        node = await search.draw(own, until="end", model=seats[seat], turn=turn, sources=read)
        if node is not None:
            latest[seat] = node
            search.emit(node)
            if own is not search.root:
                search.emit(own, 0.0)
        return node

    for _ in range(rounds + 1):
        await search.side_by_side([partial(speak, i, list(latest)) for i in range(len(seats))])


def _asked(others: Iterable[Node]) -> str:
    """What a seat is asked that sees the others' solutions, their thoughts left out."""
    said = (after_thoughts(node.text) for node in others)
    told = "\n\n".join(f"One agent's solution:\n{text}" for text in said)
    return _ASK.format(said=told or "None of them has come to an end.")
