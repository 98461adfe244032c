"""The answer of a thought that is cut short (Hou et al., 2025, arXiv:2501.11651)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search

AGGREGATOR = "first"
STEPS = True


async def truncated_answer(
    search: Search,
    *,
    tokens: Annotated[int, Field(ge=0)],
    end: Annotated[str, Field(min_length=1)] = "</think>",
) -> None:
    """Think for `tokens` tokens at most, then answer greedily.

    A thought that is cut gets the mark `end` written behind it; one that has ended by itself within
    `tokens` goes on to its own answer. A list of `tokens` in a recipe gives the curve of accuracy
    against thinking, to be looked at before any rule for stopping is chosen; 0 is an answer
    without a thought. From the length of the whole solution on, this is one plain sample.
    """
    root = search.root
    thought = await search.draw(root, until="end", max_tokens=tokens) if tokens else root
    if thought is None:
        return
    node = thought
    short = thought.generated_tokens >= tokens and tokens < search.sampling.max_tokens
    if short and thought.sample.finish in ("length", root.sample.finish):
        cut = end not in thought.text
        begun = search.write(thought, f"\n{end}\n\n") if cut else thought
        node = await search.draw(begun, until="end", temperature=0.0 if cut else None) or thought
    search.emit(node)
