"""The choice-shuffle ensemble of Medprompt (Nori et al., 2023; 2024, arXiv:2411.03590)."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from reasoning.answers.choice import MultipleChoice
from reasoning.errors import RecipeError
from reasoning.search import Search
from reasoning.tree import Node
from searchers.threads.plans import concluded
from searchers.variants.dealing import deal, put
from searchers.variants.orders import cyclic, distinct

AGGREGATOR = "majority"
VOTES = True


async def choice_shuffle(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 5,
    orders: Literal["random", "cyclic"] = "random",
) -> None:
    """Ask n times with the options in another order, and vote on the options, not the letters.

    The first order is the question's own; the others differ from each other as long as there are
    any left. Below each sample stands, written and free, which letter of the question's it means.
    A preference for a letter cancels exactly over all k! orders of k options, and over k `cyclic`
    ones; one for wording does not. n=1 is one sample. Of Medprompt this is the ensemble: its
    examples by nearest neighbours need an index of solved problems.
    """
    kind = search.problem.answers
    if not isinstance(kind, MultipleChoice) or len(kind.options) < 2:
        raise RecipeError(
            "choice_shuffle reorders the options of multiple-choice questions, and problem "
            f"{search.problem.id!r} lists none; set task.answers: choice for a task whose rows do"
        )
    listing = kind.shows["options"]
    if listing not in search.problem.prompt:
        raise RecipeError(
            f"choice_shuffle finds the options of problem {search.problem.id!r} nowhere in its "
            "prompt as (A) ..., one a line; have the task's prompt say {options}"
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

    await deal(search, [put(search, prompt) for prompt in prompts], land)
