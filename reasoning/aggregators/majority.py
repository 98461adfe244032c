"""Self-consistency's vote (Wang et al., 2022, arXiv:2203.11171)."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.ballots import Ballots, Picks, vote
from reasoning.aggregators.voting import ruled

VOTES = True


def majority(candidates: Sequence[Candidate]) -> Choice | None:
    """The most frequent answer, in its earliest words.

    Candidates count by their weight, which is 1 unless the searcher, or a stage before this one,
    says otherwise.
    """
    return ruled(rule, candidates)


def rule(ballots: Ballots) -> Picks:
    """`majority` in every row."""
    return vote(ballots, ballots.weight)
