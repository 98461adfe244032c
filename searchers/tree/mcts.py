"""Monte Carlo tree search over reasoning steps (UCT; PUCT as in OpenR, arXiv:2410.09671)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.ucb import Bound, Branch, descend, puct_bound, uct_bound
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
    root, land = Branch(search.root), emitter(search)

    def worth(node: Node) -> float:
        return search.reward(node) or 0.0

    def wish(leaf: Branch) -> Growth:
        grows = not leaf.closed and can_grow(search, leaf.node, max_steps)
        return Growth(leaf.node, expansions * grows)

    with at_least_partial(search, worth):
        while root.visits < simulations:
            n = min(parallel, simulations - root.visits)
            leaves = select(root, bound, n, virtual_loss)
            grown = await grow(search, map(wish, leaves), judge=search.score, land=land)
            for leaf, nodes in zip(leaves, map(distinct, grown), strict=True):
                noise = root_noise if leaf is root else 0.0
                shares = noisy(priors(nodes, prior), noise, search.rng("root noise"))
                leaf.lose(-virtual_loss)
                leaf.grow(nodes, map(worth, nodes), shares.tolist())
                leaf.closed = not nodes
            picks = [max(leaf.children, key=_reward, default=leaf) for leaf in leaves]
            wishes = [Growth(pick.node, int(rollout and not pick.node.finished)) for pick in picks]
            ends = await grow(search, wishes, until="end", judge=search.score, land=land)
            for pick, end in zip(picks, ends, strict=True):
                pick.back_up(worth(end[0] if end else pick.node))
        await run_out(search, worth)


def select(root: Branch, bound: Bound, n: int, loss: float) -> list[Branch]:
    """Up to `n` leaves, one after another, each with a virtual loss; none of them twice."""
    leaves: list[Branch] = []
    while len(leaves) < n and (leaf := descend(root, bound)) not in leaves:
        leaf.lose(loss)
        leaves.append(leaf)
    return leaves


def priors(siblings: Sequence[Node], prior: Prior) -> NDArray[np.float64]:
    """P of each [n]: exp(mean logprob), normalised; equal shares where logprobs are unknown."""
    logprobs = [node.sample.logprobs for node in siblings]
    if prior == "uniform" or not all(known is not None and known.size for known in logprobs):
        return np.full(len(siblings), 1 / max(1, len(siblings)))
    weights = np.exp([float(known.mean()) for known in logprobs if known is not None])
    return np.asarray(weights / weights.sum())


def noisy(
    shares: NDArray[np.float64], noise: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Shares [n] with a part `noise` of Dirichlet(0.3) mixed in."""
    if not shares.size:
        return shares
    return (1 - noise) * shares + noise * rng.dirichlet([0.3] * shares.size)


_reward = attrgetter("reward")
