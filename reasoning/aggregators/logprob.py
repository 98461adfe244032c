"""The vote of probabilities, without a temperature and without pruning."""

from __future__ import annotations

from collections.abc import Sequence

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.ballots import Ballots, Picks, weighed
from reasoning.aggregators.certainty import probability
from reasoning.aggregators.voting import ruled

VOTES = True
READS = "logprobs"


def logprob(candidates: Sequence[Candidate]) -> Choice | None:
    """A vote in which each weighs exp(mean log-probability a token), in [0, 1].

    `cisc` sharpens these weights by a softmax and `rpc` prunes them; this is what both stand on.
    Those without log-probabilities do not vote; if none has any, this is `majority`.
    """
    return ruled(rule, candidates)


def rule(ballots: Ballots) -> Picks:
    """`logprob` in every row."""
    return weighed(ballots, ballots.read(probability))
