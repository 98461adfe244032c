"""Monte Carlo tree search over reasoning steps (UCT; PUCT as in OpenR, arXiv:2410.09671)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.ucb import Branch, descend, puct_bound, uct_bound
from searchers.tree.engine import (
    Growth,
    NonNegative,
    Positive,
    Share,
    Temperature,
    at_least_partial,
    can_grow,
    distinct,
    emitter,
    grow,
    run_out,
)

AGGREGATOR = "weighted_majority"
STEPS = True

Prior: TypeAlias = Literal["model", "uniform"]


async def mcts(
    search: Search,
    *,
    simulations: Positive,
    expansions: Positive = 4,
    parallel: Positive = 4,
    policy: Literal["puct", "uct"] = "puct",
    rollout: bool = False,
    exploration: NonNegative = 2**0.5,
    c_base: Temperature = 19652,
    c_init: NonNegative = 1.25,
    prior: Prior = "model",
    root_noise: Share = 0.0,
    virtual_loss: NonNegative = 1.0,
    max_steps: Positive = 40,
) -> None:
    """Descend by upper confidence bounds, grow the leaf, back up what its best child is worth.

    UCT (Kocsis and Szepesvári, 2006) weighs exploration by `exploration` and tries every child
    once, the best-scored first. PUCT has `c_base` and `c_init`, an unvisited child counts with its
    score, and its prior is the model's probability per token (`prior`; `root_noise` mixes in
    Dirichlet(0.3) at the root, OpenR's 0.25 when it samples moves).

    A leaf gets `expansions` children, less repetitions. The best-scored of them stands for the
    leaf, with its own score or, with `rollout`, the score of a solution drawn from it. (OpenR
    walks on to the end of a solution step by step, growing every node on the way.) Up to
    `parallel` leaves are selected one after another, each leaving a virtual loss so that the next
    goes elsewhere, then grown side by side and backed up in that order: what is found does not
    depend on how long calls take. A round is shorter when selection comes to a leaf twice.
    """
    bound = puct_bound(c_base, c_init) if policy == "puct" else uct_bound(exploration)
    root = Branch(search.root)

    land = emitter(search)

    def worth(node: Node) -> float:
        return search.reward(node) or 0.0

    with at_least_partial(search, worth):
        while root.visits < simulations:
            leaves: list[Branch] = []
            while len(leaves) < min(parallel, simulations - root.visits):
                if (leaf := descend(root, bound)) in leaves:
                    break
                leaf.lose(virtual_loss)
                leaves.append(leaf)
            wishes = [
                Growth(
                    leaf.node,
                    expansions * (not leaf.closed and can_grow(search, leaf.node, max_steps)),
                )
                for leaf in leaves
            ]
            picks: list[Branch] = []
            for leaf, found in zip(
                leaves, await grow(search, wishes, judge=search.score, land=land), strict=True
            ):
                leaf.lose(-virtual_loss)
                nodes = distinct(found)
                shares = priors(nodes, prior)
                if leaf is root and nodes:
                    noise = search.rng("root noise").dirichlet([0.3] * len(nodes))
                    shares = (1 - root_noise) * shares + root_noise * noise
                leaf.grow(nodes, map(worth, nodes), shares.tolist())
                leaf.closed = not nodes
                picks.append(max(leaf.children, key=lambda child: child.reward, default=leaf))
            wishes = [Growth(pick.node, int(rollout and not pick.node.finished)) for pick in picks]
            ends = await grow(search, wishes, until="end", judge=search.score, land=land)
            for pick, end in zip(picks, ends, strict=True):
                pick.back_up(worth(end[0] if end else pick.node))
        await run_out(search, worth)


def priors(siblings: Sequence[Node], prior: Prior) -> NDArray[np.float64]:
    """P of each [n]: exp(mean logprob), normalised; equal shares where logprobs are unknown."""
    logprobs = [node.sample.logprobs for node in siblings]
    if prior == "uniform" or not all(known is not None and known.size for known in logprobs):
        return np.full(len(siblings), 1 / max(1, len(siblings)))
    weights = np.exp([float(known.mean()) for known in logprobs if known is not None])
    return np.asarray(weights / weights.sum())
