"""Skeleton of thought (Ning et al., 2023, arXiv:2307.15337)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search
from reasoning.tree import Node
from searchers.threads.plans import concluded, listed
from searchers.turns.rounds import asked

AGGREGATOR = "majority"
MODELS = ("worker",)
_ASK = """\
{question}

Do not answer yet. Give the skeleton of the answer: up to {points} points, one a line, '1. ...', \
three to five words each."""
_FILL = """\
{question}

The skeleton of the answer:

{skeleton}

Write point {i} of it, '{point}', in one or two sentences, and none of the others."""


async def skeleton(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    points: Annotated[int, Field(ge=1, le=1000)] = 10,
    tokens: Annotated[int, Field(ge=1)] = 256,
    worker: str = "",
    ask: str = _ASK,
    fill: str = _FILL,
) -> None:
    """Write a skeleton of the answer, fill in its points side by side, and string them together.

    A point has `tokens` at most and is written by `worker`, who reads the skeleton and none of the
    other points. The answer is the points in order, nothing is generated to join them: serial
    tokens are skeleton + longest point. It is for answers that are lists of independent points; the
    authors find that mathematics and programs lose by it. A skeleton without points is the answer
    itself; one that failed is left out. n answers go to the aggregator.
    """

    async def one(view: Search, _: int) -> None:
        turn = asked(view, ask, points=str(points))
        plan = await view.draw(view.root, until="end", turn=turn)
        if plan is None:
            return
        shown = after_thoughts(plan.text)
        todo = listed(shown, points)

        async def write(part: Search, i: int) -> Node | None:
            turn = asked(part, fill, skeleton=shown, i=str(i + 1), point=todo[i])
            return await part.draw(plan, until="end", turn=turn, max_tokens=tokens, model=worker)

        found = await view.split(len(todo), write) if todo else []
        filled = [f"{p}\n{after_thoughts(n.text)}" for p, n in zip(todo, found, strict=True) if n]
        whole = concluded(view, plan, "\n\n".join(filled), filter(None, found)) if filled else plan
        view.emit(whole)

    await search.split(n, one)
