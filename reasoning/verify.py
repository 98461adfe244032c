"""The seam to a scorer: one call, one verdict. Micro-batching is a wrapper's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reasoning.problem import Problem
from reasoning.tree import Node


@dataclass(frozen=True, slots=True)
class Verdict:
    """The scores of the steps in one node, in order; one score for a verifier of outcomes.

    In [0, 1] unless the verifier documents otherwise. `tokens` counts what the verifier read and
    wrote to get there, 0 where it reads no text.
    """

    steps: tuple[float, ...]
    tokens: int = 0


class Verifier(Protocol):
    """Anything that scores a node, given the path that leads to it.

    `name` labels the scores in the tree. Raises TransientError or VerificationError.
    """

    name: str

    async def score(self, problem: Problem, node: Node) -> Verdict: ...
