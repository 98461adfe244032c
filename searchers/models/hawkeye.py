"""One model plans, another writes it out: Hawkeye and PICE (2025, arXiv:2504.00424, 2501.09367)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search
from searchers.turns.rounds import asked

AGGREGATOR = "majority"
MODELS = ("small", "large")
_PLAN = """\
{question}

Do not answer. Write the steps that lead to the answer, as short as you can: one line each, no \
prose."""
_FILL = """\
{question}

A plan for this, which may be wrong:

{plan}

Follow it and give the full solution."""


async def hawkeye(
    search: Search,
    *,
    small: str,
    large: str = "",
    n: Annotated[int, Field(ge=1)] = 1,
    plan_tokens: Annotated[int, Field(ge=0)] = 256,
    ask: str = _PLAN,
    fill: str = _FILL,
) -> None:
    """Have the large model write n terse plans, and the small one a solution to each; they vote.

    A plan has `plan_tokens` at most: one that is cut off is filled in all the same. It assumes that
    the plan is what is hard and the writing what is long. Hawkeye trains its planner to be terse,
    PICE has its small models fill in parts of a sketch side by side; here both are prompts, and the
    plan is one part. plan_tokens=0 is self-consistency of the small model.
    """

    async def solve(view: Search, _: int) -> None:
        at, turn = view.root, None
        if plan_tokens:
            plan = await view.draw(
                at, until="end", model=large, turn=asked(view, ask), max_tokens=plan_tokens
            )
            if plan is None:
                return
            at, turn = plan, asked(view, fill, plan=after_thoughts(plan.text) or plan.text)
        read = [] if at is view.root else [at]
        await view.draw(at, until="end", model=small, turn=turn, sources=read, land=view.emit)

    await search.split(n, solve)
