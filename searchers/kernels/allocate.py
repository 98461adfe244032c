"""How many children each path gets: pure kernels, `values -> children per path`.

Values are any real numbers, higher is better; -inf stands for a path that could not be scored and
ranks lowest. Of equal values the earlier one wins. Shapes: [P] for P paths, in path order.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]


def top(values: Floats, k: int, among: Bools | None = None) -> Bools:
    """Marks the `k` highest values [P] among those eligible [P]; all if there are fewer."""
    eligible = np.ones(len(values), dtype=bool) if among is None else among
    best_first = np.lexsort((-values, ~eligible))
    chosen = np.zeros(len(values), dtype=bool)
    chosen[best_first[: max(0, k)]] = True
    return chosen & eligible


def evenly(chosen: Bools, total: int) -> Ints:
    """`total` children shared out among the chosen [P] as evenly as can be, more to the earlier."""
    counts = np.zeros(len(chosen), dtype=np.int64)
    if chosen.any():
        share, extra = divmod(total, int(chosen.sum()))
        counts[chosen] = share + (np.arange(chosen.sum()) < extra)
    return counts


def sibling_penalty(values: Floats, parents: Ints, penalty: float) -> Floats:
    """Values [P] of which a parent's i-th best child (from 0) loses i times `penalty`.

    The diverse beam of Li, Monroe and Jurafsky (2016, arXiv:1611.08562): paths of other parents
    get past the lesser children of the best one. `parents` [P] holds any label of the parent.
    """
    out = values.astype(np.float64)
    for parent in np.unique(parents):
        family = np.flatnonzero(parents == parent)
        best_first = family[np.argsort(-values[family], kind="stable")]
        out[best_first] -= penalty * np.arange(len(family))
    return out


def softmax_shares(values: Floats, total: int, temperature: float) -> Ints:
    """`total` children shared out by softmax(values / temperature), as REBASE rounds it [P].

    Best first, each path gets its share of what is left, rounded up, until nothing is left: the
    counts add up to `total` and rounding favours the best (Wu et al., 2024, arXiv:2408.00724,
    official code). Rounding up forgives 1e-9: four equal values and 16 children give 4, 4, 4, 4,
    where the plain ceiling of a share that is an ulp above 4 would give 4, 4, 5, 4.
    """
    counts = np.zeros(len(values), dtype=np.int64)
    if not len(values) or total < 1:
        return counts
    peak = values.max()
    shifted = np.zeros(len(values)) if np.isinf(peak) else (values - peak) / temperature
    order = np.argsort(-values, kind="stable")
    weights = np.exp(shifted[order])
    rest = np.cumsum(weights[::-1])[::-1]  # summed anew from the small end, never subtracted
    left = total
    for i, weight, remaining in zip(order, weights, rest, strict=True):
        if left and remaining:
            counts[i] = min(left, np.ceil(left * (weight / remaining) - 1e-9))
            left -= counts[i]
    return counts
