"""Particle Gibbs over reasoning steps (Puri et al., 2025, arXiv:2502.01618)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from math import fsum, nan
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reasoning.search import Search
from reasoning.tree import Node
from searchers.kernels.potentials import Potential, log_evidence
from searchers.kernels.resample import log_softmax, shared_counts
from searchers.tree.engine import Positive, Temperature, at_least_partial, grow_in_rounds
from searchers.tree.leaf import Leaf, carries, drawn_path, set_carries, shares, slots
from searchers.tree.particle_filter import log_potentials

AGGREGATOR = "best"
STEPS = True


async def particle_gibbs(
    search: Search,
    *,
    n: Annotated[int, Field(ge=2)],
    potential: Potential = "odds",
    sweeps: Positive = 2,
    tau: Temperature = 1.0,
    weights: Literal["absolute", "incremental"] = "absolute",
    clip: Annotated[float, Field(gt=0, lt=0.5)] = 1e-7,
    max_steps: Positive = 40,
) -> None:
    """Repeat a particle filter of n particles, each time around a path kept from the time before.

    The first sweep is particle_filter (`potential`, `tau`, `weights`, `clip` mean the same). Every
    later one keeps a reference path, drawn from the last population by its weights, that no
    resampling can drop: the reference and n - 1 other particles grow step by step, and after t
    steps its first t steps compete like any particle's, with their own score, so that particles may
    branch off it (the paper's code scores the reference one step ahead of the others; its_hub does
    not).
    Resampling is multinomial, under which keeping one place for the reference is exact: with
    `incremental` weights a sweep leaves their target distribution unchanged.

    All solutions of all sweeps are candidates, weighted by their share of the weight in the last
    population, summed over sweeps (one that the budget has cut short does not count, unless it is
    the first). `best` chooses among all by score, whatever the weights; `majority` lets the last
    populations vote.
    """
    reference: list[Node] = []
    weight: defaultdict[Node, float] = defaultdict(float)  # its share, summed over sweeps
    evidence: list[float] = []  # log Zhat of each sweep
    log_weights = partial(log_potentials, potential=potential, tau=tau, clip=clip)

    def allocate(leaves: list[Leaf], step: int) -> Iterable[int]:
        logs, copies = log_weights(leaves), slots(leaves)
        if weights == "incremental":
            set_carries(leaves, carries(leaves) - np.log(n) - log_softmax(logs, copies))
        ended = [leaf.node in reference and not leaf.open for leaf in leaves]  # open ones go on
        rng = search.rng("particle_gibbs", sweep, step)
        return ended + shared_counts("multinomial", logs, copies, n - bool(reference), rng)

    def weigh(leaf: Leaf) -> float:
        return weight[leaf.node]

    rounds = partial(grow_in_rounds, search, allocate=allocate, max_steps=max_steps, weigh=weigh)
    with at_least_partial(search):
        for sweep in range(sweeps):
            leaves = await rounds(n - bool(reference), spine=reference)
            if not leaves or (sweep and search.budget.exhausted):
                return
            logs = log_weights(leaves)
            evidence.append(log_evidence(logs, slots(leaves), n))
            for leaf, share in zip(leaves, shares(leaves, logs), strict=True):
                weight[leaf.node] += float(share)
                if leaf.node.finished:
                    search.emit(leaf.node, weight[leaf.node])
            reference = drawn_path(leaves, logs, search.rng("particle_gibbs", sweep))
            if weights == "incremental" and not search.budget.exhausted:
                upper = fsum(evidence[1:]) / sweep if sweep else nan
                search.measure(log_z_lower=evidence[0], log_z_upper=upper)
