"""InftyThink, reasoning in a bounded context (2025, arXiv:2503.06692)."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node, Turn
from searchers.turns.bounded import in_segments
from searchers.turns.rounds import asked

AGGREGATOR = "majority"
_GO_ON = (
    "{question}\n\nWhat is known by now:\n\n<history>\n{history}\n</history>\n\nGo on from there."
)
_SUM_UP = """\
{question}

What was known:

<history>
{history}
</history>

What was thought since, cut off in the middle:

{segment}

Sum up in a few lines what is established and what is still open. Do not go on."""
_TAG = re.compile(r"<summary>(.*?)(?:</summary>|\Z)", re.DOTALL)


async def inftythink(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    segment: Annotated[int, Field(ge=1)] = 2048,
    summary: Annotated[int, Field(ge=1)] = 256,
    rounds: Annotated[int, Field(ge=1)] = 50,
    go_on: str = _GO_ON,
    sum_up: str = _SUM_UP,
) -> None:
    """Think `segment` tokens, sum them up, and begin anew from the question and the summary.

    A segment that ends by itself ends the solution. No context holds more than the question, one
    summary of `summary` tokens and one segment, so r rounds read r (|question| + summary) prompt
    tokens, beside each segment once more for its summary, and attention over L tokens costs about
    L segment / 2 in place of L^2 / 2. The paper trains its model to write a <summary> itself, which
    is taken where there is one; else a call writes it. What a summary leaves out is lost: that is
    what it bets on. n solutions vote; a `segment` longer than the solution is self-consistency.
    """

    def work(history: str) -> Turn | None:
        return asked(search, go_on, history=history) if history else None

    def note(history: str, text: str) -> Turn:
        return asked(search, sum_up, history=history or "Nothing.", segment=text)

    def noted(text: str) -> str:
        found = _TAG.search(text)
        return found[1].strip() if found else ""

    def over(node: Node) -> bool:
        return node.sample.finish != "length"

    async def solve(view: Search, _: int) -> None:
        await in_segments(
            view,
            work=work,
            note=note,
            over=over,
            noted=noted,
            segment=segment,
            summary=summary,
            rounds=rounds,
        )

    await search.split(n, solve)
