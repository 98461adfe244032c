"""Weighted best-of-N, a vote by score (Li et al., 2022, arXiv:2206.02336)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.voting import in_order, weighed
from reasoning.errors import ChoiceError

SCORES = True
VOTES = True


def weighted_majority(candidates: Sequence[Candidate]) -> Choice | None:
    """The answer whose candidates' scores add up highest.

    Candidates without a score do not vote; if none has one, this is `majority`. Raises ChoiceError
    for a score below 0: sums of logarithms would favour rare answers.
    """
    for c in in_order(candidates):
        if c.score is not None and c.score < 0:
            raise ChoiceError(
                f"weighted_majority adds up scores of 0 or more, and candidate {c.path} has "
                f"{c.score:g}; use aggregator best, or a verifier that maps its scores to [0, 1]"
            )
    return weighed(candidates, attrgetter("score"))
