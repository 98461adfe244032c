"""The earliest candidate: for strategies that put one forward, or race."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasoning.aggregators import Candidate
from reasoning.aggregators.ballots import Ballots, Picks, highest
from reasoning.aggregators.voting import in_order


def first(candidates: Sequence[Candidate]) -> Candidate | None:
    """The earliest candidate that has an answer."""
    return next(iter(in_order(candidates)), None)


def rule(ballots: Ballots) -> Picks:
    """`first` in every row."""
    return highest(ballots, np.zeros(ballots.places.shape))
