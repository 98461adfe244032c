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


def expected_samples(shares: Sequence[float], *, window: int, windows: int) -> float:
    """How many samples ESC draws on average if answers have these chances.

    w (sum over i < m - 1 of q (1 - q)^i (i + 1) + (1 - q)^(m - 1) m) with q = sum of shares^w: the
    samples drawn before one of up to m windows of w agrees. Shares may add up to less than 1, the
    rest being samples without an answer.
    """
    if any(not 0 <= p <= 1 for p in shares) or sum(shares) > 1 + 1e-9:
        raise ValueError(f"shares must be in [0, 1] and add up to at most 1, got {list(shares)}")
    if window < 1 or windows < 1:
        raise ValueError(f"window and windows must be at least 1, got {window} and {windows}")
    q = math.fsum(p**window for p in shares)
    stopped = math.fsum(q * (1 - q) ** i * (i + 1) for i in range(windows - 1))
    return window * (stopped + (1 - q) ** (windows - 1) * windows)
