"""Best-of-Majority (2025, arXiv:2510.03199)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated

from pydantic import Field

from reasoning.aggregators import Candidate, Choice
from reasoning.aggregators.majority import majority
from reasoning.aggregators.voting import highest

SCORES = True
VOTES = True


def best_of_majority(
    candidates: Sequence[Candidate], *, alpha: Annotated[float, Field(ge=0, le=1)] = 0.1
) -> Candidate | Choice | None:
    """The best scored candidate among those whose answer at least a share `alpha` of all gave.

    If no answer has that share, the most frequent one. alpha 0 is `best`; the paper's 0.005 to
    0.015 is for thousands of samples, and the same as 0 below 1 / alpha of them.
    """
    counts = Counter(c.answer.key for c in candidates if c.answer)
    least = (alpha - 1e-12) * len(candidates)
    common = [c for c in candidates if c.answer and counts[c.answer.key] >= least]
    return highest(common, attrgetter("score")) or majority(candidates)
