"""Thinking made shorter or longer by the odds of its end (TS; 2025, arXiv:2505.07961)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from searchers.thinking.closing import END, answered

AGGREGATOR = "majority"
STEPS = True


async def end_bias(
    search: Search,
    *,
    bias: Annotated[float, Field(ge=-100, le=100)],
    n: Annotated[int, Field(ge=1)] = 1,
    end: Annotated[str, Field(min_length=1)] = END,
) -> None:
    """Sample n solutions; while they think, `bias` nats are added to the log-odds of the end.

    A hazard h of ending becomes h e^b / (1 - h + h e^b): with h = .001, b = 1 and 2 bring a mean of
    1,000 tokens to 368 and 136. An addition, not a factor, which would turn around for logits below
    0; times the temperature, since engines add it before they divide. The answer is drawn without.
    Needs `end` to be one token of the model. 0 is self-consistency; a list of values in a recipe is
    a curve of accuracy against tokens from one model.
    """
    stop = (*search.sampling.stop, end) if bias else None
    added = {end: bias * (search.sampling.temperature or 1.0)} if bias else None

    async def think(view: Search, _: int) -> None:
        node = await view.draw(view.root, until="end", stop=stop, logit_bias=added)
        if node is None:
            return
        view.emit(node)
        if bias and end in node.text and (answer := await answered(view, node, end)) is not node:
            view.emit(answer)
            view.emit(node, 0.0)

    await search.split(n, think)
