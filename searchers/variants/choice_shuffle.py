"""The choice-shuffle ensemble of Medprompt (Nori et al., 2023; 2024, arXiv:2411.03590)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from reasoning.errors import RecipeError
from reasoning.search import Search
from searchers.variants.shuffling import Orders, has_options, shuffled

AGGREGATOR = "majority"
VOTES = True


async def choice_shuffle(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)] = 5,
    orders: Orders = "random",
) -> None:
    """Ask n times with the options in another order, and vote on the options, not the letters.

    The first order is the question's own; the others differ from each other as long as there are
    any left. Below each sample stands, written and free, which letter of the question's it means.
    A preference for a letter cancels exactly over all k! orders of k options, and over k `cyclic`
    ones; one for wording does not. n=1 is one sample. Of Medprompt this is the ensemble;
    `medprompt` puts solved examples before it.
    """
    if not has_options(search):
        raise RecipeError(
            "choice_shuffle reorders the options of multiple-choice questions, and problem "
            f"{search.problem.id!r} lists none; set task.answers: choice for a task whose rows do"
        )
    await shuffled(search, n, orders)
