"""The mirror image of short-m@k (Hassid et al., 2025, arXiv:2505.17813)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.majority import majority
from reasoning.aggregators.voting import in_order

VOTES = True


def long_m_at_k(
    candidates: Sequence[Candidate], *, m: Annotated[int, Field(ge=1)] = 3
) -> Choice | None:
    """The most frequent answer of the m longest of k that ended by themselves.

    Length is in generated tokens, and the longest wins a tie. A model that is right when it is
    brief loses by this (arXiv:2512.02008).
    """
    ended = [c for c in in_order(candidates) if c.node is not None and c.node.finished]
    longest = sorted(ended, key=lambda c: -_tokens(c))[:m]
    choice = majority([replace(c, rank=float(rank)) for rank, c in enumerate(longest)])
    if choice is None or choice.candidate is None:
        return choice
    place = choice.candidate.path
    return Choice(next(c for c in longest if c.path == place), choice.confidence)


def _tokens(candidate: Candidate) -> int:
    assert candidate.node is not None
    return candidate.node.generated_tokens
