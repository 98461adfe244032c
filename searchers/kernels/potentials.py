"""What a sampler weighs its paths by: potentials from scores, and the evidence from weights.

Zhao et al. (2024, arXiv:2404.17546) draw solutions in proportion to p(solution) * phi(solution),
where phi is any number from 0: the verifier is what says it.
"""

from __future__ import annotations

from math import inf
from typing import Literal, TypeAlias

import numpy as np

from searchers.kernels.resample import Floats, Ints, logit

Potential: TypeAlias = Literal["score", "odds", "exp"]
"""phi is the score, 0 or more; its odds, of scores in [0, 1]; or e to the score, of any sign."""

LEAST = -700.0
"""The least log-potential of a path that goes on; e to the power of less is 0 to a computer."""


def log_potential(
    scores: Floats, potential: Potential, *, tau: float = 1.0, clip: float = 0.0
) -> Floats:
    """log(phi ** (1 / tau)) of `scores` [N]; a score of -inf is that of a verifier that failed.

    Scores are held within `clip` of 0 (and of 1 where odds are asked for), and log-potentials above
    `LEAST`. Where `clip` is 0, what is worth nothing has -inf.
    """
    if potential == "odds":
        return logit(scores, clip) / tau
    if potential == "exp":
        return np.maximum(scores / tau, LEAST if clip else -inf)
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(np.maximum(scores, clip)) / tau
    return logs


def log_evidence(log_weights: Floats, copies: Ints, n: int) -> float:
    """log of the sum of exp(log_weights) [P] over all copies [P], less log(n); -inf for nothing.

    Of the weights of n particles it is log Zhat, where Zhat expects the evidence Z = sum of
    p(solution) * phi(solution), so that log Zhat expects log Z or less. In a sweep around an exact
    sample of the target it expects log Z or more.
    """
    held = log_weights[copies > 0]
    peak = held.max(initial=-inf)
    if np.isinf(peak):
        return float(peak)
    total = (copies[copies > 0] * np.exp(held - peak)).sum()
    return float(peak + np.log(total) - np.log(n))
