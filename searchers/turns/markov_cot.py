"""Markov chain of thought: derive, then reduce the question (2024, arXiv:2410.17635)."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Turn
from searchers.tree.ab_mcts import filled
from searchers.turns.bounded import in_segments, marked

AGGREGATOR = "majority"
_STEP = "{question}\n\nDo one step towards the answer. If that settles it, give the answer."
_REDUCE = """\
{question}

A step towards its answer:

{step}

Write the question that is left once this step is done: shorter, complete in itself, with the same \
answer. Write nothing else."""


async def markov_cot(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 1,
    steps: Annotated[int, Field(ge=1)] = 8,
    step_tokens: Annotated[int, Field(ge=1)] = 512,
    question_tokens: Annotated[int, Field(ge=1)] = 512,
    step: str = _STEP,
    reduce: str = _REDUCE,
) -> None:
    """Derive a step, write the question that it leaves, and go on from that alone; n times.

    Each state is a question, and what came before it is forgotten: that the reduced question has
    the same answer is the assumption. It ends with a step that marks an answer, after `steps`, or
    with a question that stays the same. The authors train for it and run code; here both are
    prompts. The n solutions vote.
    """

    def work(question: str) -> Turn | None:
        state = question or search.problem.prompt
        return Turn.user(filled(step, {"question": state}), afresh=True)

    def note(question: str, text: str) -> Turn:
        parts = {"question": question or search.problem.prompt, "step": text}
        return Turn.user(filled(reduce, parts), afresh=True)

    async def solve(view: Search, _: int) -> None:
        await in_segments(
            view,
            work=work,
            note=note,
            over=partial(marked, view),
            segment=step_tokens,
            summary=question_tokens,
            rounds=steps,
        )

    await search.split(n, solve)
