"""The ends of paths, and many of them as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from reasoning.tree import Node
from searchers.kernels.allocate import Bools, Floats, Ints
from searchers.kernels.resample import log_softmax


@dataclass(slots=True, eq=False)
class Leaf:
    """The end of a path.

    `value` is its score, and `ahead` the same after looking ahead; -inf where the verifier failed.
    `open` tells that it can be extended: the solution has not ended and is not cut off by a limit.
    `slots` counts the children it will get, or, once it has ended, the particles it stands for.
    `carry` is for particle methods: the log of the weight that earlier rounds have left it with;
    children start with their parent's.
    """

    node: Node
    open: bool
    slots: int = 1
    value: float = -inf
    ahead: float = -inf
    carry: float = 0.0


def ahead(leaves: Iterable[Leaf]) -> Floats:
    """What the leaves are worth after looking ahead [P]."""
    return np.array([leaf.ahead for leaf in leaves], dtype=np.float64)


def values(leaves: Iterable[Leaf]) -> Floats:
    """What the leaves are worth [P]."""
    return np.array([leaf.value for leaf in leaves], dtype=np.float64)


def is_open(leaves: Iterable[Leaf]) -> Bools:
    """Which leaves can be extended [P]."""
    return np.array([leaf.open for leaf in leaves], dtype=bool)


def slots(leaves: Iterable[Leaf]) -> Ints:
    """How many particles the leaves stand for [P]."""
    return np.array([leaf.slots for leaf in leaves], dtype=np.int64)


def carries(leaves: Iterable[Leaf]) -> Floats:
    """The log-weights that earlier rounds have left the leaves with [P]."""
    return np.array([leaf.carry for leaf in leaves], dtype=np.float64)


def set_carries(leaves: Sequence[Leaf], logs: Floats) -> None:
    """Leave the leaves with these log-weights [P] for later rounds."""
    for leaf, log in zip(leaves, logs, strict=True):
        leaf.carry = float(log)


def shares(leaves: Sequence[Leaf], logs: Floats) -> Floats:
    """What the leaves have of all the weight [P], by the log-weights of their particles [P]."""
    return np.exp(log_softmax(logs, slots(leaves))) * slots(leaves)


def drawn_path(leaves: Sequence[Leaf], logs: Floats, rng: np.random.Generator) -> list[Node]:
    """The path to one of the leaves, drawn by the log-weights of their particles [P]."""
    return leaves[rng.choice(len(leaves), p=shares(leaves, logs))].node.lineage()
