"""Particle filtering over reasoning steps (Puri et al., 2025, arXiv:2502.01618)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import exp
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reasoning.search import Search
from searchers.kernels.potentials import Potential, log_evidence, log_potential
from searchers.kernels.resample import (
    Annealing,
    Floats,
    Scheme,
    annealed_temperature,
    log_softmax,
    shared_counts,
    softmax,
)
from searchers.tree.engine import (
    Natural,
    Positive,
    Share,
    Temperature,
    at_least_partial,
    grow_in_rounds,
)
from searchers.tree.leaf import Leaf, ahead, carries, is_open, set_carries, slots, values

AGGREGATOR = "best"
STEPS = True


async def particle_filter(
    search: Search,
    *,
    n: Positive,
    potential: Potential = "odds",
    tau: Temperature = 1.0,
    weights: Literal["absolute", "incremental"] = "absolute",
    resampling: Scheme = "multinomial",
    finished: Literal["compete", "freeze"] = "compete",
    annealing: Annealing = "off",
    ess_threshold: Share = 0.5,
    early_phase: Share = 0.5,
    lookahead: Natural = 0,
    clip: Annotated[float, Field(gt=0, lt=0.5)] = 1e-7,
    max_steps: Positive = 40,
) -> None:
    """Grow n particles by one step, resample them by softmax(logit(score) / tau), and again.

    As published, weights are `absolute`: the odds of the score of the prefix so far, which nothing
    divides by the odds before. `incremental` divides, as textbook SMC does, so that solutions are
    drawn in proportion to p(solution) times the odds of its last score to the power 1 / tau.
    Scores are held within `clip` of 0 and 1 (its_hub's value; the paper's code has 2e-16, which
    lets one saturated score take all). A particle that has ended keeps competing with its last
    score, or with `freeze` keeps its place while the others resample among themselves.

    Other potentials take the place of the odds: the score itself, 0 or more (`score`), or
    exp(score), for scores of any sign (`exp`). With `incremental` weights log Zhat, a lower bound
    on the log of their mean over all solutions in expectation, is measured as `log_z_lower`.

    `annealing` is entropic particle filtering (Giannone et al., 2025, arXiv:2510.05825): while the
    effective sample size is below ess_threshold * n and less than `early_phase` of max_steps have
    been taken, resample at a higher temperature (`ess` as published; `entropy`, `base`: its_hub).
    `lookahead` > 0 is its look-ahead modulation: weights are multiplied by the score of a greedy
    rollout of that many steps before resampling and divided by it after. No source at hand gives
    the exact formula; this is that of the auxiliary particle filter.

    All solutions are candidates, weighted by their particles' weight in the last population, 0 if
    resampling has dropped them. `best` chooses among all by score, whatever the weights; `majority`
    lets the last population vote; `weighted_majority` would count scores twice.
    """
    log_weights = partial(log_potentials, potential=potential, tau=tau, clip=clip)
    temper = partial(
        annealed_temperature, method=annealing, ess_threshold=ess_threshold, early_phase=early_phase
    )

    def weigh(leaf: Leaf) -> float:
        return leaf.slots / n * exp(min(log_weights([leaf])[0], 700.0))

    def allocate(leaves: list[Leaf], step: int) -> Iterable[int]:
        playing = is_open(leaves) | (finished == "compete")
        copies = np.where(playing, slots(leaves), 0)
        places = n - int(slots(leaves)[~playing].sum())
        logs, rng = log_weights(leaves), search.rng("particle_filter", step)
        temperature = temper(softmax(np.repeat(logs, copies)), step / max_steps)
        guide = np.log(np.clip(ahead(leaves), clip, 1.0)) if lookahead else np.zeros(len(leaves))
        drawn_by = logs / temperature + guide
        counts = shared_counts(resampling, drawn_by, copies, places, rng)
        drawn = np.log(places) + log_softmax(drawn_by, copies)  # of how many a copy can expect
        carry = carries(leaves) - drawn if weights == "incremental" else -guide
        set_carries(leaves, np.where(playing, carry, carries(leaves)))
        return np.where(playing, counts, slots(leaves))

    rounds = partial(grow_in_rounds, max_steps=max_steps, lookahead=lookahead, weigh=weigh)
    with at_least_partial(search):
        leaves = await rounds(search, n, allocate)
        if weights == "incremental" and not search.budget.exhausted:
            search.measure(log_z_lower=log_evidence(log_weights(leaves), slots(leaves), n))


def log_potentials(
    leaves: Sequence[Leaf], *, potential: Potential, tau: float, clip: float
) -> Floats:
    """The log-weights of particles [P]: the potentials of their scores, by what they carry."""
    return log_potential(values(leaves), potential, tau=tau, clip=clip) + carries(leaves)
