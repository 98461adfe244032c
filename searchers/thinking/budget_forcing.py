"""Budget forcing (Muennighoff et al., 2025, arXiv:2501.19393)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node

AGGREGATOR = "majority"
STEPS = True


async def budget_forcing(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    waits: Annotated[int, Field(ge=0)] = 1,
    wait: Annotated[str, Field(min_length=1)] = "Wait",
    end: Annotated[str, Field(min_length=1)] = "</think>",
    thinking_tokens: Annotated[int, Field(ge=1)] | None = None,
) -> None:
    """Sample n solutions whose thinking is held open `waits` times, and closed when it is too long.

    When the model ends its thinking (`end`) for one of the first `waits` times, the mark is dropped
    and `wait` written in its place, right behind the thought; then it thinks on. Once it has
    thought `thinking_tokens` tokens (else those that its generator states, else no bound but the
    solution's `max_tokens`), the mark is written for it. Dropped marks count as thought.

    The paper decodes greedily and finds 2 waits good and more of them prone to loops. waits=0
    without a bound is self-consistency.
    """
    whole, bound = search.sampling.max_tokens, search.generator.thinking
    most = min(whole, thinking_tokens or (bound.tokens if bound and bound.tokens else whole))

    async def solve(view: Search, _: int) -> None:
        node = view.root
        for left in reversed(range(waits + 1)):
            stop = (*view.sampling.stop, end) if left or most < whole else None
            room = most - node.generated_tokens
            more = await view.draw(node, until="end", stop=stop, max_tokens=room)
            node = more or node
            if not (left and more and end in more.text):
                break
            node = view.write(more, more.text.partition(end)[0] + wait, instead=True)
        view.emit(await _answered(view, node, most, end) if most < whole else node)

    await search.split(n, solve)


async def _answered(view: Search, thought: Node, most: int, end: str) -> Node:
    """What follows a thought that has ended, or is ended here because it has `most` tokens."""
    still = end not in thought.text
    if thought.finished or (still and thought.generated_tokens < most):
        return thought
    begun = view.write(thought, f"\n{end}\n\n") if still else thought
    room = view.sampling.max_tokens - thought.generated_tokens
    return await view.draw(begun, until="end", max_tokens=room) or thought
