"""Retry on what a verifier says, with a teacher's hints (2025, arXiv:2504.00294)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.tree.ab_mcts import filled
from searchers.turns.rounds import asked, conclusions

AGGREGATOR = "first"
MODELS = ("teacher",)
SCORES = True
_HINT = """\
You are a teacher. A student works on this problem:

{question}

What the student has tried, all of which is wrong:

{attempts}

List the wrong answers, say what went wrong in the last attempt, and give a hint. Do not solve the \
problem."""
_AGAIN = "That is incorrect. Attempts so far: {n}, all of them wrong. {hint} Try again."


async def feedback(
    search: Search,
    *,
    rounds: Annotated[int, Field(ge=1)] = 2,
    threshold: float = 0.5,
    hints: bool = True,
    teacher: str = "",
    ask: str = _HINT,
    again: str = _AGAIN,
) -> None:
    """Answer until the verifier accepts, `rounds` times at most; in between a teacher gives a hint.

    An answer is accepted from the score `threshold` on. The student keeps the whole conversation;
    the teacher, "" for the same model, is asked afresh what went wrong, unless `hints` is off. If
    no answer is accepted the last one stands. Of one whose scoring fails nobody is told that it is
    wrong: it stands.

    The paper's verifier knows the right answer, which makes its numbers upper bounds; whatever
    verifier stands here is believed, so look at how often it accepts what is wrong. Accepted in
    round j it takes 2j - 1 calls; rounds=1 is one sample.
    """
    node, tried, hint = search.root, list[Node](), None
    for i in range(rounds):
        said = {"n": str(i), "hint": hint.text.strip() if hint else ""}
        turn = filled(again, said) if tried else None
        answer = await search.draw(node, until="end", turn=turn, sources=[hint] if hint else ())
        if answer is None:
            return
        search.emit(answer, rank=-i)
        await search.score(answer)
        score = search.reward(answer)
        if score is None or score >= threshold or i + 1 == rounds:
            return
        node, tried = answer, [*tried, answer]
        if hints:
            told = asked(search, ask, attempts=conclusions(tried))
            hint = await search.draw(
                search.root, until="end", turn=told, sources=tried, model=teacher
            )
