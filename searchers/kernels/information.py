"""What MITS computes between its calls: how many children a step deserves, which chain wins."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np


def branches(
    entropy: float,
    history: Sequence[float],
    *,
    base: int = 3,
    spread: float = 2.0,
    gain: float = 1.0,
    warm_up: int = 10,
) -> int:
    """How many children a step of this entropy gets: base + dN, rounded, 1 or more.

    dN is 0 between the 33rd and the 67th percentile of the history, and grows by 2 `gain` times
    the distance from them in units of their gap, up to `spread` either way. It is 0 while the
    history is shorter than `warm_up`; without a gap it jumps to the bound.
    """
    known = [h for h in history if math.isfinite(h)]
    if len(known) < warm_up or not math.isfinite(entropy):
        return base
    low, high = np.percentile(known, (33, 67))
    beyond = entropy - high if entropy > high else min(0.0, entropy - low)
    if beyond == 0:
        return base
    gap = high - low
    change = 2 * gain * beyond / gap if gap > 0 else math.copysign(math.inf, beyond)
    return max(1, math.floor(base + min(spread, max(-spread, change)) + 0.5))


def elect(values: Sequence[float], answers: Sequence[Hashable | None], top: int) -> list[float]:
    """PMI* of each chain: its value times the share of its answer among the `top` chains.

    Minus infinity for chains outside the top and for those without an answer, which never win.
    Where a value among the top is negative all are shifted to make the least of them 0, since
    otherwise agreement would count against a chain; unknown values (not finite) count as the
    least. Ties go to the earlier chain.
    """
    ranked = sorted(range(len(values)), key=lambda i: -_known(values[i]))[:top]
    finite = [values[i] for i in ranked if math.isfinite(values[i])]
    least = min(finite, default=0.0)
    shift = -min(0.0, least)
    votes = Counter(answers[i] for i in ranked)
    stars = [-math.inf] * len(values)
    for i in ranked:
        if answers[i] is not None:
            value = values[i] if math.isfinite(values[i]) else least
            stars[i] = (value + shift) * votes[answers[i]] / top
    return stars


def _known(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
