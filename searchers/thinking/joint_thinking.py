"""JointThinking (2025, arXiv:2508.03363)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node, Turn

AGGREGATOR = "majority"
STEPS = True
NO_THINKING = "<think>\nOkay, I think I have finished thinking.\n</think>\n\n"
"""The begun reply that skips the thought (Ma et al., 2025, arXiv:2504.09858)."""
_ASK = (
    "{question}\n\nTwo answers to this have been given:\n\n{first}\n\n{second}\n\nThey differ. "
    "Find out which of them is right, if any, and answer in the same form."
)


async def joint_thinking(
    search: Search, *, prefix: Annotated[str, Field(min_length=1)] = NO_THINKING
) -> None:
    """Answer once with a thought and once without; if they differ, think again over both.

    Without a thought means behind the written `prefix`, a closed thought: not the same as a chat
    template that is told not to think. Leave its opening mark out where the template writes that.
    If both agree, that is the answer; else the last one is, which has read both in a drawn order.
    Assumes that two ways to the same answer seldom err alike.
    """
    root = search.root

    def with_thought() -> Awaitable[Node | None]:
        return search.draw(root, until="end")

    def without() -> Awaitable[Node | None]:
        return search.draw(search.write(root, prefix), until="end")

    nodes = await search.side_by_side([with_thought, without], search.emit)
    keys = {answer and answer.key for answer in await search.answers(*nodes)}
    if len(nodes) < 2 or (len(keys) == 1 and None not in keys):
        return
    said = [after_thoughts(node.text) for node in nodes]
    first, second = (said[i] for i in search.rng("joint_thinking").permutation(2))
    text = _ASK.format(question=search.problem.question, first=first, second=second)
    turn = Turn.user(text, afresh=True)
    last = await search.draw(root, until="end", turn=turn, sources=nodes)
    if last is not None:
        search.emit(last)
        if search.answer(last) is not None:
            for node in nodes:
                search.emit(node, 0.0)
