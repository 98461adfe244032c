"""Weighted best-of-N, a vote by score (Li et al., 2022, arXiv:2206.02336)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.ballots import Ballots, Bools, Floats, Picks, highest, weighed
from reasoning.aggregators.voting import ruled
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
    return ruled(rule, candidates, scale=scale, temperature=temperature)


def rule(
    ballots: Ballots,
    *,
    scale: Literal["none", "minmax", "softmax"] = "none",
    temperature: float = 1.0,
) -> Picks:
    """`weighted_majority` in every row."""
    score = ballots.read(attrgetter("score"))
    scored = np.isfinite(score) & (ballots.answer >= 0)
    low = score.min(axis=1, initial=np.inf, where=scored, keepdims=True)
    high = score.max(axis=1, initial=-np.inf, where=scored, keepdims=True)
    if scale == "none":
        if (low < 0).any():
            raise _below(ballots, score, scored)
        return weighed(ballots, score)
    with np.errstate(all="ignore"):
        if scale == "softmax":
            return weighed(ballots, np.exp((score - high) / temperature))
        spread = np.where(high > low, (score - low) / (high - low), 1.0)
    voted = weighed(ballots, np.where(scored, spread, np.nan))
    won = np.append(ballots.keys, -1)[voted.place]
    top = highest(ballots, score, scored & (ballots.answer == won[:, None]))
    return voted._replace(place=np.where(top.place < 0, voted.place, top.place))


def _below(ballots: Ballots, score: Floats, scored: Bools) -> ChoiceError:
    row, at = divmod(int(np.where(scored, score, np.inf).argmin()), score.shape[1])
    bad = ballots.candidates[ballots.places[row, at]]
    return ChoiceError(
        f"weighted_majority adds up scores of 0 or more, and candidate {bad.path} has "
        f"{score[row, at]:g}; set scale: minmax, use aggregator best, or a verifier that maps its "
        "scores to [0, 1]"
    )
