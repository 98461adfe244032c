"""Twisted sequential Monte Carlo (Zhao et al., 2024, arXiv:2404.17546), the score of a prefix being
its twist (Feng et al., 2024, arXiv:2410.01920)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import exp, inf, isfinite
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.potentials import log_evidence, log_potential
from searchers.kernels.resample import (
    Floats,
    Scheme,
    effective_sample_size,
    log_softmax,
    shared_counts,
    softmax,
)
from searchers.tree.engine import (
    NonNegative,
    Positive,
    Share,
    Temperature,
    at_least_partial,
    grow_in_rounds,
)
from searchers.tree.leaf import Leaf, carries, drawn_path, is_open, set_carries, slots, values

AGGREGATOR = "majority"
STEPS = True


async def twisted_smc(
    search: Search,
    *,
    n: Positive,
    potential: Literal["score", "exp"] = "score",
    tau: Temperature = 1.0,
    power: NonNegative = 0.5,
    ess_threshold: Share = 0.5,
    resampling: Scheme = "systematic",
    bounds: bool = False,
    clip: Annotated[float, Field(gt=0, lt=0.5)] = 1e-7,
    max_steps: Positive = 40,
) -> None:
    """Weigh n particles by how much each step has raised the score, resample when few carry all.

    The `potential` phi of a solution is its score, any number from 0, or exp(score), to the power
    1 / tau; that of a path that is cut off is 0. A prefix has the twist phi ** power, by its own
    score (the square root in 2410.01920, for scores that are chances to end well; held above
    `clip`, as any positive twist is valid). Each step multiplies a particle's weight by the ratio
    of its twist to the one before. When the effective sample size falls below ess_threshold * n,
    the particles are resampled and share their weight equally (1: always; 0: never, which is
    importance sampling).

    Solutions are drawn in proportion to p(solution) * phi, whatever the twist. Each is emitted
    once, at its particles' weight / n; the weights of all candidates add up to Zhat, an unbiased
    estimate of the evidence Z, the mean of phi over sampled solutions, and those of one answer to
    its part in it. So `majority` votes by value; `weighted_majority` would count scores twice.

    log Zhat (`log_z_lower`) expects log Z or less. With `bounds` a second sweep, at the price of
    the first, goes around a path drawn from its last population, and its log Zhat (`log_z_upper`)
    expects log Z or more, as far as that path is an exact sample of the target. The gap tells how
    far the search is from sampling what it claims. What that sweep finds gets no vote.
    """
    reference: list[Node] = []
    log_weights = partial(log_twists, potential=potential, tau=tau, power=power, clip=clip)

    def weigh(leaf: Leaf) -> float:
        if reference:
            return leaf.node.emitted[0] if leaf.node.emitted else 0.0
        return leaf.slots / n * exp(min(log_weights([leaf])[0], 700.0)) if leaf.slots else 0.0

    def allocate(leaves: list[Leaf], step: int) -> Iterable[int]:
        logs, copies = log_weights(leaves), slots(leaves)
        kept = np.array([leaf.node in reference for leaf in leaves])
        if effective_sample_size(softmax(np.repeat(logs, copies))) < ess_threshold * n:
            drawn = np.log(n) + log_softmax(logs, copies)  # of how many a copy can expect
            set_carries(leaves, carries(leaves) - drawn)
            rng = search.rng("twisted_smc", *["bounds"] * bool(reference), step)
            scheme: Scheme = "multinomial" if reference else resampling
            copies = kept + shared_counts(scheme, logs, copies, n - bool(reference), rng)
        return copies - (kept & is_open(leaves))  # an open reference goes on by itself

    rounds = partial(grow_in_rounds, search, allocate=allocate, max_steps=max_steps, weigh=weigh)
    with at_least_partial(search):
        for side in ("log_z_lower", "log_z_upper")[: 1 + bounds]:
            leaves = await rounds(n - bool(reference), spine=reference)
            logs = log_weights(leaves)
            log_z = log_evidence(logs, slots(leaves), n)
            if search.budget.exhausted or not isfinite(log_z):
                return
            search.measure(**{side: log_z})
            reference = drawn_path(leaves, logs, search.rng("twisted_smc", "bounds"))


def log_twists(
    leaves: Sequence[Leaf],
    *,
    potential: Literal["score", "exp"],
    tau: float,
    power: float,
    clip: float,
) -> Floats:
    """The log-weights of particles [P]: by phi of solutions, twists of prefixes, and carries."""
    phi = partial(log_potential, values(leaves), potential, tau=tau)
    ended = [leaf.node.finished for leaf in leaves]
    solutions = np.where(ended, phi(), -inf)
    return np.where(is_open(leaves), power * phi(clip=clip), solutions) + carries(leaves)
