"""Wider or deeper? Where adaptive branching grows its tree next, by Thompson sampling."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

import numpy as np

from reasoning.tree import Node
from searchers.kernels.posteriors import Mixed, NormalInverseGamma, Posterior


class Attempt:
    """A node of the tree with what is believed of it and seen below it.

    `arm` is the parent's belief about this child, `wider` (GEN) and `deeper` (CONT) are the beliefs
    about a new child and about the children there are; `rewards` are all rewards of the subtree,
    its own first.
    """

    __slots__ = ("arm", "children", "deeper", "node", "parent", "rewards", "wider")

    def __init__(self, node: Node, parent: Attempt | None, prior: Posterior) -> None:
        self.node = node
        self.parent = parent
        self.arm = self.wider = self.deeper = prior
        self.rewards: list[float] = []
        self.children: list[Attempt] = []


class Chooser(ABC):
    """Decides which node to grow, and learns what came of it. `prior` is what it believes first."""

    prior: Posterior

    @abstractmethod
    def descend(self, root: Attempt, rng: np.random.Generator) -> Attempt:
        """The attempt to refine next; the root stands for starting afresh."""

    @abstractmethod
    def back_up(self, parent: Attempt, node: Node, reward: float) -> Attempt:
        """A new child of `parent` has this reward."""


class Separate(Chooser):
    """AB-MCTS-A: every node believes something of its arms one by one.

    A new child is seen by its parent's GEN and starts its own arm. Every ancestor's arm, and the
    CONT that it competes under, see it too; the parent's own CONT does not.
    """

    def __init__(self, prior: Posterior) -> None:
        self.prior = prior

    def descend(self, root: Attempt, rng: np.random.Generator) -> Attempt:
        spot = root
        while spot.children and spot.wider.draw(rng) < spot.deeper.draw(rng):
            draws = [child.arm.draw(rng) for child in spot.children]
            spot = spot.children[int(np.argmax(draws))]
        return spot

    def back_up(self, parent: Attempt, node: Node, reward: float) -> Attempt:
        child = Attempt(node, parent, self.prior)
        child.arm = self.prior.observe(reward)
        parent.children.append(child)
        parent.wider = parent.wider.observe(reward)
        spot = parent
        while spot.parent is not None:
            spot.arm = spot.arm.observe(reward)
            spot.parent.deeper = spot.parent.deeper.observe(reward)
            spot = spot.parent
        return child


class Together(Chooser):
    """AB-MCTS-M: a mixed model of all rewards below a node, grouped by child; GEN is a new group.

    With `prune`, a child whose subtree has `least` nodes or more, a `share` of them with the same
    reward to two decimals, no longer competes. (The authors' code then passes over GEN as well,
    as long as any other child is left; here GEN competes as always.)
    """

    def __init__(
        self, model: Mixed, *, prune: bool = True, least: int = 4, share: float = 0.75
    ) -> None:
        self.model = model
        self.prior = NormalInverseGamma()  # never asked: the model is fitted anew every time
        self.prune = prune
        self.least = least
        self.share = share

    def descend(self, root: Attempt, rng: np.random.Generator) -> Attempt:
        spot = root
        while spot.children:
            draws = self.model.draw([child.rewards for child in spot.children], rng)
            for i, child in enumerate(spot.children):
                if self.prune and stale(child.rewards, self.least, self.share):
                    draws[i] = -np.inf
            best = int(np.argmax(draws))
            if best == len(spot.children):
                break
            spot = spot.children[best]
        return spot

    def back_up(self, parent: Attempt, node: Node, reward: float) -> Attempt:
        child = Attempt(node, parent, self.prior)
        parent.children.append(child)
        spot: Attempt | None = child
        while spot is not None:
            spot.rewards.append(reward)
            spot = spot.parent
        return child


def stale(rewards: list[float], least: int = 4, share: float = 0.75) -> bool:
    """Whether the most common reward, to two decimals, makes up `share` of `least` or more."""
    if len(rewards) < least:
        return False
    (_, count), *_ = Counter(round(100 * reward) for reward in rewards).most_common(1)
    return count >= share * len(rewards)
