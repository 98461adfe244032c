"""When enough samples agree: the stopping rules of adaptive sampling, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from functools import cache


def lead_is_safe(counts: Iterable[int], confidence: float) -> bool:
    """The Beta criterion of Adaptive-Consistency: stop once the leading answer is a safe majority.

    `counts` are the votes of the different answers; only the two largest matter.
    """
    first, second = sorted([0, 0, *counts])[:-3:-1]
    return majority_probability(first, second) >= confidence


@cache
def majority_probability(first: int, second: int) -> float:
    """P(p > 1/2) for p ~ Beta(first + 1, second + 1), the two largest counts of votes; in [0, 1].

    An exact finite sum: P(X <= first) for X ~ Bin(first + second + 1, 1/2).
    """
    if not 0 <= second <= first:
        raise ValueError(f"0 <= second <= first must hold, got {second} and {first}")
    trials = first + second + 1
    ways: int = 2**trials
    # int / int is rounded once, however large the two are.
    return sum(math.comb(trials, i) for i in range(first + 1)) / ways


def unanimous(window: Sequence[Hashable | None]) -> bool:
    """ESC's rule: all samples of one window, and not fewer, have the same answer.

    A window with a sample that has no answer never agrees.
    """
    return len(set(window)) == 1 and window[0] is not None
