"""Votes over the order of premises, or of solved examples (2024, arXiv:2402.08939; 2025,
arXiv:2507.11768)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from searchers.variants.dealing import deal, put
from searchers.variants.orders import distinct

AGGREGATOR = "majority"
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\d\"'(])|\n+")


async def order_averaging(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 5,
    of: Literal["premises", "examples"] = "premises",
) -> None:
    """Put the same question n times, each with its premises in another order, and vote.

    Premises are the sentences of the question before the last one, which stays where it is;
    `examples` are the solved ones of the prompt, each a user's message with its answer. The first
    order is the prompt's own, the others are drawn and differ. Models are indifferent to order only
    on average, which is what this takes; it assumes that order means nothing: where premises speak
    of "then" or "it", it does. With nothing to reorder it is self-consistency.
    """
    problem = search.problem
    rng = search.rng("order_averaging")
    if of == "examples":
        *before, last = problem.messages
        head = [m for m in before if m.role == "system"]
        turns = [m for m in before if m.role != "system"]
        pairs = list(zip(turns[::2], turns[1::2], strict=False))
        rows = distinct(len(pairs), n, rng)
        shots = [[*head, *(m for j in row for m in pairs[j])] for row in rows]
        shown = [put(search, last.content, those) for those in shots]
    else:
        if problem.question not in problem.prompt:
            raise RecipeError(
                f"order_averaging finds the question of problem {problem.id!r} nowhere in its "
                "prompt; have the task's prompt say {question}"
            )
        *premises, last_one = _SENTENCE.split(problem.question.strip())
        rows = distinct(len(premises), n, rng)
        told = [" ".join([*(premises[j] for j in row), last_one]) for row in rows]
        told[0] = problem.question
        shown = [put(search, problem.prompt.replace(problem.question, t, 1)) for t in told]
    await deal(search, shown, lambda _, node: search.emit(node))
