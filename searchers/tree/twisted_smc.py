"""Twisted sequential Monte Carlo (Zhao et al., 2024, arXiv:2404.17546), the score of a prefix being
its twist (Feng et al., 2024, arXiv:2410.01920)."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, inf, log
from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.search import Search
from searchers.kernels.resample import (
    Scheme,
    effective_sample_size,
    log_softmax,
    shared_counts,
    softmax,
)
from searchers.tree.engine import NonNegative, Positive, Share, at_least_partial, grow_in_rounds
from searchers.tree.leaf import Leaf, carries, set_carries, slots

AGGREGATOR = "majority"
STEPS = True


async def twisted_smc(
    search: Search,
    *,
    n: Positive,
    power: NonNegative = 0.5,
    ess_threshold: Share = 0.5,
    resampling: Scheme = "systematic",
    clip: Annotated[float, Field(gt=0, lt=0.5)] = 1e-7,
    max_steps: Positive = 40,
) -> None:
    """Weigh n particles by how much each step has raised the score, resample when few carry all.

    A prefix of score V, read as its chance to end well, has the twist psi = V ** power (the square
    root in 2410.01920; V is held within `clip` of 0, as any positive twist is valid), a solution
    that has ended its score itself, a path that is cut off 0. Each step multiplies a particle's
    weight by the ratio of its twist to the one before. When the effective sample size falls below
    ess_threshold * n, the particles are resampled and share their weight equally (1: always; 0:
    never, which is importance sampling).

    Solutions are drawn in proportion to p(solution) times its score, whatever the twist. Each is
    emitted once, at its particles' weight / n; the weights of all candidates add up to an unbiased
    estimate of the evidence, the expected score of a sampled solution, and those of one answer to
    its part in it. So `majority` votes by value; `weighted_majority` would count scores twice.
    """

    def log_twist(leaf: Leaf) -> float:
        if leaf.open:
            return power * log(min(1.0, max(clip, leaf.value)))
        return log(leaf.value) if leaf.node.finished and leaf.value > 0 else -inf

    def weigh(leaf: Leaf) -> float:
        return leaf.slots / n * exp(log_twist(leaf) + leaf.carry) if leaf.slots else 0.0

    def allocate(leaves: list[Leaf], step: int) -> Iterable[int]:
        logs = np.array([log_twist(leaf) for leaf in leaves]) + carries(leaves)
        copies = slots(leaves)
        if effective_sample_size(softmax(np.repeat(logs, copies))) >= ess_threshold * n:
            return copies
        drawn = np.log(n) + log_softmax(logs, copies)  # of how many a copy can expect
        set_carries(leaves, carries(leaves) - drawn)
        return shared_counts(resampling, logs, copies, n, search.rng("twisted_smc", step))

    with at_least_partial(search):
        await grow_in_rounds(search, n, allocate, max_steps=max_steps, weigh=weigh)
