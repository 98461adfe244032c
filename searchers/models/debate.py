"""Debate of several agents (Du et al., 2023, arXiv:2305.14325)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
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
    bet: str = "",
) -> None:
    """Let every seat solve the problem, then `rounds` times read the others and answer anew.

    Each seat goes on with its own conversation; what it reads of the others is what follows their
    thoughts. The vote is over the latest answers of all seats. `seats` has a name for every seat:
    of the recipe's `models`, or "" for its generator; two may be the same. The seats have to be
    apt to be persuaded by what is right: nothing here judges. rounds=0 is self-consistency.

    With `bet`, a question, every seat says of each of its answers how sure it is (2025,
    arXiv:2505.19184), once the debate is over and unread by the others, so that nothing else
    changes: `reasoning eval --measure debate_confidence`.
    """
    latest, spoken = [search.root] * len(seats), list[tuple[Node, int, int]]()

    async def speak(seat: int, number: int, before: list[Node]) -> Node | None:
        own = before[seat]
        others = [n for i, n in enumerate(before) if i != seat and n is not search.root]
        turn, read = (None, []) if own is search.root else (_asked(others), others)
        node = await search.draw(own, until="end", model=seats[seat], turn=turn, sources=read)
        if node is not None:
            latest[seat] = node
            spoken.append((node, seat, number))
            search.emit(node)
            if own is not search.root:
                search.emit(own, 0.0)
        return node

    async def wager(node: Node, seat: int, number: int) -> Node | None:
        told = await search.draw(node, until="end", model=seats[seat], turn=bet)
        if told is not None:
            found = {"bet": stated(told.sample.text), "seat": seat, "round": number}
            told.sample = replace(told.sample, info={**(told.sample.info or {}), **found})
        return told

    for i in range(rounds + 1):
        await search.side_by_side([partial(speak, s, i, [*latest]) for s in range(len(seats))])
    if bet:
        spoken.sort(key=lambda said: said[0].path)
        await search.side_by_side([partial(wager, *said) for said in spoken])


def stated(text: str) -> float | None:
    """The confidence in [0, 1] that a text states: its last number from 0 to 100, percent, else a
    yes or a no; None if it states none."""
    said = after_thoughts(text)
    numbers = re.findall(r"(?<![\d.])\d+(?:\.\d+)?(?![\d])", said)
    if numbers:
        return float(numbers[-1]) / 100 if float(numbers[-1]) <= 100 else None
    words = re.findall(r"\b(yes|no)\b", said, re.IGNORECASE)
    return float(words[-1].lower() == "yes") if words else None


def _asked(others: Iterable[Node]) -> str:
    """What a seat is asked that sees the others' solutions, their thoughts left out."""
    said = (after_thoughts(node.text) for node in others)
    told = "\n\n".join(f"One agent's solution:\n{text}" for text in said)
    return _ASK.format(said=told or "None of them has come to an end.")
