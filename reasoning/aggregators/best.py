"""Best-of-N's choice (Cobbe et al., 2021, arXiv:2110.14168)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from reasoning.aggregators import Candidate
from reasoning.aggregators.ballots import Ballots, Picks, highest
from reasoning.aggregators.voting import ruled

SCORES = True


def best(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate with the highest score.

    Candidates without a score come last; if none has one, this is `first`.
    """
    choice = ruled(rule, candidates)
    return None if choice is None else choice.candidate


def rule(ballots: Ballots) -> Picks:
    """`best` in every row."""
    return highest(ballots, ballots.read(attrgetter("score")))
