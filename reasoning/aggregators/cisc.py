"""Confidence-informed self-consistency (2025, arXiv:2502.06233)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.ballots import Ballots, Picks, weighed
from reasoning.aggregators.certainty import probability
from reasoning.aggregators.voting import ruled

VOTES = True


def cisc(
    candidates: Sequence[Candidate], *, temperature: Annotated[float, Field(gt=0)] = 0.1
) -> Choice | None:
    """A vote in which each weighs softmax(c / temperature) among the candidates.

    c = exp(mean log-probability a token), the paper's response probability. It tunes the
    temperature for every model: towards infinity this is `majority`, towards 0 the likeliest wins.
    Those without log-probabilities do not vote; if none has any, this is `majority`.
    """
    return ruled(rule, candidates, temperature=temperature)


def rule(ballots: Ballots, *, temperature: float = 0.1) -> Picks:
    """`cisc` in every row."""
    p = ballots.read(probability)
    heard = np.where(ballots.answer >= 0, p, np.nan)
    top = np.max(heard, axis=1, initial=0.0, where=np.isfinite(heard), keepdims=True)
    return weighed(ballots, np.exp((heard - top) / temperature))
