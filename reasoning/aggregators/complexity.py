"""Complexity-based consistency (Fu et al., 2022, arXiv:2210.00720)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.majority import majority
from reasoning.aggregators.voting import in_order

VOTES = True
READS = "text"


def complexity(
    candidates: Sequence[Candidate],
    *,
    m: Annotated[int, Field(ge=1)] = 40,
    keep: Literal["longest", "shortest"] = "longest",
    step: Annotated[str, Field(min_length=1)] = "\n",
) -> Choice | None:
    """The most frequent answer of the m solutions with the most (or fewest) steps.

    A step is a piece of text between two `step`, blank ones not counted; of equally long solutions
    the earlier is kept. The paper takes 40 of 50 samples; m of all or more is `majority`, 1 the
    longest solution alone. Models that think are right when they are brief (arXiv:2505.17813):
    keep the shortest of theirs. `long_m_at_k` is the same by tokens.
    """
    sign = -1 if keep == "longest" else 1
    ordered = in_order(candidates)
    return majority(sorted(ordered, key=lambda c: sign * _steps(c, step))[:m])


def _steps(candidate: Candidate, step: str) -> int:
    text = "" if candidate.node is None else candidate.node.text
    return sum(1 for piece in text.split(step) if piece.strip())
