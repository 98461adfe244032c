"""Self-certainty: how far the model's distributions are from uniform (arXiv:2502.18581).

Kang et al., 2025 rank answers by the mean over tokens of KL(uniform || next-token distribution). It
is read from the samples (`sampling.confidence_k`), so it costs no call and no token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from reasoning.errors import RecipeError, VerificationError
from reasoning.generate import Meter, Sampling
from reasoning.problem import Problem
from reasoning.runs import names
from reasoning.thinking import drawn
from reasoning.tree import Node
from reasoning.verify import Reduction, Scores, Verifier
from verifiers.deepconf import CURE, refuse_without_confidences
from verifiers.logprob import usable

_ROUNDING = 1e-3


@names.validated
def self_certainty(
    *, k: Annotated[int, Field(ge=1)] = 20, reduction: Reduction = "last"
) -> SelfCertainty:
    """How sure the model was: the mean over tokens of -(1/k) sum_j log(k p_j), j the k likeliest.

    One score in [0, inf), nats, higher is surer. k is sampling.confidence_k. With all of the
    vocabulary as k it is the paper's, KL(uniform || p); servers give the 20 likeliest tokens or so,
    over which it is the same sum.
    """
    return SelfCertainty(k).reduced_by(reduction)


class SelfCertainty(Verifier):
    """One score a node."""

    name = "self_certainty"

    def __init__(self, k: int) -> None:
        self._k = k

    def preflight(self, sampling: Sampling, _: Sequence[Problem]) -> None:
        refuse_without_confidences(self.name, sampling)
        if sampling.confidence_k != self._k:
            raise RecipeError(
                f"verifier self_certainty reckons with k={self._k} and sampling.confidence_k is "
                f"{sampling.confidence_k}; they are the same number"
            )

    async def score(self, problem: Problem, node: Node, *, meter: Meter) -> Scores:
        """Raises VerificationError if the generator gave no confidences, or none of `k` tokens."""
        values = usable(drawn(node, "confidence"), "token confidences", problem, CURE)
        certainty = values - math.log(self._k)
        if certainty.min() < -_ROUNDING:
            raise VerificationError(
                f"problem {problem.id!r}: a token confidence of {values.min():.3f} is less than "
                f"any {self._k} tokens can have; set self_certainty's k to sampling.confidence_k"
            )
        return (max(0.0, float(certainty.mean())),)
