"""The mirror image of short-m@k (Hassid et al., 2025, arXiv:2505.17813)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.ballots import Ballots, Picks, vote
from reasoning.aggregators.voting import ruled

VOTES = True


def long_m_at_k(
    candidates: Sequence[Candidate], *, m: Annotated[int, Field(ge=1)] = 3
) -> Choice | None:
    """The most frequent answer of the m longest of k that ended by themselves.

    Length is in generated tokens, and the longest wins a tie. A model that is right when it is
    brief loses by this (arXiv:2512.02008).
    """
    return ruled(rule, candidates, m=m)


def rule(ballots: Ballots, *, m: int = 3) -> Picks:
    """`long_m_at_k` in every row."""
    length = np.where(ballots.answer >= 0, ballots.read(_ended), np.nan)
    longest = np.argsort(-length, axis=1, kind="stable")[:, :m]  # NaN comes last
    those = replace(
        ballots,
        places=np.take_along_axis(np.where(np.isnan(length), -1, ballots.places), longest, axis=1),
        weight=np.take_along_axis(ballots.weight, longest, axis=1),
    )
    return vote(those, those.weight)


def _ended(candidate: Candidate) -> float | None:
    """The generated tokens of one that ended by itself."""
    node = candidate.node
    return float(node.generated_tokens) if node is not None and node.finished else None
