"""The likeliest solution, by perplexity."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning.aggregators import Candidate
from reasoning.aggregators.ballots import Ballots, Picks, highest
from reasoning.aggregators.certainty import mean_logprob
from reasoning.aggregators.voting import ruled


def perplexity(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate with the highest mean log-probability a token, that is, lowest perplexity.

    Those without log-probabilities come last; if none has any, this is `first`.
    """
    choice = ruled(rule, candidates)
    return None if choice is None else choice.candidate


def rule(ballots: Ballots) -> Picks:
    """`perplexity` in every row."""
    return highest(ballots, ballots.read(mean_logprob))
