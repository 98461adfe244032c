"""What step routers share: one step behind another, whoever writes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from reasoning.search import Search
from reasoning.tree import Node

Hold: TypeAlias = Callable[[Node], None]
"""Told what stands for the path while its next step is being decided: time may be up first."""
Write: TypeAlias = Callable[[Node, Hold], Awaitable[Node | None]]
"""From the path so far to the node of its next step, None if there is none."""


async def route(
    search: Search,
    write: Write,
    *,
    max_steps: int,
    close: Callable[[Node], Awaitable[Node | None]] | None = None,
    loops: bool = True,
) -> None:
    """Go on from the root with what `write` gives, until it ends, and emit where it got.

    It ends with the solution, without a step or with an empty one, after `max_steps`, and, if
    `loops`, with a step that says the same as the one before it. `close` sees every step, and gives
    the end of the solution where it is to be ended now.
    """
    at = search.root

    def hold(node: Node) -> None:
        nonlocal at
        at = node

    try:
        for _ in range(max_steps):
            before = at
            node = await write(before, hold)
            if node is None:
                break
            at = node
            same = loops and node.sample.text == before.sample.text
            if node.finished or not node.sample.text or same:
                break
            if close is not None and (end := await close(node)) is not None:
                at = end
                break
    finally:
        search.emit(at)
