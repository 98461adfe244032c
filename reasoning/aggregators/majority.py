"""Self-consistency's vote (Wang et al., 2022, arXiv:2203.11171)."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.ballots import Ballots, Picks, vote
from reasoning.aggregators.voting import count, in_order

VOTES = True


def majority(candidates: Sequence[Candidate]) -> Choice | None:
    """The most frequent answer, in its earliest words.

    Candidates count by their weight, which is 1 unless the searcher, or a stage before this one,
    says otherwise.
    """
    voters = in_order(candidates)
    return count(voters, [voter.weight for voter in voters])


def rule(ballots: Ballots) -> Picks:
    """`majority` in every row, which is what it counts by itself for one."""
    return vote(ballots, ballots.weight)
