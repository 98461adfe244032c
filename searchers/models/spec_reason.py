"""SpecReason (Pan et al., 2025, arXiv:2504.07891)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.digits import expected_digit, first_digit
from searchers.models.routing import Hold, route

AGGREGATOR = "first"
MODELS = ("small", "large")
STEPS = True
_ASK = (
    "\n\nBefore I go on, I grade the last step alone, from 0 (wrong or useless) to 9 (right and "
    "helpful). I think the quality score is: "
)


async def spec_reason(
    search: Search,
    *,
    small: str,
    large: str = "",
    threshold: Annotated[float, Field(ge=0, le=10)] = 7.0,
    expected: bool = True,
    ask: str | None = None,
    max_steps: Annotated[int, Field(ge=1)] = 200,
) -> None:
    """Let a small model draft every step; the large one grades it and rewrites what it rejects.

    The grade is the digit that the large model would say behind `ask` (None: words of our own): the
    mean over the digits' probabilities if `expected` (its generator has to give top_logprobs), else
    its greedy one, 0 if it says none. A draft is accepted from `threshold` on; it is paid for
    either way. Grading one step is assumed to be easier than writing it. Two equal steps in a row
    end the search, since the model is in a loop.

    `small` and `large` are names of the recipe's `models`, "" is its generator. threshold=0 is the
    small model alone, and nothing is graded; at 10 the large one writes everything.
    """

    async def write(node: Node, hold: Hold) -> Node | None:
        draft = await search.draw(node, model=small, land=hold)  # stands until it is rejected
        if draft and threshold and await _grade(search, draft, large, ask, expected) < threshold:
            return await search.draw(node, model=large) or draft
        return draft

    await route(search, write, max_steps=max_steps)


async def _grade(search: Search, step: Node, model: str, ask: str | None, expected: bool) -> float:
    suffix = _ASK if ask is None else ask
    seen = await search.probe(step, suffix, top=20 if expected else 0, model=model)
    if seen is None:
        return 0.0
    top = seen.sample.top_logprobs
    return expected_digit(top.at(0)) if top and top.texts else first_digit(seen.sample.text)
