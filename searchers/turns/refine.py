"""Self-refine (Madaan et al., 2023, arXiv:2303.17651)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.answers import after_thoughts
from reasoning.search import Search

AGGREGATOR = "first"
MODELS = ("critic",)
_ASK = (
    "Check your solution step by step. Say what is wrong or missing in it, and do not solve the "
    "problem anew. If nothing is, say: No error."
)
_AGAIN = "Write the solution again without these errors, in the same form as before."


async def refine(
    search: Search,
    *,
    rounds: Annotated[int, Field(ge=0)] = 3,
    threshold: float | None = None,
    critic: str = "",
    ask: Annotated[str, Field(min_length=1)] = _ASK,
    again: Annotated[str, Field(min_length=1)] = _AGAIN,
    done: Annotated[str, Field(min_length=1)] = "no error",
) -> None:
    """Solve, and up to `rounds` times criticise and solve again, in one conversation.

    The critique answers the turn `ask`; one that holds `done`, in capitals or not, ends it, else
    the turn `again` asks for a new solution. `critic` is who criticises, "" the generator itself.
    With a `threshold` every solution is scored, and one that reaches it ends it, too. The latest
    one with an answer is the answer; `aggregator: best` takes the one with the highest score.

    It assumes that a model finds errors that it makes, and no others: where it does not, right
    answers are refined into wrong ones. rounds=0 is one sample; calls are 1 + 2 rounds at most.
    """
    asks = search.root
    for i in range(rounds + 1):
        turn = again if i else None
        node = await search.draw(asks, until="end", turn=turn)
        if node is None:
            return
        search.emit(node, rank=-i)
        if threshold is not None:
            await search.score(node)
            score = search.reward(node)
            if score is not None and score >= threshold:
                return
        if i == rounds:
            return
        critique = await search.draw(node, until="end", model=critic, turn=ask)
        if critique is None or done.lower() in after_thoughts(critique.text).lower():
            return
        asks = critique
