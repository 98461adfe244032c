"""Best-of-Majority (2025, arXiv:2510.03199)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.ballots import Ballots, Picks, highest, tally, vote
from reasoning.aggregators.voting import ruled

SCORES = True
VOTES = True


def best_of_majority(
    candidates: Sequence[Candidate], *, alpha: Annotated[float, Field(ge=0, le=1)] = 0.1
) -> Choice | None:
    """The best scored candidate among those whose answer at least a share `alpha` of all gave.

    If no answer has that share, the most frequent one. alpha 0 is `best`; the paper's 0.005 to
    0.015 is for thousands of samples, and the same as 0 below 1 / alpha of them.
    """
    return ruled(rule, candidates, alpha=alpha)


def rule(ballots: Ballots, *, alpha: float = 0.1) -> Picks:
    """`best_of_majority` in every row."""
    answer = ballots.answer
    counts, _ = tally(answer, np.ones(answer.shape), answer >= 0)
    given = np.take_along_axis(counts, np.maximum(answer, 0), axis=1)
    least = (alpha - 1e-12) * (ballots.places >= 0).sum(axis=1, keepdims=True)
    common = highest(ballots, ballots.read(attrgetter("score")), given >= least)
    voted = vote(ballots, ballots.weight)
    none = common.place < 0
    return Picks(
        np.where(none, voted.place, common.place), np.where(none, voted.share, common.share)
    )
