"""What searchers share that ask each slot differently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from reasoning.problem import Message
from reasoning.search import Search
from reasoning.tree import Node, Turn


def put(search: Search, text: str, shots: Sequence[Message] | None = None) -> Turn | None:
    """The problem with `text` as its last message, and `shots` before it in place of its own.

    None if that is the problem as it is: the slot is then what it would be without a variant.
    """
    *before, _ = search.problem.messages
    messages = (*(before if shots is None else shots), Message("user", text))
    return None if messages == search.problem.messages else Turn(messages, afresh=True)


async def deal(
    search: Search, turns: Iterable[Turn | None], land: Callable[[int, Node], None], **draw: Any
) -> None:
    """One whole solution for each turn, side by side; `land` is told which turn a node answers."""
    turns = list(turns)
    one = partial(search.draw, search.root, until="end", **draw)
    calls = [partial(one, turn=turn, land=partial(land, i)) for i, turn in enumerate(turns)]
    await search.side_by_side(calls[: search.affordable(len(calls))])
