"""Weighted best-of-N, a vote by score (Li et al., 2022, arXiv:2206.02336)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Annotated, Literal

from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.voting import highest, in_order, usable, weighed
from reasoning.errors import ChoiceError

SCORES = True
VOTES = True


def weighted_majority(
    candidates: Sequence[Candidate],
    *,
    scale: Literal["none", "minmax", "softmax"] = "none",
    temperature: Annotated[float, Field(gt=0)] = 1.0,
) -> Choice | None:
    """The answer whose candidates' scores add up highest.

    Scores of any sign and size, as reward models give them, vote by `scale`: "minmax" takes
    (s - min) / (max - min) among the candidates, 1 for all where they are equal, so that the worst
    has no vote at all, and chooses the best scored candidate of the answer that wins (Liu et al.,
    2025, arXiv:2502.07191); "softmax" takes exp((s - max) / temperature): towards infinity this is
    `majority`, towards 0 it is `best`.

    Candidates without a score do not vote; if none has one, this is `majority`. Raises ChoiceError
    for a score below 0 without a scale: sums of logarithms would favour rare answers.
    """
    scored = [c for c in in_order(candidates) if usable(c.score)]
    values = [c.score for c in scored if c.score is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if scale == "none":
        if low < 0:
            bad = next(c for c in scored if c.score == low)
            raise ChoiceError(
                f"weighted_majority adds up scores of 0 or more, and candidate {bad.path} has "
                f"{low:g}; set scale: minmax, use aggregator best, or a verifier that maps its "
                "scores to [0, 1]"
            )
        return weighed(candidates, attrgetter("score"))

    def weight(candidate: Candidate) -> float | None:
        if candidate.score is None or not math.isfinite(candidate.score):
            return None
        if scale == "softmax":
            return math.exp((candidate.score - high) / temperature)
        return (candidate.score - low) / (high - low) if high > low else 1.0

    choice = weighed(candidates, weight)
    if scale == "softmax" or choice is None or choice.candidate is None:
        return choice
    assert choice.candidate.answer is not None
    key = choice.candidate.answer.key
    same = [c for c in scored if c.answer is not None and c.answer.key == key]
    return replace(choice, candidate=highest(same, attrgetter("score")) or choice.candidate)
