"""What searchers share that put the options of multiple choice in another order each time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from reasoning.answers.choice import MultipleChoice
from reasoning.errors import RecipeError
from reasoning.problem import Message
from reasoning.search import Search
from reasoning.tree import Node
from searchers.threads.plans import concluded
from searchers.variants.dealing import deal, put
from searchers.variants.orders import cyclic, distinct

Orders: TypeAlias = Literal["random", "cyclic"]


def has_options(search: Search) -> bool:
    """Whether the problem is multiple choice and lists its options."""
    kind = search.problem.answers
    return isinstance(kind, MultipleChoice) and len(kind.options) > 1


async def shuffled(
    search: Search, n: int, orders: Orders, shots: Sequence[Message] | None = None
) -> None:
    """Ask n times, each with the options in another order, `shots` before it in place of its own.

    Below each sample stands, written and free, which letter of the question's it means. Raises
    RecipeError where the prompt does not list the options.
    """
    kind = search.problem.answers
    assert isinstance(kind, MultipleChoice)
    listing = kind.shows["options"]
    if listing not in search.problem.prompt:
        raise RecipeError(
            f"{search.problem.id!r}: its options stand nowhere in its prompt as (A) ..., one a "
            "line; have the task's prompt say {options}"
        )
    k = len(kind.options)
    rows = cyclic(k, n) if orders == "cyclic" else distinct(k, n, search.rng("choice_shuffle"))
    labels = [label for label, _ in kind.options]
    kinds = [
        replace(kind, options=tuple(zip(labels, [kind.options[j][1] for j in row], strict=True)))
        for row in rows
    ]
    prompts = [search.problem.prompt.replace(listing, one.shows["options"]) for one in kinds]

    def land(i: int, node: Node) -> None:
        if rows[i] == tuple(range(k)):
            search.emit(node)
        elif (said := replace(search.problem, answers=kinds[i]).answer(node)) is not None:
            meant = labels[rows[i][labels.index(said.text)]]
            told = f"{node.text}\n\nIn the order of the question that is \\boxed{{{meant}}}"
            search.emit(concluded(search, node, told, [node]))

    await deal(search, [put(search, prompt, shots) for prompt in prompts], land)
