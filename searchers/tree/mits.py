"""MITS: tree search by pointwise mutual information (Li et al., 2025, arXiv:2510.03632)."""

from __future__ import annotations

from functools import partial
from math import inf, nan

from reasoning.answers import Answer
from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.information import branches, elect
from searchers.tree.engine import (
    Growth,
    NonNegative,
    Positive,
    at_least_partial,
    can_grow,
    grow,
    logprobs,
    mean_logprob,
    run_out,
)

AGGREGATOR = "first"
VOTES = True
STEPS = True


async def mits(
    search: Search,
    *,
    beam: Positive | None = 32,
    children: Positive = 3,
    spread: NonNegative = 2.0,
    gain: NonNegative = 1.0,
    warm_up: Positive = 10,
    top: Positive = 32,
    per_step: bool = True,
    max_steps: Positive = 10,
) -> None:
    """Keep the steps that the question makes likelier than they would be without it.

    PMI = sum over the steps of log p(step | question, steps before) - log p(step | steps before);
    the second needs a generator that can read text back (`score_text`). The best `beam` open chains
    grow on in every round, by PMI over the number of steps (`per_step`; a sum grows with length);
    None keeps all, which is MITS-F. A step gets `children` next ones, up to `spread` more or fewer
    where its entropy is high or low among all steps so far, once there are `warm_up` of them. The
    paper does not give the `gain`. The entropy of a step is estimated by the mean surprisal of its
    tokens, as engines tell the probability of what was drawn and not of all that might have been.

    Of the `top` solutions by PMI that one wins whose PMI times the share of its answer is highest:
    a maximum, no vote. Where a PMI is negative all are shifted first, so that agreement helps.
    """
    pmi: dict[Node | None, float] = {search.root: 0.0}
    surprisal: dict[Node, float] = {}
    solutions: dict[Node, Answer | None] = {}
    width = partial(branches, base=children, spread=spread, gain=gain, warm_up=warm_up)

    def value(node: Node) -> float:
        return pmi.get(node, -inf) / (node.depth if per_step else 1)

    async def weigh(node: Node) -> None:
        asked, unasked = logprobs(search, node), await search.likelihood(node, question=False)
        if unasked is not None:
            pmi[node] = pmi.get(node.parent, -inf) + float(asked.sum() - unasked.sum())

    def land(node: Node) -> None:
        surprisal[node] = max(0.0, -mean_logprob(search, node))
        if node.finished:
            solutions[node] = search.answer(node)
            order = sorted(solutions, key=lambda node: node.path)
            answers = [answer and answer.key for answer in map(solutions.__getitem__, order)]
            stars = elect([value(node) for node in order], answers, top)
            for rank, i in enumerate(sorted(range(len(order)), key=lambda i: -stars[i])):
                search.emit(order[i], rank=rank)

    with at_least_partial(search, value):
        frontier = [search.root]
        while frontier:
            history = list(surprisal.values())
            sizes = [width(surprisal.get(node, nan), history) for node in frontier]
            grown = await grow(search, map(Growth, frontier, sizes), judge=weigh, land=land)
            opened = [node for row in grown for node in row if can_grow(search, node, max_steps)]
            frontier = sorted(opened, key=lambda node: (-value(node), node.path))[:beam]
        await run_out(search, value)
