"""Upper confidence bounds on a tree, and the statistics they read.

Written for the handful of children a node has, in plain floats: an array would cost more than the
sum it speeds up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

from reasoning.tree import Node


def ucb1(value: float, visits: float, parent_visits: float, *, exploration: float) -> float:
    """Q + c sqrt(ln N_p / N_c) (Kocsis and Szepesvári, 2006); infinite for an unvisited child."""
    if visits <= 0:
        return math.inf
    return value + exploration * math.sqrt(math.log(max(1.0, parent_visits)) / visits)


def puct(
    value: float,
    prior: float,
    visits: float,
    parent_visits: float,
    *,
    base: float = 19652,
    init: float = 1.25,
) -> float:
    """Q + P [ln((N_p + c_base + 1) / c_base) + c_init] sqrt(N_p) / (N_c + 1), as in OpenR.

    Where the parent is unvisited nothing is added: the first descent is greedy on Q.
    """
    rate = math.log((parent_visits + base + 1) / base) + init
    return value + prior * rate * math.sqrt(parent_visits) / (visits + 1)


class Branch:
    """A node of the tree with what the simulations through it have seen.

    `reward` is its own score, `total` the sum of values backed up, `losses` the virtual losses of
    simulations in flight: visits worth 0. A `closed` branch is not expanded (again).
    """

    __slots__ = (
        "children",
        "closed",
        "losses",
        "node",
        "parent",
        "prior",
        "reward",
        "total",
        "visits",
    )

    def __init__(
        self, node: Node, parent: Branch | None = None, *, reward: float = 0.0, prior: float = 1.0
    ) -> None:
        self.node = node
        self.parent = parent
        self.reward = reward
        self.prior = prior
        self.visits = 0
        self.losses = 0.0
        self.total = 0.0
        self.closed = False
        self.children: list[Branch] = []

    @property
    def value(self) -> float:
        """Q: the mean of values and virtual losses; its own reward before any."""
        seen = self.visits + self.losses
        return self.total / seen if seen else self.reward

    def grow(
        self, nodes: Iterable[Node], rewards: Iterable[float], priors: Iterable[float]
    ) -> None:
        """Give it children, in the order given."""
        self.children += [
            Branch(node, self, reward=reward, prior=prior)
            for node, reward, prior in zip(nodes, rewards, priors, strict=True)
        ]

    def lose(self, amount: float) -> None:
        """Add virtual losses from here to the root; a negative amount takes them back."""
        branch: Branch | None = self
        while branch is not None:
            branch.losses += amount
            branch = branch.parent

    def back_up(self, value: float) -> None:
        """One visit worth `value` from here to the root."""
        branch: Branch | None = self
        while branch is not None:
            branch.visits += 1
            branch.total += value
            branch = branch.parent


Bound: TypeAlias = Callable[[Branch, float], float]
"""What a child promises, given the visits of its parent; virtual losses count as visits."""


def uct_bound(exploration: float = math.sqrt(2)) -> Bound:
    """`ucb1` of a branch."""

    def bound(child: Branch, parent_visits: float) -> float:
        seen = child.visits + child.losses
        return ucb1(child.value, seen, parent_visits, exploration=exploration)

    return bound


def puct_bound(base: float = 19652, init: float = 1.25) -> Bound:
    """`puct` of a branch."""

    def bound(child: Branch, parent_visits: float) -> float:
        seen = child.visits + child.losses
        return puct(child.value, child.prior, seen, parent_visits, base=base, init=init)

    return bound


def descend(root: Branch, bound: Bound) -> Branch:
    """The leaf that the highest bounds lead to; ties go to the higher reward, then to the first."""
    branch = root
    while branch.children:
        seen = branch.visits + branch.losses
        branch = max(branch.children, key=lambda child: (bound(child, seen), child.reward))
    return branch
