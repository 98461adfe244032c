"""Adaptive branching Monte Carlo tree search (Inoue et al., 2025, arXiv:2503.04412)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node, Turn
from searchers.kernels.branching import Attempt, Chooser, Separate, Together
from searchers.kernels.posteriors import Beta, Mixed, NormalInverseGamma
from searchers.tree.engine import Growth, at_least_partial, emitter, grow

AGGREGATOR = "best"

REFINE = """{prompt}

Here is an earlier attempt at an answer.

{attempt}

A grader gives it {score} on a scale from 0 (wrong) to 1 (right). Find what is wrong or missing in \
it, if anything, and write a new and complete answer."""


async def ab_mcts(
    search: Search,
    *,
    n: Annotated[int, Field(ge=1)],
    parallel: Annotated[int, Field(ge=1)] = 4,
    posterior: Literal["gaussian", "beta", "mixed"] = "gaussian",
    prior_mean: float | None = None,
    prune: bool = True,
    refine: str = REFINE,
) -> None:
    """Answer afresh or refine an answer, `n` times in all, wherever Thompson sampling says.

    A child of the root is a fresh answer; a child of an answer is its refinement: the model sees
    `refine` with {prompt}, {attempt} and {score} filled in, and starts over. Every answer is
    scored, all finished ones are candidates, the best anywhere in the tree wins.

    `gaussian` and `beta` are AB-MCTS-A, with a normal-inverse-gamma belief (`prior_mean` 0, which
    is pessimistic for scores in [0, 1]) or Beta(1/2, 1/2). `mixed` is AB-MCTS-M: a hierarchical
    model (`prior_mean` 0.5), and `prune` passes over subtrees whose scores do not vary. The authors
    fit that model by NUTS; here its posterior is drawn from directly (see `posteriors.Mixed`). An
    answer that could not be scored counts as 0.

    `parallel` places are drawn from the same beliefs, grown side by side and learned from in that
    order; the authors advise 5 at most, or the tree gets too wide.
    """
    chooser = _chooser(posterior, prior_mean, prune)
    root = Attempt(search.root, None, chooser.prior)

    def worth(node: Node) -> float:
        return search.reward(node) or 0.0

    def wish(spot: Attempt) -> Growth:
        if spot is root:
            return Growth(spot.node)
        parts = {
            "prompt": search.problem.prompt,
            "attempt": spot.node.text.strip(),
            "score": f"{worth(spot.node):.2f}",
        }
        return Growth(spot.node, turn=Turn.user(filled(refine, parts), afresh=True))

    with at_least_partial(search, worth):
        for done in range(0, n, parallel):
            rng = search.rng("ab_mcts", done)
            spots = [chooser.descend(root, rng) for _ in range(min(parallel, n - done))]
            grown = await grow(
                search, map(wish, spots), until="end", judge=search.score, land=emitter(search)
            )
            for spot, nodes in zip(spots, grown, strict=True):
                for node in nodes:
                    chooser.back_up(spot, node, worth(node))


def filled(template: str, parts: dict[str, str]) -> str:
    """The template with every {name} replaced, once over; other braces stay as they are."""
    pattern = "|".join(re.escape("{" + name + "}") for name in parts)
    return re.sub(pattern, lambda found: parts[found[0][1:-1]], template)


def _chooser(posterior: str, mean: float | None, prune: bool) -> Chooser:
    if posterior == "mixed":
        return Together(Mixed(0.5 if mean is None else mean), prune=prune)
    gaussian = NormalInverseGamma(0.0 if mean is None else mean)
    return Separate(Beta() if posterior == "beta" else gaussian)
