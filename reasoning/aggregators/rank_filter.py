"""The best of a model's ranking, a layer of Archon (2024, arXiv:2409.15254)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from reasoning.aggregators import Candidate
from reasoning.aggregators.judging import ask, keep, listed, shuffled
from reasoning.aggregators.permutation import ASK, ranking_in
from reasoning.aggregators.voting import in_order
from reasoning.search import Search

FILTERS = True
MODELS = ("model",)


async def rank_filter(
    candidates: Sequence[Candidate],
    search: Search,
    *,
    top: Annotated[int, Field(ge=1)] = 3,
    model: str = "",
) -> list[Candidate]:
    """The `top` candidates of one ranking by a model, which sees them in a drawn order.

    Whom the reply leaves out comes behind those it names, in the order shown. One call; none where
    there are no more than `top` with an answer. For a ranking freed of the bias for places, of
    which one wins, see `permutation`.
    """
    ordered = in_order(candidates)
    if len(ordered) <= top:
        return ordered
    shown = shuffled(ordered, search, "rank_filter")
    question, text = search.problem.question, listed(shown)
    prompt = ASK.format(n=len(shown), question=question, solutions=text)
    node = await ask(search, prompt, shown, model)
    if node is None:
        return ordered
    told = ranking_in(node.text, len(shown))
    keep(node, shown, told or None)
    order = list(dict.fromkeys([*told, *range(len(shown))])) if told else []
    best = {shown[i].path for i in order[:top]}
    return [c for c in ordered if c.path in best] or ordered
