"""Confidence-informed self-consistency (2025, arXiv:2502.06233)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.certainty import probability
from reasoning.aggregators.voting import in_order, weighed

VOTES = True


def cisc(
    candidates: Sequence[Candidate], *, temperature: Annotated[float, Field(gt=0)] = 0.1
) -> Choice | None:
    """A vote in which each weighs softmax(c / temperature) among the candidates.

    c = exp(mean log-probability a token), the paper's response probability. It tunes the
    temperature for every model: towards infinity this is `majority`, towards 0 the likeliest wins.
    Those without log-probabilities do not vote; if none has any, this is `majority`.
    """
    known = [p for c in in_order(candidates) if (p := probability(c)) is not None]
    top = max(known, default=0.0)

    def weight(candidate: Candidate) -> float | None:
        p = probability(candidate)
        return None if p is None else math.exp((p - top) / temperature)

    return weighed(candidates, weight)
